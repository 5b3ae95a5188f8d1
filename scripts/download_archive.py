"""Download an archive of a data set, or continue an unfinished download."""

from robustseg.downloads import Expected, fetch
from robustseg.jobs import job

if __name__ == "__main__":
    with job(f"download {snakemake.wildcards.file}", snakemake.log[0]) as progress:
        fetch(
            snakemake.output.file,
            snakemake.resources.urls.split(),
            Expected(**snakemake.params.expected),
            progress=progress,
        )
