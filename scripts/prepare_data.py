"""Check every image of a downloaded data set and write its manifest and splits."""

from typing import TYPE_CHECKING

from robustseg.workflow_job import job
from robustseg.data.prepare import prepare

if TYPE_CHECKING:
    from robustseg.workflow_job import snakemake

if __name__ == "__main__":
    with job(f"data {snakemake.wildcards.dataset}", snakemake.log[0]) as progress:
        prepare(
            snakemake.params.settings,
            snakemake.params.root,
            snakemake.params.folders,
            dict(snakemake.output.items()),
            snakemake.threads,
            progress,
        )
