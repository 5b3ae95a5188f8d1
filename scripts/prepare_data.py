"""Check every image of a downloaded data set and write its manifest and splits."""

from pathlib import Path
from typing import TYPE_CHECKING

from robustseg.workflow_job import job
from robustseg.data.camvid import prepare_camvid
from robustseg.data.prepare import prepare

if TYPE_CHECKING:
    from robustseg.workflow_job import snakemake

if __name__ == "__main__":
    with job(f"data {snakemake.wildcards.dataset}", snakemake.log[0]) as progress:
        settings, folders = snakemake.params.settings, snakemake.params.folders
        rest = dict(snakemake.output.items()), snakemake.threads, progress
        if settings["kind"] == "camvid":
            root = Path(snakemake.params.root, *folders.values())
            prepare_camvid(settings, root, *rest)
        else:
            prepare(settings, snakemake.params.root, folders, *rest)
