"""Data sets whose labels are seen differently: without the background, or through any function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from robustseg.data.interface import BACKGROUND, IGNORE_LABEL, AugmentedDataset, Dataset
from robustseg.errors import RobustsegError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Relabelled:
    """A data set whose labels are seen through a function, batch by batch.

    Attributes:
        dataset: whose images, ids and classes it has.
        relabel: labels int64 to labels int64 of the same images.
    """

    dataset: Dataset
    relabel: Callable[[Tensor], Tensor]

    @property
    def image_ids(self) -> list[str]:
        """Those of the data set."""
        return self.dataset.image_ids

    @property
    def class_names(self) -> list[str]:
        """Those of the data set."""
        return self.dataset.class_names

    @property
    def palette(self) -> list[tuple[int, int, int]]:
        """That of the data set."""
        return self.dataset.palette

    @property
    def num_classes(self) -> int:
        """That of the data set."""
        return self.dataset.num_classes

    @property
    def sizes_px(self) -> list[tuple[int, int]] | None:
        """Those of the data set, None if it does not say."""
        return getattr(self.dataset, "sizes_px", None)

    def __len__(self) -> int:
        return len(self.dataset)

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor, list[str]]:
        """Return images, labels and ids of some indices; see `Dataset.batch`."""
        images, labels, ids = self.dataset.batch(indices)
        return images, self.relabel(labels), ids


@dataclass(frozen=True)
class AugmentedRelabelled(Relabelled):
    """The same of a data set that changes its images for training."""

    dataset: AugmentedDataset

    def training_batch(
        self, indices: Sequence[int], training_seed: int, epoch: int
    ) -> tuple[Tensor, Tensor]:
        """Return images and labels; see `AugmentedDataset.training_batch`."""
        images, labels = self.dataset.training_batch(indices, training_seed, epoch)
        return images, self.relabel(labels)


def background_class(dataset: Dataset) -> int:
    """Return the label of the background.

    Raises:
        RobustsegError: the data set has no class of this name.
    """
    if BACKGROUND not in dataset.class_names:
        raise RobustsegError(
            f"the data set has no class {BACKGROUND!r} to leave out; "
            f"its classes are {', '.join(dataset.class_names)}"
        )
    return dataset.class_names.index(BACKGROUND)


def without_background(dataset: Dataset) -> Dataset:
    """Return the data set with the pixels of the background ignored.

    Raises:
        RobustsegError: there is no class of this name.
    """
    background = background_class(dataset)

    def ignore(labels: Tensor) -> Tensor:
        return labels.masked_fill(labels == background, IGNORE_LABEL)

    if isinstance(dataset, AugmentedDataset):
        return AugmentedRelabelled(dataset, ignore)
    return Relabelled(dataset, ignore)
