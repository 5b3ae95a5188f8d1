"""A split whose images are read from the disk when they are asked for."""

import os
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from robustseg.data.classes import Classes
from robustseg.data.image_files import content_of, image_size_px, read_mask, read_pair
from robustseg.data.interface import IGNORE_BYTE, IGNORE_LABEL
from robustseg.data.labels import LabelPolicy
from robustseg.data.manifest import SPLIT_SCHEMA, Columns, Shared, open_rows, read_known_mask
from robustseg.data.masks import MaskLabels
from robustseg.data.transforms import Pair, Size, Views, Whole
from robustseg.errors import RobustsegError, in_one_line
from robustseg.seeds import derive_seed

Shown = TypeVar("Shown")
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
        read_labels: from the path of a mask to its labels (H, W), uint8 with 255 where ignored or
            int32 with -1.
        views: sizes.
        own_sizes_px: height and width of each image file; None: looked up when they are needed.
        contents: of each image and its mask when they were prepared, see `content_of`; None: of
            unprepared ones, and in splits of earlier versions.
        size_of: from the path of an image to its size, where it is looked up.
    """

    root: Path
    image_ids: list[str]
    images: list[str]
    masks: list[str]
    class_names: list[str]
    palette: list[tuple[int, int, int]]
    read_labels: Callable[[Path], NDArray[Any]]
    views: Views | Whole
    own_sizes_px: list[Size] | None = None
    contents: list[str | None] | None = None
    size_of: Callable[[Path], Size] = image_size_px
    _readers: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(min(MOST_READERS, _cores())), repr=False
    )

    @property
    def num_classes(self) -> int:
        """K, background included."""
        return len(self.class_names)

    @cached_property
    def sizes_px(self) -> list[Size]:
        """Height and width of each image as `batch` gives it.

        Raises:
            RobustsegError: sizes are looked up, and an image is missing or damaged.
        """
        own = self.own_sizes_px or self._readers.map(
            self.size_of, (self.root / image for image in self.images)
        )
        return [self._naming(index, self.views.size_px, size) for index, size in enumerate(own)]

    def __len__(self) -> int:
        return len(self.image_ids)

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor, list[str]]:
        """Return images, labels and ids of some indices as they are evaluated.

        Raises:
            RobustsegError: the images differ in size; or a file is missing, damaged, or no image
                or mask of this data set.
        """
        first, *others = indices
        for other in others:
            if self.sizes_px[first] != self.sizes_px[other]:
                raise RobustsegError(
                    f"{self._shown(first)} and {self._shown(other)} cannot share a batch; ask for "
                    "images of one size together, as `sizes_px` has them"
                )
        return self._batch(indices, self._validation)

    def _shown(self, index: int) -> str:
        height, width = self.sizes_px[index]
        return f"the image {self.image_ids[index]} of {width}x{height} pixels"

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
        if labels.dtype == torch.uint8:
            labels = labels.long()
            labels.masked_fill_(labels == IGNORE_BYTE, IGNORE_LABEL)
        return images, labels.long(), [self.image_ids[index] for index in indices]

    def _validation(self, index: int) -> Pair:
        return self._naming(index, self.views.validation, *self._read(index))

    def _training(self, index: int, training_seed: int, epoch: int) -> Pair:
        seed = derive_seed("view", training_seed, epoch, self.image_ids[index])
        return self._naming(index, self.views.training, *self._read(index), random.Random(seed))

    def _naming(self, index: int, show: Callable[..., Shown], *arguments: Any) -> Shown:
        """Return what `show` does, and name the image in what it refuses."""
        try:
            return show(*arguments)
        except RobustsegError as error:
            path = in_one_line(self.root / self.images[index])
            raise RobustsegError(f"{path}: {error}") from error

    def _read(self, index: int) -> Pair:
        """Read an image and the labels of its mask."""
        paths = self.root / self.images[index], self.root / self.masks[index]
        image, labels = read_pair(*paths, self.read_labels)
        if self.own_sizes_px and self.own_sizes_px[index] != labels.shape:
            raise RobustsegError(
                f"{in_one_line(paths[0])} has {image.width}x{image.height} pixels, and had another "
                "size when the data set was prepared; prepare it again"
            )
        if self.contents and (content := self.contents[index]) is not None:
            _refuse_exchanged(paths, content)
        return image, Image.fromarray(labels)


def _refuse_exchanged(paths: tuple[Path, Path], content: str) -> None:
    """Refuse an image or a mask that is not the one whose content was written down.

    Results of both would stand side by side, and a training would go on with others than it began.
    """
    now = content_of(*paths)
    if now != content:
        changed = paths[now[:16] == content[:16]]
        raise RobustsegError(
            f"{in_one_line(changed)} is another file than when the data set was prepared; restore "
            "it, or prepare the data set again (your snakemake command with `--forcerun "
            "prepare_folder prepare_data -- data` in place of its targets), after which all that "
            "follows from it is made again"
        )


def _cores() -> int:
    """Return how many cores this process may use, where the system says so."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load_disk_split(path: Path) -> DiskDataset:
    """Open a split that `prepare` or `prepare_folder` has written.

    Raises:
        RobustsegError: missing or damaged file.
    """
    return open_rows(path, SPLIT_SCHEMA, _dataset, "split", "prepare the data set")


def _dataset(columns: Columns, shared: Shared) -> DiskDataset:
    views: Views | Whole
    if "ignore" in shared:  # of kind `folder`
        masks = mask_labels(shared)
        read_labels, views = masks.read, _whole(shared, masks)
    else:
        table = np.array(shared["labels"], np.uint8)
        read_labels, views = partial(read_by_table, table), _views(shared, int(table[0]))
    return DiskDataset(
        root=Path(shared["root"]),
        image_ids=columns["image_id"],
        images=columns["image"],
        masks=columns["mask"],
        class_names=shared["class_names"],
        palette=[(red, green, blue) for red, green, blue in shared["palette"]],
        read_labels=read_labels,
        views=views,
        own_sizes_px=list(zip(columns["height"], columns["width"], strict=True)),
        contents=columns["content"],
    )


def read_by_table(table: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
    """Return the labels (H, W) of a mask, given the label (256,) of each value."""
    return table[read_mask(path)]


def read_by_policy(policy: LabelPolicy, path: Path) -> NDArray[np.uint8]:
    """Return the same by what the values mean, and refuse those that mean nothing."""
    return policy.table()[read_known_mask(policy, path)]


def _views(shared: Shared, background: int, ignored: int = IGNORE_BYTE) -> Views:
    """Return how images are cut, given the labels of the value 0 and of pixels to ignore."""
    # ASSUME: padding has no label by default, which the paper leaves open.
    # RELEASED CODE: the value 0, which is background, or ignored with ADE20K's 150.
    padding_label = ignored if shared["padding"] == "ignore" else background
    return Views(shared["crop_px"], shared["base_px"], padding_label)


def mask_labels(shared: Shared) -> MaskLabels:
    """Return what the masks of a data set of kind `folder` mean, from what its splits say."""
    colours = [(red, green, blue) for red, green, blue in shared["palette"]]
    classes = Classes(
        shared["class_names"], colours if shared["coloured"] else None, shared.get("values")
    )
    return MaskLabels(classes, shared["ignore"])


def _whole(shared: Shared, masks: MaskLabels) -> Whole:
    cut = _views(shared, masks.background, masks.ignored) if shared["crop_px"] else None
    return Whole(shared["resize_px"], shared["interpolation"], cut)
