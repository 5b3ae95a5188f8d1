"""Damages files of every kind, and reports what its readers do not refuse in one sentence.

A process of its own, with limits on memory and time, so that one that is killed is noticed:

    python -m tests.data.damaged_files FOLDER COUNT SEED

prints a line for each file that ends otherwise, and last how many were read and refused.
"""

import io
import random
import resource
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

from robustseg.data.arrays import ArrayDataset, load_arrays, save_split
from robustseg.data.classes import read_classes
from robustseg.data.image_files import read_any_mask, read_image, read_mask, unturned_size_px
from robustseg.data.listing import read_ids
from robustseg.data.manifest import read_list
from robustseg.errors import RobustsegError
from robustseg.evidence.attacked_images import read_arrays, save_arrays
from tests.data.archives import gtcls_mat, palette_png

MEMORY_BYTES = 6 * 2**30
SLOW_S = 5.0
CHECKED = ("png", "zlib", "npz")
"""Beginnings of names of files whose every byte that matters is under a checksum."""

Reader = Callable[[Path], Any]


def encoded(pixels: NDArray[Any], kind: str, mode: str | None = None, **options: Any) -> bytes:
    file, image = io.BytesIO(), Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(file, kind, **options)
    return file.getvalue()


def uncompressed_mat(mask: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    savemat(file, {"GTcls": {"Boundaries": np.eye(3), "Segmentation": mask}})
    return file.getvalue()


def whole_files(folder: Path) -> dict[str, bytes]:
    """Return intact files of every kind by name."""
    noise = np.random.default_rng(0).integers(0, 256, (31, 43, 3), np.uint8)
    mask = (noise[..., 0] % 5).astype(np.uint8)
    other = Image.fromarray(noise[::-1].copy())
    files = {
        "png_colours.png": encoded(noise, "PNG"),
        "png_values.png": encoded(mask, "PNG"),
        "png_palette.png": palette_png(mask),
        "png_deep.png": encoded(noise[..., 0].astype(np.uint16) * 256, "PNG"),
        "png_animated.png": encoded(noise, "PNG", save_all=True, append_images=[other]),
        "jpeg.jpg": encoded(noise, "JPEG"),
        "jpeg_progressive.jpg": encoded(noise, "JPEG", progressive=True),
        "jpeg_cmyk.jpg": encoded(noise, "JPEG", "CMYK"),
        "webp.webp": encoded(noise, "WEBP"),
        "webp_lossless.webp": encoded(noise, "WEBP", lossless=True),
        "webp_animated.webp": encoded(noise, "WEBP", save_all=True, append_images=[other]),
        "bmp.bmp": encoded(noise, "BMP"),
        "tiff_float.tif": encoded(noise[..., 0].astype(np.float32), "TIFF"),
        "tiff_pages.tif": encoded(noise, "TIFF", save_all=True, append_images=[other]),
        "zlib_mask.mat": gtcls_mat(mask),
        "mask.mat": uncompressed_mat(mask),
        "ids.txt": b"a\nb\ndeep/c\n",
        "voc.list": b"2007_000032\n2007_000039\n",
        "classes.names": b"road 1 2 3\ncar 4 5 6\n",
    }
    for compression in ("raw", "tiff_deflate", "tiff_lzw", "packbits", "jpeg"):
        files[f"tiff_{compression}.tif"] = encoded(noise, "TIFF", compression=compression)
    split = ArrayDataset(
        np.stack([noise] * 2), np.stack([mask] * 2), ["a", "b"], list("vwxyz"), [(1, 2, 3)] * 5
    )
    save_split(folder / "split.npz", split)
    save_arrays(folder / "kept.npz", {"images": noise[None], "labels": mask[None]})
    for name in ("split", "kept"):
        files[f"npz_{name}.npz"] = (folder / f"{name}.npz").read_bytes()
    return files


def readers_of(name: str) -> list[Reader]:
    """Return what reads a file of this name, each as something that can be compared."""
    suffix = name.rpartition(".")[2]
    if suffix == "npz":
        if "split" in name:
            return [lambda path: load_arrays(path).images.tobytes()]
        return [lambda path: read_arrays(path, ("images",))["images"].tobytes()]
    texts: dict[str, Reader] = {
        "mat": lambda path: read_mask(path).tobytes(),
        "txt": read_ids,
        "list": read_list,
        "names": read_classes,
    }
    if suffix in texts:
        return [texts[suffix]]
    return [
        lambda path: read_image(path).tobytes(),
        lambda path: read_any_mask(path).tobytes(),
        lambda path: read_mask(path).tobytes(),
        unturned_size_px,
    ]


def damaged(content: bytes, other: bytes, source: random.Random) -> bytes:
    """Return a file with some bits flipped, cut, mixed with another, or the like."""
    data, at = bytearray(content), source.randrange(len(content))
    kind = source.randrange(8)
    if kind == 0:
        data[at] ^= 1 << source.randrange(8)
    elif kind == 1:
        for _ in range(source.choice((2, 20))):
            data[source.randrange(len(data))] = source.randrange(256)
    elif kind == 2:
        del data[at:]
    elif kind == 3:  # of the header, a large or a small number
        at = source.randrange(min(64, len(data)))
        data[at : at + 4] = source.choice((b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"))
    elif kind == 4:
        other_at, length = source.randrange(len(data)), source.randrange(1, 32)
        data[at : at + length] = data[other_at : other_at + length]
    elif kind == 5:
        data[at:at] = source.randbytes(source.randrange(1, 40))
    elif kind == 6:
        del data[at : at + source.randrange(1, 40)]
    else:
        data[at:] = other[at:]
    return bytes(data)


def outcome(path: Path, read: Reader, intact: object) -> str:
    """Return "read", "refused", or what is wrong with how a file was taken."""
    begun = time.monotonic()
    try:
        found = read(path)
    except RobustsegError as error:
        sentence = str(error)
        if "\n" in sentence or str(path) not in sentence or len(sentence) > 800:
            return f"no sentence about the file: {sentence!r}"
        found = "refused"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    if time.monotonic() - begun > SLOW_S:
        return "too slow"
    if isinstance(found, str):
        return found
    changed = path.name.startswith(CHECKED) and found != intact
    return "something else was read in silence" if changed else "read"


def main(folder: Path, count: int, seed: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    warnings.simplefilter("ignore")  # of Pillow's, about what is refused in the end
    files, source = whole_files(folder), random.Random(seed)
    names, counts = sorted(files), Counter[str]()
    intact: dict[tuple[str, int], object] = {}
    for name in names:
        (folder / name).write_bytes(files[name])
        for place, read in enumerate(readers_of(name)):
            try:
                intact[name, place] = read(folder / name)
            except RobustsegError:  # a JPEG as a mask
                intact[name, place] = None
    for number in range(count):
        name = source.choice(names)
        content = damaged(files[name], files[source.choice(names)], source)
        if content in files.values():  # all but the first bytes were another's
            continue
        (folder / name).write_bytes(content)
        for place, read in enumerate(readers_of(name)):
            found = outcome(folder / name, read, intact[name, place])
            counts[found] += 1
            if found not in ("read", "refused"):
                print(f"{name} {number}: {found}")
    print(f"{counts['read']} read, {counts['refused']} refused")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
