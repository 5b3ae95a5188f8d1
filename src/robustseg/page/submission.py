"""One figure of a run as a file that can be handed on: what was found, how, and on what evidence.

`make_submissions` writes one JSON for each radius of a run; `read_submission` reads one strictly,
and `is_of_its_run` compares it with the run that it lies in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from math import isclose
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from unicodedata import category

from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator

from robustseg.bounds import fits_a_name
from robustseg.errors import NO_PRINT, RobustsegError, shown
from robustseg.evidence.enumerator import CLEAN_SUITE, EvidenceJob, jobs_of_file
from robustseg.evidence.findings import DOUBTFUL, POINTS, SOUND, SUITE, TOO_HIGH, verdict_of
from robustseg.evidence.numbers import Number
from robustseg.evidence.reading import merged_provenance, read_opinions
from robustseg.evidence.schema import PROVENANCE_KEYS, VERSION_KEY
from robustseg.evidence.wording import SAME_PERCENT
from robustseg.files import sha256, write_text
from robustseg.sections import HASH, Count, Name, Percent, Radius, Section, Seed, sentences
from robustseg.text_files import read_json

if TYPE_CHECKING:
    from robustseg.evidence.queries import Outcomes

FOLDER = Path("report", "submissions")
"""Where the submissions of a run lie, below its folder."""

LONGEST_LINE = 300
"""ASSUME: of a line of text; the longest warning of this code has fewer."""
MOST_ENTRIES = 100
"""ASSUME: of a list that a page prints; a run has tens of attacks."""
MOST_FILES = 10_000
"""ASSUME: of evidence: a run of a thousand shards has a few thousand files."""
LARGEST_COUNT = 2.0**31
"""Of an image, in all attacks: evidence counts those of each in an int32."""

RATINGS = (SOUND, DOUBTFUL, TOO_HIGH)
MADE_BY = ({*PROVENANCE_KEYS} - {"warnings"}) | {VERSION_KEY}
"""Keys of evidence that say what made it."""


def _is_hidden(character: str) -> bool:
    """Return whether a character breaks lines, controls the terminal or turns text around."""
    return category(character) in (*NO_PRINT, "Cf")


def as_line(text: str) -> str:
    """Return text as a submission may hold it: hidden characters as their codes, the rest cut."""
    line = "".join(
        one.encode("unicode_escape").decode() if _is_hidden(one) else one for one in text
    )
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 1]}…"


def _visible(text: str) -> str:
    hidden = next(filter(_is_hidden, text), "")
    if hidden:
        raise ValueError(f"has the hidden character U+{ord(hidden):04X}; take it out")
    return text


Hash = Annotated[str, Field(pattern=HASH)]
Line = Annotated[str, Field(min_length=1, max_length=LONGEST_LINE), AfterValidator(_visible)]
Lines = Annotated[list[Line], Field(max_length=MOST_ENTRIES)]
OneOrMore = Field(min_length=1, max_length=MOST_ENTRIES)
Points = Annotated[float, Field(ge=0, le=100)]
Passed = Annotated[float, Field(ge=0, le=LARGEST_COUNT)]


class Figure(Section):
    """A percentage with its 95 % interval over images; one image has none."""

    value: Percent
    low: Percent | None
    high: Percent | None

    @model_validator(mode="after")
    def _inside_its_interval(self) -> Figure:
        if (self.low is None) != (self.high is None):
            raise ValueError("has one end of an interval and lacks the other")
        if self.low is None or self.high is None:
            return self
        if not self.low - SAME_PERCENT <= self.value <= self.high + SAME_PERCENT:
            raise ValueError(
                f"has the value {self.value:g} outside its interval from {self.low:g} to "
                f"{self.high:g}"
            )
        return self


class Scores(Section):
    """Mean pixel accuracy over images, and mIoU."""

    acc_percent: Figure
    miou_percent: Figure


class Passes(Section):
    """Mean passes of an image."""

    forward: Passed
    backward: Passed


class Attack(Section):
    """The attacks whose image-wise worst case is the figure."""

    suites: Annotated[list[Line], OneOrMore]
    attacks: Annotated[list[Line], OneOrMore]
    losses: Annotated[list[Line], OneOrMore]
    iterations: Annotated[list[Count], OneOrMore]
    seeds: Annotated[list[Seed], OneOrMore]
    passes_an_image: Passes

    @model_validator(mode="after")
    def _agrees_with_its_names(self) -> Attack:
        """Compare what is said with the attacks' names: {optimizer}-{loss}-...-{iterations}."""
        words = [{word.partition("@")[0] for word in one.split("-")} for one in self.attacks]
        for key in ("losses", "iterations"):
            said = [*map(str, getattr(self, key))]
            for name, own in zip(self.attacks, words, strict=True):
                if not own.intersection(said):
                    raise ValueError(f"has the attack {name}, which is of none of its {key}")
            for one in said:
                if not any(one in own for own in words):
                    raise ValueError(f"has {key} {one}, of which none of its attacks is")
        forward, least = self.passes_an_image.forward, len(self.attacks)
        if forward < least:
            raise ValueError(
                f"has passes_an_image.forward {forward:g}, where each of its {least} attacks takes "
                "at least one"
            )
        return self


class Doubt(Section):
    """The second opinion: accuracy on its images, and what its attacks leave of that."""

    images: Count
    acc_percent: Percent
    found_percent: Percent
    overestimated_by_points: Points
    rating: str
    verdict: Line

    @model_validator(mode="after")
    def _follows(self) -> Doubt:
        if self.rating not in RATINGS:
            raise ValueError(f"has the rating {shown(self.rating)}; known are {', '.join(RATINGS)}")
        points = max(self.acc_percent - self.found_percent, 0.0)
        if not isclose(self.overestimated_by_points, points, abs_tol=SAME_PERCENT):
            raise ValueError(
                f"has overestimated_by_points {self.overestimated_by_points:g}, where acc_percent "
                f"less found_percent is {points:g}"
            )
        if (self.rating == TOO_HIGH) != (self.overestimated_by_points > POINTS):
            raise ValueError(f"has the rating {self.rating!r}, which its points contradict")
        verdict = verdict_of(self.rating, self.overestimated_by_points)
        if self.verdict != verdict:
            raise ValueError(
                f"has the verdict {shown(self.verdict)}, where rating and points say {verdict!r}"
            )
        return self


class EvidenceFile(Section):
    """A file of evidence, by its path below the run's folder."""

    path: Line
    sha256: Hash

    @model_validator(mode="after")
    def _where_runs_write(self) -> EvidenceFile:
        if [one.path for one in jobs_of_file(self.path)] != [self.path]:
            raise ValueError(f"has the path {self.path!r}, where no evidence of a run lies")
        return self

    @property
    def job(self) -> EvidenceJob:
        """What lies in it."""
        return jobs_of_file(self.path)[0]


class Submission(Section):
    """What was found of one model at one radius.

    Attributes:
        images_sha256: tells sets of images apart: of their ids and labelled pixels by class.
        doubt: None if nobody asked for a second opinion.
    """

    format: Literal["robustseg submission 2"]
    model: Name
    architecture: Line
    dataset: Name
    images: Count
    images_sha256: Hash
    classes: Count
    eps_255: Radius
    norm: Literal["l_inf"]
    clean: Scores
    worst: Scores
    attack: Attack
    doubt: Doubt | None
    warnings: Lines
    provenance: dict[str, Lines]
    evidence: Annotated[list[EvidenceFile], Field(min_length=1, max_length=MOST_FILES)]

    @field_validator("provenance")
    @classmethod
    def _of_evidence(cls, provenance: dict[str, list[str]]) -> dict[str, list[str]]:
        unknown = sorted(provenance.keys() - MADE_BY)
        if unknown:
            known = ", ".join(sorted(MADE_BY))
            raise ValueError(f"has the key {shown(unknown[0])}; known here: {known}")
        return provenance

    @field_validator("evidence")
    @classmethod
    def _each_once(cls, evidence: list[EvidenceFile]) -> list[EvidenceFile]:
        for key in ("path", "sha256"):
            said = [getattr(one, key) for one in evidence]
            if len(set(said)) < len(said):
                twice = next(one for one in said if said.count(one) > 1)
                raise ValueError(f"lists a file twice, by its {key} {twice}")
        return evidence

    @model_validator(mode="after")
    def _below_clean(self) -> Submission:
        worst, clean = self.worst.acc_percent.value, self.clean.acc_percent.value
        if worst > clean + SAME_PERCENT:
            raise ValueError(
                f"worst.acc_percent.value is {worst:g}, above clean.acc_percent.value, {clean:g}; "
                "the clean image is a candidate of the worst case"
            )
        return self

    @model_validator(mode="after")
    def _of_one_image_without_intervals(self) -> Submission:
        for name in ("clean", "worst"):
            scores: Scores = getattr(self, name)
            if self.images == 1 and (scores.acc_percent.low, scores.miou_percent.low) != (
                None,
                None,
            ):
                raise ValueError(f"{name} has an interval, where images is 1")
        return self

    @model_validator(mode="after")
    def _has_its_evidence(self) -> Submission:
        jobs = [one.job for one in self.evidence]
        other = next(
            (n for n, job in enumerate(jobs) if job.eps_255 not in (0, self.eps_255)), None
        )
        if other is not None:
            raise ValueError(
                f"eps_255 is {self.eps_255:g}, but evidence[{other}].path is of "
                f"{jobs[other].eps_255:g}"
            )
        renamed = next((n for n, job in enumerate(jobs) if job.model != self.model), None)
        if renamed is not None:
            raise ValueError(
                f"model is {self.model}, but evidence[{renamed}].path is of {jobs[renamed].model}"
            )
        if not any(job.suite == CLEAN_SUITE for job in jobs):
            raise ValueError("evidence has no file of the clean images")
        if not any(job.eps_255 and job.suite != SUITE for job in jobs):
            raise ValueError("evidence has no file of an attack")
        return self

    @model_validator(mode="after")
    def _names_its_evidence(self) -> Submission:
        jobs = [one.job for one in self.evidence]
        attacked = [job for job in jobs if job.suite not in (CLEAN_SUITE, SUITE)]
        for key in ("suite", "seed"):
            there = {getattr(job, key) for job in attacked}
            lacking = next(
                (one for one in getattr(self.attack, f"{key}s") if one not in there), None
            )
            if lacking is not None:
                raise ValueError(f"attack.{key}s has {lacking}, of which evidence has no file")
        parts: dict[EvidenceJob, list[int]] = {}
        for job in jobs:
            parts.setdefault(job._replace(shard=None), []).append(job.shard or 0)
        shards = len(next(found for job, found in parts.items() if job.suite == CLEAN_SUITE))
        for job, found in parts.items():
            if job.suite != SUITE and sorted(found) != list(range(shards)):
                raise ValueError(f"evidence has not all {shards} shards of {job.suite}")
        doubted = any(job.suite == SUITE for job in jobs)
        if doubted != (self.doubt is not None):
            has, lacks = ("evidence", "doubt") if doubted else ("doubt", "evidence")
            raise ValueError(f"{has} has a second opinion, and {lacks} has none")
        return self

    @model_validator(mode="after")
    def _doubts_its_figure(self) -> Submission:
        if self.doubt is None:
            return self
        if self.doubt.images > self.images:
            raise ValueError(f"doubt.images is {self.doubt.images}, where images is {self.images}")
        acc, doubted = self.worst.acc_percent.value, self.doubt.acc_percent
        if self.doubt.images == self.images and not isclose(acc, doubted, abs_tol=SAME_PERCENT):
            raise ValueError(
                f"doubt.acc_percent is {doubted:g} on all images, where worst.acc_percent.value "
                f"is {acc:g}"
            )
        return self

    @property
    def run(self) -> frozenset[str]:
        """What the submissions of one run have in common, and no other has.

        ASSUME: the hashes of its clean evidence, which holds the model's outcome on each image and
        the hash of the run's settings.
        """
        return frozenset(one.sha256 for one in self.evidence if one.job.suite == CLEAN_SUITE)

    @property
    def overestimated(self) -> bool:
        """Whether the second opinion found the figure too high."""
        return self.doubt is not None and self.doubt.rating == TOO_HIGH

    @property
    def ranked_percent(self) -> float:
        """The accuracy that it ranks at.

        ASSUME: an overestimated figure ranks at what the second opinion left on its images, and
        where these are easier than the others at its own less the points that were found.
        """
        value = self.worst.acc_percent.value
        if self.doubt is None or not self.overestimated:
            return value
        less = max(value - self.doubt.overestimated_by_points, 0.0)
        return min(self.doubt.found_percent, less)


def make_submissions(folder: str | Path) -> list[Path]:
    """Write a submission for each radius of a run, in place of its earlier ones; return the paths.

    Args:
        folder: of `evaluate`, or of `robustseg attack --out`; its evidence is complete.

    Raises:
        RobustsegError: no run, parts of it missing or damaged, no attack with a radius, or more
            than a submission has room for.
    """
    try:
        made = list(_of_run(Path(folder), cache(sha256)))
    except ValidationError as error:
        raise RobustsegError(f"{folder}: {sentences(error, Submission)[0]}") from error
    if not made:
        raise RobustsegError(f"{folder} holds no attack with a radius, so there is nothing to rank")
    place = Path(folder) / FOLDER
    paths = []
    for one in made:
        paths.append(place / f"{one.model}_eps{one.eps_255:g}.json")
        write_text(paths[-1], json.dumps(one.model_dump(), indent=1) + "\n")
    for earlier in {*place.glob(f"{made[0].model}_eps*.json")} - {*paths}:
        earlier.unlink()
    return paths


def read_submission(path: Path) -> Submission:
    """Return the submission in a file.

    Raises:
        RobustsegError: it cannot be read, or a key of it is damaged; names file and key.
    """
    content = read_json(path)
    if isinstance(content, dict) and content.get("format") == "robustseg submission 1":
        raise RobustsegError(
            f"{path} is of an earlier version; `robustseg report RUN --submit` makes it again"
        )
    try:
        return Submission.model_validate(content)
    except ValidationError as error:
        raise RobustsegError(f"{path}: {sentences(error, Submission)[0]}") from error


def is_of_its_run(
    path: Path,
    submission: Submission,
    made: dict[Path, list[Submission]],
    hash_of: Callable[[Path], str],
) -> bool:
    """Return whether the evidence lies beside, in the run; then every key agrees with it.

    Args:
        path: of the submission.
        submission: read from it.
        made: by run what its evidence says; a run that is not there is added.
        hash_of: SHA-256 of a file; one that remembers, since radii share files.

    Raises:
        RobustsegError: a file of evidence is gone or another, or a key says something else than the
            run; it names file and key.
    """
    root = path.resolve().parent.parent.parent
    if not any((root / one.path).exists() for one in submission.evidence):
        return False
    again = f"if the run is right, `robustseg report {root} --submit` makes the file again"
    for place, one in enumerate(submission.evidence):
        key, file = f"evidence[{place}]", root / one.path
        if not file.is_file():
            raise RobustsegError(f"{path}: {key}.path is {one.path}, which is gone; {again}")
        if hash_of(file) != one.sha256:
            raise RobustsegError(f"{path}: {key}.sha256 is not that of {file}; {again}")
    if root not in made:
        made[root] = list(_of_run(root, hash_of))
    of_run = next((one for one in made[root] if one.eps_255 == submission.eps_255), None)
    if of_run is None:
        raise RobustsegError(f"{path}: eps_255 is {submission.eps_255:g}, no radius of its run")
    differing = _difference(submission.model_dump(), of_run.model_dump())
    if differing:
        raise RobustsegError(
            f"{path}: {differing} is not what the evidence beside it says; {again}"
        )
    return True


def _difference(said: Any, found: Any, key: str = "") -> str:
    """Return the first key whose value differs, "" if none does."""
    if isinstance(said, dict) and isinstance(found, dict) and said.keys() == found.keys():
        pairs = ((f"{key}.{name}".lstrip("."), said[name], found[name]) for name in said)
    elif isinstance(said, list) and isinstance(found, list) and len(said) == len(found):
        both = enumerate(zip(said, found, strict=True))
        pairs = ((f"{key}[{place}]", *two) for place, two in both)
    elif isinstance(said, float) and isinstance(found, float):
        return "" if isclose(said, found, abs_tol=SAME_PERCENT) else key
    else:
        return "" if said == found else key
    return next(filter(None, (_difference(one, other, name) for name, one, other in pairs)), "")


def _of_run(folder: Path, hash_of: Callable[[Path], str]) -> Iterator[Submission]:
    """Yield the submission of each radius, its figures those of the robustness table."""
    from robustseg.evaluation.run_folder import doubt_files, evidence_files, read_run

    run = read_run(folder)
    first = run.records[0]
    of_model = {one.what[1:]: one for one in run.numbers.entries}
    clean = [of_model["clean", 0.0, metric] for metric in ("acc", "miou")]
    looked_at = run.evidence.outcomes(clean[0].runs[0])
    of_run = evidence_files(folder, run.records)
    doubts = doubt_files(folder, run.records)
    for eps_255 in run.radii_255:
        if not fits_a_name(eps_255):
            raise RobustsegError(
                f"{folder} has the radius {eps_255!r}, but file names keep six digits; make the "
                f"run again with {eps_255:g}, in another folder"
            )
        worst = [of_model["worst", eps_255, metric] for metric in ("acc", "miou")]
        doubt = doubts.get(eps_255)
        files = [path for path in of_run if jobs_of_file(path)[0].eps_255 in (0.0, eps_255)]
        files += [doubt] if doubt else []
        provenance = {
            key: list(map(as_line, values))
            for key, values in merged_provenance(files).items()
            if key in MADE_BY
        }
        yield Submission(
            format="robustseg submission 2",
            model=first["name"],
            architecture=as_line(first["model"]),
            dataset=first["dataset"],
            images=len(looked_at.image_ids),
            images_sha256=_images_hash(looked_at),
            classes=looked_at.union.shape[1],
            eps_255=eps_255,
            norm="l_inf",
            clean=_scores(clean),
            worst=_scores(worst),
            attack=_attack(worst[0]),
            doubt=_doubt(doubt, eps_255) if doubt else None,
            warnings=list(map(as_line, run.warnings)),
            provenance=provenance,
            evidence=[
                EvidenceFile(path=path.relative_to(folder).as_posix(), sha256=hash_of(path))
                for path in files
            ],
        )


def _scores(found: Iterable[Number]) -> Scores:
    acc, miou = (Figure(value=one.value, low=one.low, high=one.high) for one in found)
    return Scores(acc_percent=acc, miou_percent=miou)


def _attack(worst: Number) -> Attack:
    runs = [run for run in worst.runs if run.eps_255]
    forward, backward = (passes / (worst.images or 1) for passes in worst.passes)
    return Attack(
        suites=sorted({run.suite for run in runs}),
        attacks=[run.attack for run in runs],
        losses=sorted({run.loss for run in runs}),
        iterations=sorted({run.iterations for run in runs}),
        seeds=sorted({run.seed for run in runs}),
        passes_an_image=Passes(forward=forward, backward=backward),
    )


def _doubt(path: Path, eps_255: float) -> Doubt | None:
    for one in read_opinions(path):
        if one.eps_255 == eps_255:
            return Doubt(
                images=one.images,
                acc_percent=one.acc,
                found_percent=one.found,
                overestimated_by_points=one.points,
                rating=one.rating,
                verdict=one.verdict,
            )
    return None


def _images_hash(looked_at: Outcomes) -> str:
    """Return what tells images and labels apart, whatever a model makes of them."""
    labelled = dict(zip(looked_at.image_ids.tolist(), looked_at.labelled.tolist(), strict=True))
    return hashlib.sha256(json.dumps(labelled, sort_keys=True).encode()).hexdigest()
