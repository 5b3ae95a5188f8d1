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

ARRAYS = {
    "image_ids": ("N",),
    "labels": ("N", "H", "W"),
    "images": ("N", "H", "W", 3),
    "eps_255": ("R",),
    "perturbation": ("R", "N", "H", "W", 3),
    "prediction": ("R", "N", "H", "W"),
    "accuracy": ("R", "N"),
    "class_names": ("K",),
    "palette": ("K", 3),
    "loss": (),
}
"""Arrays of a file and their shapes, for N images, R radii (the first 0: not attacked), K classes.

labels, images, prediction, palette: uint8; perturbation: float16 in 1/255; accuracy: float64,
share of the image's labelled pixels; eps_255: float64, ascending; image_ids, class_names: str;
loss: str, one of `losses.LOSSES`, which APGD maximised.
"""

IGNORE_COLOUR = (128, 128, 128)
"""Of pixels without a label, in pictures."""


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
    shots = AttackedImages(**read_arrays(path, ARRAYS))
    _check(path, shots)
    return shots


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


def _check(path: str | Path, shots: AttackedImages) -> None:
    """Refuse arrays whose shapes or values do not fit together."""
    sizes: dict[str, int] = {}
    for name, shape in ARRAYS.items():
        found = getattr(shots, name).shape
        pairs = zip(shape, found, strict=False)
        wanted = [sizes.setdefault(s, n) if isinstance(s, str) else s for s, n in pairs]
        if len(found) != len(shape) or list(found) != wanted:
            said = ", ".join(str(sizes.get(str(size), size)) for size in shape)
            raise RobustsegError(
                f"{path}: {name} has the shape {found} where ({said}) is needed; make it again"
            )
    classes = len(shots.class_names)
    for name, labels in (("labels", shots.labels), ("prediction", shots.prediction)):
        values = labels[labels != IGNORE_BYTE]
        if values.size and values.max() >= classes:
            raise RobustsegError(
                f"{path}: {name} has class {values.max()}, but there are {classes} classes; "
                "make it again"
            )
    eps_255 = shots.eps_255
    if not len(eps_255) or eps_255[0] != 0 or (np.diff(eps_255) <= 0).any():
        raise RobustsegError(
            f"{path}: eps_255 is {eps_255.tolist()}; it must begin with 0 and ascend"
        )
