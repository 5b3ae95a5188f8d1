"""Fetch a file of published weights."""

from pathlib import Path
from typing import TYPE_CHECKING

from robustseg.workflow_job import job
from robustseg.downloads import Expected, fetch

if TYPE_CHECKING:
    from robustseg.workflow_job import snakemake

if __name__ == "__main__":
    with job(f"fetch {snakemake.wildcards.weights_file}", snakemake.log[0]) as progress:
        fetch(
            snakemake.output.file,
            snakemake.resources.urls.split(),
            Expected(**snakemake.params.expected),
            record=Path(snakemake.output.file).with_name("hashes.json"),
            progress=progress,
        )
