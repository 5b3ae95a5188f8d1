"""Make one table from evidence."""

from pathlib import Path
from typing import TYPE_CHECKING

from robustseg.workflow_job import job
from robustseg.tables.making import make_table
from robustseg.tables.registry import TABLES

if TYPE_CHECKING:
    from robustseg.workflow_job import snakemake

if __name__ == "__main__":
    with job(snakemake.wildcards.table, snakemake.log[0]) as progress:
        make_table(
            TABLES[snakemake.wildcards.table],
            snakemake.input.evidence,
            snakemake.params.reads,
            snakemake.params.models,
            dict(snakemake.output.items()),
            reported_folder=Path(snakemake.input.reported[0]).parent,
            manifests=dict(zip(snakemake.params.datasets, snakemake.input.manifests, strict=True)),
        )
        progress.say(f"written to {snakemake.output.md}")
