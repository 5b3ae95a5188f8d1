"""ADE20K of the scene parsing challenge: which images and masks its folder holds."""

from collections.abc import Mapping
from pathlib import Path

from robustseg.data.archives import ADE20K
from robustseg.data.listing import is_hidden, refuse_unprintable
from robustseg.data.manifest import Entry
from robustseg.errors import RobustsegError, reason_of
from robustseg.text_files import LONGEST_LIST_BYTES, text_of

FOLDERS = {"train": "training", "val": "validation"}
OBJECTS = "objectInfo150.txt"
OBJECT_COUNT = 150


def ade20k_lists(root: Path, folders: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the image ids by list, sorted, from the images that are there.

    # RELEASED CODE: takes them in the order in which the file system lists them.

    Raises:
        RobustsegError: see `refuse_unprintable`.
    """
    images = root / folders["ade20k"] / ADE20K / "images"
    found = {
        name: sorted(path for path in (images / folder).glob("*.jpg") if not is_hidden(path.name))
        for name, folder in FOLDERS.items()
    }
    for paths in found.values():
        for path in paths:
            refuse_unprintable(path)
    return {name: [path.stem for path in paths] for name, paths in found.items()}


def ade20k_entries(folders: Mapping[str, str], lists: Mapping[str, list[str]]) -> list[Entry]:
    """Return all images of the lists with their masks."""
    top = Path(folders["ade20k"], ADE20K)
    return [
        Entry(
            image_id=image_id,
            image=top / "images" / folder / f"{image_id}.jpg",
            mask=top / "annotations" / folder / f"{image_id}.png",
        )
        for name, folder in FOLDERS.items()
        for image_id in lists[name]
    ]


def ade20k_objects(root: Path, folders: Mapping[str, str]) -> list[str]:
    """Return the first name of each of the 150 objects, in the order of their values.

    Raises:
        RobustsegError: the archive's table of objects is missing or another.
    """
    path = root / folders["ade20k"] / ADE20K / OBJECTS
    try:
        _, *lines = text_of(path, LONGEST_LIST_BYTES).splitlines()
    except (OSError, ValueError) as error:
        raise RobustsegError(
            f"{path} is missing or damaged ({reason_of(error)}); restore it from the archive, or "
            f"let `root` be the folder that {ADE20K} lies in"
        ) from error
    names = [line.split("\t")[-1].split(",")[0].strip() for line in lines if line.strip()]
    if len(set(names)) != OBJECT_COUNT:
        raise RobustsegError(
            f"{path} names {len(set(names))} objects instead of {OBJECT_COUNT}; "
            "restore the one of the archive"
        )
    return names
