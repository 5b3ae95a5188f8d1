"""Check every image and mask of a person's own data set and write its manifest and splits."""

from typing import TYPE_CHECKING

from robustseg.workflow_job import job
from robustseg.data.folder import prepare_folder

if TYPE_CHECKING:
    from robustseg.workflow_job import snakemake

if __name__ == "__main__":
    with job(f"data {snakemake.wildcards.dataset}", snakemake.log[0]) as progress:
        prepare_folder(
            snakemake.params.settings,
            dict(snakemake.output.items()),
            snakemake.threads,
            progress,
        )
