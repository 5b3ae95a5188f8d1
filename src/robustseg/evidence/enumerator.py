"""The one enumerator of evidence: which jobs and runs a table reads, and where each file lies.

Rules, the completeness of tables, the plan and the benchmarks all ask here. Imports nothing slow.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from robustseg.attacks.spec import (
    CORNERS,
    DEFAULT_CHOICE,
    RIGHT_PIXELS,
    SQUARE,
    TRANSFER,
    UNBOUNDED_255,
    Spec,
    SquareSpec,
    specs_of,
)
from robustseg.errors import RobustsegError
from robustseg.names import amount

CLEAN_SUITE = "clean"
"""The suite of the clean evaluation, which has no radius and is never divided into shards."""
CLEAN_OBJECTS = "clean_objects"
"""The attack in evidence of a clean evaluation without the background."""
ALMA_PROX = "alma_prox"
"""The optimizer whose suites may attack some of the images, drawn at random (C.4: 160)."""
NONE, MARGIN = "none", "margin"
"""Words for what an attack has not, and for the loss that ALMA prox drives below 0."""
DOUBT = "doubt-"
"""Begins the name of an attack by a second opinion, which too may look at some images alone."""

LOGIT_FACTORS = (3.0, 10.0, 0.1)
"""By which a second opinion multiplies logits; 1 is what the run has done."""

STEM = "attacks/{suite}/{model}/seed{training_seed}/eps{eps_255}/seed{seed}"
EVIDENCE_FILE = STEM + "-shard{shard}.parquet"
"""Where the evidence of a job lies, below the folder of a run."""
CLEAN_FILE = "attacks/clean/{model}/seed{training_seed}/eps0/seed0-shard0.parquet"
"""The same of a clean evaluation."""
RADII_IN_PATH = r"\d+(?:\.\d+)?(?:,\d+(?:\.\d+)?)*"
"""One radius or, of a job that attacks at several, all of them, ascending: `4,8,12`."""
_FILE = re.compile(
    rf"([^/]+)/([^/]+)/seed(\d+)/eps({RADII_IN_PATH})/seed(\d+)-shard(\d+)\.parquet$"
)

Read = Mapping[str, Any]
"""What a table reads of one model: `model`, `suites`, `eps_255` and, by default [0], `seeds`."""


class EvidenceJob(NamedTuple):
    """A suite on a model at one radius with one seed; all of its shards if `shard` is None.

    What tables ask for. The workflow may run several radii as one job, see `Config.radii_with`.
    """

    suite: str
    model: str
    training_seed: int
    eps_255: float
    seed: int
    shard: int | None = None

    @property
    def wildcards(self) -> dict[str, str]:
        """The words of its files' paths."""
        return {**{n: str(v) for n, v in self._asdict().items()}, "eps_255": f"{self.eps_255:g}"}

    @property
    def path(self) -> str:
        """Its file below the folder of the run or, of all shards, what their files begin with."""
        pattern = STEM if self.shard is None else EVIDENCE_FILE
        return pattern.format(**self.wildcards)


class Attack(NamedTuple):
    """One attack of a suite, in the words of evidence."""

    attack: str
    loss: str
    optimizer: str
    schedule: str
    iterations: int
    logit_margin: float = 0.0
    choice: str = DEFAULT_CHOICE


CLEAN = Attack(CLEAN_SUITE, NONE, NONE, NONE, 0)
"""No attack."""


def attacks_of(suite: Mapping[str, Any], eps_255: float) -> list[Attack]:
    """Return what a suite expands to at one radius, in the order in which it runs.

    Of a second opinion the one attack that no model refuses: which others are run follows from
    what is seen of the model.

    Args:
        suite: its section of the configuration, as plain data.
        eps_255: the radius in 1/255.

    Raises:
        RobustsegError: an unknown kind, or attacks that `attacks.spec` refuses.
    """
    kind = suite["kind"]
    if kind == "alma":
        return [alma_in_words(suite["threshold"], suite["iterations"])]
    if kind == "objects":
        return [CLEAN._replace(attack=CLEAN_OBJECTS)]
    if kind == SQUARE:
        return [attack_in_words(SquareSpec(suite["iterations"], suite["p_init"]))]
    if kind == "doubt":
        return [random_corners_of(suite["iterations"])]
    if kind not in ("white_box", "transfer"):
        raise RobustsegError(f"unknown kind of suite {kind!r}")
    specs = specs_of(suite, eps_255)
    prefixes = [f"{TRANSFER}{s}-" for s in suite["sources"]] if kind == "transfer" else [""]
    return [attack_in_words(one, prefix) for prefix in prefixes for one in specs]


def attack_in_words(spec: Spec, prefix: str = "") -> Attack:
    """Return what evidence says of an attack."""
    return Attack(
        prefix + spec.name,
        spec.loss,
        spec.optimizer,
        spec.schedule,
        spec.iterations,
        spec.margin or 0.0,
        spec.choice,
    )


def alma_in_words(threshold: float, steps: int) -> Attack:
    """Return what evidence says of ALMA prox, which makes this share of the pixels wrong."""
    return Attack(f"{ALMA_PROX}-{threshold:g}-{steps}", MARGIN, ALMA_PROX, NONE, steps)


def random_corners_of(iterations: int) -> Attack:
    """Return the random corners of a second opinion whose attacks have so many iterations."""
    draws = max(iterations // 3, 10)
    return Attack(f"{DOUBT}random_corners-{draws}", RIGHT_PIXELS, CORNERS, NONE, draws)


def short_of(iterations: int) -> int:
    """Return the iterations of a second opinion's attack on logits of another scale."""
    return max(iterations // 10, 3)


def unbounded_of(iterations: int) -> int:
    """Return the iterations of a second opinion's attack without a radius."""
    return max(iterations // 6, 10)


def doubt_passes(iterations: int) -> tuple[int, int]:
    """Return the passes that a second opinion costs an image: forward, and forward and backward.

    Of a model whose gradients are as they should be: an attack from another seed, one of twice the
    iterations, short ones on logits as they are, times LOGIT_FACTORS and scaled to a margin, and
    without a radius; forward passes alone of random corners and a search. Not counted are looks at
    the model and at what was found, and what follows from them: attacks on surrogates where
    gradients are hidden or random, and a long one on other logits where a short one is ahead.
    """
    short = (len(LOGIT_FACTORS) + 2) * short_of(iterations)
    backward = 3 * iterations + short + unbounded_of(iterations)
    return 2 * random_corners_of(iterations).iterations, backward


def radius_of(suite: Mapping[str, Any]) -> float | None:
    """Return the one radius of a suite's evidence, in 1/255; None: the radii that a table asks."""
    return {"alma": UNBOUNDED_255, "objects": 0.0}.get(suite["kind"])


def by_radius(reads: Iterable[Read], suites: Mapping[str, Mapping[str, Any]]) -> list[Read]:
    """Return what is read with the suites split off that have a radius, and seed, of their own."""
    parts: list[Read] = []
    for read in reads:
        own = {name: radius_of(suites[name]) for name in read["suites"]}
        asked = [name for name, eps_255 in own.items() if eps_255 is None]
        parts += [{**read, "suites": asked}] if asked or not own else []
        parts += [
            {**read, "suites": [name], "eps_255": [eps_255], "seeds": [0]}
            for name, eps_255 in own.items()
            if eps_255 is not None
        ]
    return parts


def jobs_read(
    read: Read, training_seed: int, shards: Callable[[str, str], int] | None = None
) -> Iterator[EvidenceJob]:
    """Yield the jobs that one entry of a table's reads names, the clean evaluation first.

    Args:
        read: its suites at their own radius, see `by_radius`.
        training_seed: of the model.
        shards: how many a suite on a model is cut into; None: jobs without a shard.
    """
    model = read["model"]
    clean = EvidenceJob(CLEAN_SUITE, model, training_seed, 0.0, 0)
    yield clean._replace(shard=0) if shards else clean
    for suite in read["suites"]:
        for eps_255 in read["eps_255"]:
            for seed in read.get("seeds", [0]):
                job = EvidenceJob(suite, model, training_seed, float(eps_255), seed)
                if shards:
                    yield from (job._replace(shard=at) for at in range(shards(suite, model)))
                else:
                    yield job


def radii_to_path(radii_255: Iterable[float]) -> str:
    """Return radii as a path names them, see `RADII_IN_PATH`."""
    return ",".join(f"{eps_255:g}" for eps_255 in sorted(radii_255))


def radii_of_path(words: str) -> list[float]:
    """Return the radii that a path names."""
    return list(map(float, words.split(",")))


def jobs_of_file(path: str | Path) -> list[EvidenceJob]:
    """Return what lies in a file of this path, radius by radius; none for another form of path."""
    found = _FILE.search(str(path))
    if not found:
        return []
    suite, model, training_seed, radii, seed, shard = found.groups()
    return [
        EvidenceJob(suite, model, int(training_seed), eps_255, int(seed), int(shard))
        for eps_255 in radii_of_path(radii)
    ]


def shards_of(paths: Iterable[str | Path]) -> dict[EvidenceJob, list[int]]:
    """Return the shards of each job that files hold, as far as their paths tell."""
    shards: dict[EvidenceJob, list[int]] = {}
    for job in sorted(job for path in paths for job in jobs_of_file(path)):
        if job.shard is not None:
            shards.setdefault(job._replace(shard=None), []).append(job.shard)
    return shards


def check_files(wanted_by: str, paths: Iterable[str | Path]) -> None:
    """Refuse evidence of which a file is not there.

    Raises:
        RobustsegError: it names `wanted_by` and all jobs whose files are missing.
    """
    absent = [path for path in paths if not Path(path).exists()]
    jobs = [job for path in absent for job in jobs_of_file(path)]
    other = [str(path) for path in absent if not jobs_of_file(path)]
    if absent:
        raise missing_evidence(wanted_by, len(absent), [*in_words(jobs), *sorted(other)])


def missing_evidence(wanted_by: str, count: int, named: Iterable[str]) -> RobustsegError:
    """Return the error that names the jobs which must be run first."""
    return RobustsegError(
        f"{wanted_by} misses evidence of {amount(count, 'job')}: {'; '.join(named)}; run them, "
        "then make it again"
    )


def in_words(jobs: Iterable[EvidenceJob]) -> list[str]:
    """Return jobs in words, all of them, those that differ only in shard or radius together."""
    shards: dict[EvidenceJob, list[int]] = {}
    for job in sorted(set(jobs)):
        parts = shards.setdefault(job._replace(shard=None), [])
        parts += [] if job.shard is None else [job.shard]
    radii: dict[tuple[EvidenceJob, tuple[int, ...]], list[float]] = {}
    for job, parts in shards.items():
        radii.setdefault((job._replace(eps_255=0.0), tuple(parts)), []).append(job.eps_255)
    return [_phrase(job, eps_255, parts) for (job, parts), eps_255 in radii.items()]


def _phrase(job: EvidenceJob, radii: Iterable[float], shards: Sequence[int]) -> str:
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
