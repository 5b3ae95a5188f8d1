"""One split of a data set, as training and attacks see it, and its file."""

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from robustseg.errors import RobustsegError
from robustseg.files import atomic_path

if TYPE_CHECKING:
    from torch import Tensor

IGNORE_LABEL = 255
"""Pixels with this label are neither trained on, nor attacked, nor counted."""
FIELDS = ("images", "labels", "image_ids", "class_names", "palette")
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip file can hold: the same bytes whenever a split is written."""


class Dataset(Protocol):
    """What a split offers, whether it lies in memory or is read image by image."""

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

    def batch(self, indices: Sequence[int]) -> tuple["Tensor", "Tensor", list[str]]:
        """Return images float32 (B, 3, H, W) in [0, 1], labels int64, and image ids.

        Labels are (B, H, W) for segmentation, 255 where ignored, and (B,) for classification.
        """


@runtime_checkable
class AugmentedDataset(Dataset, Protocol):
    """A split that knows how its images are changed at random for training.

    Images of others are only mirrored.
    """

    def training_batch(
        self, indices: Sequence[int], training_seed: int, epoch: int
    ) -> tuple["Tensor", "Tensor"]:
        """Return images and labels like `batch`, changed at random for an epoch of training.

        How an image is changed follows from (training_seed, epoch) and the image alone.
        """


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

    def __len__(self) -> int:
        return len(self.image_ids)

    def batch(self, indices: Sequence[int]) -> tuple["Tensor", "Tensor", list[str]]:
        """Return images, labels and ids of some indices; see `Dataset.batch`."""
        import torch  # generating data needs none

        chosen = np.asarray(indices, dtype=np.int64)
        pixels = np.ascontiguousarray(self.images[chosen].transpose(0, 3, 1, 2))
        images = torch.from_numpy(pixels).float() / 255
        labels = torch.from_numpy(self.labels[chosen]).long()
        return images, labels, [self.image_ids[index] for index in chosen]


@dataclass(frozen=True)
class Relabelled:
    """A data set whose labels are seen through a function, batch by batch.

    Attributes:
        dataset: whose images, ids and classes it has.
        relabel: labels int64 to labels int64 of the same images.
    """

    dataset: Dataset
    relabel: Callable[["Tensor"], "Tensor"]

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

    def __len__(self) -> int:
        return len(self.dataset)

    def batch(self, indices: Sequence[int]) -> tuple["Tensor", "Tensor", list[str]]:
        """Return images, labels and ids of some indices; see `Dataset.batch`."""
        images, labels, ids = self.dataset.batch(indices)
        return images, self.relabel(labels), ids


@dataclass(frozen=True)
class AugmentedRelabelled(Relabelled):
    """The same of a data set that changes its images for training."""

    dataset: AugmentedDataset

    def training_batch(
        self, indices: Sequence[int], training_seed: int, epoch: int
    ) -> tuple["Tensor", "Tensor"]:
        """Return images and labels; see `AugmentedDataset.training_batch`."""
        images, labels = self.dataset.training_batch(indices, training_seed, epoch)
        return images, self.relabel(labels)


BACKGROUND = "background"


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

    def ignore(labels: "Tensor") -> "Tensor":
        return labels.masked_fill(labels == background, IGNORE_LABEL)

    if isinstance(dataset, AugmentedDataset):
        return AugmentedRelabelled(dataset, ignore)
    return Relabelled(dataset, ignore)


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
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy", EPOCH), "w") as file:
                np.lib.format.write_array(file, array, version=(1, 0), allow_pickle=False)


def load_split(path: str | Path) -> Dataset:
    """Open a split: .npz of a generated data set, or .parquet of one on the disk.

    The name of a list of images and classes ends in .classes.parquet.

    Raises:
        RobustsegError: missing or damaged file.
    """
    if Path(path).name.endswith(".classes.parquet"):
        from robustseg.data.class_folders import load_class_folders  # as below

        return load_class_folders(Path(path))
    if Path(path).suffix == ".parquet":
        from robustseg.data.disk import load_disk_split  # generated data needs no torchvision

        return load_disk_split(Path(path))
    return load_arrays(path)


def load_arrays(path: str | Path) -> ArrayDataset:
    """Read a split in memory and check it.

    Raises:
        RobustsegError: missing or damaged file, or arrays that do not fit each other.
    """
    arrays = _read_arrays(Path(path))
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
        with path.open("rb") as file:
            return _arrays_of(file)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise RobustsegError(
            f"{path} is truncated or no data set ({error}); delete it and generate it again"
        ) from error


def _arrays_of(file: IO[bytes]) -> dict[str, NDArray[np.uint8]]:
    with np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in FIELDS}


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
    wrong = (labels >= classes) & (labels != IGNORE_LABEL)
    if wrong.any():
        image = int(np.argwhere(wrong)[0][0])
        value = int(labels[image][wrong[image]].flat[0])
        raise RobustsegError(
            f"{path}: image {ids[image]} has label {value}, but there are {classes} classes "
            f"(0..{classes - 1}, and {IGNORE_LABEL} for pixels to ignore)"
        )
