"""Put tables and figures together on one page."""

from robustseg.workflow_job import job
from robustseg.page.page import make_page

if __name__ == "__main__":
    with job(f"page {snakemake.wildcards.page}", snakemake.log[0]) as progress:
        make_page(
            dict(zip(snakemake.params.tables, snakemake.input.tables, strict=True)),
            dict(zip(snakemake.params.figures, snakemake.input.figures, strict=True)),
            snakemake.params.config,
            snakemake.input.evidence,
            snakemake.params.benchmarks,
            snakemake.output.page,
            next(iter(snakemake.input.claims), None),
            dict(zip(snakemake.params.gallery, snakemake.input.gallery, strict=True)),
        )
        progress.say(f"written to {snakemake.output.page}")
