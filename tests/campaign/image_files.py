"""Damaged files of images, masks, arrays and lists, each read by all that reads it."""

import io
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

from robustseg.data.arrays import ArrayDataset, load_arrays, save_split
from robustseg.data.classes import Classes, read_classes
from robustseg.data.image_files import read_any_mask, read_image, read_mask, unturned_size_px
from robustseg.data.listing import read_ids
from robustseg.data.manifest import read_list
from robustseg.evidence.attacked_images import read_arrays, save_arrays
from tests.campaign.cases import CaseClass, Verdict, judged
from tests.data.archives import VOC_COLOURS, gtcls_mat, palette_png
from tests.mutations import mutated

SIZE_PX = (31, 43)

Reader = Callable[[Path], Any]


def encoded(pixels: NDArray[Any], kind: str, mode: str | None = None, **options: Any) -> bytes:
    file, image = io.BytesIO(), Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(file, kind, **options)
    return file.getvalue()


def uncompressed_mat(mask: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    savemat(file, {"GTcls": {"Boundaries": np.eye(3), "Segmentation": mask}})
    return file.getvalue()


class Intact(NamedTuple):
    """A file as it was written.

    Attributes:
        content: its bytes.
        right: what each reader that does not refuse it finds, where every byte that matters is
            under a checksum; None: other pixels may be in it once bytes are changed.
    """

    content: bytes
    right: dict[Reader, Any] | None = None


def prepare(folder: Path) -> dict[str, Intact]:
    """Return intact files of every kind by name."""
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (*SIZE_PX, 3), np.uint8)
    grey = noise[..., 0]
    mask, deep = (grey % 5).astype(np.uint8), grey.astype(np.uint16) * 256
    several = {"save_all": True, "append_images": [Image.fromarray(noise[::-1].copy())]}
    palette = np.array(VOC_COLOURS, np.uint8)
    files = {
        "png_colours.png": _png(encoded(noise, "PNG"), noise, noise),
        "png_values.png": _png(encoded(mask, "PNG"), _thrice(mask), mask),
        "png_palette.png": _png(palette_png(mask), palette[mask], mask),
        "png_deep.png": _png(encoded(deep, "PNG"), _thrice(grey), deep),
        "png_animated.png": Intact(encoded(noise, "PNG", **several), {unturned_size_px: SIZE_PX}),
        "zlib_mask.mat": Intact(gtcls_mat(mask), {read_mask: mask}),
        "jpeg.jpg": Intact(encoded(noise, "JPEG")),
        "jpeg_progressive.jpg": Intact(encoded(noise, "JPEG", progressive=True)),
        "jpeg_cmyk.jpg": Intact(encoded(noise, "JPEG", "CMYK")),
        "webp.webp": Intact(encoded(noise, "WEBP")),
        "webp_lossless.webp": Intact(encoded(noise, "WEBP", lossless=True)),
        "webp_animated.webp": Intact(encoded(noise, "WEBP", **several)),
        "bmp.bmp": Intact(encoded(noise, "BMP")),
        "tiff_float.tif": Intact(encoded(grey.astype(np.float32), "TIFF")),
        "tiff_pages.tif": Intact(encoded(noise, "TIFF", **several)),
        "mask.mat": Intact(uncompressed_mat(mask)),
        "ids.txt": Intact(b"a\nb\ndeep/c\n"),
        "voc.list": Intact(b"2007_000032\n2007_000039\n"),
        "classes.names": Intact(b"road 1 2 3\ncar 4 5 6\n"),
    }
    for compression in ("raw", "tiff_deflate", "tiff_lzw", "packbits", "jpeg"):
        files[f"tiff_{compression}.tif"] = Intact(encoded(noise, "TIFF", compression=compression))
    images, labels = np.stack([noise] * 2), np.stack([mask] * 2)
    split = ArrayDataset(images, labels, ["a", "b"], list("vwxyz"), [(1, 2, 3)] * 5)
    save_split(folder / "split.npz", split)
    save_arrays(folder / "kept.npz", {"images": images, "labels": labels})
    for name, read in (("split", _split), ("kept", _kept)):
        content = (folder / f"{name}.npz").read_bytes()
        files[f"{name}.npz"] = Intact(content, {read: _together(images, labels)})
    return files


def _png(content: bytes, colours: NDArray[Any], values: NDArray[Any]) -> Intact:
    right = {_colours: colours, read_any_mask: values, unturned_size_px: SIZE_PX}
    is_mask = values.ndim == 2 and values.dtype == np.uint8
    return Intact(content, right | ({read_mask: values} if is_mask else {}))


def _thrice(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.stack([grey] * 3, 2)


def _together(images: NDArray[Any], labels: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([images, labels[..., None]], 3)


def _colours(path: Path) -> NDArray[np.uint8]:
    return np.array(read_image(path))


def _split(path: Path) -> NDArray[Any]:
    split = load_arrays(path)
    return _together(split.images, split.labels)


def _kept(path: Path) -> NDArray[Any]:
    arrays = read_arrays(path, ("images", "labels"))
    return _together(arrays["images"], arrays["labels"])


def readers_of(name: str) -> list[Reader]:
    """Return what reads a file of this name, each as something that can be compared."""
    alone: dict[str, Reader] = {
        **{"mask.mat": read_mask, "zlib_mask.mat": read_mask, "split.npz": _split},
        **{"kept.npz": _kept, "ids.txt": read_ids, "voc.list": read_list},
        **{"classes.names": read_classes},
    }
    if name in alone:
        return [alone[name]]
    return [_colours, read_any_mask, read_mask, unturned_size_px]


def attempt(made: dict[str, Intact], folder: Path, source: random.Random) -> Verdict:
    """Read a file that is damaged, or ends as another."""
    name, other = source.sample(sorted(made), 2)
    path, read = folder / name, source.choice(readers_of(name))
    content = made[name].content
    if source.random() < 0.1:
        place = source.randrange(len(content))
        spoilt = content[:place] + made[other].content[place:]
    else:
        spoilt = mutated(content, source)
    path.write_bytes(spoilt)
    right = made[other if spoilt == made[other].content else name].right
    return judged(
        lambda: read(path),
        re.escape(str(path)),
        lambda found: _unlike(read, path, found) if right is None else _other(right, read, found),
    )


def _other(right: dict[Reader, Any], read: Reader, found: Any) -> str | None:
    """Return whether something else was read than what was written."""
    wanted = right.get(read)
    if wanted is None:
        return "what is refused when it is intact was read"
    return None if _same(wanted, found) else "something else was read"


def _same(wanted: Any, found: Any) -> bool:
    return np.asarray(wanted).dtype == np.asarray(found).dtype and np.array_equal(wanted, found)


def _unlike(read: Reader, path: Path, found: Any) -> str | None:
    """Return how what was read differs from what damaged bytes still say; None if it does not."""
    try:
        if path.suffix in WORDS_OF:
            said = WORDS_OF[path.suffix](path.read_text(encoding="utf-8-sig"))
            return None if found == said else f"{found}, where the text says {said}"
        if path.suffix == ".mat":
            return None if _is_mask(found, SIZE_PX) else "no mask of this size"
        with Image.open(path) as opened:
            return _unlike_pillow(read, opened, found)
    except (OSError, SyntaxError, ValueError) as error:
        return f"it was read, and is damaged: {error}"


def _unlike_pillow(read: Reader, opened: Image.Image, found: Any) -> str | None:
    """Return how what was read differs from what Pillow decodes, None if it does not.

    Colours are compared, and elsewhere shape and type: values of masks are not always as decoded.
    """
    size_px = (opened.height, opened.width)
    if read is unturned_size_px:
        return None if found == size_px else f"{found}, where Pillow has {size_px}"
    opened.load()
    if read is read_mask:
        return None if _is_mask(found, size_px) else "no mask of this size"
    if read is not _colours and opened.mode not in ("RGB", "RGBA"):
        known = found.shape == size_px and found.dtype.kind in "bui" and opened.mode != "F"
    elif opened.mode in ("L", "RGB", "RGBA", "CMYK"):
        known = _same(np.array(opened.convert("RGB")), found)
    else:
        known = found.shape == (*size_px, 3) and found.dtype == np.uint8
    return None if known else f"{found.dtype} {found.shape} of another content than Pillow finds"


def _is_mask(found: NDArray[Any], size_px: tuple[int, int]) -> bool:
    return found.shape == size_px and found.dtype == np.uint8


def _classes(text: str) -> Classes:
    """Return classes all of which have a colour, or none, by hand."""
    parts = [line.strip().rsplit(maxsplit=3) for line in text.splitlines() if line.strip()]
    coloured = all(len(one) == 4 and all(map(str.isdecimal, one[1:])) for one in parts)
    if not coloured:
        return Classes([line.strip() for line in text.splitlines() if line.strip()])
    colours = [(int(red), int(green), int(blue)) for _, red, green, blue in parts]
    return Classes([name for name, *_ in parts], colours)


WORDS_OF: dict[str, Callable[[str], Any]] = {
    ".txt": lambda text: sorted(line.strip() for line in text.splitlines() if line.strip()),
    ".list": str.split,
    ".names": _classes,
}
"""What a text says, by its file's suffix."""


CLASSES = [CaseClass("image_files", "inputs", prepare, attempt, limit_s=10)]
