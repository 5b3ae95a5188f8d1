"""The splits of published data sets: for PASCAL-VOC and ADE20K sets of their archives' lists."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

Item = TypeVar("Item")
Lists = Mapping[str, Collection[str]]
"""Image ids by list: voc_train, voc_val, sbd_train, sbd_val, train_noval; train, val."""


@dataclass(frozen=True)
class Split:
    """A named set of images.

    Attributes:
        lists: names of the lists that it is made of.
        count: images that it has in the published data.
        own_masks: list whose images have the data set's own masks; the others have SBD's.
        without: list whose images it leaves out.
    """

    lists: tuple[str, ...]
    count: int
    own_masks: str | None = None
    without: str | None = None

    def members(self, lists: Lists) -> set[str]:
        """Return the ids of its images."""
        found = {image_id for name in self.lists for image_id in lists[name]}
        return found - set(lists[self.without]) if self.without else found


VOC_SPLITS = {
    # App. B.2: "8498 images"
    "paper_8498": Split(("sbd_train",), 8498),
    # RELEASED CODE: SBD's training and validation images.
    "released_11355": Split(("sbd_train", "sbd_val"), 11355),
    # What most of the literature calls train_aug; no image of VOC val.
    # ASSUME: the images of VOC train keep VOC's finer masks, void included.
    "train_aug_10582": Split(
        ("voc_train", "sbd_train", "sbd_val"), 10582, own_masks="voc_train", without="voc_val"
    ),
    # SBD's training images without those of VOC 2012.
    "noleak_5623": Split(("train_noval",), 5623),
}
"""Training splits of PASCAL-VOC; the number in the name is that of the images."""
VOC_VAL = Split(("voc_val",), 1449, own_masks="voc_val")
VOC_VAL_SPLITS = ("val", "val_in_training", "val_outside_training")
"""All of VOC val, and its images inside and outside the training split: the leak."""
ADE20K_SPLITS = {"train": Split(("train",), 20210, own_masks="train")}
ADE20K_VAL = Split(("val",), 2000, own_masks="val")
ADE20K_CLASSES = {"ignore": 150, "class": 151}
"""How many there are, by what becomes of the pixels of no object."""
CAMVID_IMAGES = {"train": 367, "test": 233}
"""SegNet's choice of CamVid's photographs (arXiv 1511.00561)."""
CAMVID_CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian",
    "bicyclist",
)  # fmt: skip
"""Likewise, in the order of its masks' values."""
CAMVID_SIZE_PX = (360, 480)
"""Height and width of each."""
CIFAR10_IMAGES = {"train": 50_000, "test": 10_000}
CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
"""In the order of the published labels."""
CIFAR10_SIZE_PX = 32
"""Height and width of each image."""


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """Return `count` of some items, evenly spread over them."""
    return [items[place * len(items) // count] for place in range(count)]


def archives_of(settings: Mapping[str, Any]) -> list[str]:
    """Return the archives that a data set needs, by their names in `archives.ARCHIVES`.

    Args:
        settings: its config section, of a kind that is downloaded.
    """
    if settings["kind"] != "voc":
        return ["segnet_camvid" if settings["kind"] == "camvid" else settings["kind"]]
    listed = "train_noval" in VOC_SPLITS[settings["train_split"]].lists
    return ["voc2012", "sbd", *(["train_noval"] if listed else [])]
