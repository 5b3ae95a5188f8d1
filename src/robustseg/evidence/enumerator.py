"""The jobs that evidence comes from: which a table reads, and which of them are missing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from robustseg.errors import RobustsegError

CLEAN_SUITE = "clean"
"""The suite of the clean evaluation, which has no radius and is never divided into shards."""

_FILE = re.compile(r"([^/]+)/([^/]+)/seed(\d+)/eps(\d+(?:\.\d+)?)/seed(\d+)-shard(\d+)\.parquet$")


class Job(NamedTuple):
    """A suite on a model at one radius with one seed; all of its shards if `shard` is None."""

    suite: str
    model: str
    training_seed: int
    eps_255: float
    seed: int
    shard: int | None = None

    @property
    def path(self) -> str:
        """The folder and stem of its evidence files, below the folder of the run."""
        folder = f"attacks/{self.suite}/{self.model}/seed{self.training_seed}"
        return f"{folder}/eps{self.eps_255:g}/seed{self.seed}"


def jobs_read(read: Mapping[str, Any], training_seed: int) -> Iterator[Job]:
    """Yield the jobs that one entry of a table's `reads` names, the clean evaluation first."""
    yield Job(CLEAN_SUITE, read["model"], training_seed, 0.0, 0)
    for suite in read["suites"]:
        for eps_255 in read["eps_255"]:
            for seed in read.get("seeds", [0]):
                yield Job(suite, read["model"], training_seed, float(eps_255), seed)


def job_of_file(path: str | Path) -> Job | None:
    """Return the job that the workflow writes to this path; None for a path of another form."""
    found = _FILE.search(Path(path).as_posix())
    if not found:
        return None
    suite, model, training_seed, eps_255, seed, shard = found.groups()
    return Job(suite, model, int(training_seed), float(eps_255), int(seed), int(shard))


def shards_of(paths: Iterable[str | Path]) -> dict[Job, list[int]]:
    """Return the shards of each job that files hold, as far as their paths tell."""
    shards: dict[Job, list[int]] = {}
    for job in sorted(filter(None, map(job_of_file, paths))):
        if job.shard is not None:
            shards.setdefault(job._replace(shard=None), []).append(job.shard)
    return shards


def check_files(wanted_by: str, paths: Iterable[str | Path]) -> None:
    """Refuse evidence of which a file is not there.

    Raises:
        RobustsegError: it names `wanted_by` and all jobs whose files are missing.
    """
    absent = [path for path in paths if not Path(path).exists()]
    jobs = [job for job in map(job_of_file, absent) if job]
    other = [str(path) for path in absent if not job_of_file(path)]
    if absent:
        raise missing_evidence(wanted_by, len(absent), [*in_words(jobs), *sorted(other)])


def missing_evidence(wanted_by: str, count: int, named: Iterable[str]) -> RobustsegError:
    """Return the error that names the jobs which must be run first."""
    jobs = "1 job" if count == 1 else f"{count} jobs"
    return RobustsegError(
        f"{wanted_by} misses evidence of {jobs}: {'; '.join(named)}; run them, then make it again"
    )


def in_words(jobs: Iterable[Job]) -> list[str]:
    """Return jobs in words, all of them, those that differ only in shard or radius together."""
    shards: dict[Job, list[int]] = {}
    for job in sorted(set(jobs)):
        parts = shards.setdefault(job._replace(shard=None), [])
        parts += [] if job.shard is None else [job.shard]
    radii: dict[tuple[Job, tuple[int, ...]], list[float]] = {}
    for job, parts in shards.items():
        radii.setdefault((job._replace(eps_255=0.0), tuple(parts)), []).append(job.eps_255)
    return [_phrase(job, eps_255, parts) for (job, parts), eps_255 in radii.items()]


def _phrase(job: Job, radii: Iterable[float], shards: Sequence[int]) -> str:
    """Return what jobs that share all but radius and shard are called."""
    name = f"suite {job.suite}, model {job.model} (training seed {job.training_seed})"
    if job.suite == CLEAN_SUITE:
        return name
    at = _listed(f"{eps_255:g}/255" for eps_255 in radii)
    parts = f", shard{'s' if len(shards) > 1 else ''} {_listed(shards)}" if shards else ""
    return f"{name} at {at}, seed {job.seed}{parts}"


def _listed(words: Iterable[object]) -> str:
    *most, last = map(str, words)
    return f"{', '.join(most)} and {last}" if most else last
