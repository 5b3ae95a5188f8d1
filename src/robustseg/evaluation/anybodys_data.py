"""Anybody's images and labels as batches: loaders, data sets, lists of pairs, arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustseg.attacks.inputs import as_id, as_images, as_labels, refuse_swapped, shape_of
from robustseg.attacks.outcomes import Batch
from robustseg.attacks.spec import images_of_shard
from robustseg.data.batching import batches_of
from robustseg.data.interface import IGNORE_LABEL
from robustseg.errors import RobustsegError, in_one_line
from robustseg.evaluation.resume import digest_of_batch

IMAGE_KEYS = ("pixel_values", "image", "images", "img")
LABEL_KEYS = ("labels", "label", "mask", "masks", "semantic_map", "gt")
ID_KEYS = ("image_id", "image_ids", "id", "ids", "name", "names", "file_name")

UNEQUAL_SIZES = ("each tensor to be equal size", "storage that is not resizable")
"""What torch's `default_collate` says of tensors that are not of one size."""
CHANGES = "the data gives other images, or another order, each time it is read"
"""What a loader does that shuffles, or whose data set draws at random."""
STEADY = "use shuffle=False, and no transform that draws at random"
ALL_IGNORED = (
    "all pixels of all images are ignored; check the labels, and what is ignored in them "
    "(ignore_index; --classes, --values and --ignore)"
)


@dataclass(frozen=True)
class Source:
    """Where batches come from, one at a time.

    Attributes:
        batches: images in [0, 1] (B, C, H, W), labels (B, H, W), ids.
        total: how many batches there are; None: unknown.
        class_names: of the data set, if it says so.
        warnings: what is doubtful about it.
        ids: of the images of all parts, where they are known before they are read; else how many
            there are.
    """

    batches: Iterator[Batch]
    total: int | None
    class_names: list[str] | None
    warnings: list[str]
    ids: list[str] | int | None


def source_of(
    data: Any,
    *,
    batch_size: int,
    ignore_index: int | None,
    shard: tuple[int, int] = (0, 1),
    images: int | None = None,
) -> Source:
    """Return batches of what a person hands over as data.

    Args:
        data: a loader or another iterable of batches, a data set or list of pairs (image, label),
            two arrays of all images and labels, or a `data.interface.Dataset`. Batches and pairs
            may have a third part, the ids, or be dicts. Images and labels as for `sea`, or PIL.
        batch_size: images at a time, of pairs and data sets; a loader has its own.
        ignore_index: label of pixels to ignore; of a `Dataset` these are known.
        shard: (i, n): the i-th of n parts of the images, from 0.
        images: only the first so many; None: all.

    Raises:
        RobustsegError: nothing that gives images and labels.
    """
    if hasattr(data, "batch") and hasattr(data, "image_ids"):
        return _of_dataset(data, batch_size, shard, images)
    if isinstance(data, tuple) and len(data) == 2 and not all(map(_is_pair, data)):
        refuse_swapped("the data", *data)
        if len(shape_of(data[0])) == 4:
            if len(data[0]) != len(data[1]):
                raise RobustsegError(f"there are {len(data[0])} images and {len(data[1])} labels")
            data = list(zip(*data, strict=True))
    named = isinstance(data, Mapping | str)
    if not named and _is_list_of_pairs(data):
        count = min(len(data), images or len(data))
        places = images_of_shard(count, *shard, unit=batch_size) if count else range(0)
        whole = -(-len(places) // batch_size)
        pairs = ((data[at], at) for at in places)
        batches = _grouped(pairs, batch_size, ignore_index)
        return Source(batches, whole, _classes_of(data), [], count)
    if named or not isinstance(data, Iterable):
        raise RobustsegError(
            f"data must be a loader, a data set or a list of (image, label), not "
            f"{type(data).__name__}"
        )
    total = _length(data)
    own, parts = shard
    batches = _of_batches(data, own, parts, images, ignore_index)
    known = total is not None and images is None
    said = []
    there, size = _length(getattr(data, "dataset", None)), getattr(data, "batch_size", None)
    if getattr(data, "drop_last", False) and (not there or not size or there % size):
        said.append(
            "the loader leaves out the images behind its last whole batch; use drop_last=False"
        )
    own_part = len(range(own, total, parts)) if known and total is not None else None
    ids = total if there is None else there
    return Source(batches, own_part, _classes_of(getattr(data, "dataset", data)), said, ids)


def counted_pixels(data: Any, *, ignore_index: int | None, images: int | None) -> list[int]:
    """Return how many pixels each class has in all images that are evaluated.

    Raises:
        RobustsegError: data that can be read only once, or what `source_of` refuses.
    """
    if isinstance(data, Iterator):
        raise RobustsegError(
            "the data can be read only once, and a loss needs the pixels of each class before the "
            "attacks: pass class_pixels, or a loader or data set"
        )
    source = source_of(data, batch_size=1, ignore_index=ignore_index, images=images)
    total = np.zeros(1, dtype=np.int64)
    for _, labels, _ in source.batches:
        counted = np.bincount(labels[labels != IGNORE_LABEL].numpy(), minlength=len(total))
        total = np.pad(total, (0, len(counted) - len(total))) + counted
    return [int(count) for count in total]


def _of_dataset(data: Any, batch_size: int, shard: tuple[int, int], images: int | None) -> Source:
    count = min(len(data), images or len(data))
    chosen = batches_of(data, images_of_shard(count, *shard, unit=batch_size), batch_size)
    batches = (data.batch(some) for some in chosen)
    ids = list(data.image_ids[:count])
    return Source(batches, len(chosen), list(data.class_names), [], ids)


def _of_batches(
    data: Iterable[Any],
    own: int,
    parts: int,
    images: int | None,
    ignore_index: int | None,
) -> Iterator[Batch]:
    """Yield every `parts`-th batch of an iterable, from `own` on, until there are enough images."""
    seen = 0
    for number, item in enumerate(_batches_of(data)):
        one, labels, ids = _parts(item, f"batch {number}")
        if len(shape_of(one)) == 3 and not isinstance(one, list | tuple):
            raise RobustsegError(
                "the data gives single images one after the other; pass a list of (image, "
                "label), or a loader with batches"
            )
        size = len(one)
        lengths = [_length(labels), size if ids is None or isinstance(ids, str) else _length(ids)]
        if isinstance(ids, str) or lengths != [size, size]:
            raise RobustsegError(
                f"batch {number} of the data has {size} images; it needs as many labels and, if it "
                "has ids, as many ids"
            )
        if images is not None and seen + size > images:
            size = images - seen
        names = list(map(_name, ids if ids is not None else range(seen, seen + len(one))))[:size]
        seen += size
        if size and number % parts == own:
            pairs = [((one[at], labels[at], names[at]), at) for at in range(size)]
            yield from _grouped(pairs, len(pairs), ignore_index)
        if images is not None and seen >= images:
            return


def _batches_of(data: Iterable[Any]) -> Iterator[Any]:
    """Yield what a loader gives.

    Raises:
        RobustsegError: it cannot put images of different sizes into one batch.
    """
    try:
        yield from data
    except RuntimeError as error:
        if not any(sign in str(error) for sign in UNEQUAL_SIZES):
            raise
        raise RobustsegError(
            "the data's loader cannot put images of different sizes into a batch: pass its data "
            "set in its place (loader.dataset), or give it batch_size=1"
        ) from error


def _grouped(
    pairs: Iterable[tuple[Any, int]], batch_size: int, ignore_index: int | None
) -> Iterator[Batch]:
    """Yield batches of neighbours of one size, of pairs with their places."""
    singles = (_single(pair, place, ignore_index) for pair, place in pairs)
    for _, group in groupby(singles, key=lambda one: (one[0].shape, one[1].shape)):
        while some := list(islice(group, batch_size)):
            images, labels, ids = zip(*some, strict=True)
            yield torch.cat(images), torch.cat(labels), list(ids)


def _single(pair: Any, place: int, ignore_index: int | None) -> tuple[Tensor, Tensor, str]:
    """Return one image (1, C, H, W), its labels (1, H, W) and its id."""
    image, label, given = _parts(pair, f"image {place}")
    name = _name(place if given is None else given)
    images = as_images([_pixels(image, name)], [name])
    return images, as_labels([_pixels(label, name, is_label=True)], [name], ignore_index), name


def _name(given: Any) -> str:
    """Return an id as text; 3 is "3" as a number of NumPy or torch too.

    Raises:
        RobustsegError: it is an array or a picture, like weights or edges beside a mask.
    """
    shape = () if isinstance(given, list | tuple) else shape_of(given)
    if shape:
        raise RobustsegError(
            f"where the data gives the id of an image there is a {type(given).__name__} "
            f"{shape}; let it give (image, label) alone, or a text or number as third part"
        )
    return as_id(given)


def _pixels(one: Any, name: str, is_label: bool = False) -> Any:
    """Return a picture of PIL as an array, channels first; anything else as it is.

    Raises:
        RobustsegError: it cannot be decoded, its pixels are no colours, or it is a JPEG of labels.
    """
    if not hasattr(one, "convert"):
        return one
    from robustseg.data.image_files import as_rgb, label_values, sentence_of

    try:
        return label_values(one) if is_label else np.array(as_rgb(one)).transpose(2, 0, 1)
    except Exception as error:
        what = "the mask of image" if is_label else "image"
        raise RobustsegError(f"{what} {in_one_line(name)} {sentence_of(error)}") from error


def _parts(item: Any, what: str) -> tuple[Any, Any, Any]:
    """Return images, labels and ids (or None) of a batch or a pair."""
    if isinstance(item, Mapping):
        found = [
            [item[key] for key in keys if item.get(key) is not None]
            for keys in (IMAGE_KEYS, LABEL_KEYS, ID_KEYS)
        ]
        if not found[0] or not found[1]:
            raise RobustsegError(
                f"{what} of the data has the keys {', '.join(map(str, item))}; images are looked "
                f"for in {', '.join(IMAGE_KEYS)} and labels in {', '.join(LABEL_KEYS)}"
            )
        # A class of the whole image may be a "label" beside the mask.
        labels = next((one for one in found[1] if len(shape_of(one)) > 1), found[1][0])
        return found[0][0], labels, next(iter(found[2]), None)
    if isinstance(item, list | tuple) and item and all(map(_is_pair, item)):
        raise RobustsegError(
            f"{what} of the data is a {type(item).__name__} of {len(item)} (image, label) and not "
            "(images, labels); leave out collate_fn, or pass the data set itself in place of "
            "the loader, with images of any sizes"
        )
    if isinstance(item, Sequence) and len(item) in (2, 3) and not isinstance(item, str):
        refuse_swapped(f"{what} of the data", item[0], item[1])
        more = item[2] if len(item) == 3 else None
        if isinstance(more, Mapping):  # what else is known of the image
            more = next((more[key] for key in ID_KEYS if key in more), None)
        return item[0], item[1], more
    raise RobustsegError(
        f"{what} of the data is a {type(item).__name__} and not (images, labels); let the data "
        "give both"
    )


def _is_pair(one: Any) -> bool:
    """Return whether something is a single image with its label, and not several images."""
    if isinstance(one, Mapping):
        return any(key in one for key in IMAGE_KEYS) and any(key in one for key in LABEL_KEYS)
    if not isinstance(one, list | tuple) or len(one) not in (2, 3):
        return False
    image, label = shape_of(one[0]), shape_of(one[1])
    if not {len(image), len(label)} <= {2, 3}:
        return False
    return len(image) != len(label) or (len(image) == 3 and image[0] > 1 == label[0])


def read_again(
    batches: Iterator[Batch],
    before: Sequence[str],
    parts: int,
    say: Callable[[str], None],
) -> Iterator[Batch]:
    """Yield batches that were read before, and say so once if they are others now.

    Args:
        batches: as they come now.
        before: their digests then, see `resume.digest_of_batch`.
        parts: how many share the images.
        say: is called with the sentence as soon as that is seen.

    Raises:
        RobustsegError: there are none any more, or others where several parts share them.
    """
    steady = True
    number = 0
    for number, batch in enumerate(batches, start=1):
        if steady and before[number - 1 : number] != [digest_of_batch(batch)]:
            steady = False
            _say_changes(parts, say)
        yield batch
    if before and not number:
        raise RobustsegError(
            "the data can be read only once, and it is looked at before it is attacked; hand over "
            "something that can be read again, or iter(...) of it to do without the look"
        )
    if steady and number < len(before):
        _say_changes(parts, say)


def _say_changes(parts: int, say: Callable[[str], None]) -> None:
    if parts > 1:
        raise RobustsegError(f"{CHANGES}: shards would not be parts of one whole; {STEADY}")
    say(f"{CHANGES}: this run cannot be resumed, doubted or compared by image; {STEADY}")


def without_repetition(batches: Iterable[Batch]) -> Iterator[Batch]:
    """Yield batches as they come.

    Raises:
        RobustsegError: an image has an id that another had.
    """
    seen: set[str] = set()
    for batch in batches:
        for name in batch[2]:
            if name in seen:
                raise RobustsegError(
                    f"two images have the id {name}; give each its own, or none: the third part "
                    f"beside image and label, or {', '.join(ID_KEYS)} in a dict"
                )
            seen.add(name)
        yield batch


def _length(data: Any) -> int | None:
    try:
        return len(data)
    except TypeError:  # a loader of an IterableDataset has `__len__` too
        return None


def _is_list_of_pairs(data: Any) -> bool:
    """Return whether data can be asked for single images by their place."""
    if not (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
        return False
    if not len(data):
        raise RobustsegError("there are no images in the data")
    return len(shape_of(_parts(data[0], "image 0")[0])) in (2, 3)


def _classes_of(data: Any) -> list[str] | None:
    names = getattr(data, "class_names", None) or getattr(data, "classes", None)
    plain = isinstance(names, list | tuple) and all(isinstance(one, str) for one in names)
    return list(names) if plain and names is not None else None
