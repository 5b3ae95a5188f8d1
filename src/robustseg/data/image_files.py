"""Images and masks as they lie on the disk."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robustseg.errors import RobustsegError

ORIENTATION = 0x0112
"""Tag in EXIF that says how a camera was held."""
UPRIGHT = 1
GREY_STEP = {"L;2": 85, "L;4": 17}
"""Pillow spreads grey of 2 and 4 bits over 0..255, by these factors."""
DAMAGED = (
    OSError, SyntaxError, ValueError, KeyError, IndexError, TypeError, EOFError,
    struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip
"""What reading raises of files that are no images, or not whole."""


def read_image(path: Path) -> Image.Image:
    """Return an image as RGB, all of it decoded; not turned, whatever its EXIF says.

    A TIFF's orientation belongs to its format, so that one is decoded upright. Grey
    is repeated; of 16 bits the upper 8 are kept; transparency is left out.

    Raises:
        RobustsegError: missing, damaged, or of pixels that are no colours.
    """
    try:
        with Image.open(path) as file:
            return _as_rgb(file)
    except DAMAGED as error:
        raise _unreadable(path, error) from error


def _as_rgb(file: Image.Image) -> Image.Image:
    if file.mode.startswith(("I", "F")):
        values = np.array(file)
        if file.mode == "F" or values.min() < 0 or values.max() > 65535:
            raise ValueError(f"pixels of mode {file.mode}, where 8 or 16 bits are known")
        # Pillow would clip; of colours it keeps the upper bits too.
        return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")
    if "transparency" in file.info:  # else Pillow warns
        file = file.convert("RGBA")
    return file.convert("RGB")


def image_size_px(path: Path) -> tuple[int, int]:
    """Return height and width of an image from its header.

    Raises:
        RobustsegError: missing or damaged.
    """
    try:
        with Image.open(path) as file:
            return file.height, file.width
    except DAMAGED as error:
        raise _unreadable(path, error) from error


def resized_px(size_px: tuple[int, int], short_px: int | None) -> tuple[int, int]:
    """Return height and width once the short side is `short_px`; None: as they are."""
    if short_px is None:
        return size_px
    height, width = (short_px * side // min(size_px) for side in size_px)
    return height, width


def read_pair(
    image_path: Path, mask_path: Path, read_labels: Callable[[Path], NDArray[Any]]
) -> tuple[Image.Image, NDArray[Any]]:
    """Return an image and the labels (H, W) that `read_labels` reads of its mask.

    Raises:
        RobustsegError: one of them is missing or damaged, or they differ in size.
    """
    image, labels = read_image(image_path), read_labels(mask_path)
    refuse_other_size(image_path, image, mask_path, labels)
    return image, labels


def refuse_other_size(
    image_path: Path, image: Image.Image, mask_path: Path, mask: NDArray[Any]
) -> None:
    """Refuse a mask (H, W) that has not the size of its image.

    Raises:
        RobustsegError: so it is.
    """
    height, width = mask.shape
    if (width, height) == image.size:
        return
    remedy = "restore the pair, or give both the same size"
    if (height, width) == image.size and _orientation(image_path) != UPRIGHT:
        remedy = (
            "the image is to be shown turned, as its EXIF orientation says, and is used as its "
            "pixels lie in the file: turn them and save it without orientation"
        )
    raise RobustsegError(
        f"{mask_path} has {width}x{height} pixels, but its image {image_path} "
        f"{image.width}x{image.height}; {remedy}"
    )


def _orientation(path: Path) -> int:
    """Return how an image is to be turned for display and is not when it is decoded."""
    with Image.open(path) as file:
        decoded_turned = file.format == "TIFF"  # where turning belongs to the format
        return UPRIGHT if decoded_turned else int(file.getexif().get(ORIENTATION, UPRIGHT))


def read_mask(path: Path) -> NDArray[np.uint8]:
    """Return the values (H, W) of a mask: .png with or without a palette, or SBD's .mat.

    Raises:
        RobustsegError: missing, damaged or something else.
    """
    try:
        values = _read_mat(path) if path.suffix == ".mat" else _read_png(path)
    except DAMAGED as error:
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


def read_any_mask(path: Path) -> NDArray[Any]:
    """Return anybody's mask: values (H, W) of 1 to 32 bits, or colours (H, W, 3) uint8.

    The values of a mask with a palette are the places in it.

    Raises:
        RobustsegError: missing, damaged, a JPEG, or of other pixels.
    """
    try:
        with Image.open(path) as file:
            kind, mode = file.format, file.mode
            step = GREY_STEP.get(_stored_as(file), 1)
            pixels = np.array(file)
    except DAMAGED as error:
        raise _unreadable(path, error) from error
    if kind in ("JPEG", "MPO"):
        raise RobustsegError(
            f"{path} is a JPEG, which blurs the values of a mask; make it anew as PNG"
        )
    if mode in ("RGB", "RGBA"):
        return pixels[..., :3]
    if pixels.ndim != 2 or pixels.dtype.kind not in "bui":
        raise RobustsegError(
            f"{path} is no mask: its pixels are of mode {mode}, instead of whole numbers or RGB"
        )
    return pixels // step if step > 1 else pixels


def _stored_as(file: Image.Image) -> str:
    """Return Pillow's name of how an image that is not yet decoded stores its pixels."""
    tiles = getattr(file, "tile", None)
    arguments = tiles[0][3] if tiles else ""
    return arguments if isinstance(arguments, str) else str(arguments[0])


def _unreadable(path: Path, error: Exception) -> RobustsegError:
    if not path.exists():
        return RobustsegError(f"{path} is missing; restore it, or unpack again what it came in")
    return RobustsegError(
        f"{path} is damaged ({error}); restore it, or unpack again what it came in"
    )
