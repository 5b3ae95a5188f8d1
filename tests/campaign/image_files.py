"""Damaged files of images, masks, arrays and lists, each read by all that reads it."""

import io
import random
import re
from collections.abc import Callable
from contextlib import suppress
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
from tests.campaign.cases import CaseClass, Verdict, judged
from tests.data.archives import gtcls_mat, palette_png
from tests.mutations import mutated

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


def prepare(folder: Path) -> dict[str, bytes]:
    """Return intact files of every kind by name."""
    folder.mkdir()
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


def attempt(made: dict[str, bytes], folder: Path, source: random.Random) -> Verdict:
    """Read a file that is damaged, or ends as another."""
    name, other = source.sample(sorted(made), 2)
    path, read = folder / name, source.choice(readers_of(name))
    right = []
    for content in (made[other], made[name]):
        path.write_bytes(content)
        with suppress(RobustsegError):  # a JPEG as a mask
            right.append(read(path))
    if source.random() < 0.1:
        place = source.randrange(len(content))
        path.write_bytes(content[:place] + made[other][place:])
    else:
        path.write_bytes(mutated(content, source))
    checked = name.startswith(CHECKED)
    return judged(
        lambda: read(path),
        re.escape(str(path)),
        lambda found: "something else was read" if checked and found not in right else None,
    )


CLASSES = [CaseClass("image_files", "inputs", prepare, attempt, limit_s=10)]
