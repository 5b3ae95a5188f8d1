"""What the images behind numbers say of the noise of their differences."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from robustseg.claims.comparisons import SMALLEST, Cell, NumberKey, Pair
from robustseg.claims.gaps import WHOLE, Gap
from robustseg.intervals import contributions


class Scores(NamedTuple):
    """What the images behind a number say of it.

    Attributes:
        image_ids: (N,).
        values: (N,), scores in percent whose mean the number is, or its pseudo-values by the
            jackknife where it is no mean.
        candidates: the runs whose image-wise worst case the scores are; empty if they are none.
    """

    image_ids: NDArray[np.object_]
    values: NDArray[np.float64]
    candidates: frozenset[Any] = frozenset()


ImageScores: TypeAlias = Callable[[NumberKey], Scores | None]
"""Gives the images behind a number; None where images do not tell."""


FEW = 8
"""ASSUME: how much more a worst case over more runs finds is known from so many images with a gain;
from fewer, the rates in docs/claims.md are exceeded."""


def gaps_of(pairs: Sequence[Pair], image_scores: ImageScores | None) -> dict[Pair, Gap] | None:
    """Return what is known of the noise of pairs; None if nothing is of one of them.

    Numbers without images that stand for several training seeds have the noise of these alone, and
    standard deviations over attack seeds that of so few seeds. Where some pairs have several
    training seeds, one that has a single seed may truly be any.
    """
    several = any(len(pair.gaps) > 1 for pair in pairs)
    scores = {pair: _scores(pair, image_scores) for pair in pairs}
    if not several and any(
        found is None and len(pair.gaps) == 1 and not _deviation(pair)
        for pair, found in scores.items()
    ):
        return None
    behind = [one for found in scores.values() for sides in found or () for one in sides]
    ids = _different([one.image_ids for one in behind])
    images = np.unique(np.concatenate(ids)) if ids else np.empty(0, dtype=object)
    gains = [_largest_gain(of_seed) for found in scores.values() for of_seed in found or ()]
    gain = max(gains, default=0.0)
    gaps = {pair: _gap(pair, found, images, gain) for pair, found in scores.items()}
    return {
        pair: replace(gap, alone=several and len(gap.by_seed) == 1) for pair, gap in gaps.items()
    }


def _scores(pair: Pair, image_scores: ImageScores | None) -> list[list[Scores]] | None:
    """Return the images behind each cell of a pair, by training seed; None if some do not tell."""
    if image_scores is None or not pair.are_scores:
        return None
    cells = [
        [side for side in sides if isinstance(side, Cell)]
        for sides in zip(pair.lefts, pair.rights, strict=True)
    ]
    found = [[image_scores(cell.key) for cell in of_seed] for of_seed in cells]
    if any(one is None for of_seed in found for one in of_seed):
        return None
    return found  # type: ignore[return-value]


def _gap(
    pair: Pair, scores: list[list[Scores]] | None, images: NDArray[np.object_], gain: float
) -> Gap:
    """Return what is known of the noise of a pair, by the images behind it in each seed.

    Args:
        pair: of numbers, or a number and a constant.
        scores: those behind it.
        images: of all pairs.
        gain: the most that more runs find in an image, in any of the claim's pairs; 0: nothing.
    """
    if scores is None:
        nothing = np.zeros(len(images))
        return Gap(pair.gaps, nothing, images=None, deviation=_deviation(pair))
    pulls = np.zeros(len(images))
    for of_seed in scores:
        for one, sign in zip(of_seed, (-1, 1), strict=False):  # the gap is right minus left
            pulls[np.searchsorted(images, one.image_ids)] += sign * contributions(one.values)
    of_both = [of_seed for of_seed in scores if len(of_seed) == 2]
    never_below = bool(of_both) and all(_covers(left, right) for left, right in of_both)
    never_above = bool(of_both) and all(_covers(right, left) for left, right in of_both)
    unseen = 0.0
    if never_below != never_above and all(_differing(*both) < FEW for both in of_both):
        # ASSUME: runs find at most as much in images that were not seen as elsewhere in the claim.
        unseen = gain or float(np.mean([left.values.mean() for left, _ in of_both]))
    return Gap(
        pair.gaps,
        pulls / len(scores),
        images=min(len(one.values) for of_seed in scores for one in of_seed),
        least=_nearest(pair.gap) if never_below else -WHOLE,
        most=_nearest(pair.gap) if never_above else WHOLE,
        share=None if of_both else _share([one.values for (one,) in scores]),
        unseen=unseen,
    )


def _deviation(pair: Pair) -> tuple[float, int] | None:
    """Return a standard deviation and over how many attack seeds; None if a pair is not of one.

    Over several training seeds, these say how far deviations are off.
    """
    left, right = pair.lefts[0], pair.rights[0]
    is_one = not (pair.are_scores or isinstance(right, Cell)) and len(pair.gaps) == 1
    return (left.std, left.attack_seeds) if is_one and left.attack_seeds > 1 else None


def _nearest(gap: float) -> float:
    """Return how near to 0 a gap may truly be that cannot change sign, as far as is counted.

    If an image is worse under one side, and none can be better, the truth is not 0.
    """
    return float(np.sign(gap)) * SMALLEST


def _covers(one: Scores, other: Scores) -> bool:
    """Return whether one is a worst case over all that the other is one over, and so never above.

    The clean image, which every worst case over several runs may choose, changes nothing in that.
    """
    return bool(other.candidates) and one.candidates >= other.candidates


def _differing(left: Scores, right: Scores) -> int:
    """Return how many images have another score on the right than on the left."""
    if not np.array_equal(left.image_ids, right.image_ids):
        return len(left.values)
    return int(np.count_nonzero(left.values != right.values))


def _largest_gain(scores: list[Scores]) -> float:
    """Return the most that a worst case over more runs is below one over fewer, in an image."""
    if len(scores) == 1 or _covers(*scores) == _covers(*reversed(scores)):
        return 0.0
    left, right = scores
    if not np.array_equal(left.image_ids, right.image_ids):
        return 0.0
    return float(np.abs(left.values - right.values).max(initial=0.0))


def _share(by_seed: Sequence[NDArray[np.float64]]) -> float | None:
    """Return the share of images with 100 % where each has 0 % or 100 %; None for other scores."""
    values = np.concatenate(by_seed)
    is_share = np.isin(values, (0.0, WHOLE)).all()
    return float(np.mean([one.mean() for one in by_seed])) / WHOLE if is_share else None


def _different(arrays: Iterable[NDArray[np.object_]]) -> list[NDArray[np.object_]]:
    """Return arrays without those that equal an earlier one."""
    kept: list[NDArray[np.object_]] = []
    for array in arrays:
        if not any(array is one or np.array_equal(array, one) for one in kept):
            kept.append(array)
    return kept
