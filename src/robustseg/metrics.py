"""Accuracy, mIoU and the image-wise worst case, all from counts per image and class.

Counts come first and are reduced later, so that every score is a query over evidence.
Definitions: arXiv 2306.12941, Sec. 2.1 "Metrics". Fractions in [0, 1] everywhere here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robustseg.errors import RobustsegError

if TYPE_CHECKING:
    import torch

Ints = NDArray[np.integer[Any]]
Floats = NDArray[np.float64]


class PixelCounts(NamedTuple):
    """What a batch of B predictions got right, for K classes; ignored pixels are nowhere in it.

    Attributes:
        pixels: (B,) int64, labelled pixels of each image.
        pixels_correct: (B,) int64, those predicted as labelled.
        labelled: (B, K) int64, pixels labelled as the class.
        intersection: (B, K) int64, pixels predicted and labelled as the class.
        union: (B, K) int64, pixels predicted or labelled as the class.
    """

    pixels: NDArray[np.int64]
    pixels_correct: NDArray[np.int64]
    labelled: NDArray[np.int64]
    intersection: NDArray[np.int64]
    union: NDArray[np.int64]

    def of_classes(self, num_classes: int) -> PixelCounts:
        """Return the counts of the first K classes: what is predicted as another is just wrong."""
        return self._replace(
            labelled=self.labelled[:, :num_classes],
            intersection=self.intersection[:, :num_classes],
            union=self.union[:, :num_classes],
        )


def count_pixels(
    prediction: torch.Tensor, label: torch.Tensor, num_classes: int, ignore_label: int = -1
) -> PixelCounts:
    """Count the pixels of each image by one confusion matrix an image, in a single bincount.

    Args:
        prediction: (B, H, W) integers in [0, num_classes), on any device.
        label: (B, H, W) integers in [0, num_classes), on the same device.
        num_classes: K.
        ignore_label: pixels with this label are not counted, whatever is predicted there.

    Raises:
        RobustsegError: shapes differ, or a class is out of range.
    """
    import torch

    if prediction.shape != label.shape or label.ndim != 3:
        raise RobustsegError(
            f"predictions {tuple(prediction.shape)} and labels {tuple(label.shape)} must both be "
            "(images, height, width); upsample the logits to the label's resolution first"
        )
    counted = label != ignore_label
    truth, guess = label[counted].long(), prediction[counted].long()
    for name, classes in (("label", truth), ("prediction", guess)):
        if classes.numel() and not (classes.min() >= 0 and classes.max() < num_classes):
            raise RobustsegError(
                f"a {name} is outside 0..{num_classes - 1} and not {ignore_label} (ignored) "
                f"(found {int(classes.min())}..{int(classes.max())}); check the number of classes"
            )
    image = torch.arange(len(label), device=label.device).view(-1, 1, 1).expand_as(label)[counted]
    cells = (image * num_classes + truth) * num_classes + guess
    confusion = torch.bincount(cells, minlength=len(label) * num_classes**2)
    confusion = confusion.view(len(label), num_classes, num_classes)
    return _counts_of_confusion(confusion.cpu().numpy())


def _counts_of_confusion(confusion: NDArray[np.int64]) -> PixelCounts:
    """Reduce (B, label K, prediction K) to counts."""
    intersection = np.ascontiguousarray(np.diagonal(confusion, axis1=1, axis2=2))
    labelled = confusion.sum(axis=2)
    union = confusion.sum(axis=1) + labelled - intersection
    pixels, correct = labelled.sum(axis=1), intersection.sum(axis=1)
    return PixelCounts(pixels, correct, labelled, intersection, union)


def image_accuracy(pixels: Ints, pixels_correct: Ints) -> Floats:
    """Return the share of each image's labelled pixels that are right; NaN where there are none."""
    shares: Floats = np.full(np.shape(pixels), np.nan)
    np.divide(pixels_correct, pixels, out=shares, where=np.greater(pixels, 0))
    return shares


def mean_accuracy(pixels: Ints, pixels_correct: Ints) -> float:
    """Return ACC: the mean over images, but unlabelled ones, of the accuracy of each.

    RELEASED CODE: for single losses it reports the share of all pixels of all images instead, and
    this only for SEA; here every table shows ACC.
    """
    return float(np.nanmean(image_accuracy(pixels, pixels_correct)))


def class_shares(part: Ints, whole: Ints) -> Floats:
    """Return for each class the share of two (N, K) counts, each summed over images; (K,).

    Intersection over union gives IoU by class, intersection over labelled pixels the accuracy by
    class. NaN for a class whose whole is 0.
    """
    parts, wholes = (counts.sum(axis=0, dtype=np.int64) for counts in (part, whole))
    shares: Floats = np.full(wholes.shape, np.nan)
    np.divide(parts, wholes, out=shares, where=wholes > 0)
    return shares


def miou(intersection: Ints, union: Ints) -> float:
    """Return mIoU of (N, K) counts: summed over images per class, then averaged over classes.

    A class that is neither labelled nor predicted anywhere (union 0) is left out of the average.
    """
    return mean_over_classes(class_shares(intersection, union))


def miou_pseudo_values(intersection: Ints, union: Ints) -> Floats:
    """Return the jackknife's pseudo-values (N,) of mIoU, of (N, K) counts.

    What mIoU loses without an image, N - 1 times over, is how much it differs for that image: the
    standard error of their mean is that of mIoU, also where a class is in few images.
    """
    count = len(union)
    if count < 2:
        return np.full(count, miou(intersection, union))
    parts, wholes = (
        counts.sum(axis=0, dtype=np.int64) - counts for counts in (intersection, union)
    )
    there = wholes > 0
    shares = np.divide(parts, wholes, out=np.zeros(wholes.shape), where=there)
    without: Floats = shares.sum(axis=1) / there.sum(axis=1)
    return count * miou(intersection, union) - (count - 1) * without


def image_miou(intersection: Ints, union: Ints) -> Floats:
    """Return for each image of (N, K) counts the mean of its classes' IoU, (N,); NaN without any.

    Their mean over images is the image-wise mIoU (NmIoU of arXiv 2407.09150), in which an object of
    few pixels weighs as much as a large one.

    ASSUME: over the classes that are labelled or predicted in the image. The source divides by the
    number of all classes and does not say what one that is in neither has; mIoU leaves it out too.
    """
    occurs = union > 0
    shares = np.divide(intersection, union, out=np.zeros(union.shape), where=occurs)
    means: Floats = np.full(len(union), np.nan)
    np.divide(shares.sum(axis=1), occurs.sum(axis=1), out=means, where=occurs.any(axis=1))
    return means


SIZES = (0.01, 0.05, 0.2)
"""Shares of an image's labelled pixels at which a larger size of objects begins; ASSUME: ours."""


def sums_by_size(counts: Ints, labelled: Ints) -> NDArray[np.int64]:
    """Return counts (N, K) of each image, summed over its objects of each size, (N, sizes).

    An object is here all pixels of one class in one image, since counts know no instances; its size
    is its share of the labelled pixels. `SIZES` part sizes, each from its lower end on. As whole
    and part for `class_shares`, labelled pixels and intersections give the accuracy by size.

    Args:
        counts: what is summed.
        labelled: (N, K), pixels labelled as the class.
    """
    pixels = np.maximum(labelled.sum(axis=1, keepdims=True), 1)
    size = np.digitize(labelled / pixels, SIZES)
    sums = [np.where(size == s, counts, 0).sum(axis=1) for s in range(len(SIZES) + 1)]
    return np.stack(sums, axis=1).astype(np.int64)


def mean_over_classes(shares: Floats) -> float:
    """Return the mean of shares (K,) over the classes that have one."""
    return float(np.mean(shares[~np.isnan(shares)]))


def worst_case(accuracies: Floats) -> NDArray[np.intp]:
    """Return the (N,) attack that hurts each image most, of (A, N) accuracies of A attacks.

    By ACC alone, as the paper selects also for mIoU (Sec. 2.1); ties go to the first attack.
    """
    chosen: NDArray[np.intp] = accuracies.argmin(axis=0)
    return chosen
