"""What each table and figure costs: the table that the target `plan` prints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from robustseg.plan.costs import PlannedJob
from robustseg.plan.throughput import Throughput, lookup


@dataclass(frozen=True)
class Priced:
    """A job with the file that it makes.

    Attributes:
        job: what is to be done.
        path: its output.
        done: whether that is there, of whatever settings.
        hours: on the device of the throughput.
    """

    job: PlannedJob
    path: str
    done: bool
    hours: float


@dataclass(frozen=True)
class PriceRow:
    """What one target costs.

    Attributes:
        target: a table, a figure, or everything.
        jobs, done: how many there are and how many are done.
        million_passes: images times passes, each forward or backward pass counted as one,
            in millions.
        hours: of a device, all jobs.
        left_hours: the jobs that are not done.
        new_hours: the jobs among them that no target above needs.
    """

    target: str
    jobs: int
    done: int
    million_passes: float
    hours: float
    left_hours: float
    new_hours: float


def price(
    jobs: Sequence[tuple[PlannedJob, str]], throughputs: Mapping[str, Throughput], source: str
) -> list[Priced]:
    """Price jobs, each given with its output.

    Args:
        jobs: of a target.
        throughputs: by network.
        source: the file that they are from, for messages.

    Raises:
        RobustsegError: a network has no throughput.
    """
    return [
        Priced(
            job,
            path,
            done=Path(path).exists(),
            hours=sum(lookup(throughputs, w.network, source).seconds(w) for w in job.work) / 3600,
        )
        for job, path in jobs
    ]


def passes(job: PlannedJob) -> int:
    """Return images times passes of a job; a forward and a backward pass are two."""
    return sum(work.forward + 2 * work.attack + 2 * work.update for work in job.work)


def rows_of(targets: Mapping[str, Sequence[Priced]]) -> list[PriceRow]:
    """Return a row a target, and one of all their jobs, each once."""
    known: dict[PlannedJob, Priced] = {}
    rows = []
    for target, jobs in targets.items():
        new = [one for one in jobs if one.job not in known]
        known |= {one.job: one for one in new}
        rows.append(_row(target, jobs, new))
    everything = list(known.values())
    return [*rows, _row("everything", everything, everything)]


def _row(target: str, jobs: Sequence[Priced], new: Sequence[Priced]) -> PriceRow:
    return PriceRow(
        target,
        jobs=len(jobs),
        done=sum(one.done for one in jobs),
        million_passes=sum(passes(one.job) for one in jobs) / 1e6,
        hours=sum(one.hours for one in jobs),
        left_hours=sum(one.hours for one in jobs if not one.done),
        new_hours=sum(one.hours for one in new if not one.done),
    )


HEADER = (
    "| target | jobs | done | million passes | hours | hours left | not needed above |\n"
    "|---|---:|---:|---:|---:|---:|---:|"
)


def to_markdown(rows: Sequence[PriceRow], device: str) -> str:
    """Return the rows as a table with a sentence that says how to read it."""
    lines = [
        f"| {row.target} | {row.jobs} | {row.done} | {_short(row.million_passes, 3)} "
        f"| {_short(row.hours)} | {_short(row.left_hours)} | {_short(row.new_hours)} |"
        for row in rows
    ]
    about = (
        f"Hours of one device ({device}); images times passes, each forward and "
        "each backward pass counted as one. "
        "Targets share jobs: the last column is what is left of those that no target above needs. "
        "Upper bounds: an image without a right pixel leaves its attack early. "
        "Done is what has its file, also one of other settings, which is made again: "
        "`snakemake -n` says which."
    )
    return "\n".join([HEADER, *lines, "", about, ""])


def _short(value: float, digits: int = 2) -> str:
    """Return a number with so many digits, or more before the point; never as 1e+02."""
    return f"{value:.0f}" if value >= 10 ** (digits - 1) else f"{value:.{digits}g}"
