"""Worst-case mIoU over attacks: a greedy search, and how far below it the worst case can lie.

mIoU is no mean over images, so its worst case is not found image by image: A attacks on N images
have A^N assignments of an attack to each image. The search is that of the ECCV-2024 version
(arXiv 2306.12941v2); the bound is ours. Fractions in [0, 1].
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from robustseg.errors import RobustsegError
from robustseg.metrics import Floats, Ints, miou

ROUNDING = 1e-12
"""A gain in mIoU below this is none."""


class GreedyMiou(NamedTuple):
    """What the search found.

    Attributes:
        choice: (N,) the attack whose outcome each image has.
        miou: of these outcomes.
        lower_bound: no assignment has a lower mIoU than this; at most `miou`, and equal to it where
            the search is shown to have found the worst case.
    """

    choice: NDArray[np.intp]
    miou: float
    lower_bound: float


def greedy_miou(intersection: Ints, union: Ints, seed: int = 0) -> GreedyMiou:
    """Give each image the outcome of one attack, so that the mIoU of all images is low.

    Starts from the attack with the lowest mIoU. Each round goes through the images in random order
    and gives an image another attack's outcome where that lowers the mIoU of all; the search ends
    after a round without gain. The clean images are one more attack, if they are to be candidates.

    ASSUME: of several attacks that lower it, the one that lowers it most, and the first of equals;
    the source does not say.

    Args:
        intersection, union: (A, N, K) whole numbers, pixels of A attacks on the same N images in
            the same order, for K classes.
        seed: of the orders in which rounds go through the images.

    Raises:
        RobustsegError: arrays of other shapes, or without any pixel.
    """
    parts, wholes = _of_classes_that_occur(intersection, union)
    choice = _search(parts, wholes, np.random.default_rng(seed))
    images = np.arange(len(choice))
    found = miou(intersection[choice, images], union[choice, images])
    return GreedyMiou(choice, found, min(found, miou_lower_bound(intersection, union)))


def miou_lower_bound(intersection: Ints, union: Ints) -> float:
    """Return a bound below the mIoU of every assignment of attacks to images.

    Proof. Let I and U be a class's intersection and union over all images, t its least IoU and W
    its largest union over all assignments. I - tU >= 0, so IoU = t + (I - tU)/U >= t + (I - tU)/W.
    The sum of this over classes is a sum over images: each takes the attack with its least term. A
    class that an assignment has no pixel of adds IoU 0 here, which only lowers the mean.

    Args, Raises: as `greedy_miou`.
    """
    parts, wholes = _of_classes_that_occur(intersection, union)
    least = _least_ious(parts, wholes)
    largest = wholes.max(axis=0).sum(axis=0)
    terms = (parts - least * wholes) @ (1 / largest)
    return float((least.sum() + terms.min(axis=0).sum()) / len(least))


def _of_classes_that_occur(intersection: Ints, union: Ints) -> tuple[NDArray[np.int64], ...]:
    """Return both without the classes that no attack has a pixel of."""
    if intersection.ndim != 3 or intersection.shape != union.shape:
        raise RobustsegError(
            f"intersections {intersection.shape} and unions {union.shape} must both be "
            "(attacks, images, classes), of attacks on the same images"
        )
    if not union.any():
        raise RobustsegError(
            "the worst-case mIoU over no pixel was asked for; give counts by class of at least "
            "one attack on one labelled image"
        )
    occurs = union.any(axis=(0, 1))
    return tuple(counts[..., occurs].astype(np.int64) for counts in (intersection, union))


def _search(
    parts: NDArray[np.int64], wholes: NDArray[np.int64], generator: np.random.Generator
) -> NDArray[np.intp]:
    """Return the attack chosen for each image, by sums over images that each change updates."""
    all_parts, all_wholes = parts.sum(axis=1), wholes.sum(axis=1)
    first = _mious(all_parts, all_wholes).argmin()
    choice = np.full(parts.shape[1], first)
    part_sums, whole_sums = all_parts[first], all_wholes[first]
    gained = True
    while gained:
        gained = False
        for image in generator.permutation(len(choice)):
            now = choice[image]
            part_sums_by_attack = part_sums + (parts[:, image] - parts[now, image])
            whole_sums_by_attack = whole_sums + (wholes[:, image] - wholes[now, image])
            by_attack = _mious(part_sums_by_attack, whole_sums_by_attack)
            best = by_attack.argmin()
            if by_attack[best] < by_attack[now] - ROUNDING:
                choice[image], gained = best, True
                part_sums, whole_sums = part_sums_by_attack[best], whole_sums_by_attack[best]
    return choice


def _mious(parts: NDArray[np.int64], wholes: NDArray[np.int64]) -> Floats:
    """Return the mIoU of each row of sums over images (A, K)."""
    shares = np.divide(parts, wholes, out=np.zeros(parts.shape), where=wholes > 0)
    mious: Floats = shares.sum(axis=1) / (wholes > 0).sum(axis=1)
    return mious


def _least_ious(parts: NDArray[np.int64], wholes: NDArray[np.int64]) -> Floats:
    """Return the least IoU (K,) of each class by itself over all assignments, by Dinkelbach's rule.

    The assignment with the least I - tU, image by image, has an IoU below t unless t is the least.
    """
    least: Floats = np.ones(parts.shape[2])
    while True:
        attack = (parts - least * wholes).argmin(axis=0)[np.newaxis]
        part, whole = (np.take_along_axis(c, attack, 0).sum(axis=(0, 1)) for c in (parts, wholes))
        lower = np.divide(part, whole, out=np.zeros(len(least)), where=whole > 0)
        if not (lower < least).any():
            return least
        least = np.minimum(least, lower)
