"""Generate both splits of a data set."""

from typing import TYPE_CHECKING

from robustseg.workflow_job import job
from robustseg.data.generate import generate

if TYPE_CHECKING:
    from robustseg.workflow_job import snakemake

if __name__ == "__main__":
    with job(f"data {snakemake.wildcards.dataset}", snakemake.log[0]) as progress:
        settings = snakemake.params.settings
        for split, path in snakemake.output.items():
            progress.say(f"generate {settings[f'{split}_images']} images for {path}")
            generate(settings, split, path)
