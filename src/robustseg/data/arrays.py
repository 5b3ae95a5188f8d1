"""A split in memory, and its .npz file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from robustseg.array_files import read_npz, write_arrays
from robustseg.data.interface import IGNORE_BYTE, IGNORE_LABEL
from robustseg.errors import RobustsegError, reason_of

if TYPE_CHECKING:
    from torch import Tensor

FIELDS = ("images", "labels", "image_ids", "class_names", "palette")
KINDS = {"image_ids": "U1", "class_names": "U1", "palette": "u2"}
"""Of values, as NumPy names them, and how many dimensions."""


@dataclass(frozen=True)
class ArrayDataset:
    """A split in memory: images uint8 (N, H, W, 3), labels uint8 (N, H, W) or (N,)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    image_ids: list[str]
    class_names: list[str]
    palette: list[tuple[int, int, int]]

    @property
    def num_classes(self) -> int:
        """K, background included."""
        return len(self.class_names)

    @property
    def sizes_px(self) -> list[tuple[int, int]]:
        """Height and width of each image: those of all."""
        height, width = self.images.shape[1:3]
        return [(height, width)] * len(self)

    def __len__(self) -> int:
        return len(self.image_ids)

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor, list[str]]:
        """Return images, labels and ids of some indices; see `Dataset.batch`."""
        import torch  # generating data needs none

        chosen = np.asarray(indices, dtype=np.int64)
        pixels = np.ascontiguousarray(self.images[chosen].transpose(0, 3, 1, 2))
        images = torch.from_numpy(pixels).float() / 255
        labels = torch.from_numpy(self.labels[chosen]).long()
        labels.masked_fill_(labels == IGNORE_BYTE, IGNORE_LABEL)
        return images, labels, [self.image_ids[index] for index in chosen]


def save_split(path: str | Path, dataset: ArrayDataset) -> None:
    """Write a split as .npz; the same split gives the same bytes.

    Raises:
        RobustsegError: the file cannot be written.
    """
    arrays = {
        "images": dataset.images,
        "labels": dataset.labels,
        "image_ids": np.array(dataset.image_ids),
        "class_names": np.array(dataset.class_names),
        "palette": np.array(dataset.palette, np.uint8),
    }
    write_arrays(path, arrays)


def load_arrays(path: str | Path) -> ArrayDataset:
    """Read a split in memory and check it.

    Raises:
        RobustsegError: missing or damaged file, or arrays that do not fit each other.
    """
    arrays = _read_arrays(Path(path))
    kinds = {name: arrays[name].dtype.kind + str(arrays[name].ndim) for name in KINDS}
    if kinds != KINDS or arrays["palette"].shape != (len(arrays["class_names"]), 3):
        raise RobustsegError(
            f"{path} has no ids and names of classes as text with a colour for each class; delete "
            "it and generate it again"
        )
    dataset = ArrayDataset(
        images=arrays["images"],
        labels=arrays["labels"],
        image_ids=[str(name) for name in arrays["image_ids"]],
        class_names=[str(name) for name in arrays["class_names"]],
        palette=[(int(red), int(green), int(blue)) for red, green, blue in arrays["palette"]],
    )
    _check(dataset, Path(path))
    return dataset


def _read_arrays(path: Path) -> dict[str, NDArray[np.uint8]]:
    """Read the arrays of a .npz, none of them pickled."""
    if not path.exists():
        raise RobustsegError(f"{path} does not exist; generate the data set first")
    try:
        return read_npz(path, FIELDS)
    except Exception as error:
        raise RobustsegError(
            f"{path} is truncated or no data set ({reason_of(error)}); delete it and generate it "
            "again"
        ) from error


def _check(dataset: ArrayDataset, path: Path) -> None:
    """Refuse a split whose arrays do not fit each other."""
    images, labels, ids = dataset.images, dataset.labels, dataset.image_ids
    count, classes = len(ids), dataset.num_classes
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise RobustsegError(
            f"{path}: images must be uint8 (N, H, W, 3), not {images.dtype} {images.shape}"
        )
    if labels.dtype != np.uint8 or labels.shape not in ((count,), (count, *images.shape[1:3])):
        raise RobustsegError(
            f"{path}: labels must be uint8, one an image or one a pixel of {images.shape}, "
            f"not {labels.dtype} {labels.shape}"
        )
    if not count == len(images) == len(set(ids)):
        raise RobustsegError(f"{path}: each of the {len(images)} images needs an id of its own")
    wrong = (labels >= classes) & (labels != IGNORE_BYTE)
    if wrong.any():
        image = int(np.argwhere(wrong)[0][0])
        value = int(labels[image][wrong[image]].flat[0])
        raise RobustsegError(
            f"{path}: image {ids[image]} has label {value}, but there are {classes} classes "
            f"(0..{classes - 1}, and {IGNORE_BYTE} for pixels to ignore)"
        )
