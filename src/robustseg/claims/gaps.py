"""How far differences of two numbers may be off, over images, training seeds and attack seeds.

docs/claims.md describes the method. Everything is in points of a percent.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np

from robustseg.intervals import TAIL, Ends, of_deviation, reach, reach_of_share, student_quantile
from robustseg.metrics import Floats

K = TypeVar("K", bound=Hashable)

DRAWS = 2000
"""Draws of the largest of several deviations; its 97.5 % point is then right to some 2 %."""
WHOLE = 100.0
"""No score is below 0 or above this, so no two are further apart."""


@dataclass(frozen=True)
class Gap:
    """The difference of two numbers, and what is known of its noise.

    Attributes:
        by_seed: (S,), the difference in each training seed.
        pulls: (N,), what each image adds to the error of their mean; the squares add up to its
            variance. 0 for an image that neither number is about.
        images: how many images the numbers are about; None where images do not tell.
        least, most: what it cannot be beyond, whatever the images.
        share: where it is a share of images beside a constant, that share, in [0, 1].
        unseen: where one number is a worst case over more runs than the other, and few images are
            worse for it, by how much those may be that are like none of the images seen.
        deviation: where it is a standard deviation over attack seeds beside a constant, that
            deviation and the number of these seeds.
        alone: whether it is of one training seed, where the claim is about the mean over several.
    """

    by_seed: Floats
    pulls: Floats
    images: int | None
    least: float = -WHOLE
    most: float = WHOLE
    share: float | None = None
    unseen: float = 0.0
    deviation: tuple[float, int] | None = None
    alone: bool = False


def band(gaps: Mapping[K, Gap], chances: int) -> dict[K, Ends]:
    """Return intervals of true differences.

    Args:
        gaps: by any name; their `pulls` are of the same images in the same order.
        chances: R; of any R true differences all are above their lower ends with a probability of
            97.5 %, and below their upper ends likewise.
    """
    tail = TAIL / chances
    counts = [gap.images for gap in gaps.values() if gap.images is not None]
    q = np.inf
    # What none or all of the images show pulls nothing and may be wrong all the same.
    bare = any(
        gap.share in (0.0, 1.0) or (gap.unseen and not gap.pulls.any()) for gap in gaps.values()
    )
    if chances > 1 and counts and not bare:
        q = joint_quantile(np.stack([gap.pulls for gap in gaps.values()]), min(counts) - 1)
    return {name: _ends(gap, q, tail) for name, gap in gaps.items()}


def _ends(gap: Gap, q: float, tail: float) -> Ends:
    """Return the interval of one difference, at most `q` standard errors over images to each side.

    The part of images and that of training seeds add up as independent errors do. With one seed the
    difference is that of the models as they are; where other differences are means over several, it
    may be any, since one does not tell how seeds differ.
    """
    if gap.alone:
        return gap.least, gap.most
    mean, seeds = float(gap.by_seed.mean()), len(gap.by_seed)
    if gap.deviation:
        lowest, highest = of_deviation(*gap.deviation, tail)
        return mean + gap.deviation[0] - highest, mean + gap.deviation[0] - lowest
    below, above = _over_images(gap, q, tail)
    over_seeds = 0.0
    if seeds > 1:
        error = float(gap.by_seed.std(ddof=1)) / np.sqrt(seeds)
        over_seeds = student_quantile(seeds - 1, tail) * error
    low, high = mean - np.hypot(below, over_seeds), mean + np.hypot(above, over_seeds)
    return float(np.clip(low, gap.least, gap.most)), float(np.clip(high, gap.least, gap.most))


def _over_images(gap: Gap, q: float, tail: float) -> tuple[float, float]:
    """Return how far below and above its estimate a difference may be, over images."""
    if gap.images is None:
        return 0.0, 0.0
    if gap.images < 2:
        return np.inf, np.inf
    q = min(q, student_quantile(gap.images - 1, tail))
    if gap.unseen:
        below, above = reach(gap.pulls, q)
        unseen = reach_of_share(0.0, gap.images, q)[1] * gap.unseen
        return (below, max(above, unseen)) if gap.least > -WHOLE else (max(below, unseen), above)
    if gap.share is None:
        return reach(gap.pulls, q)
    above, below = reach_of_share(gap.share, gap.images, q)  # the gap is constant minus share
    return WHOLE * below, WHOLE * above


def joint_quantile(pulls: Floats, degrees: int) -> float:
    """Return how many standard errors none of M errors exceeds, with a probability of 97.5 %.

    The errors are taken as normal, correlated as the images say, and their standard errors as
    known from as many images as there are.

    Args:
        pulls: (M, N), see `Gap`.
        degrees: of freedom of the standard errors.
    """
    single = student_quantile(degrees, TAIL)
    errors = np.sqrt((pulls**2).sum(axis=1, keepdims=True))
    noisy = errors[:, 0] > 0
    if degrees < 1 or noisy.sum() < 2:
        return single
    normal, scale = _draws(pulls.shape[1], degrees)
    largest = (normal @ (pulls[noisy] / errors[noisy]).T).max(axis=1) / scale
    return max(single, float(np.quantile(largest, 1 - TAIL)))


@lru_cache(maxsize=4)
def _draws(images: int, degrees: int) -> tuple[Floats, Floats]:
    """Return standard normal draws (DRAWS, images), and estimates (DRAWS,) of their deviation."""
    random = np.random.default_rng(0)
    normal = random.standard_normal((DRAWS, images))
    return normal, np.sqrt(random.chisquare(degrees, DRAWS) / degrees)
