"""Draw one figure of attacked images."""

from typing import TYPE_CHECKING

from robustseg.workflow_job import job
from robustseg.figures.picture import make_picture
from robustseg.figures.registry import PICTURES

if TYPE_CHECKING:
    from robustseg.workflow_job import snakemake

if __name__ == "__main__":
    with job(snakemake.wildcards.figure, snakemake.log[0]) as progress:
        make_picture(
            PICTURES[snakemake.wildcards.figure],
            dict(zip(snakemake.params.models, snakemake.input.shots, strict=True)),
            snakemake.params.models,
            dict(snakemake.output.items()),
        )
        progress.say(f"drawn as {snakemake.output.png}")
