"""All tables by id: every file of this folder that defines a `TABLE`."""

import re
from importlib import import_module
from pkgutil import iter_modules

import robustseg.tables
from robustseg.tables.table import Table


def _in_order(table: Table) -> tuple[bool, str, int]:
    """Return what tables are sorted by: the paper's numbered ones first, then by name."""
    word, number = re.fullmatch(r"(.*?)(\d*)", table.id).groups()  # type: ignore[union-attr]
    return word != "table", word, int(number or 0)


def _defined() -> list[Table]:
    modules = [f"robustseg.tables.{file.name}" for file in iter_modules(robustseg.tables.__path__)]
    others = [import_module(name) for name in modules if name != __name__]
    return [module.TABLE for module in others if isinstance(getattr(module, "TABLE", None), Table)]


TABLES: dict[str, Table] = {table.id: table for table in sorted(_defined(), key=_in_order)}
"""In the order in which they are shown."""
