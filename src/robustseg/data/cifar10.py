"""CIFAR-10 (Krizhevsky 2009): small photographs of ten classes, to pretrain backbones on."""

import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robustseg.data.archives import ARCHIVES, CIFAR10
from robustseg.data.arrays import ArrayDataset, save_split
from robustseg.data.image_files import MOST_BYTES, image_of, read_image, sentence_of
from robustseg.data.listing import is_hidden
from robustseg.data.splits import CIFAR10_CLASSES, CIFAR10_IMAGES, CIFAR10_SIZE_PX, spread
from robustseg.data.unpacking import members_of
from robustseg.errors import RobustsegError, in_one_line
from robustseg.files import UnfitFileError, open_regular
from robustseg.progress import Progress

FILES = {
    "train": [f"data_batch_{number}.bin" for number in range(1, 6)],
    "test": ["test_batch.bin"],
}
"""Of the published binary version: for each image its label, then red, green and blue by rows."""

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
    for split, name in (("train", "train"), ("val", "test")):
        images, labels, ids = read_split(Path(root), name, progress)
        count = settings[f"{split}_images"]
        # A copy in folders has one class after the other.
        chosen = spread(range(len(ids)), count)
        dataset = ArrayDataset(
            images=images[chosen],
            labels=labels[chosen],
            image_ids=[ids[place] for place in chosen],
            class_names=list(CIFAR10_CLASSES),
            palette=[(0, 0, 0)] * len(CIFAR10_CLASSES),  # there are no maps of classes to be drawn
        )
        save_split(outputs[split], dataset)
        progress.say(f"{split}: {count} images")


def read_split(root: Path, name: str, progress: Progress) -> tuple[Images, Labels, list[str]]:
    """Return images uint8 (N, 32, 32, 3), labels (N,) and ids of `train` or `test`.

    They lie in `cifar-10-batches-bin`, as published, or as image files in `train` and `test`, a
    folder for each class; or these are packed in `cifar10_train.tar.gz` and `cifar10_test.tar.gz`.

    Raises:
        RobustsegError: there is none of this, it is not complete, or a file is damaged.
    """
    binary, folders = root / CIFAR10, root / name
    packed = root / f"cifar10_{name}.tar.gz"
    if binary.is_dir():
        return _read_binary(binary, name)
    if all((folders / name).is_dir() for name in CIFAR10_CLASSES):
        return _stack(_read_folders(folders), folders, name, progress)
    if packed.is_file():
        return _stack(_read_packed(packed), packed, name, progress)
    raise RobustsegError(
        f"{root} has neither {binary.name}, nor {name} with a folder for each class, nor "
        f"{packed.name}; correct `root`"
    )


def _read_binary(folder: Path, name: str) -> tuple[Images, Labels, list[str]]:
    """Read the published files of a split."""
    count = CIFAR10_IMAGES[name] // len(FILES[name])
    rows = np.concatenate([_read_rows(folder / file, count) for file in FILES[name]])
    labels, planes = np.split(rows, [1], axis=1)
    images = planes.reshape(-1, 3, CIFAR10_SIZE_PX, CIFAR10_SIZE_PX).transpose(0, 2, 3, 1)
    return images, labels[:, 0], [f"{name}-{place:05d}" for place in range(len(images))]


def _read_rows(path: Path, count: int) -> Images:
    """Return what one of the published files holds, (count, 1 + 3 * 32 * 32)."""
    size = 1 + 3 * CIFAR10_SIZE_PX**2
    try:
        with open_regular(path, MOST_BYTES) as opened:
            content = np.frombuffer(opened.read(), np.uint8)
        if len(content) != count * size:
            raise UnfitFileError(f"has {len(content):,} bytes instead of {count * size:,}")
        rows = content.reshape(count, size)
        if (label := rows[:, 0].max()) >= len(CIFAR10_CLASSES):
            raise UnfitFileError(
                f"has the label {label}, but there are {len(CIFAR10_CLASSES)} classes"
            )
    except (OSError, UnfitFileError) as error:
        reason = f"cannot be read ({error.strerror})" if isinstance(error, OSError) else error
        raise RobustsegError(f"{path} {reason}; restore it from the archive") from error
    return rows


def _read_folders(folder: Path) -> Iterator[tuple[str, Path, Image.Image]]:
    """Yield class, name and image of each file in the folders of the classes."""
    for class_name in CIFAR10_CLASSES:
        for path in sorted((folder / class_name).glob("*.*")):
            if not is_hidden(path.name):
                yield class_name, path, read_image(path)


def _read_packed(archive: Path) -> Iterator[tuple[str, Path, Image.Image]]:
    """Yield the same of each file in an archive of such folders."""
    for member in members_of(archive, ARCHIVES["cifar10"].limit_bytes):
        path = archive / member.name
        if member.blocks is None or is_hidden(path.name):
            continue
        content = io.BytesIO(b"".join(member.blocks))
        try:
            image = image_of(content)
        except Exception as error:
            raise RobustsegError(f"{in_one_line(path)} {sentence_of(error)}") from error
        yield path.parent.name, path, image


def _stack(
    found: Iterable[tuple[str, Path, Image.Image]], where: Path, name: str, progress: Progress
) -> tuple[Images, Labels, list[str]]:
    """Return all images of a split, sorted by class and name."""
    images = {}
    for class_name, path, image in progress.track(found, CIFAR10_IMAGES[name], "images"):
        if class_name not in CIFAR10_CLASSES:
            raise RobustsegError(
                f"{path} is in the folder {class_name}, which is not a class of CIFAR-10; remove it"
            )
        if image.size != (CIFAR10_SIZE_PX, CIFAR10_SIZE_PX):
            raise RobustsegError(
                f"{path} has {image.width}x{image.height} pixels instead of "
                f"{CIFAR10_SIZE_PX}x{CIFAR10_SIZE_PX}; restore it"
            )
        images[class_name, path.stem] = np.asarray(image)
    if len(images) != CIFAR10_IMAGES[name]:
        raise RobustsegError(
            f"{where} has {len(images)} images in the folders of CIFAR-10's classes instead of "
            f"{CIFAR10_IMAGES[name]}; complete the copy"
        )
    names = sorted(images)
    labels = np.array([CIFAR10_CLASSES.index(class_name) for class_name, _ in names], np.uint8)
    return np.stack([images[one] for one in names]), labels, ["/".join(one) for one in names]
