"""What people pass as images and labels, made into what attacks take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustseg.attacks.pixel_losses import refuse_images
from robustseg.bounds import MOST_ITEMS
from robustseg.data.interface import IGNORE_LABEL
from robustseg.errors import RobustsegError, shown
from robustseg.names import amount

ROUNDING = 1e-4
"""How far a pixel may lie outside [0, 1] and be put back: resizing and half precision do that."""
OVERSHOOT = 0.5
"""How far outside they are still no 8-bit or normalised images: bicubic resizing does that."""

WHOLE = (torch.int8, torch.int16, torch.int32, torch.int64, torch.bool)


def as_images(images: Any, image_ids: list[str]) -> Tensor:
    """Return images as a detached float tensor (N, C, H, W) in [0, 1].

    Args:
        images: a tensor or NumPy array (N, C, H, W), or a list of N of one size, (C, H, W) each;
            floats in [0, 1] of any precision, or whole numbers in 0..255.
        image_ids: N names, for messages.

    Raises:
        RobustsegError: anything else; it says what is wrong, and of which image.
    """
    tensor = _as_tensor(images, "images")
    _check_shape(tensor.shape)
    if tensor.shape[1] not in (1, 3, 4) and tensor.shape[3] in (1, 3, 4):
        raise RobustsegError(
            f"images are {tuple(tensor.shape)}, with the channels last; put them second: "
            "images.permute(0, 3, 1, 2), or for NumPy arrays images.transpose(0, 3, 1, 2)"
        )
    if tensor.dtype == torch.uint8 or tensor.dtype in WHOLE:
        bad = (tensor < 0) | (tensor > 255)
        refuse_images(bad.flatten(1).any(1), image_ids, "has values outside 0..255")
        return tensor.float() / (1 if tensor.dtype == torch.bool else 255)
    if not tensor.dtype.is_floating_point:
        raise RobustsegError(f"images must be floats in [0, 1], not {tensor.dtype}")
    tensor = tensor if tensor.dtype == torch.float64 else tensor.float()
    finite = tensor.isfinite().flatten(1).all(1)
    refuse_images(~finite, image_ids, "has values that are not finite")
    outside = (tensor < -ROUNDING) | (tensor > 1 + ROUNDING)
    if outside.any():
        low, high = float(tensor.min()), float(tensor.max())
        if low >= -OVERSHOOT and high <= 1 + OVERSHOOT:
            advice = "clip what resizing or noise added: images.clip(0, 1)"
        elif low >= 0:
            advice = "divide 8-bit values by 255"
        else:
            advice = "pass images before normalisation; wrap(model, mean=..., std=...) does it"
        problem = f"has values outside [0, 1] (all images: {low:.4g} to {high:.4g}); {advice}"
        refuse_images(outside.flatten(1).any(1), image_ids, problem)
    return tensor.clamp(0, 1) if ((tensor < 0) | (tensor > 1)).any() else tensor


def as_labels(labels: Any, image_ids: list[str], ignore_index: int | None = 255) -> Tensor:
    """Return labels as int64 (N, h, w), IGNORE_LABEL where a pixel is to be ignored.

    Args:
        labels: a tensor or NumPy array (N, h, w) or (N, 1, h, w), or a list of N of one size;
            whole numbers of any type.
        image_ids: N names, for messages.
        ignore_index: label of the pixels to ignore; None: there are none.

    Raises:
        RobustsegError: anything else; it says what is wrong, and of which image.
    """
    label = as_ignored(ignore_index)
    tensor = _as_tensor(labels, "labels")
    for channels in (1, 3):
        if tensor.ndim == 4 and tensor.shape[channels] == 1:
            tensor = tensor.squeeze(channels)
    if tensor.ndim != 3 or len(tensor) != len(image_ids):
        raise RobustsegError(
            f"labels must be ({len(image_ids)}, height, width) for {len(image_ids)} images; got "
            f"{tuple(tensor.shape)}{_advice_on_labels(tensor)}"
        )
    if tensor.dtype.is_complex:
        raise RobustsegError(f"labels must be whole numbers, not {tensor.dtype}")
    whole = tensor.long()
    if tensor.dtype.is_floating_point:
        broken = ~(tensor == whole).flatten(1).all(1)
        refuse_images(broken, image_ids, "has labels that are not whole numbers")
    ignored = torch.zeros_like(whole, dtype=torch.bool) if label is None else whole == label
    negative = (whole < 0) & ~ignored
    if negative.any():
        value = int(whole[negative][0])
        refuse_images(
            negative.flatten(1).any(1),
            image_ids,
            f"has the label {value}, but classes count from 0 and the ignored label is {label}; "
            f"pass ignore_index={value} if such pixels are to be ignored",
        )
    return whole.masked_fill(ignored, IGNORE_LABEL)


def as_ignored(ignore_index: Any) -> int | None:
    """Return the label of pixels to ignore, None if there is none.

    Raises:
        RobustsegError: it is no whole number.
    """
    if ignore_index is not None and not is_whole(ignore_index):
        raise RobustsegError(
            f"ignore_index must be a whole number, or None if no pixel is to be ignored; got "
            f"{ignore_index!r}"
        )
    return None if ignore_index is None else int(ignore_index)


def is_whole(number: Any) -> bool:
    """Return whether something is a whole number, of Python or NumPy, and no bool."""
    return isinstance(number, int | np.integer) and not isinstance(number, bool)


def as_ids(image_ids: Sequence[Any] | None, count: int) -> list[str]:
    """Return names of images as texts, "0", "1", ... if there are none.

    Raises:
        RobustsegError: not as many different ones as images.
    """
    if not isinstance(image_ids, Iterable | None) or isinstance(image_ids, str):
        raise RobustsegError(f"image_ids must be a list of {count} names; got {image_ids!r}")
    ids = [as_id(one) for one in (range(count) if image_ids is None else image_ids)]
    if len(ids) != count or len(set(ids)) != count:
        raise RobustsegError(
            f"{count} images need as many different image_ids; got {len(ids)}, of which "
            f"{len(set(ids))} are different"
        )
    return ids


def as_id(given: Any) -> str:
    """Return a name of an image as text; 3 is "3" as a number of NumPy or torch too.

    Raises:
        RobustsegError: no file of evidence could hold it.
    """
    name = str(given.item() if getattr(given, "ndim", None) == 0 else given)
    try:
        name.encode()
    except UnicodeEncodeError:  # names of files that are not UTF-8 are read so
        raise RobustsegError(f"the image id {shown(name)} is not UTF-8; rename it") from None
    return name


def as_class_pixels(class_pixels: Any) -> list[int] | None:
    """Return how many pixels each class has in a training set; None if nobody said so.

    Raises:
        RobustsegError: not a list of whole numbers of at least 0, one of them above.
    """
    if class_pixels is None:
        return None
    plain = class_pixels.tolist() if hasattr(class_pixels, "tolist") else class_pixels
    counts = []
    with suppress(TypeError, ValueError):  # of what is no array
        array = np.asarray(plain)
        if array.ndim == 1 and array.dtype.kind in "iuf":  # sums are often kept as floats
            counts = array.tolist()
    if not any(counts) or not all(float(one).is_integer() and one >= 0 for one in counts):
        raise RobustsegError(
            "class_pixels must be a list with the number of pixels of each class, whole numbers "
            f"from 0 and not all 0; got {shown(class_pixels)}"
        )
    return list(map(int, counts))


def refuse_few_class_pixels(class_pixels: Sequence[int] | None, classes: int) -> None:
    """Refuse pixels of fewer classes than are labelled: the others would weigh as the rarest.

    Raises:
        RobustsegError: with both numbers.
    """
    if class_pixels is not None and len(class_pixels) < classes:
        raise RobustsegError(
            f"class_pixels has {amount(len(class_pixels), 'number')}, and labels go up to "
            f"{classes - 1}; give the pixels of all classes"
        )


def number_of(images: Any) -> int:
    """Return how many images there are.

    Raises:
        RobustsegError: what was passed has no length, or another shape than images.
    """
    if isinstance(images, Tensor | np.ndarray):
        _check_shape(images.shape)
    try:
        return len(images)
    except TypeError as error:
        raise RobustsegError(
            f"images must be a tensor, an array or a list of them, not {type(images).__name__}; "
            "for a loader or data set use robustseg.evaluate"
        ) from error


def refuse_swapped(what: str, first: Any, second: Any) -> None:
    """Refuse what looks like labels before images: the second has colours and the first has not.

    Raises:
        RobustsegError: they do.
    """
    one, other = shape_of(first), shape_of(second)
    colours = len(other) in (3, 4) and (other[-3] in (3, 4) or other[-1] in (3, 4))
    channel = len(one) == len(other) > 2 and one[-3] == 1 and not _has_floats(first)
    if colours and (len(one) == len(other) - 1 or channel):
        raise RobustsegError(
            f"{what} gives {one} first and {other} second, which look like labels and images; "
            "give (images, labels), in this order"
        )


def _has_floats(values: Any) -> bool:
    if isinstance(values, list | tuple):
        return bool(values) and _has_floats(values[0])
    return "float" in str(getattr(values, "dtype", ""))


def shape_of(values: Any) -> tuple[int, ...]:
    """Return the shape of a tensor, array or picture of PIL, one longer for a list of such."""
    if isinstance(values, list | tuple):
        return (len(values), *shape_of(values[0])) if values else (0,)
    if hasattr(values, "getbands"):
        bands = len(values.getbands())
        return (values.height, values.width, *((bands,) if bands > 1 else ()))
    return tuple(getattr(values, "shape", ()))


def check_counts(at_most: int = MOST_ITEMS, **counts: Any) -> None:
    """Refuse numbers of something that are not whole, below 1 or too large, each by its name.

    Raises:
        RobustsegError: the first such number.
    """
    for name, count in counts.items():
        if not is_whole(count) or count < 1:
            raise RobustsegError(f"{name} must be a whole number of at least 1; got {count!r}")
        if count > at_most:
            raise RobustsegError(f"{name} must be at most {at_most:,}; got {count!r}")


def _check_shape(shape: Sequence[int]) -> None:
    """Refuse images that are not (N, C, H, W), with advice for a single image."""
    if len(shape) == 4 and all(shape):
        return
    advice = ""
    if len(shape) == 3 and shape[0] in (1, 3, 4):
        advice = "; add a batch dimension: images[None]"
    elif len(shape) == 3 and shape[2] in (1, 3, 4):
        advice = (
            "; put the channels first and add a batch dimension: images.permute(2, 0, 1)[None], or "
            "for NumPy arrays images.transpose(2, 0, 1)[None]"
        )
    elif len(shape) == 3:
        advice = "; for images without colour, add a channel: images[:, None]"
    raise RobustsegError(
        f"images must be (images, channels, height, width), at least one; got {tuple(shape)}"
        f"{advice}"
    )


def _advice_on_labels(labels: Tensor) -> str:
    """Return how labels of another shape than (N, h, w) may be mended, if that is clear."""
    if labels.ndim == 2:
        return "; add a batch dimension: labels[None]"
    for axis in (1, 3):
        if labels.ndim == 4 and labels.numel() and bool((labels.sum(axis) == 1).all()):
            return f"; for one-hot labels take labels.argmax({axis})"
    return "; a pixel must have one number, its class" if labels.ndim == 4 else ""


def _as_tensor(values: Any, what: str) -> Tensor:
    """Return a plain tensor without a gradient, of which nothing else is kept."""
    if isinstance(values, list | tuple):
        parts = [_as_tensor(one, what) for one in values]
        if not parts:
            raise RobustsegError(f"there are no {what}; pass at least one")
        shapes = sorted({tuple(part.shape) for part in parts})
        if len(shapes) > 1:
            raise RobustsegError(
                f"{what} have different sizes, for example {shapes[0]} and {shapes[1]}; "
                "robustseg.evaluate takes images of different sizes"
            )
        return torch.stack(parts)
    if isinstance(values, Tensor):
        # A tensor of inference mode cannot take part in a gradient, its clone outside can.
        plain: Tensor = values.detach().as_subclass(Tensor)
        return plain.clone() if plain.is_inference() else plain
    try:
        array = np.asarray(values)
        if array.dtype.kind == "u" and array.dtype != np.uint8:
            array = array.astype(np.int64)
        elif array.dtype.kind == "f" and array.dtype.itemsize > 8:
            array = array.astype(np.float64)
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        return torch.from_numpy(np.array(array))
    except (TypeError, ValueError) as error:
        raise RobustsegError(
            f"{what} must be a tensor, a NumPy array or a list of them, not {type(values).__name__}"
        ) from error
