"""A split whose images are read from the disk when they are asked for."""

import os
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from robustseg.data.image_files import read_image, read_mask
from robustseg.data.interface import IGNORE_BYTE, IGNORE_LABEL
from robustseg.data.manifest import SPLIT_SCHEMA, Columns, Shared, open_rows
from robustseg.data.transforms import Pair, Views
from robustseg.seeds import derive_seed

MOST_READERS = 8
"""Images decoded at a time, if there are that many cores; changes speed, not results."""


@dataclass(frozen=True)
class DiskDataset:
    """Images and masks on the disk, and how they become what a model sees.

    Attributes:
        root: folder that the paths are relative to.
        image_ids: unique names.
        images: path of each image.
        masks: path of each mask.
        class_names: in the order of the labels.
        palette: RGB colour of each class, 0..255.
        labels: label of each value that a mask may hold, uint8 (256,).
        views: sizes.
    """

    root: Path
    image_ids: list[str]
    images: list[str]
    masks: list[str]
    class_names: list[str]
    palette: list[tuple[int, int, int]]
    labels: NDArray[np.uint8]
    views: Views
    _readers: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(min(MOST_READERS, _cores())), repr=False
    )

    @property
    def num_classes(self) -> int:
        """K, background included."""
        return len(self.class_names)

    def __len__(self) -> int:
        return len(self.image_ids)

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor, list[str]]:
        """Return images, labels and ids of some indices as they are evaluated."""
        return self._batch(indices, self._validation)

    def training_batch(
        self, indices: Sequence[int], training_seed: int, epoch: int
    ) -> tuple[Tensor, Tensor]:
        """Return images and labels as an epoch of training sees them.

        A view follows from (training_seed, epoch, image id), whoever shares the batch.
        """
        view = partial(self._training, training_seed=training_seed, epoch=epoch)
        images, labels, _ = self._batch(indices, view)
        return images, labels

    def _batch(
        self, indices: Sequence[int], view: Callable[[int], Pair]
    ) -> tuple[Tensor, Tensor, list[str]]:
        """Read several images at a time and stack them in order."""
        pairs = list(self._readers.map(view, indices))
        pixels = torch.stack([torch.from_numpy(np.array(image)) for image, _ in pairs])
        labels = torch.stack([torch.from_numpy(np.array(labels)) for _, labels in pairs])
        images = pixels.permute(0, 3, 1, 2).contiguous().float() / 255
        labels = labels.long()
        labels.masked_fill_(labels == IGNORE_BYTE, IGNORE_LABEL)
        return images, labels, [self.image_ids[index] for index in indices]

    def _validation(self, index: int) -> Pair:
        return self.views.validation(*self._read(index))

    def _training(self, index: int, training_seed: int, epoch: int) -> Pair:
        seed = derive_seed("view", training_seed, epoch, self.image_ids[index])
        return self.views.training(*self._read(index), random.Random(seed))

    def _read(self, index: int) -> Pair:
        """Read an image and the labels of its mask."""
        image = read_image(self.root / self.images[index])
        mask = read_mask(self.root / self.masks[index])
        return image, Image.fromarray(self.labels[mask])


def _cores() -> int:
    """Return how many cores this process may use, where the system says so."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load_disk_split(path: Path) -> DiskDataset:
    """Open a split that `prepare` has written.

    Raises:
        RobustsegError: missing or damaged file.
    """
    return open_rows(path, SPLIT_SCHEMA, _dataset, "split", "prepare the data set")


def _dataset(columns: Columns, shared: Shared) -> DiskDataset:
    labels = np.array(shared["labels"], np.uint8)
    ignored = shared["padding"] == "ignore"
    return DiskDataset(
        root=Path(shared["root"]),
        image_ids=columns["image_id"],
        images=columns["image"],
        masks=columns["mask"],
        class_names=shared["class_names"],
        palette=[(red, green, blue) for red, green, blue in shared["palette"]],
        labels=labels,
        views=Views(
            shared["crop_px"],
            shared["base_px"],
            # ASSUME: no label by default, which the paper leaves open.
            # RELEASED CODE: the value 0, which is background, or ignored with ADE20K's 150.
            padding_label=IGNORE_BYTE if ignored else int(labels[0]),
        ),
    )
