"""How far a number may be off since its images are few: 95 % intervals over images.

Student's, longer on the side to which images are skewed, and Wilson's for shares of images.
docs/claims.md describes the method, which tables and verdicts on claims share.
"""

from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from robustseg import metrics

Ends: TypeAlias = tuple[float, float]
"""Lower and upper end of an interval."""

TAIL = 0.025
"""Probability beyond each end of an interval: 95 % lie within."""


def of_mean(values: NDArray[Any]) -> Ends | None:
    """Return the interval of the mean of one fraction an image, or of how often something holds.

    Args:
        values: (N,) in [0, 1], or bool.

    Returns:
        Ends in [0, 1]; None for one image or none.
    """
    values = values.astype(np.float64)
    return _about(float(values.mean()), values, 0.0) if len(values) > 1 else None


def of_difference(values: metrics.Floats) -> Ends | None:
    """Return the interval of the mean of one difference of fractions an image, (N,) in [-1, 1]."""
    return _about(float(values.mean()), values, -1.0) if len(values) > 1 else None


def of_miou(counts: list[tuple[metrics.Ints, metrics.Ints]]) -> Ends | None:
    """Return the interval of the mean of mIoU over several attacks on the same images.

    Args:
        counts: of each attack, intersections and unions (N, K) of images with labels; for mAcc,
            intersections and labelled pixels.
    """
    if len(counts[0][1]) < 2:
        return None
    values = np.mean([metrics.miou_pseudo_values(*one) for one in counts], axis=0)
    return _about(float(np.mean([metrics.miou(*one) for one in counts])), values, 0.0)


def of_miou_difference(
    counts: tuple[metrics.Ints, metrics.Ints], others: tuple[metrics.Ints, metrics.Ints]
) -> Ends | None:
    """Return the interval of mIoU minus that of other outcomes of the same images."""
    if len(counts[1]) < 2:
        return None
    values = metrics.miou_pseudo_values(*counts) - metrics.miou_pseudo_values(*others)
    return _about(metrics.miou(*counts) - metrics.miou(*others), values, -1.0)


def of_share(part: metrics.Ints, whole: metrics.Ints) -> Ends | None:
    """Return the interval of the share of two sums over images, as IoU of one class is.

    Args:
        part, whole: counts (N,); images whose whole is 0 have no say.
    """
    part, whole = part[whole > 0], whole[whole > 0]
    if len(whole) < 2:
        return None
    share, without = part.sum() / whole.sum(), (part.sum() - part) / (whole.sum() - whole)
    values = len(whole) * share - (len(whole) - 1) * without
    return _about(float(share), values, 0.0)


def _about(estimate: float, values: metrics.Floats, least: float) -> Ends:
    """Return the interval about an estimate from `least` to 1, by the values (N,) of its images.

    Fractions that are all 0 or 1 count how many images something holds for. Where all images have
    0, or all have 1, the others may have anything.
    """
    q = student_quantile(len(values) - 1, TAIL)
    if least == 0 and np.isin(values, (0, 1)).all():
        below, above = reach_of_share(estimate, len(values), q)
    else:
        below, above = reach(contributions(values), q)
    return max(least, estimate - below), min(1.0, estimate + above)


def reach(pulls: metrics.Floats, q: float) -> tuple[float, float]:
    """Return how far below and above its estimate a number may be, at q standard errors.

    Args:
        pulls: (N,), see `contributions`.
    """
    error = float(np.sqrt((pulls**2).sum()))
    skew = float((pulls**3).sum()) / error**3 if error else 0.0
    longer = skew * (2 * q**2 + 1) / 3
    return error * (q + max(0.0, -longer)), error * (q + max(0.0, longer))


def reach_of_share(share: float, images: int, q: float) -> tuple[float, float]:
    """Return the same of a share of images: Wilson's, which 0 of N images do not make empty."""
    each = q**2 / images
    center = (share + each / 2) / (1 + each)
    half = float(np.sqrt(each * share * (1 - share) + each**2 / 4)) / (1 + each)
    return share - center + half, center + half - share


def contributions(values: metrics.Floats) -> metrics.Floats:
    """Return what each of N images adds to the error of a number, (N,); their squares add up.

    Args:
        values: (N,) scores whose mean the number is, or its pseudo-values by the jackknife.
    """
    count = len(values)
    if count < 2:
        return np.zeros(count)
    pulls: metrics.Floats = (values - values.mean()) / np.sqrt(count * (count - 1))
    return pulls


def of_deviation(deviation: float, count: int, tail: float = TAIL) -> Ends:
    """Return the interval of the standard deviation of what was drawn `count` times, at least two.

    Args:
        deviation: the sample's.
        tail: probability beyond each end.

    ASSUME: draws are normal, as for Student's intervals.
    """
    from scipy.special import chdtri

    degrees = count - 1
    low, high = (deviation * float(np.sqrt(degrees / chdtri(degrees, p))) for p in (tail, 1 - tail))
    return low, high


@lru_cache(maxsize=1024)
def student_quantile(degrees: int, tail: float) -> float:
    """Return what Student's t exceeds with the probability `tail`; infinite without freedom."""
    from scipy.special import stdtrit  # only where there is an interval to make

    return float(stdtrit(degrees, 1 - tail)) if degrees > 0 else np.inf
