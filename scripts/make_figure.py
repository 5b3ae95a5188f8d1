"""Draw one figure from evidence."""

from typing import TYPE_CHECKING

from robustseg.workflow_job import job
from robustseg.figures.making import make_figure
from robustseg.figures.registry import FIGURES

if TYPE_CHECKING:
    from robustseg.workflow_job import snakemake

if __name__ == "__main__":
    with job(snakemake.wildcards.figure, snakemake.log[0]) as progress:
        make_figure(
            FIGURES[snakemake.wildcards.figure],
            snakemake.input.evidence,
            snakemake.params.reads,
            snakemake.params.models,
            dict(snakemake.output.items()),
        )
        progress.say(f"drawn as {snakemake.output.png}")
