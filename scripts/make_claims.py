"""Check the paper's claims on the tables of a run."""

from pathlib import Path
from typing import TYPE_CHECKING

from robustseg.workflow_job import job
from robustseg.claims.report import make_claims

if TYPE_CHECKING:
    from robustseg.workflow_job import snakemake

if __name__ == "__main__":
    with job("claims", snakemake.log[0]) as progress:
        make_claims(
            snakemake.input.claims,
            snakemake.input.numbers,
            snakemake.input.evidence,
            snakemake.params.reads,
            Path(snakemake.input.reported[0]).parent,
            dict(snakemake.output.items()),
        )
        progress.say(f"written to {snakemake.output.md}")
