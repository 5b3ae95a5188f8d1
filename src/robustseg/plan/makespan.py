"""How long all jobs take on a number of GPUs: a simulation of a cluster that does nothing else."""

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from robustseg.config.schema import Config
from robustseg.evidence.enumerator import EVIDENCE_FILE, jobs_of_file
from robustseg.plan.costs import PlannedJob, jobs_of

TRAINING = ("pretrain_backbone", "train_model")


@dataclass(frozen=True)
class Makespan:
    """What a simulated run took.

    Attributes:
        hours: from the first job's start to the last one's end.
        busy: share of the GPUs' time until then that jobs took.
    """

    hours: float
    busy: float


def all_jobs(config: Config) -> list[PlannedJob]:
    """Return the jobs on a GPU of all tables, figures and pictures, each once."""
    names = [*config.tables, *config.figures, *config.pictures]
    return list(dict.fromkeys(job for name in names for job in jobs_of(config, name)))


def waits_for(config: Config, jobs: Sequence[PlannedJob]) -> dict[PlannedJob, list[PlannedJob]]:
    """Return for each job those among `jobs` that must have ended before it starts.

    These are trainings and, of a second opinion, attacks.
    """
    attacks = {job.wildcards: job for job in jobs if job.rule == "attack_model"}
    trainings = {
        (
            dict(job.wildcards).get("model") or dict(job.wildcards)["backbone"],
            _seed(config, job),
        ): job
        for job in jobs
        if job.rule in TRAINING
    }

    def needed(job: PlannedJob) -> list[PlannedJob]:
        wildcards = dict(job.wildcards)
        if job.rule == "pretrain_backbone":
            return []
        names = [wildcards["model"]]
        if job.rule == "train_model":
            names = [config.models[wildcards["model"]].backbone]  # type: ignore[union-attr]
        elif "suite" in wildcards:
            names += config.sources_of(wildcards["suite"])
        keys = [(name, _seed(config, job)) for name in names]
        doubted = (
            [
                tuple(config.wildcards_of(one).items())
                for evidence in jobs_of_file(EVIDENCE_FILE.format(**wildcards))[:1]
                for one in config.doubted_by(evidence)
            ]
            if job.rule == "doubt_model"
            else []
        )
        return [
            *(trainings[key] for key in keys if key in trainings),
            *(attacks[key] for key in doubted if key in attacks),
        ]

    return {job: needed(job) for job in jobs}


def _seed(config: Config, job: PlannedJob) -> int:
    """Return the training seed of a job; pictures are of the first."""
    return int(dict(job.wildcards).get("training_seed", config.training_seeds[0]))


def simulate(
    needs: Mapping[PlannedJob, Sequence[PlannedJob]],
    seconds: Callable[[PlannedJob], float],
    gpus: int,
    training_gpus: int = 1,
) -> Makespan:
    """Run jobs as soon as they can, those first that most hours wait for, and none before those.

    Args:
        needs: what each job waits for.
        seconds: how long one takes on one GPU.
        gpus: how many there are.
        training_gpus: that a training takes, which is that many times as fast; at most all.
    """
    width = {job: min(gpus, training_gpus) if job.rule in TRAINING else 1 for job in needs}
    took = {job: seconds(job) / width[job] for job in needs}
    urgency = _urgency(needs, took)
    missing = {job: len(needed) for job, needed in needs.items()}
    followers: dict[PlannedJob, list[PlannedJob]] = {job: [] for job in needs}
    for job, needed in needs.items():
        for one in needed:
            followers[one].append(job)
    order = {job: place for place, job in enumerate(needs)}
    ready = [(-urgency[job], order[job], job) for job in needs if not missing[job]]
    heapq.heapify(ready)
    running: list[tuple[float, int, PlannedJob]] = []
    now, free = 0.0, gpus
    while ready or running:
        while ready and width[ready[0][2]] <= free:
            _, place, job = heapq.heappop(ready)
            heapq.heappush(running, (now + took[job], place, job))
            free -= width[job]
        now, _, ended = heapq.heappop(running)
        free += width[ended]
        for job in followers[ended]:
            missing[job] -= 1
            if not missing[job]:
                heapq.heappush(ready, (-urgency[job], order[job], job))
    used = sum(took[job] * width[job] for job in needs)
    return Makespan(now / 3600, used / (now * gpus) if now else 1.0)


def _urgency(
    needs: Mapping[PlannedJob, Sequence[PlannedJob]], took: Mapping[PlannedJob, float]
) -> dict[PlannedJob, float]:
    """Return the longest time from each job's start to the end of what follows from it."""
    urgency = dict(took)

    def hurry(job: PlannedJob) -> None:
        for one in needs[job]:
            wanted = took[one] + urgency[job]
            if wanted > urgency[one]:
                urgency[one] = wanted
                hurry(one)

    for job in needs:
        hurry(job)
    return urgency
