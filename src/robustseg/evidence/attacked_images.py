"""The file of a model's attacked images: what attacks write, and page and figures read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robustseg.array_files import read_npz, write_arrays
from robustseg.data.interface import IGNORE_BYTE
from robustseg.errors import RobustsegError, reason_of

OF_EACH = {
    "image_ids": ("N",),
    "labels": ("N", "H", "W"),
    "images": ("N", "H", "W", 3),
    "class_names": ("K",),
    "palette": ("K", 3),
}
ARRAYS = {
    **OF_EACH,
    "eps_255": ("R",),
    "perturbation": ("R", "N", "H", "W", 3),
    "prediction": ("R", "N", "H", "W"),
    "accuracy": ("R", "N"),
    "loss": (),
}
"""Arrays of a file and their shapes, for N images, R radii (the first 0: not attacked), K classes.

labels, images, prediction, palette: uint8; perturbation: float16 in 1/255; accuracy: float64,
share of the image's labelled pixels; eps_255: float64, ascending; image_ids, class_names: str;
loss: str, one of `losses.LOSSES`, which APGD maximised.
"""
TARGETED_ARRAYS = {
    **OF_EACH,
    "targets": ("T",),
    "eps_255": (),
    "perturbation": ("T", "N", "H", "W", 3),
    "prediction": ("T", "N", "H", "W"),
    "share": ("T", "N"),
    "clean_share": ("T", "N"),
}
"""Likewise of an attack towards T classes, which are named by targets; share and clean_share:
float64, of the pixels that are predicted as the target."""
KINDS = {
    np.uint8: ("labels", "images", "prediction", "palette"),
    np.float16: ("perturbation",),
    np.float64: ("eps_255", "accuracy", "share", "clean_share"),
    np.str_: ("image_ids", "class_names", "targets", "loss"),
}
"""Of the values of each array."""

IGNORE_COLOUR = (128, 128, 128)
"""Of pixels without a label, in pictures."""


def colour_table(palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the colour of each value that a map of classes may have, (256, 3)."""
    table = np.full((256, 3), IGNORE_COLOUR, dtype=np.uint8)
    table[: len(palette)] = palette
    return table


class AttackedImages(NamedTuple):
    """The arrays of one file, see ARRAYS."""

    image_ids: NDArray[np.str_]
    labels: NDArray[np.uint8]
    images: NDArray[np.uint8]
    eps_255: NDArray[np.float64]
    perturbation: NDArray[np.float16]
    prediction: NDArray[np.uint8]
    accuracy: NDArray[np.float64]
    class_names: NDArray[np.str_]
    palette: NDArray[np.uint8]
    loss: NDArray[np.str_]


def read_shots(path: str | Path) -> AttackedImages:
    """Read and check the file of one model.

    Raises:
        RobustsegError: the file is missing or damaged, lacks an array, or two arrays disagree.
    """
    shots = AttackedImages(**_checked(path, ARRAYS))
    eps_255 = shots.eps_255
    if not len(eps_255) or eps_255[0] != 0 or (np.diff(eps_255) <= 0).any():
        raise RobustsegError(
            f"{path}: eps_255 is {eps_255.tolist()}; it must begin with 0 and ascend"
        )
    return shots


def read_targeted(path: str | Path) -> dict[str, NDArray[Any]]:
    """Read and check the file of one model that was attacked towards some classes.

    Raises:
        RobustsegError: as `read_shots`.
    """
    return _checked(path, TARGETED_ARRAYS)


def read_arrays(path: str | Path, names: Collection[str]) -> dict[str, NDArray[Any]]:
    """Read some arrays of a file.

    Raises:
        RobustsegError: the file is missing or damaged, or lacks an array.
    """
    try:
        return read_npz(Path(path), names)
    except KeyError as error:
        raise RobustsegError(f"{path} has no array {error.args[0]}; make the file again") from error
    except Exception as error:
        raise RobustsegError(
            f"{path} cannot be read ({reason_of(error)}); make the file again"
        ) from error


def save_arrays(path: str | Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays as .npz, compressed; the same arrays give the same bytes.

    Raises:
        RobustsegError: the file cannot be written.
    """
    write_arrays(path, arrays, compressed=True)


def perturbed(image: NDArray[np.uint8], perturbation: NDArray[np.float16]) -> NDArray[np.uint8]:
    """Return an image (H, W, 3) with a perturbation in 1/255, rounded to 8 bits."""
    return to_bytes(perturbation.astype(np.float64) + image)


def to_bytes(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return pixel values rounded and cut to 8 bits."""
    pixels: NDArray[np.uint8] = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return pixels


def _checked(
    path: str | Path, shapes: Mapping[str, tuple[str | int, ...]]
) -> dict[str, NDArray[Any]]:
    """Read arrays, and refuse those whose shapes or values do not fit together."""
    arrays = read_arrays(path, shapes)
    kinds = {name: kind for kind, names in KINDS.items() for name in names}
    sizes: dict[str, int] = {}
    for name, shape in shapes.items():
        array = arrays[name]
        pairs = zip(shape, array.shape, strict=False)
        wanted = [sizes.setdefault(s, n) if isinstance(s, str) else s for s, n in pairs]
        if len(array.shape) != len(shape) or list(array.shape) != wanted:
            said = ", ".join(str(sizes.get(str(size), size)) for size in shape)
            raise RobustsegError(
                f"{path}: {name} has the shape {array.shape} where ({said}) is needed; make it "
                "again"
            )
        if array.dtype.type is not kinds[name]:
            raise RobustsegError(
                f"{path}: {name} has values {array.dtype} where {kinds[name].__name__} are "
                "needed; make it again"
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise RobustsegError(f"{path}: {name} has values that are not finite; make it again")
    classes = len(arrays["class_names"])
    for name in ("labels", "prediction"):
        values = arrays[name][arrays[name] != IGNORE_BYTE]
        if values.size and values.max() >= classes:
            raise RobustsegError(
                f"{path}: {name} has class {values.max()}, but there are {classes} classes; "
                "make it again"
            )
    return arrays
