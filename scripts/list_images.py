"""List the images of a folder of class folders."""

from typing import TYPE_CHECKING

from robustseg.workflow_job import job
from robustseg.data.class_folders import list_class_folders

if TYPE_CHECKING:
    from robustseg.workflow_job import snakemake

if __name__ == "__main__":
    with job(f"data {snakemake.wildcards.dataset}", snakemake.log[0]) as progress:
        count = list_class_folders(snakemake.params.settings, snakemake.output.val)
        progress.say(f"{count} images")
