"""Make one table from evidence."""

from collections.abc import Mapping, Sequence
from typing import Any

from robustseg.jobs import job
from robustseg.report.tables import make_table


def run(
    table: str,
    evidence: Sequence[str],
    reads: Sequence[Mapping[str, Any]],
    models: Mapping[str, Mapping[str, Any]],
    outputs: Mapping[str, str],
) -> None:
    """Write a table in every format that `outputs` names; see `report.tables.make_table`."""
    make_table(table, evidence, reads, models, outputs)


if __name__ == "__main__":
    with job(snakemake.wildcards.table, snakemake.log[0]):
        make_table(
            snakemake.wildcards.table,
            snakemake.input.evidence,
            snakemake.params.reads,
            snakemake.params.models,
            dict(snakemake.output.items()),
        )
