"""ImageNet as people have it on their disk: a folder for each class, with its images in it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode, functional

from robustseg.data.image_files import read_image
from robustseg.data.listing import examples, is_hidden, refuse_unprintable
from robustseg.data.manifest import Columns, Shared, open_rows, write_rows
from robustseg.data.splits import spread
from robustseg.errors import RobustsegError
from robustseg.names import IMAGENET_CLASSES

SUFFIXES = (".jpeg", ".jpg", ".png")
WORDNET_ID = re.compile(r"n[0-9]{8}")
SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("image", pa.string(), nullable=False),
        pa.field("label", pa.int32(), nullable=False),
    ]
)
"""One row an image; its path is relative to the `root` in the file's metadata."""


@dataclass(frozen=True)
class ClassFolders:
    """Images on the disk, each with the class whose folder it is in.

    Attributes:
        root: folder that the paths are relative to.
        image_ids: unique names.
        images: path of each image.
        labels: class of each image.
        class_names: names of the folders, in the order of the labels.
        resize_px: length of the short side to which an image is resized.
        crop_px: height and width of its centre, which the classifier sees.
    """

    root: Path
    image_ids: list[str]
    images: list[str]
    labels: list[int]
    class_names: list[str]
    resize_px: int
    crop_px: int

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)

    @property
    def palette(self) -> list[tuple[int, int, int]]:
        """Black for every class: there are no maps of classes to be drawn."""
        return [(0, 0, 0)] * self.num_classes

    @property
    def sizes_px(self) -> list[tuple[int, int]]:
        """Height and width of each image: the crop's."""
        return [(self.crop_px, self.crop_px)] * len(self)

    def __len__(self) -> int:
        return len(self.image_ids)

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor, list[str]]:
        """Return images float32 (B, 3, crop, crop) in [0, 1], classes (B,) and ids."""
        pixels = np.stack([self._view(index) for index in indices])
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().float() / 255
        labels = torch.tensor([self.labels[index] for index in indices], device="cpu")
        return images, labels, [self.image_ids[index] for index in indices]

    def _view(self, index: int) -> Any:
        """Return the centre of an image as bytes (crop, crop, 3)."""
        image = read_image(self.root / self.images[index])
        # ASSUME: bilinear; publishers use that or bicubic, which changes a few tenths of a percent.
        image = functional.resize(image, [self.resize_px], InterpolationMode.BILINEAR)
        return np.asarray(functional.center_crop(image, [self.crop_px, self.crop_px]))


def list_class_folders(settings: Mapping[str, Any], output: str | Path) -> int:
    """List the images of a folder of class folders; return how many there are.

    Args:
        settings: config section of kind `imagenet`.
        output: Parquet with `SCHEMA`, which `load_class_folders` opens.

    Raises:
        RobustsegError: not 1000 class folders, or a name that is no class's; too few images, or one
            name twice.
    """
    root = Path(settings["root"])
    folders = sorted(
        path.name for path in root.glob("*") if path.is_dir() and not is_hidden(path.name)
    )
    others = [name for name in folders if not WORDNET_ID.fullmatch(name)]
    if others:  # classes are in the order of these ids, and others would be others in silence
        raise RobustsegError(
            f"{root} has {len(others)} folders whose names are no WordNet ids such as n01440764 "
            f"({examples(others)}); give each class its id, or correct `root`"
        )
    if len(folders) != IMAGENET_CLASSES:
        raise RobustsegError(
            f"{root} has {len(folders)} folders instead of one for each of ImageNet's "
            f"{IMAGENET_CLASSES} classes; correct `root`"
        )
    rows = sorted(_rows(root, folders), key=lambda row: str(row["image_id"]))
    wanted = settings["images"] or len(rows)
    if len(rows) < max(wanted, 1):
        raise RobustsegError(f"{root} has {len(rows)} images, but {max(wanted, 1)} are wanted")
    names = [row["image_id"] for row in rows]
    twice = [name for name, other in pairwise(names) if name == other]
    if twice:
        raise RobustsegError(f"{root} has two images {twice[0]}; names must be unique")
    shared = {"root": str(root), "class_names": folders}
    shared |= {key: settings[key] for key in ("resize_px", "crop_px")}
    # Spread, since a person's names may have one class after the other.
    write_rows(output, spread(rows, wanted), SCHEMA, shared)
    return wanted


def _rows(root: Path, folders: Sequence[str]) -> Iterator[dict[str, str | int]]:
    for label, folder in enumerate(folders):
        for path in (root / folder).iterdir():
            if path.suffix.lower() in SUFFIXES and not is_hidden(path.name):
                refuse_unprintable(path)
                yield {"image_id": path.stem, "image": f"{folder}/{path.name}", "label": label}


def load_class_folders(path: Path) -> ClassFolders:
    """Open what `list_class_folders` has written.

    Raises:
        RobustsegError: missing or damaged file.
    """
    return open_rows(path, SCHEMA, _dataset, "list of images", "list the data set")


def _dataset(columns: Columns, shared: Shared) -> ClassFolders:
    return ClassFolders(
        root=Path(shared["root"]),
        image_ids=columns["image_id"],
        images=columns["image"],
        labels=columns["label"],
        class_names=shared["class_names"],
        resize_px=shared["resize_px"],
        crop_px=shared["crop_px"],
    )
