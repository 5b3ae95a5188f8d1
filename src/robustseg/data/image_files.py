"""Images and masks as they lie on the disk: whatever opens one opens it here.

What cannot be read, or not without a guess, ends in one sentence with the file's name.
"""

import errno
import hashlib
import io
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from robustseg.data import mat_files
from robustseg.data.png_files import check_png
from robustseg.errors import RobustsegError, in_one_line, reason_of
from robustseg.files import UnfitFileError, open_regular

MOST_PX = 2**26
"""Of an image, as 8192 x 8192: decoded, and as a tensor, it takes about 1 GB."""
MOST_BYTES = 2**29
"""Of a file: as many pixels of 8 bytes, not compressed."""
MOST_ASPECT = 100
"""Long side by short side: resizing the short side would make more of it than memory holds."""
ORIENTATION = 0x0112
"""Tag in EXIF that says how a camera was held."""
UPRIGHT = 1
TURNED = range(5, 9)
"""Orientations in which width and height change places."""
GREY_STEP = {"L;2": 85, "L;4": 17}
"""Pillow spreads grey of 2 and 4 bits over 0..255, by these factors."""
PAGE_KIND, REDUCED_OR_MASK = 254, 1 | 4
"""Tag of a TIFF's page, and its bits for a smaller copy of the image and for its transparency."""
DARK = 2**12
"""Images of 16 bits have pixels that are as bright: below are those of 8 or 12 bits."""
ALL_BLACK = (
    "has pixels of 16 bits, none above {most}, which would be black or nearly so; save it with 8 "
    "bits, its brightest pixels near 255"
)
BLURRED = "is a {kind}, which blurs the values of a mask; make it anew as PNG"
FILLED, OTHER_END = {127, 128}, bytes([0x55]) * 4096
"""What libjpeg puts where data lack (127 in CMYK), and what stands in for the end of the data."""
MOST_PAGES = 100
"""That are looked at; more are other images, whatever they say."""
MOST_SCANS = 200
"""Of a JPEG, whose usual ones have about ten, and previews some more."""
MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""Of a JPEG, but for those that stand within the data of a scan."""
START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
LOSSY_TIFF = ("jpeg", "tiff_jpeg", "webp")

READERS: dict[bytes, Callable[[IO[bytes]], ImageFile.ImageFile]] = {
    b"\x89PNG\r\n\x1a\n": PngImageFile,
    b"\xff\xd8\xff": JpegImageFile,
    b"RIFF": WebPImageFile,
    b"BM": BmpImageFile,
    **dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), TiffImageFile),
}
"""By what a file begins with; its suffix says nothing: ImageNet has a PNG named .JPEG."""
FOREIGN = {
    b"GIF8": "a GIF",
    b"%PDF": "a PDF",
    b"8BPS": "a Photoshop file",
    b"\x93NUMPY": "an array of NumPy",
    b"\x89HDF": "an HDF5 file",
    b"PK": "a zip",
    b"\x1f\x8b": "packed by gzip",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"version https://git-lfs": "a pointer of Git LFS, whose file was not fetched",
}

Colour = tuple[int, ...] | None
ColourAt = Callable[[int, Colour], Colour]
"""From a place in a palette, and the colour that it has there, to the one that it should have."""


def read_image(path: Path) -> Image.Image:
    """Return an image as RGB, all of it decoded; not turned, whatever its EXIF says.

    A TIFF's orientation belongs to its format, so that one is decoded upright. Grey
    is repeated; of 16 bits the upper 8 are kept; transparency is left out.

    Raises:
        RobustsegError: missing, damaged, several images in one, larger than MOST_PX or MOST_BYTES,
            or of pixels that are no colours.
    """
    with _reading(path), open_regular(path, MOST_BYTES) as file:
        return image_of(file)


def image_of(file: IO[bytes]) -> Image.Image:
    """Return the image of an open file, see `read_image`.

    Raises:
        Exception: of many kinds, as decoders raise them; see `sentence_of`.
    """
    with _decoder(file) as image:
        _refuse_several(image)
        if isinstance(image, PngImageFile):
            check_png(file)
        if isinstance(image, JpegImageFile):
            _refuse_endless_or_ended(image, file)
        deep_colours = ";16" in _stored_as(image) and not image.mode.startswith("I")
        rgb = as_rgb(image)
        # Of colours Pillow has kept the upper bits alone.
        if deep_colours and (most := 256 * int(np.array(rgb).max()) + 255) < DARK:
            raise UnfitFileError(ALL_BLACK.format(most=most))
        return rgb


def as_rgb(image: Image.Image) -> Image.Image:
    """Return an image as RGB, see `read_image`.

    Raises:
        ValueError: its pixels are no colours.
    """
    if image.mode.startswith(("I", "F")):
        values = np.array(image)
        if image.mode == "F" or values.min() < 0 or values.max() > 65535:
            raise UnfitFileError(f"has pixels of mode {image.mode}, where 8 or 16 bits are known")
        if 0 < values.max() < DARK:
            raise UnfitFileError(ALL_BLACK.format(most=values.max()))
        # Pillow would clip; of colours it keeps the upper bits too.
        return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "LAB":
        raise UnfitFileError("has pixels of mode LAB; save it as RGB")
    if "transparency" in image.info:  # else Pillow warns
        image = image.convert("RGBA")
    return image.convert("RGB")


def image_size_px(path: Path) -> tuple[int, int]:
    """Return height and width of an image from its header.

    Raises:
        RobustsegError: as `read_image`, as far as the header says so.
    """
    with _reading(path), open_regular(path, MOST_BYTES) as file, _decoder(file) as image:
        return image.height, image.width


def resized_px(
    size_px: tuple[int, int], short_px: int | None, key: str = "resize_px"
) -> tuple[int, int]:
    """Return height and width once the short side is `short_px`; None: as they are.

    Args:
        size_px: height and width.
        short_px: the short side.
        key: of the configuration, that says so.

    Raises:
        RobustsegError: these are more than MOST_PX pixels.
    """
    if short_px is None:
        return size_px
    height, width = (short_px * side // min(size_px) for side in size_px)
    if height * width > MOST_PX:
        raise RobustsegError(
            f"{size_px[1]}x{size_px[0]} pixels would become {width}x{height}, where at most "
            f"{MOST_PX:,} are computed with; lower `{key}`, or cut the image into parts"
        )
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


def content_of(image_path: Path, mask_path: Path) -> str:
    """Return 32 hexadecimal digits, 16 of the bytes of an image and 16 of those of its mask.

    Raises:
        RobustsegError: one of them is missing or may not be read.
    """
    digits = ""
    for path in (image_path, mask_path):
        with _reading(path), open_regular(path, MOST_BYTES) as file:
            digits += hashlib.sha256(file.read()).hexdigest()[:16]
    return digits


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
    if (height, width) == image.size and _orientation_of(image_path) != UPRIGHT:
        remedy = (
            "the image is to be shown turned, as its EXIF orientation says, and is used as its "
            "pixels lie in the file: turn them and save it without orientation"
        )
    raise RobustsegError(
        f"{in_one_line(mask_path)} has {width}x{height} pixels, but its image "
        f"{in_one_line(image_path)} {image.width}x{image.height}; {remedy}"
    )


def unturned_size_px(path: Path) -> tuple[int, int]:
    """Return height and width of an image, unless nobody can tell how its mask is turned.

    Programs that draw masks show a photograph as its EXIF orientation says. Where that changes its
    size, a mask of its size was made from the pixels as they lie in the file; where not, it may
    have been made from either.

    Raises:
        RobustsegError: so it is, or as `image_size_px`.
    """
    with _reading(path), open_regular(path, MOST_BYTES) as file, _decoder(file) as image:
        orientation, (height, width) = _orientation(image), (image.height, image.width)
    if orientation != UPRIGHT and (orientation not in TURNED or height == width):
        raise RobustsegError(
            f"{in_one_line(path)} is to be shown turned or mirrored (its EXIF orientation is "
            f"{orientation}), and its mask would fit either way; save it as its mask has it, "
            "without orientation"
        )
    return height, width


def _orientation_of(path: Path) -> int:
    with _reading(path), open_regular(path, MOST_BYTES) as file, _decoder(file) as image:
        return _orientation(image)


def _orientation(image: Image.Image) -> int:
    """Return how an image is to be turned for display and is not when it is decoded."""
    if isinstance(image, TiffImageFile):  # where turning belongs to the format
        return UPRIGHT
    try:
        # Not that of PNG, which decodes the image first.
        found = Image.Image.getexif(image).get(ORIENTATION, UPRIGHT)
    except Exception:  # damaged, as in many photographs that are not
        return UPRIGHT
    return found if isinstance(found, int) and 1 <= found <= max(TURNED) else UPRIGHT


def read_mask(path: Path) -> NDArray[np.uint8]:
    """Return the values (H, W) of a mask: .png with or without a palette, or SBD's .mat.

    Raises:
        RobustsegError: missing, damaged or something else.
    """
    values = _read_mat(path) if path.suffix == ".mat" else read_any_mask(path)
    if values.dtype != np.uint8 or values.ndim != 2:
        raise RobustsegError(
            f"{in_one_line(path)} is not a mask: it holds {values.dtype} {values.shape} instead of "
            "one byte a pixel; restore the published one"
        )
    return values


def _read_mat(path: Path) -> NDArray[np.uint8]:
    with _reading(path), open_regular(path, mat_files.MOST_BYTES) as file:
        return mat_files.read_segmentation(file.read())


def read_any_mask(path: Path, colour_at: ColourAt | None = None) -> NDArray[Any]:
    """Return anybody's mask: values (H, W) of 1 to 32 bits, or colours (H, W, 3) uint8.

    The values of a mask with a palette are the places in it.

    Args:
        path: of the mask.
        colour_at: which colours a palette should have; one of greys says nothing about them.

    Raises:
        RobustsegError: missing, damaged, stored with loss, or of other pixels.
    """
    with _reading(path), open_regular(path, MOST_BYTES) as file, _decoder(file) as image:
        if isinstance(image, WebPImageFile) and _is_lossy_webp(file):
            raise UnfitFileError(BLURRED.format(kind="lossy WebP"))
        _refuse_several(image)
        if isinstance(image, PngImageFile):
            check_png(file)
        return label_values(image, colour_at)


def label_values(image: Image.Image, colour_at: ColourAt | None = None) -> NDArray[Any]:
    """Return the values or colours of a mask, see `read_any_mask`.

    Raises:
        ValueError: stored with loss, or of other pixels.
    """
    compression = image.info.get("compression")
    if getattr(image, "format", None) in ("JPEG", "MPO"):
        raise UnfitFileError(BLURRED.format(kind="JPEG"))
    if compression in LOSSY_TIFF:
        raise UnfitFileError(BLURRED.format(kind=f"TIFF compressed as {compression}"))
    stored = _stored_as(image)
    pixels = np.array(image)
    if stored.startswith("RGB") and ";16" in stored:
        raise UnfitFileError("is a mask of colours of 16 bits; save it with 8 bits a colour")
    if image.mode in ("RGB", "RGBA"):
        return pixels[..., :3]
    if pixels.ndim != 2 or pixels.dtype.kind not in "bui":
        raise UnfitFileError(
            f"is not a mask: its pixels are of mode {image.mode}, instead of whole numbers or RGB"
        )
    if image.mode == "P" and colour_at is not None:
        _refuse_other_palette(image, pixels, colour_at)
    return pixels // GREY_STEP[stored] if stored in GREY_STEP else pixels


def _is_lossy_webp(file: IO[bytes]) -> bool:
    """Return whether one of a WebP's parts is lossy, or frames of which the same is not known."""
    at, kind = 12, b""
    while kind != b"VP8 ":
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return False
        kind, size = struct.unpack("<4sI", head)
        at += 8 + size + size % 2
    return True


def _refuse_other_palette(
    image: Image.Image, places: NDArray[np.uint8], colour_at: ColourAt
) -> None:
    palette = np.array(image.getpalette("RGB")).reshape(-1, 3)
    if (palette == palette[:, :1]).all():
        return
    for place in np.unique(places).tolist():
        found = tuple(palette[place].tolist()) if place < len(palette) else None
        if found != (wanted := colour_at(place, found)):
            raise UnfitFileError(
                f"has the colour {found} at place {place} of its palette, but {wanted} is there in "
                "`classes` or in other masks; correct `classes`, or save the masks as RGB and give "
                "the classes their colours"
            )


def _refuse_several(image: ImageFile.ImageFile) -> None:
    """Refuse animations and pages: nobody can tell which is meant.

    Smaller copies in a TIFF are none, nor what telephones put behind a JPEG.
    """
    if isinstance(image, TiffImageFile):
        several = any(not kind & REDUCED_OR_MASK for kind in _other_pages(image))
    else:
        several = getattr(image, "n_frames", 1) > 1
    if several:
        raise UnfitFileError("holds several images in one file; save the one that is meant as PNG")


def _other_pages(image: TiffImageFile) -> list[int]:
    """Return what kind each page is but the first, where the image is left."""
    kinds: list[int] = []
    with suppress(EOFError):
        while len(kinds) < MOST_PAGES:
            image.seek(len(kinds) + 1)
            kinds.append(image.tag_v2.get(PAGE_KIND, 0))
    image.seek(0)
    return kinds if len(kinds) < MOST_PAGES else [0]


def _refuse_endless_or_ended(image: JpegImageFile, file: IO[bytes]) -> None:
    """Refuse a JPEG that goes over the whole image again and again, and one that ends early.

    Where data end before the last pixel, libjpeg fills the rest with grey in silence. With
    something else where the data end, a complete image looks the same.
    """
    file.seek(0)
    data = file.read()
    scans, end = _scans_and_end(data)
    if scans > MOST_SCANS:
        raise ValueError(f"it has more than {MOST_SCANS} scans")
    last = image.getpixel((image.width - 1, image.height - 1))
    if not set(last if isinstance(last, tuple) else (last,)) <= FILLED:
        return
    with JpegImageFile(io.BytesIO(data[:end] + OTHER_END)) as other:
        complete = False
        with suppress(OSError):  # even this ends early
            complete = other.tobytes() == image.tobytes()
    if not complete:
        raise ValueError("it has less data than its header says")


def _scans_and_end(data: bytes) -> tuple[int, int]:
    """Return how many scans a JPEG's first image has, and where it ends: more may lie behind."""
    at, scans = 2, 0
    while marker := MARKER.search(data, at):
        at, kind = marker.end(), data[marker.end() - 1]
        if kind == END_OF_IMAGE:
            return scans, marker.start()
        scans += kind == START_OF_SCAN
        at += int.from_bytes(data[at : at + 2], "big")  # its length; then a scan's data, if any
    return scans, len(data)


def _stored_as(image: Image.Image) -> str:
    """Return Pillow's name of how an image that is not yet decoded stores its pixels."""
    tiles = getattr(image, "tile", None)
    arguments = tiles[0][3] if tiles else ""
    return arguments if isinstance(arguments, str) else str(arguments[0])


@contextmanager
def _decoder(file: IO[bytes]) -> Iterator[ImageFile.ImageFile]:
    """Yield an image whose header alone is read, once its size is known to be bearable."""
    head = file.read(32)
    file.seek(0)
    reader = next((found for start, found in READERS.items() if head.startswith(start)), None)
    if reader is None or (reader is WebPImageFile and head[8:12] != b"WEBP"):
        raise ValueError(
            f"cannot identify image file: it is {_foreign(head)}, not PNG, JPEG, WebP, TIFF or BMP"
        )
    # A model's module may have set it: half an image, or one of other checksums, would be taken.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    # Not Image.open, which tries more formats, and warns of sizes that it then accepts.
    with reader(file) as image:
        width, height = image.size
        if width * height > MOST_PX:
            raise UnfitFileError(
                f"has {width}x{height} pixels, where at most {MOST_PX:,} are read; make it smaller"
            )
        if max(width, height) > MOST_ASPECT * min(width, height):
            raise UnfitFileError(
                f"has {width}x{height} pixels, and is more than {MOST_ASPECT} times as long as "
                "wide; cut it into parts"
            )
        yield image


def _foreign(head: bytes) -> str:
    """Return what a file is that begins in another way than images do."""
    if not head:
        return "empty"
    known = next((what for start, what in FOREIGN.items() if head.startswith(start)), None)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if known:
        return known
    if text.startswith(b"<"):
        return "an SVG drawing" if text.startswith(b"<svg") else "a web page, an SVG or other XML"
    if text.isascii() and text.decode().replace("\n", "").replace("\r", "").isprintable():
        return "text"
    return "nothing known" if any(head) else "zeros"


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what reading raises into a sentence; decoders raise whatever they come across."""
    try:
        yield
    except Exception as error:
        raise RobustsegError(f"{in_one_line(path)} {sentence_of(error, path)}") from error


def sentence_of(error: Exception, path: Path | None = None) -> str:
    """Return what is wrong with a file that could not be read, as the predicate of a sentence.

    Args:
        error: what reading it raised.
        path: of the file, unless it lies in an archive.
    """
    if isinstance(error, UnfitFileError):
        return str(error)
    if isinstance(error, FileNotFoundError | NotADirectoryError) or _goes_round(error):
        if path is not None and path.is_symlink():
            return "is a link that leads nowhere; restore what it should lead to"
        return "is missing; restore it, or unpack again what it came in"
    if isinstance(error, PermissionError):
        return "may not be read; correct its permissions"
    if isinstance(error, MemoryError):
        return "needs more memory than there is; make it smaller, or read fewer at a time"
    return f"is damaged ({reason_of(error)}); restore it, or unpack again what it came in"


def _goes_round(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno == errno.ELOOP
