"""Queries over evidence: scores, image-wise worst cases and intervals over images.

A frame of evidence (`reading.read_evidence`) becomes `Evidence`, a set of runs; a run of one attack
gives `Outcomes`, one for each image; outcomes have a score, an interval and a worst case.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robustseg import intervals, metrics
from robustseg.errors import RobustsegError
from robustseg.evidence.enumerator import (
    ALMA_PROX,
    CLEAN_OBJECTS,
    CLEAN_SUITE,
    DOUBT,
    EvidenceJob,
    Read,
    check_files,
    in_words,
    jobs_read,
    missing_evidence,
    shards_of,
)
from robustseg.evidence.findings import Opinion
from robustseg.evidence.reading import (
    LOCATION,
    CountsReader,
    read_class_names,
    read_evidence,
    read_opinions,
)
from robustseg.evidence.runs import Models, Run, Runs
from robustseg.evidence.schema import COUNTED
from robustseg.greedy_miou import greedy_miou
from robustseg.intervals import Ends

if TYPE_CHECKING:
    import pandas as pd

SCORED = ("dataset", "image_id", "pixels", "pixels_correct", *COUNTED, *LOCATION)
"""Columns that outcomes come from."""

KEPT_RUNS = 64
"""Runs whose outcomes are kept: tables ask for those of one model and radius several times."""


@dataclass(frozen=True)
class Outcomes:
    """What N images look like after an attack, or after the worst of several; sorted by image id.

    Attributes:
        image_ids: (N,) str.
        pixels, pixels_correct: (N,) int64, labelled pixels and those predicted as labelled.
        labelled, intersection, union: (N, K) int32, pixels of each class.
    """

    image_ids: NDArray[np.object_]
    pixels: NDArray[np.int64]
    pixels_correct: NDArray[np.int64]
    labelled: NDArray[np.int32]
    intersection: NDArray[np.int32]
    union: NDArray[np.int32]

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """(N,) pixel accuracy of each image, in [0, 1]; NaN for one without labelled pixels."""
        return metrics.image_accuracy(self.pixels, self.pixels_correct)


class Score(NamedTuple):
    """ACC (mean over images) and mIoU, fractions in [0, 1]."""

    acc: float
    miou: float


def outcomes(rows: pd.DataFrame, counts: CountsReader | None = None) -> Outcomes:
    """Return the outcomes of evidence rows of one attack, one row an image.

    Args:
        rows: see `read_evidence`.
        counts: reads the counts of rows that were read without; if None, K is 0 for such rows.

    Raises:
        RobustsegError: an image has more than one row, so that the rows mix attacks.
    """
    rows = rows.sort_values("image_id")
    image_ids = rows["image_id"].to_numpy(dtype=object)
    if (image_ids[1:] == image_ids[:-1]).any():
        raise RobustsegError("rows of several attacks were scored as one; choose one attack first")
    labelled, intersection, union = counts.of(rows) if counts else _counts(rows)
    return Outcomes(
        image_ids=image_ids,
        pixels=rows["pixels"].to_numpy(),
        pixels_correct=rows["pixels_correct"].to_numpy(),
        labelled=labelled,
        intersection=intersection,
        union=union,
    )


def _counts(rows: pd.DataFrame) -> tuple[NDArray[np.int32], ...]:
    """Return the columns of counts as (N, K), with K = 0 where evidence was read without."""
    if "union" not in rows:
        return tuple(np.empty((len(rows), 0), dtype=np.int32) for _ in COUNTED)
    return tuple(np.concatenate(rows[name].tolist()).reshape(len(rows), -1) for name in COUNTED)


def worst_case(attacks: Sequence[Outcomes]) -> Outcomes:
    """Return, image by image, the outcome with the lowest accuracy; ties go to the first attack.

    The image-wise worst case of Sec. 2.1: chosen by ACC alone, mIoU follows from the images chosen.

    Raises:
        RobustsegError: no attack, or attacks on different images or labels.
    """
    _check_comparable(attacks)
    return _picked(attacks, metrics.worst_case(np.stack([one.accuracy for one in attacks])))


class WorstByMiou(NamedTuple):
    """The worst case of mIoU over attacks, as far as a search finds it; fractions in [0, 1].

    Attributes:
        attacked: the images, each after the attack that the search gave it.
        miou: their mIoU.
        lower_bound: below the mIoU of any other choice of attacks, see `miou_lower_bound`.
    """

    attacked: Outcomes
    miou: float
    lower_bound: float


def worst_case_by_miou(attacks: Sequence[Outcomes]) -> WorstByMiou:
    """Return the worst case of mIoU over attacks, by the greedy search of `greedy_miou`.

    Args:
        attacks: on the same images; name the clean outcomes among them if no image may be better
            under attack than without.

    Raises:
        RobustsegError: no attack, attacks on different images or labels, or no counts by class.
    """
    _check_comparable(attacks)
    intersection, union = (
        np.stack([getattr(one, name) for one in attacks]) for name in ("intersection", "union")
    )
    found = greedy_miou(intersection, union)
    return WorstByMiou(_picked(attacks, found.choice), found.miou, found.lower_bound)


def worst_image_miou(attacks: Sequence[Outcomes]) -> NDArray[np.float64]:
    """Return of each image (N,) the lowest mIoU of its own over attacks; NaN without labels.

    Their mean is the worst case of the image-wise mIoU, exactly, since a mean over images is lowest
    where each image is.

    Raises:
        RobustsegError: no attack, or attacks on different images or labels.
    """
    _check_comparable(attacks)
    scores = [metrics.image_miou(one.intersection, one.union) for one in attacks]
    lowest: NDArray[np.float64] = np.min(scores, axis=0)
    return lowest


def _check_comparable(attacks: Sequence[Outcomes]) -> None:
    """Refuse no attack, and attacks on different images or labels."""
    if not attacks:
        raise RobustsegError("the worst case over no attack was asked for; name at least one")
    first = attacks[0]
    for other in attacks[1:]:
        if not np.array_equal(first.image_ids, other.image_ids):
            differ = sorted(set(first.image_ids) ^ set(other.image_ids))
            raise RobustsegError(
                f"attacks on different images cannot be compared: {len(differ)} images, for "
                f"example {differ[0]}, are in one and not in the other; run the missing ones"
            )
        differs = first.pixels != other.pixels
        if first.labelled.shape == other.labelled.shape:
            differs |= (first.labelled != other.labelled).any(axis=1)
        if differs.any():
            image = first.image_ids[np.argmax(differs)]
            raise RobustsegError(
                f"image {image} has different labels under two attacks; run both on the same labels"
            )


def _picked(attacks: Sequence[Outcomes], chosen: NDArray[np.intp]) -> Outcomes:
    """Return each image's outcome under the attack chosen for it, (N,)."""
    first = attacks[0]

    def pick(name: str) -> Any:
        result = getattr(first, name).copy()
        for index, attack in enumerate(attacks[1:], start=1):
            result[chosen == index] = getattr(attack, name)[chosen == index]
        return result

    return Outcomes(
        first.image_ids,
        first.pixels,
        *(pick(name) for name in ("pixels_correct", *COUNTED)),
    )


def score(attacked: Outcomes) -> Score:
    """Return ACC and mIoU, which is NaN where evidence was read without counts of classes."""
    has_counts = attacked.union.shape[1] > 0
    return Score(
        metrics.mean_accuracy(attacked.pixels, attacked.pixels_correct),
        metrics.miou(attacked.intersection, attacked.union) if has_counts else np.nan,
    )


def interval(attacked: Outcomes, metric: str) -> Ends | None:
    """Return the 95 % interval of "acc" or "miou" over images; None where there is one image."""
    labelled = attacked.pixels > 0
    if metric == "acc":
        return intervals.of_mean(attacked.accuracy[labelled])
    return intervals.of_miou([_class_counts(attacked, labelled)])


def difference_interval(attacked: Outcomes, other: Outcomes, metric: str) -> Ends | None:
    """Return that of `attacked` minus `other`, image by image; both are of the same images."""
    labelled = attacked.pixels > 0
    if metric == "acc":
        return intervals.of_difference((attacked.accuracy - other.accuracy)[labelled])
    return intervals.of_miou_difference(
        _class_counts(attacked, labelled), _class_counts(other, labelled)
    )


def miou_interval(attacked: Sequence[Outcomes]) -> Ends | None:
    """Return that of the mean of the mIoU of outcomes, which are of the same images."""
    return intervals.of_miou([_class_counts(one, attacked[0].pixels > 0) for one in attacked])


def _class_counts(
    attacked: Outcomes, labelled: NDArray[np.bool_]
) -> tuple[metrics.Ints, metrics.Ints]:
    """Return intersections and unions (N, K) of labelled images."""
    return attacked.intersection[labelled], attacked.union[labelled]


def mean_image_accuracy(attacked: Sequence[Outcomes]) -> NDArray[np.float64]:
    """Return of each labelled image the mean of its accuracy over outcomes of the same images."""
    mean: NDArray[np.float64] = np.mean([one.accuracy for one in attacked], axis=0)
    return mean[attacked[0].pixels > 0]


class Evidence:
    """The runs that one table or figure reads, complete, and their outcomes.

    Args:
        frame: evidence rows, see `read_evidence`.
        reads: what is read, each suite at its own radius.
        wanted_by: the table or figure, named when something is missing.
        models: settings of the configuration's models.
        files: where the frame was read from, to say which shards are there.
        counts: reads the counts by class when a run is asked for, if the frame has none; without
            it, such evidence has no mIoU.

    Raises:
        RobustsegError: evidence that `reads` names is missing, or an attack was run on other images
            than the model's clean evaluation.
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        reads: Sequence[Read],
        wanted_by: str,
        models: Models,
        files: Iterable[str | Path] = (),
        counts: CountsReader | None = None,
    ) -> None:
        self.wanted_by, self.models, self._reads = wanted_by, models, reads
        named = {read["model"] for read in reads}
        suites = {CLEAN_SUITE, *(suite for read in reads for suite in read["suites"])}
        frame = frame[frame["model"].isin(named) & frame["suite"].isin(suites)]
        self._frame = frame
        self._scored = frame[[name for name in SCORED if name in frame]]
        runs = _rows_by_run(frame)
        self.training_seeds = sorted({run.training_seed for run in runs})
        wanted = {
            job
            for training_seed in self.training_seeds or [0]
            for read in reads
            for job in jobs_read(read, training_seed)
        }
        self._rows = {run: runs[run] for run in sorted(runs) if run.job in wanted}
        self._clean = {
            (run.model, run.training_seed): run for run in self._rows if run.suite == CLEAN_SUITE
        }
        self._counts = counts
        self._kept = lru_cache(KEPT_RUNS)(self._read)
        self._check_jobs(wanted)
        self._check_datasets()
        self._check_images(shards_of(files))

    @classmethod
    def open(
        cls,
        wanted_by: str,
        paths: Iterable[str | Path],
        reads: Sequence[Read],
        models: Models,
        with_classes: bool = True,
    ) -> Evidence:
        """Read the evidence of one table or figure and check that it is complete.

        Args:
            wanted_by, reads, models: as for `Evidence`.
            paths: its files.
            with_classes: whether counts by class, nearly all of the volume, are read: as many as
                fit with the rows, the others when a run is asked for.
        """
        files = list(paths)
        check_files(wanted_by, files)
        counts = CountsReader() if with_classes else None
        frame = read_evidence(files, counts or False)
        return cls(frame, reads, wanted_by, models, files, counts)

    @property
    def all_runs(self) -> list[Run]:
        """All runs, in the order of names, then of radius and seed."""
        return list(self._rows)

    def runs(self, training_seed: int) -> Runs:
        """Return the runs of one training seed."""
        chosen = (run for run in self._rows if run.training_seed == training_seed)
        return Runs(self.wanted_by, chosen, self.models, self._reads)

    def outcomes(self, run: Run) -> Outcomes:
        """Return what the images look like after this run."""
        return self._kept(run)

    def worst(self, runs: Sequence[Run]) -> Outcomes:
        """Return the image-wise worst case over runs, see `candidates`."""
        return worst_case(self.candidates(runs))

    def worst_by_seed(self, runs: Sequence[Run]) -> list[Outcomes]:
        """Return the image-wise worst case over the runs of each attack seed, ascending.

        A run without an attack is a candidate of each.
        """
        seeds = sorted({run.seed for run in runs if run.eps_255})
        return [
            self.worst([run for run in runs if run.seed == seed or not run.eps_255])
            for seed in seeds
        ]

    def candidates(self, runs: Sequence[Run]) -> list[Outcomes]:
        """Return the outcomes among which the worst case over runs is.

        Of several the clean image is one more, the last of equals: no image may be more accurate in
        the worst case than without an attack.
        """
        clean = self._clean.get((runs[0].model, runs[0].training_seed))
        candidates = [*runs] if len(runs) < 2 or clean in runs or clean is None else [*runs, clean]
        return [self.outcomes(run) for run in candidates]

    def _read(self, run: Run) -> Outcomes:
        return outcomes(self._scored.iloc[self._rows[run]], self._counts)

    def images(self, run: Run) -> int:
        """Return the number of images of a run."""
        return len(self._rows[run])

    def norms(self, run: Run) -> NDArray[np.float64]:
        """Return the measured norms (N,) of a run's perturbations in 1/255, by image id."""
        rows = self._frame.iloc[self._rows[run]].sort_values("image_id")
        norms: NDArray[np.float64] = rows["linf_255"].to_numpy()
        return norms

    def class_names(self, run: Run) -> list[str]:
        """Return the names of the classes of a run's counts; numbers where its file names none."""
        file = self._file(run)
        classes = self.outcomes(run).union.shape[1]
        return read_class_names(file) or [str(label) for label in range(classes)]

    def opinion(self, run: Run) -> Opinion:
        """Return the second opinion that a run is an attack of.

        Raises:
            RobustsegError: its file holds none at this radius, or a damaged one.
        """
        file = self._file(run)
        for one in read_opinions(file):
            if one.eps_255 == run.eps_255:
                return one
        raise RobustsegError(
            f"{file} holds no second opinion at {run.eps_255:g}/255; delete the file and run its "
            "job again"
        )

    def _file(self, run: Run) -> str:
        """Return a file that rows of a run were read from."""
        return str(self._frame[LOCATION[0]].iloc[self._rows[run][0]])

    def passes(self, runs: Iterable[Run]) -> tuple[int, int]:
        """Return the forward and backward passes of single images that runs took in all."""
        rows = np.concatenate([self._rows[run] for run in runs])
        forward, backward = (
            int(self._frame[name].to_numpy()[rows].sum())
            for name in ("forward_passes", "backward_passes")
        )
        return forward, backward

    def _check_jobs(self, wanted: set[EvidenceJob]) -> None:
        missing = wanted - {run.job for run in self._rows}
        if missing:
            raise missing_evidence(self.wanted_by, len(missing), in_words(missing))

    def _check_datasets(self) -> None:
        """Refuse evidence of another data set than the model's."""
        for run, rows in self._rows.items():
            expected = self.models.get(run.model, {}).get("dataset", run.dataset)
            if run.dataset != expected:
                file = LOCATION[0]
                where = self._frame[file].iloc[rows[0]] if file in self._frame else self.wanted_by
                raise RobustsegError(
                    f"{where} is evidence of {run.model} on the data set {run.dataset}, and the "
                    f"model's data set is {expected}; delete it and run its job again"
                )

    def _check_images(self, shards: Mapping[EvidenceJob, list[int]]) -> None:
        """Refuse attacks on fewer images than the clean evaluation has, on others or other labels.

        Refuse images of which none has a labelled pixel, too.
        """
        images, pixels = (
            self._frame["image_id"].cat.codes.to_numpy(),
            self._frame["pixels"].to_numpy(),
        )
        by_id = {run: rows[images[rows].argsort()] for run, rows in self._rows.items()}
        parts: dict[EvidenceJob, str] = {}
        for run, rows in by_id.items():
            clean = by_id[self._clean[run.model, run.training_seed]]
            ids, expected = images[rows], images[clean]
            attacked = f"{self.wanted_by}: {run.attack} on {run.model} at {run.eps_255:g}/255"
            if not pixels[clean].any():
                raise RobustsegError(
                    f"{self.wanted_by}: no image of {run.model} has a labelled pixel; check the "
                    "labels, and which of them is ignored"
                )
            if not np.isin(ids, expected).all():
                raise RobustsegError(
                    f"{attacked} has {len(ids)} images that are not the {len(expected)} of the "
                    "clean evaluation; run both on the same images"
                )
            differs = pixels[rows] != pixels[clean][np.searchsorted(expected, ids)]
            if differs.any() and run.attack != CLEAN_OBJECTS:
                image = self._frame["image_id"].iloc[rows[np.argmax(differs)]]
                raise RobustsegError(
                    f"{attacked} has other labels of image {image} than the clean evaluation; run "
                    "both on the same labels"
                )
            may_be_some = run.optimizer == ALMA_PROX or run.attack.startswith(DOUBT)
            if len(ids) < len(expected) and not may_be_some:
                there = ", ".join(map(str, shards.get(run.job, [])))
                but = f" ({len(ids)} of {len(expected)} images are there"
                but += f", from shard {there})" if there else ")"
                parts[run.job] = in_words([run.job])[0] + but
        if parts:
            raise missing_evidence(self.wanted_by, len(parts), parts.values())


def _rows_by_run(frame: pd.DataFrame) -> dict[Run, NDArray[np.intp]]:
    """Return the places of each run's rows, which lie together in evidence as it is read."""
    columns: list[Any] = [frame[name] for name in Run._fields]
    codes = [(c.cat.codes if hasattr(c, "cat") else c).to_numpy() for c in columns]
    changes = np.logical_or.reduce([code[1:] != code[:-1] for code in codes])
    starts = [0, *(np.flatnonzero(changes) + 1).tolist(), len(frame)]
    parts: dict[Run, list[NDArray[np.intp]]] = {}
    for start, end in pairwise(starts):
        if start < end:
            key = (column.iat[start] for column in columns)
            run = Run(*(value.item() if isinstance(value, np.generic) else value for value in key))
            parts.setdefault(run, []).append(np.arange(start, end))
    return {run: np.concatenate(places) for run, places in parts.items()}
