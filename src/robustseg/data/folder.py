"""Anybody's images and masks: opened as they lie there, or checked and listed for the workflow."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from robustseg.data.classes import Classes, ignored_values, read_classes
from robustseg.data.disk import DiskDataset, mask_labels
from robustseg.data.image_files import read_pair, resized_px, unturned_size_px
from robustseg.data.labels import palette
from robustseg.data.listing import Ids, Pair, examples, list_pairs
from robustseg.data.manifest import MANIFEST_SCHEMA, check_each, write_rows, write_split
from robustseg.data.masks import MaskLabels
from robustseg.data.transforms import Views, Whole
from robustseg.errors import RobustsegError, in_one_line
from robustseg.progress import Progress

Rows = list[dict[str, Any]]
SPLITS = {"train": "train_", "val": ""}
"""What the keys of each split begin with."""


def open_folder(
    images: str | PathLike[str],
    masks: str | PathLike[str],
    *,
    classes: int | str | PathLike[str] | Sequence[str],
    values: str | Sequence[int] | None = None,
    ignore: int | str | Sequence[int] | None = 255,
    ids: Ids | None = None,
    resize_px: int | None = None,
    interpolation: str = "bilinear",
) -> DiskDataset:
    """Open a folder of images and a folder of masks to evaluate a model on them.

    Files are listed now and read when a batch is asked for. Images keep their own sizes, which
    may differ: `sizes_px` says which can share a batch.

    Args:
        images: PNG, JPEG, WebP, TIFF or BMP, in folders or not. An image's id is its path in here
            without the suffix.
        masks: one for each image, with the same id: whole numbers (8 or 16 bits, a palette, one
            bit), or colours (RGB) if the classes have them.
        classes: how many there are, a text file with one class a line, or such lines: `name`, or
            `name R G B` with its colour.
        values: the number of each class in the masks, in this order: `1-150`, `7,8,11-13`, or a
            list; None: 0, 1, ... Labels count from 0 in any case.
        ignore: values of the masks whose pixels are left out; None for none, "others" for all that
            are no class. In masks of colours the place of the colour, from 0.
        ids: the images to take, a text file with one id a line, or the ids; all by default.
        resize_px: length of the short side to which images are resized; None: as they are.
        interpolation: of that, `bilinear` or `bicubic`; masks take the nearest pixel.

    Raises:
        RobustsegError: a folder or file is missing, images and masks do not fit each other, or
            what `read_classes` or `ignored_values` refuses.
    """
    known = read_classes(classes, values)
    pairs = list_pairs(images, masks, ids)
    return DiskDataset(
        root=Path(),
        image_ids=[pair.image_id for pair in pairs],
        images=[pair.image.as_posix() for pair in pairs],
        masks=[pair.mask.as_posix() for pair in pairs],
        class_names=known.names,
        palette=_palette(known),
        read_labels=MaskLabels(known, ignored_values(ignore, known)).read,
        views=Whole(resize_px, interpolation),
        size_of=unturned_size_px,
    )


def _palette(classes: Classes) -> list[tuple[int, int, int]]:
    return classes.colours or palette(len(classes.names))


def prepare_folder(
    settings: Mapping[str, Any],
    outputs: Mapping[str, str | Path],
    threads: int,
    progress: Progress,
) -> None:
    """Check every image and mask of a data set and write its manifest and its two splits.

    Args:
        settings: its config section, kind `folder`.
        outputs: paths of `manifest`, `train` and `val`, Parquet; `train` has no rows if there is
            no training split.
        threads: files read at a time.
        progress: says how far it is.

    Raises:
        RobustsegError: as `open_folder`; an image or mask is damaged, or no such thing; or no
            pixel of a split has a label.
    """
    pairs = {
        split: _pairs(settings, prefix) if settings[f"{prefix}images"] else []
        for split, prefix in SPLITS.items()
    }
    write_splits(pairs, settings, outputs, threads, progress)


def write_splits(
    pairs: Mapping[str, Sequence[Pair]],
    settings: Mapping[str, Any],
    outputs: Mapping[str, str | Path],
    threads: int,
    progress: Progress,
) -> None:
    """Check the images and masks of `train` and `val`, and write the manifest and both splits.

    Args:
        pairs: of each split; none to train on if there is no such split.
        settings: classes, values, ignore, resize_px, interpolation, crop_px, base_px, padding, as
            of kind `folder`.
        outputs, threads, progress: see `prepare_folder`.

    Raises:
        RobustsegError: an image or mask is damaged, or no such thing; no pixel of a split has a
            label; or an image would be too large once it is resized.
    """
    shared = _shared(settings)
    rows = _checked_rows(pairs, mask_labels(shared), threads, progress)
    for split in SPLITS:
        _refuse_large(split, rows[split], shared)
    write_rows(outputs["manifest"], [*rows["train"], *rows["val"]], MANIFEST_SCHEMA, shared)
    for split in SPLITS:
        about = shared | {"split": split}
        write_split(outputs[split], rows[split], about, Path(shared["root"]), threads)
        progress.say(f"{split}: {len(rows[split])} images")


def _pairs(settings: Mapping[str, Any], prefix: str) -> list[Pair]:
    return list_pairs(*(settings[f"{prefix}{key}"] for key in ("images", "masks", "ids")))


def _shared(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a reader needs besides the rows, see `disk.DiskDataset`."""
    classes = read_classes(settings["classes"], settings["values"])
    keys = ("resize_px", "interpolation", "crop_px", "base_px", "padding")
    return {
        "root": ".",
        "class_names": classes.names,
        "palette": _palette(classes),
        "coloured": classes.colours is not None,
        "values": classes.values,
        "ignore": ignored_values(settings["ignore"], classes),
        **{key: settings[key] for key in keys},
    }


def _checked_rows(
    pairs: Mapping[str, Sequence[Pair]], masks: MaskLabels, threads: int, progress: Progress
) -> dict[str, Rows]:
    """Read every image and mask once, and return the rows of each split."""
    found: dict[Path, set[int]] = {}
    pixels: dict[Path, bytes] = {}

    def check(pair: Pair) -> tuple[int, int]:
        image, labels = read_pair(pair.image, pair.mask, masks.read)
        found[pair.mask] = set(np.unique(labels).tolist()) - {masks.ignored}
        pixels[pair.image] = sha256(repr(image.size).encode() + image.tobytes()).digest()
        return unturned_size_px(pair.image)

    sizes = iter(check_each(check, [*pairs["train"], *pairs["val"]], threads, progress))
    for split in SPLITS:
        by_mask = {pair.mask: found[pair.mask] for pair in pairs[split]}
        _say_unlabelled(split, by_mask, progress)
        _say_absent(split, by_mask, masks.classes.names, progress)
    _say_leak(pairs, pixels, progress)
    return {split: [_row(pair, split, *next(sizes)) for pair in pairs[split]] for split in SPLITS}


def _say_unlabelled(split: str, found: Mapping[Path, set[int]], progress: Progress) -> None:
    """Say how many masks of a split have no label; refuse it if there are no others."""
    without = [mask for mask, labels in found.items() if not labels]
    if without and len(without) == len(found):
        raise RobustsegError(
            f"no pixel of the split {split} has a label: {len(found)} of {len(found)} masks, first "
            f"{in_one_line(without[0])}, hold ignored values alone; correct `values`, `classes` or "
            "`ignore`, or the masks"
        )
    if without:
        progress.say(f"{split}: {len(without)} of {len(found)} images have no label")


def _say_absent(
    split: str, found: Mapping[Path, set[int]], names: Sequence[str], progress: Progress
) -> None:
    """Say which classes no pixel of a split has: with 255 for 1, as many masks have, all but 0."""
    seen = set().union(*found.values())
    absent = [name for label, name in enumerate(names) if label not in seen]
    if found and absent:
        progress.say(
            f"{split}: no pixel of {len(absent)} of the {len(names)} classes ({examples(absent)})"
        )


def _say_leak(
    pairs: Mapping[str, Sequence[Pair]], pixels: Mapping[Path, bytes], progress: Progress
) -> None:
    """Say how many validation images are trained on, by their pixels: a copy is the same image."""
    trained = {pixels[pair.image] for pair in pairs["train"]}
    leak = [pair.image_id for pair in pairs["val"] if pixels[pair.image] in trained]
    if trained:
        which = f" ({examples(leak)})" if leak else ""
        progress.say(
            f"{len(leak)} of {len(pairs['val'])} validation images are in the training split{which}"
        )


def _refuse_large(split: str, rows: Rows, shared: Mapping[str, Any]) -> None:
    """Refuse an image that would be too large once it is resized for its split."""
    for row in rows:
        size_px = row["height"], row["width"]
        try:
            if split == "train":
                Views(shared["crop_px"], shared["base_px"], padding_label=0).refuse_large(size_px)
            else:
                resized_px(size_px, shared["resize_px"])
        except RobustsegError as error:
            raise RobustsegError(f"{in_one_line(row['image'])}: {error}") from error


def _row(pair: Pair, split: str, height: int, width: int) -> dict[str, Any]:
    return {
        "image_id": pair.image_id,
        "image": pair.image.as_posix(),
        "mask": pair.mask.as_posix(),
        "sbd_mask": None,
        "height": height,
        "width": width,
        "lists": [],
        "splits": [split],
    }
