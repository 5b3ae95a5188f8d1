"""Images and masks as they lie on the disk."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robustseg.errors import RobustsegError


def read_image(path: Path) -> Image.Image:
    """Return an image as RGB, all of it decoded.

    Raises:
        RobustsegError: missing or damaged.
    """
    try:
        with Image.open(path) as file:
            return file.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise _unreadable(path, error) from error


def read_mask(path: Path) -> NDArray[np.uint8]:
    """Return the values (H, W) of a mask: .png with or without a palette, or SBD's .mat.

    Raises:
        RobustsegError: missing, damaged or something else.
    """
    try:
        values = _read_mat(path) if path.suffix == ".mat" else _read_png(path)
    except (OSError, SyntaxError, ValueError, KeyError, IndexError, TypeError) as error:
        raise _unreadable(path, error) from error
    if values.dtype != np.uint8 or values.ndim != 2:
        raise RobustsegError(
            f"{path} is no mask: it holds {values.dtype} {values.shape} instead of one byte a pixel"
        )
    return values


def _read_png(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as file:
        return np.array(file)


def _read_mat(path: Path) -> NDArray[np.uint8]:
    """Return the field Segmentation of the struct GTcls."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        mask: NDArray[np.uint8] = loadmat(path, variable_names=["GTcls"])["GTcls"]["Segmentation"][
            0, 0
        ]
    except (MatReadError, NotImplementedError) as error:
        raise ValueError(error) from error
    return mask


def _unreadable(path: Path, error: Exception) -> RobustsegError:
    if not path.exists():
        return RobustsegError(f"{path} is missing; restore it, or unpack the archive again")
    return RobustsegError(f"{path} is damaged ({error}); restore it, or unpack the archive again")
