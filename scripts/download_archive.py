"""Download an archive of a data set, or continue an unfinished download."""

from typing import TYPE_CHECKING

from robustseg.workflow_job import job
from robustseg.downloads import Expected, fetch

if TYPE_CHECKING:
    from robustseg.workflow_job import snakemake

if __name__ == "__main__":
    with job(f"download {snakemake.wildcards.file}", snakemake.log[0]) as progress:
        fetch(
            snakemake.output.file,
            snakemake.resources.urls.split(),
            Expected(**snakemake.params.expected),
            limit_bytes=snakemake.resources.limit_bytes,
            progress=progress,
        )
