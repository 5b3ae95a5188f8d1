"""ADE20K and PASCAL-VOC as their archives unpack, opened to evaluate a model on them."""

from functools import partial
from pathlib import Path

from robustseg.data.ade20k import ade20k_entries, ade20k_lists, ade20k_objects
from robustseg.data.disk import DiskDataset, read_by_policy
from robustseg.data.labels import ade20k_policy, palette, voc_policy
from robustseg.data.manifest import read_list
from robustseg.data.splits import ADE20K_CLASSES
from robustseg.data.transforms import Whole
from robustseg.data.voc import LISTS, voc_entries
from robustseg.errors import RobustsegError


def open_published(
    kind: str, root: str | Path, num_classes: int | None = None, resize_px: int | None = None
) -> DiskDataset:
    """Open the validation images of a published data set, whole; they are read when asked for.

    Args:
        kind: `ade20k` or `voc`.
        root: the folder that ADEChallengeData2016 or VOCdevkit lies in.
        num_classes: of `ade20k` 150, the usual way: pixels of no object are ignored; or 151: they
            are a class, the first (the paper). None: 150, and 21 of `voc`.
        resize_px: length of the short side to which images are resized; None: as they are.

    Raises:
        RobustsegError: no such data set there, or another number of classes.
    """
    top = Path(root)
    if kind == "ade20k":
        background = {count: word for word, count in ADE20K_CLASSES.items()}
        if (num_classes or 150) not in background:
            raise RobustsegError(f"ade20k has 150 or 151 classes, not {num_classes}")
        folders = {"ade20k": ""}
        policy = ade20k_policy(background[num_classes or 150], ade20k_objects(top, folders))
        entries = ade20k_entries(folders, ade20k_lists(top, folders) | {"train": []})
    else:
        policy = voc_policy("ignore")
        if num_classes not in (None, len(policy.class_names)):
            raise RobustsegError(f"voc has {len(policy.class_names)} classes, not {num_classes}")
        val = read_list(top / LISTS["voc_val"][1])
        ids = {"voc_train": [], "voc_val": val, "sbd_train": [], "sbd_val": []}
        entries = voc_entries({"voc2012": "", "sbd": ""}, ids)
    if not entries:
        raise RobustsegError(f"{root} holds no validation image of {kind}; unpack its archive")
    return DiskDataset(
        root=top,
        image_ids=[entry.image_id for entry in entries],
        images=[entry.image.as_posix() for entry in entries],
        masks=[str(entry.mask) for entry in entries],
        class_names=list(policy.class_names),
        palette=palette(len(policy.class_names)),
        read_labels=partial(read_by_policy, policy),
        views=Whole(resize_px),
    )
