"""PASCAL-VOC 2012 and SBD: which images and masks their folders hold."""

from collections.abc import Mapping
from pathlib import Path

from robustseg.data.archives import SBD, VOC
from robustseg.data.manifest import Entry, read_list

LISTS = {
    "voc_train": ("voc2012", f"{VOC}/ImageSets/Segmentation/train.txt"),
    "voc_val": ("voc2012", f"{VOC}/ImageSets/Segmentation/val.txt"),
    "sbd_train": ("sbd", f"{SBD}/train.txt"),
    "sbd_val": ("sbd", f"{SBD}/val.txt"),
    "train_noval": ("train_noval", "train_noval.txt"),
}
"""Archive and path of each list of image ids."""


def voc_lists(root: Path, folders: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the image ids by list, of the archives that are there.

    Args:
        root: folder that all paths are relative to.
        folders: folder of each archive inside it.

    Raises:
        RobustsegError: a list is missing or holds something else.
    """
    return {
        name: read_list(root / folders[archive] / path)
        for name, (archive, path) in LISTS.items()
        if archive in folders
    }


def voc_entries(folders: Mapping[str, str], lists: Mapping[str, list[str]]) -> list[Entry]:
    """Return all images of the lists with their masks, sorted by id."""
    own = {*lists["voc_train"], *lists["voc_val"]}
    with_sbd = {*lists["sbd_train"], *lists["sbd_val"], *lists.get("train_noval", [])}
    voc, sbd = Path(folders["voc2012"], VOC), Path(folders["sbd"], SBD)
    return [
        Entry(
            image_id=name,
            image=voc / "JPEGImages" / f"{name}.jpg"
            if name in own
            else sbd / "img" / f"{name}.jpg",
            mask=voc / "SegmentationClass" / f"{name}.png" if name in own else None,
            sbd_mask=sbd / "cls" / f"{name}.mat" if name in with_sbd else None,
        )
        for name in sorted(own | with_sbd)
    ]
