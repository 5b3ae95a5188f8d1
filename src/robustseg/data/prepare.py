"""From the folders of PASCAL-VOC or ADE20K to a manifest and the two splits that jobs read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from robustseg.data.ade20k import ade20k_entries, ade20k_lists, ade20k_objects
from robustseg.data.labels import LabelPolicy, ade20k_policy, palette, voc_policy
from robustseg.data.manifest import (
    MANIFEST_SCHEMA,
    Entry,
    check_each,
    check_entry,
    write_rows,
    write_split,
)
from robustseg.data.splits import ADE20K_SPLITS, ADE20K_VAL, VOC_SPLITS, VOC_VAL, Split
from robustseg.data.voc import voc_entries, voc_lists
from robustseg.errors import RobustsegError
from robustseg.progress import Progress

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Source:
    """What is in the folders of a data set.

    Attributes:
        entries: every image.
        lists: image ids by list of the archives.
        policy: what the values of its masks mean.
        splits: training splits that can be made of the lists.
        val: the validation split.
    """

    entries: list[Entry]
    lists: Mapping[str, list[str]]
    policy: LabelPolicy
    splits: Mapping[str, Split]
    val: Split


def prepare(
    settings: Settings,
    root: str | Path,
    folders: Mapping[str, str],
    outputs: Mapping[str, str | Path],
    threads: int,
    progress: Progress,
) -> None:
    """Check every image of a data set and write its manifest and its two splits.

    Args:
        settings: its config section, kind `voc` or `ade20k`.
        root: folder that all paths are relative to.
        folders: folder of each archive inside it, "" if that is `root` itself.
        outputs: paths of `manifest`, `train` and `val`, Parquet.
        threads: files read at a time.
        progress: says how far it is.

    Raises:
        RobustsegError: as `check_entry`; a list or folder is missing; a split is empty or has
            not the published number of images.
    """
    root = Path(root)
    source = _source(settings, root, folders)
    splits = _splits(settings, source)
    _check_counts(settings, source, splits, root)
    check = partial(check_entry, root, source.policy)
    sizes = check_each(check, source.entries, threads, progress)
    rows = _rows(source, splits, sizes)
    shared = _shared(settings, source.policy, root)
    write_rows(outputs["manifest"], rows, MANIFEST_SCHEMA, shared)
    for part, split in (("train", source.splits[settings["train_split"]]), ("val", source.val)):
        name = settings[f"{part}_split"]
        chosen = _rows_of(name, split, rows)
        write_split(outputs[part], chosen, shared | {"split": name}, root, threads)
        progress.say(f"{name}: {len(chosen)} images")
    leak = len(splits["val_in_training"])
    progress.say(f"{leak} of {len(splits['val'])} validation images are in the training split")


def _source(settings: Settings, root: Path, folders: Mapping[str, str]) -> Source:
    """Find out what is in the folders of a data set."""
    if settings["kind"] == "ade20k":
        lists = ade20k_lists(root, folders)
        policy = ade20k_policy(settings["background"], ade20k_objects(root, folders))
        entries = ade20k_entries(folders, lists)
        return Source(entries, lists, policy, ADE20K_SPLITS, ADE20K_VAL)
    lists = voc_lists(root, folders)
    possible = {name: split for name, split in VOC_SPLITS.items() if set(split.lists) <= set(lists)}
    policy = voc_policy(settings["void"])
    return Source(voc_entries(folders, lists), lists, policy, possible, VOC_VAL)


def _splits(settings: Settings, source: Source) -> dict[str, set[str]]:
    """Return the image ids of every named split; the leak is that of the chosen training split."""
    splits = {name: split.members(source.lists) for name, split in source.splits.items()}
    train, val = splits[settings["train_split"]], source.val.members(source.lists)
    return splits | {
        "val": val,
        "val_in_training": val & train,
        "val_outside_training": val - train,
    }


def _check_counts(
    settings: Settings, source: Source, splits: Mapping[str, set[str]], root: Path
) -> None:
    """Refuse splits without images, and if asked those without the published number."""
    train = settings["train_split"]
    for name in (train, settings["val_split"]):
        if not splits[name]:
            raise RobustsegError(
                f"the split {name} has no image in {root}; choose another split, or correct `root`"
            )
    for name, published in ((train, source.splits[train].count), ("val", source.val.count)):
        if settings["check_counts"] and len(splits[name]) != published:
            raise RobustsegError(
                f"the split {name} has {len(splits[name])} images in {root} instead of "
                f"{published}; complete the copy, or set `check_counts: false` to use a part"
            )


def _rows(
    source: Source, splits: Mapping[str, set[str]], sizes: Sequence[tuple[int, int]]
) -> list[dict[str, Any]]:
    """Return the rows of the manifest."""
    lists = {name: set(ids) for name, ids in source.lists.items()}
    return [
        {
            "image_id": entry.image_id,
            "image": entry.image.as_posix(),
            "mask": entry.mask and entry.mask.as_posix(),
            "sbd_mask": entry.sbd_mask and entry.sbd_mask.as_posix(),
            "height": height,
            "width": width,
            "lists": [name for name, ids in lists.items() if entry.image_id in ids],
            "splits": [name for name, ids in splits.items() if entry.image_id in ids],
        }
        for entry, (height, width) in zip(source.entries, sizes, strict=True)
    ]


def _rows_of(name: str, split: Split, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of one split, each with the mask that the split uses."""
    return [
        row | {"mask": row["mask" if split.own_masks in row["lists"] else "sbd_mask"]}
        for row in rows
        if name in row["splits"]
    ]


def _shared(settings: Settings, policy: LabelPolicy, root: Path) -> dict[str, Any]:
    """Return what a reader needs besides the rows, see `disk.DiskDataset`."""
    return {
        "root": str(root),
        "class_names": list(policy.class_names),
        "palette": palette(len(policy.class_names)),
        "labels": policy.table().tolist(),
        **{key: settings[key] for key in ("crop_px", "base_px", "padding")},
    }
