"""What the values in a mask file mean: one definition for training, attacks and metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robustseg.data.interface import BACKGROUND, IGNORE_BYTE

VOID = 255
"""PASCAL-VOC's value for the outlines of objects and for what is hard to tell."""
VOC_CLASSES = (
    BACKGROUND, "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
    "cow", "dining table", "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa",
    "train", "tv monitor",
)  # fmt: skip


@dataclass(frozen=True)
class LabelPolicy:
    """Classes, and the label of each value that a mask file may hold.

    Attributes:
        class_names: in the order of the labels.
        labels: label by value, 255 for pixels to ignore; any other value is an error.
    """

    class_names: tuple[str, ...]
    labels: Mapping[int, int]

    def table(self) -> NDArray[np.uint8]:
        """Return the labels of all 256 values; what no mask may hold is ignored."""
        table = np.full(256, IGNORE_BYTE, np.uint8)
        table[list(self.labels)] = list(self.labels.values())
        return table

    def unknown(self, mask: NDArray[np.uint8]) -> list[int]:
        """Return the values of a mask (H, W) that it may not hold."""
        return sorted(set(np.unique(mask).tolist()) - set(self.labels))


def voc_policy(void: str) -> LabelPolicy:
    """Return PASCAL-VOC's classes with the void pixels as `void` says: "ignore" or "background".

    # ASSUME: "ignore" for the paper, which does not mention them; it is how VOC is scored.
    # RELEASED CODE: background, in validation.
    """
    labels = {value: value for value in range(len(VOC_CLASSES))}
    return LabelPolicy(VOC_CLASSES, labels | {VOID: 0 if void == BACKGROUND else IGNORE_BYTE})


def ade20k_policy(background: str, objects: Sequence[str]) -> LabelPolicy:
    """Return ADE20K's classes, with pixels of no object a "class" (0) or left to "ignore".

    Args:
        background: "class" as in the paper (App. B.2), or "ignore": labels are shifted by one.
        objects: names of the 150 objects, whose values in a mask are 1..150.
    """
    values = range(1, len(objects) + 1)
    if background == "class":
        return LabelPolicy((BACKGROUND, *objects), {0: 0} | {value: value for value in values})
    return LabelPolicy(tuple(objects), {0: IGNORE_BYTE} | {value: value - 1 for value in values})


def palette(count: int) -> list[tuple[int, int, int]]:
    """Return PASCAL-VOC's colours of the first `count` labels.

    The bits of a label go to red, green and blue in turn, the lowest to the highest bits.
    """
    return [(_spread(label), _spread(label >> 1), _spread(label >> 2)) for label in range(count)]


def _spread(label: int) -> int:
    """Return bits 0, 3 and 6 of a label as bits 7, 6 and 5."""
    return sum(((label >> (3 * place)) & 1) << (7 - place) for place in range(3))
