"""Download an archive of a data set, or continue an unfinished download."""

from pathlib import Path
from typing import TYPE_CHECKING

from robustseg.workflow_job import job
from robustseg.downloads import Expected, fetch

if TYPE_CHECKING:
    from robustseg.workflow_job import snakemake

if __name__ == "__main__":
    with job(f"download {snakemake.wildcards.file}", snakemake.log[0]) as progress:
        file = Path(snakemake.output.file)
        fetch(
            file,
            snakemake.resources.urls.split(),
            Expected(**snakemake.params.expected),
            limit_bytes=snakemake.resources.limit_bytes,
            record=file.with_name("hashes.json"),
            progress=progress,
        )
