"""CIFAR-10 (Krizhevsky 2009): small photographs of ten classes, to pretrain backbones on."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustseg.data.archives import CIFAR10
from robustseg.data.arrays import ArrayDataset, save_split
from robustseg.data.image_files import read_image
from robustseg.data.splits import CIFAR10_CLASSES, CIFAR10_IMAGES, CIFAR10_SIZE_PX
from robustseg.data.unpacking import unpack
from robustseg.errors import RobustsegError
from robustseg.progress import Progress

FILES = {
    "train": [f"data_batch_{number}.bin" for number in range(1, 6)],
    "test": ["test_batch.bin"],
}
"""Of the published binary version: for each image its label, then red, green and blue by rows."""
LIMIT_BYTES = 10**9
"""Beyond which an archive of a split cannot be the right one."""

Images = NDArray[np.uint8]
Labels = NDArray[np.uint8]


def prepare_cifar10(
    settings: Mapping[str, Any],
    root: str | Path,
    outputs: Mapping[str, str | Path],
    progress: Progress,
) -> None:
    """Read CIFAR-10 and write both splits as .npz.

    Args:
        settings: its config section, kind `cifar10`.
        root: folder of a copy, see `read_split`.
        outputs: paths of `train` and `val`.
        progress: says how far it is.

    Raises:
        RobustsegError: a split is not there or not complete, or damaged.
    """
    work = Path(outputs["train"]).with_name("unpacked")
    for split, name in (("train", "train"), ("val", "test")):
        images, labels, ids = read_split(Path(root), name, work, progress)
        count = settings[f"{split}_images"]
        # Evenly spread: a copy in folders has one class after the other.
        chosen = [place * len(ids) // count for place in range(count)]
        dataset = ArrayDataset(
            images=images[chosen],
            labels=labels[chosen],
            image_ids=[ids[place] for place in chosen],
            class_names=list(CIFAR10_CLASSES),
            palette=[(0, 0, 0)] * len(CIFAR10_CLASSES),  # there are no maps of classes to be drawn
        )
        save_split(outputs[split], dataset)
        progress.say(f"{split}: {count} images")
    shutil.rmtree(work, ignore_errors=True)


def read_split(
    root: Path, name: str, work: Path, progress: Progress
) -> tuple[Images, Labels, list[str]]:
    """Return images uint8 (N, 32, 32, 3), labels (N,) and ids of `train` or `test`.

    They lie in `cifar-10-batches-bin`, as published, or as image files in `train` and `test`, a
    folder for each class. Or `train` is packed in `cifar10_train.tar.gz`, which is unpacked into
    `work`, and so is `test`.

    Raises:
        RobustsegError: there is none of this, it is not complete, or a file is damaged.
    """
    binary, folders = root / CIFAR10, root / name
    packed = root / f"cifar10_{name}.tar.gz"
    if packed.is_file():
        unpacked = unpack(packed, work / name, limit_bytes=LIMIT_BYTES, progress=progress)
        folders = unpacked / name
    if binary.is_dir():
        return _read_binary(binary, name)
    if folders.is_dir():
        return _read_folders(folders, name, progress)
    raise RobustsegError(
        f"{root} has neither {binary.name}, nor {name} with a folder for each class, nor "
        f"{packed.name}; correct `root`"
    )


def _read_binary(folder: Path, name: str) -> tuple[Images, Labels, list[str]]:
    """Read the published files of a split."""
    try:
        rows = np.concatenate([np.fromfile(folder / file, np.uint8) for file in FILES[name]])
    except OSError as error:
        raise RobustsegError(
            f"{error.filename} cannot be read ({error.strerror}); restore it from the archive"
        ) from error
    pixels = 3 * CIFAR10_SIZE_PX**2
    if len(rows) != CIFAR10_IMAGES[name] * (1 + pixels):
        raise RobustsegError(
            f"{folder} has {len(rows):,} bytes of the {name} split instead of "
            f"{CIFAR10_IMAGES[name] * (1 + pixels):,}; restore it from the archive"
        )
    labels, planes = np.split(rows.reshape(CIFAR10_IMAGES[name], 1 + pixels), [1], axis=1)
    if labels.max() >= len(CIFAR10_CLASSES):
        raise RobustsegError(
            f"{folder} has the label {labels.max()}, but there are {len(CIFAR10_CLASSES)} classes; "
            "restore it from the archive"
        )
    images = planes.reshape(-1, 3, CIFAR10_SIZE_PX, CIFAR10_SIZE_PX).transpose(0, 2, 3, 1)
    return images, labels[:, 0], [f"{name}-{place:05d}" for place in range(len(images))]


def _read_folders(folder: Path, name: str, progress: Progress) -> tuple[Images, Labels, list[str]]:
    """Read a split of image files, sorted by class and name."""
    files = [
        (label, path)
        for label, class_name in enumerate(CIFAR10_CLASSES)
        for path in sorted((folder / class_name).glob("*.*"))
    ]
    if len(files) != CIFAR10_IMAGES[name]:
        raise RobustsegError(
            f"{folder} has {len(files)} images in the folders of CIFAR-10's classes instead of "
            f"{CIFAR10_IMAGES[name]}; complete the copy"
        )
    images = np.empty((len(files), CIFAR10_SIZE_PX, CIFAR10_SIZE_PX, 3), np.uint8)
    for place, (_, path) in enumerate(progress.track(files, len(files), "images")):
        image = read_image(path)
        if image.size != (CIFAR10_SIZE_PX, CIFAR10_SIZE_PX):
            raise RobustsegError(f"{path} has {image.width}x{image.height} pixels instead of 32x32")
        images[place] = np.asarray(image)
    labels = np.array([label for label, _ in files], np.uint8)
    return images, labels, [f"{CIFAR10_CLASSES[label]}/{path.stem}" for label, path in files]
