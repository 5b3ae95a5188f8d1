"""Print what every table and figure costs, and keep it in a file."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from robustseg.workflow_job import job
from robustseg.files import write_text
from robustseg.plan.costs import PlannedJob
from robustseg.plan.prices import price, rows_of, to_markdown
from robustseg.plan.throughput import read_throughput

if TYPE_CHECKING:
    from robustseg.workflow_job import snakemake


def make_plan(
    jobs: Mapping[str, Sequence[tuple[PlannedJob, str]]], throughput: str, plan: str
) -> str:
    """Price the jobs of each target, write the table, and return it.

    Args:
        jobs: by target, each with the file that it makes.
        throughput: file of throughputs.
        plan: the output, Markdown.
    """
    device, throughputs = read_throughput(throughput)
    priced = {name: price(some, throughputs, throughput) for name, some in jobs.items()}
    text = to_markdown(rows_of(priced), device)
    write_text(plan, text)
    return text


if __name__ == "__main__":
    with job("plan", snakemake.log[0]) as progress:
        print(make_plan(snakemake.params.jobs, snakemake.input.throughput, snakemake.params.plan))
        progress.say(f"written to {snakemake.params.plan}")
