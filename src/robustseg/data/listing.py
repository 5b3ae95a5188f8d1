"""Which images and masks are in anybody's folders, and which belong together. Imports no torch."""

import hashlib
import math
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from glob import escape
from itertools import pairwise
from os import PathLike
from pathlib import Path
from typing import Any
from unicodedata import normalize

from robustseg.errors import RobustsegError, in_one_line, reason_of
from robustseg.text_files import LONGEST_LIST_BYTES, text_of

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""Of images and masks, in small letters or capitals; other files are left alone."""
EXAMPLES = 3
"""Names that a sentence shows of many."""
LOOKED_AT = 16
"""Images whose size is looked at to estimate work."""
USUAL_PX = 512
"""Side of an image where there is none to look at."""

Ids = str | PathLike[str] | Sequence[str]
"""A text file with one image id a line, or the ids."""
Files = dict[str, list[Path]]


@dataclass(frozen=True)
class Pair:
    """An image and its mask."""

    image_id: str
    image: Path
    mask: Path


def list_pairs(
    images: str | PathLike[str], masks: str | PathLike[str], ids: Ids | None = None
) -> list[Pair]:
    """Return images with their masks, sorted by id.

    Args:
        images: folder of images, and of folders of images. The id of an image is its path in
            there without the suffix, with "/" between folders.
        masks: folder of masks with the same ids.
        ids: the images to take; all by default.

    Raises:
        RobustsegError: a folder or list is missing, there is no image, an image or mask lacks the
            other, or two files have the same id. With `ids`, only of those.
    """
    image_files, mask_files = files_by_id(images), files_by_id(masks)
    if not image_files:
        raise RobustsegError(f"{images} has no image ({', '.join(SUFFIXES)}); correct the folder")
    if ids is None:
        wanted = sorted({*image_files, *mask_files})
        _refuse_lonely(images, masks, image_files, mask_files)
    else:
        wanted = read_ids(ids)
        _refuse_absent(wanted, images, image_files, "image")
        _refuse_absent(wanted, masks, mask_files, "mask")
    for files in (image_files, mask_files):
        _refuse_twice(wanted, files)
    return [Pair(name, image_files[name][0], mask_files[name][0]) for name in wanted]


def files_by_id(folder: str | PathLike[str]) -> Files:
    """Return the files with one of `SUFFIXES` in a folder and the folders in it, by id.

    What is hidden (`is_hidden`) is left alone; links are followed.

    Raises:
        RobustsegError: the folder, or one in it, is missing or cannot be read, or is there twice
            because of a link; or a name is no printable UTF-8.
    """

    def refuse(error: OSError) -> None:
        raise RobustsegError(
            f"the folder {in_one_line(error.filename)} is missing or cannot be read "
            f"({error.strerror}); correct its path, or the permissions"
        ) from error

    top, files, seen = Path(folder), Files(), dict[tuple[int, int], str]()
    refuse_unprintable(top)
    for path, folders, names in os.walk(top, onerror=refuse, followlinks=True):
        about = Path(path).stat()
        first = seen.setdefault((about.st_dev, about.st_ino), path)
        if first != path:  # else links that go round never end
            raise RobustsegError(
                f"{in_one_line(path)} is the same folder as {in_one_line(first)}; remove the link"
            )
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        for name in sorted(names):
            file = Path(path, name)
            if not is_hidden(name) and file.suffix.lower() in SUFFIXES:
                refuse_unprintable(file)
                image_id = file.relative_to(top).with_suffix("").as_posix()
                files.setdefault(as_id(image_id), []).append(file)
    return files


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is hidden, such as `._a.jpg`, which macOS puts beside a.jpg.

    Whatever lists images leaves it alone.
    """
    return name.startswith(".")


def as_id(name: str) -> str:
    """Return a name as image ids have it: an accent may be a character of its own or not (NFC).

    A file that was on a Mac may have it the other way than its mask, or than a list of ids.
    """
    return normalize("NFC", name)


def refuse_unprintable(file: Path) -> None:
    """Refuse a name that lists and tables could not hold.

    Raises:
        RobustsegError: the file's path has line breaks or the like, or is not UTF-8.
    """
    if in_one_line(file) != str(file):
        raise RobustsegError(
            f"the name {in_one_line(file)} has line breaks or other control characters, or is not "
            "UTF-8; rename it"
        )


def read_ids(ids: Ids) -> list[str]:
    """Return image ids, sorted.

    Raises:
        RobustsegError: the file cannot be read, there is none, or one is there twice.
    """
    where = "`ids`"
    if isinstance(ids, str | PathLike):
        where = f"the list of ids {in_one_line(ids)}"
        try:
            lines = text_of(Path(ids), LONGEST_LIST_BYTES).splitlines()
        except (OSError, ValueError) as error:
            raise RobustsegError(
                f"{where} is missing or not text ({reason_of(error)}); it should have one image "
                "id a line"
            ) from error
        ids = [line.strip() for line in lines if line.strip()]
    if not isinstance(ids, Sequence) or not all(isinstance(name, str) for name in ids):
        raise RobustsegError(f"{where} should be a file or a list of texts, the ids of images")
    names = sorted(map(as_id, ids))
    twice = [name for name, other in pairwise(names) if name == other]
    if twice or not names:
        problem = f"names {examples(twice)} twice; name each once" if twice else "is empty"
        raise RobustsegError(f"{where} {problem}")
    return names


def _refuse_lonely(
    images: str | PathLike[str],
    masks: str | PathLike[str],
    image_files: Files,
    mask_files: Files,
) -> None:
    """Refuse images without a mask and masks without an image."""
    no_mask = sorted(set(image_files) - set(mask_files))
    no_image = sorted(set(mask_files) - set(image_files))
    lacks = []
    if no_mask:
        count = f"{len(no_mask)} of the {len(image_files)} images in {images}"
        lacks.append(f"{count} without a mask in {masks} ({examples(no_mask)})")
        how = "masks as PNG, with the number of the class at each pixel"
        _refuse_foreign(masks, no_mask, "mask", how)
    if no_image:
        count = f"{len(no_image)} of the {len(mask_files)} masks in {masks}"
        lacks.append(f"{count} without an image in {images} ({examples(no_image)})")
        _refuse_foreign(images, no_image, "image", "images as PNG")
    if lacks:
        raise RobustsegError(
            f"there are {' and '.join(lacks)}; a mask has the name of its image except for the "
            "suffix: rename them, or list the images to use in `ids`"
        )


def _refuse_foreign(folder: str | PathLike[str], ids: Sequence[str], what: str, how: str) -> None:
    """Refuse what has the right name and is of no known format, such as an array or a HEIC."""
    first = Path(folder, ids[0])
    found = sorted(first.parent.glob(f"{escape(first.name)}.*")) if first.parent.is_dir() else []
    foreign = [file for file in found if file.stem == first.name and file.is_file()]
    if foreign:
        raise RobustsegError(
            f"the {what} {in_one_line(foreign[0])} is none of {', '.join(SUFFIXES)}; save the {how}"
        )


def _refuse_absent(
    wanted: Collection[str], folder: str | PathLike[str], files: Files, what: str
) -> None:
    """Refuse ids without a file."""
    absent = [name for name in wanted if name not in files]
    if absent:
        raise RobustsegError(
            f"{len(absent)} of the {len(wanted)} ids have no {what} in {folder} "
            f"({examples(absent)}); an id is a file's path in that folder without its suffix: "
            "correct `ids` or the folder"
        )


def _refuse_twice(wanted: Iterable[str], files: Files) -> None:
    """Refuse ids that several files have."""
    twice = [files[name] for name in wanted if len(files[name]) > 1]
    if twice:
        first, second, *_ = twice[0]
        raise RobustsegError(
            f"{first} and {second} have the same id"
            + (f", and so have the files of {len(twice) - 1} more ids" if twice[1:] else "")
            + "; keep one file for each name without its suffix, and masks in a folder of their own"
        )


def examples(names: Sequence[str]) -> str:
    """Return the first of some names."""
    return ", ".join(map(in_one_line, names[:EXAMPLES])) + (", …" if len(names) > EXAMPLES else "")


def _bytes(path: Path) -> int:
    """Return the size of a file, 0 where a link leads nowhere, or where none can be seen."""
    with suppress(OSError):
        return path.stat().st_size
    return 0


def settings_fingerprint(settings: Mapping[str, Any]) -> str:
    """Return 16 hexadecimal digits that follow from what a section of kind `folder` is about.

    They follow from the lists of ids, and the names and sizes of all files.

    Raises:
        RobustsegError: a folder or a list is missing.
    """
    files: list[Path] = []
    lists: list[list[str]] = []
    for prefix in ("", "train_"):
        ids = settings[f"{prefix}ids"]
        wanted = read_ids(ids) if ids else None
        lists += [] if wanted is None else [wanted]
        for folder in filter(None, (settings[f"{prefix}images"], settings[f"{prefix}masks"])):
            there = files_by_id(folder)
            listed = there if wanted is None else there.keys() & set(wanted)
            files += [path for image_id in listed for path in there[image_id]]
    states = sorted(f"{path.as_posix()} {_bytes(path)}" for path in files)
    return hashlib.sha256("\n".join([str(lists), *states]).encode()).hexdigest()[:16]


@lru_cache
def count_images(images: str, ids: str | None) -> int:
    """Return how many images a split has, without a look at its masks; asked once a process.

    Raises:
        RobustsegError: the folder or the list is missing.
    """
    return len(read_ids(ids) if ids else files_by_id(images))


@lru_cache
def mean_side_px(images: str, ids: str | None, resize_px: int | None) -> int:
    """Return the side of a square as large as the images on average, as they are evaluated.

    # ASSUME: a few of them, evenly spread, tell enough to estimate work. What is no image is left
    out here: the job that checks all of them says so.

    Raises:
        RobustsegError: the folder or the list is missing.
    """
    from robustseg.data.image_files import image_size_px, resized_px  # planning alone needs it

    files = files_by_id(images)
    wanted = [name for name in (read_ids(ids) if ids else files) if name in files]
    sizes = []
    for name in wanted[:: -(-len(wanted) // LOOKED_AT) or 1]:
        with suppress(RobustsegError):
            sizes.append(resized_px(image_size_px(files[name][0]), resize_px))
    if not sizes:
        return USUAL_PX
    return round(math.sqrt(sum(height * width for height, width in sizes) / len(sizes)))
