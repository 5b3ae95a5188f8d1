"""What a data set offers to training, attacks and evaluation. Imports nothing of its own.

Anything that fulfils `Dataset` can be evaluated and attacked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

IGNORE_LABEL = -1
"""Pixels with this label are neither trained on, nor attacked, nor counted; no class has it."""
IGNORE_BYTE = 255
"""The same where labels are bytes: in masks, files of splits and kept pictures."""
BACKGROUND = "background"
"""Name of the class of pixels of no object."""


class Dataset(Protocol):
    """What a split offers, whether it lies in memory or is read image by image.

    It may have `sizes_px` too, a list of (height, width) of each image as `batch` gives it: then
    only images of one size are asked for together. Without it all images are taken to be of one.
    """

    @property
    def image_ids(self) -> list[str]:
        """Unique name of each image; evidence is keyed by it."""

    @property
    def class_names(self) -> list[str]:
        """Name of each class, in the order of the labels."""

    @property
    def palette(self) -> list[tuple[int, int, int]]:
        """RGB colour of each class for pictures, 0..255."""

    @property
    def num_classes(self) -> int:
        """K."""

    def __len__(self) -> int: ...

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor, list[str]]:
        """Return images float32 (B, 3, H, W) in [0, 1], labels int64, and image ids.

        Labels are (B, H, W) for segmentation, -1 where ignored, and (B,) for classification.
        """


@runtime_checkable
class AugmentedDataset(Dataset, Protocol):
    """A split that knows how its images are changed at random for training.

    Images of others are only mirrored.
    """

    def training_batch(
        self, indices: Sequence[int], training_seed: int, epoch: int
    ) -> tuple[Tensor, Tensor]:
        """Return images and labels like `batch`, changed at random for an epoch of training.

        How an image is changed follows from (training_seed, epoch) and the image alone.
        """
