"""Put tables and figures together on one page."""

from typing import TYPE_CHECKING

from robustseg.workflow_job import job
from robustseg.page.page import make_page

if TYPE_CHECKING:
    from robustseg.workflow_job import snakemake

if __name__ == "__main__":
    with job("page", snakemake.log[0]) as progress:
        make_page(
            dict(zip(snakemake.params.tables, snakemake.input.tables, strict=True)),
            dict(
                zip(
                    snakemake.params.figures,
                    zip(snakemake.input.figures, snakemake.input.words, strict=True),
                    strict=True,
                )
            ),
            snakemake.params.config,
            snakemake.input.evidence,
            snakemake.params.benchmarks,
            snakemake.output.page,
            snakemake.input.claims or None,
            dict(zip(snakemake.params.gallery, snakemake.input.gallery, strict=True)),
            snakemake.params.over_seeds,
            snakemake.input.numbers,
            snakemake.input.headlines or None,
        )
        progress.say(f"written to {snakemake.output.page}")
