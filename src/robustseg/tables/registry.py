"""All tables by id, in the order in which they are shown."""

from robustseg.tables import (
    ablation_training,
    appendix_c3,
    leak,
    table1,
    table2,
    table3,
    table4,
    table5,
    table6,
    table7,
    table8,
    table9,
    table10,
    table11,
)
from robustseg.tables.table import Table

TABLES: dict[str, Table] = {
    module.TABLE.id: module.TABLE
    for module in (
        table1,
        table2,
        table3,
        table4,
        table5,
        table6,
        table7,
        table8,
        table9,
        table10,
        table11,
        appendix_c3,
        leak,
        ablation_training,
    )
}
