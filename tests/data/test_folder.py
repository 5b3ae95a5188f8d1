"""Anybody's images and masks, from real files of every kind; and what is refused of them."""

import os
import re
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from robustseg.config.data import Folder
from robustseg.data.batching import batches_of
from robustseg.data.disk import DiskDataset
from robustseg.data.folder import open_folder, prepare_folder
from robustseg.data.listing import count_images, mean_side_px, settings_fingerprint
from robustseg.data.opening import load_split
from robustseg.data.transforms import Views
from robustseg.errors import RobustsegError
from robustseg.evaluation.over_batches import evaluate_clean
from robustseg.progress import Progress

Pixels = NDArray[Any]
SIZES = {"b": (40, 60), "a": (48, 36), "deep/down/a": (40, 60), "deep/z.1": (33, 35)}
"""Ids, not sorted, with heights and widths."""
COLOURS = ["road 128 64 128", "traffic light 250 170 30", "sky 70 130 180"]


def picture(size: tuple[int, int], seed: int = 0) -> Pixels:
    """Return a smooth picture (H, W, 3)."""
    y, x = np.mgrid[: size[0], : size[1]]
    return np.stack([4 * y % 256, 4 * x % 256, np.full_like(x, 9 * seed)], 2).astype(np.uint8)


def labels(size: tuple[int, int], classes: int = 3) -> Pixels:
    """Return a mask of vertical stripes, a pixel wide, from 0 to `classes` - 1 and on from 0."""
    return np.tile(np.arange(size[1]) % classes, (size[0], 1)).astype(np.uint8)


def save(path: Path, pixels: Pixels | Image.Image, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, **options)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder with images and masks of different sizes."""
    for seed, (name, size) in enumerate(SIZES.items()):
        save(tmp_path / "images" / f"{name}.png", picture(size, seed))
        save(tmp_path / "masks" / f"{name}.png", labels(size))
    return tmp_path


def opened(root: Path, **settings: Any) -> DiskDataset:
    return open_folder(root / "images", root / "masks", **{"classes": 3, **settings})


def one(folder: Path, image: Pixels | Path, mask: Pixels | Path, **settings: Any) -> DiskDataset:
    """Return a data set of one image; each of the two as pixels, or a file that is there."""
    for part, content in (("images", image), ("masks", mask)):
        if isinstance(content, Path):
            (folder / part).mkdir(exist_ok=True)
            content.rename(folder / part / f"x{content.suffix}")
        else:
            save(folder / part / "x.png", content)
    return opened(folder, **settings)


def png(samples: Pixels, depth: int, colour: int) -> bytes:
    """Return a PNG of 1 to 16 bits, written by hand: Pillow cannot write all that it reads."""
    height, width = samples.shape[:2]
    if depth == 16:
        lines = [line.astype(">u2").tobytes() for line in samples]
    else:
        bits = (samples[..., None] >> np.arange(depth)[::-1]) & 1
        lines = [np.packbits(line).tobytes() for line in bits.astype(np.uint8).reshape(height, -1)]
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"".join(b"\0" + x for x in lines)))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in [*chunks, (b"IEND", b"")]
    )


# Which files are there, and which belong together.


def test_images_and_masks_are_matched_by_their_path_without_suffix(root: Path) -> None:
    dataset = opened(root)
    assert dataset.image_ids == sorted(SIZES)
    assert dataset.sizes_px == [SIZES[name] for name in sorted(SIZES)]
    for place, name in enumerate(sorted(SIZES)):
        images, found, ids = dataset.batch([place])
        assert ids == [name]
        seed = list(SIZES).index(name)
        expected = picture(SIZES[name], seed).transpose(2, 0, 1) / np.float32(255)
        assert np.array_equal(images[0], expected)
        assert (images.dtype, found.dtype) == (torch.float32, torch.int64)
        assert np.array_equal(found[0], labels(SIZES[name]))


def test_hidden_and_other_files_are_left_alone(root: Path) -> None:
    for part in ("images", "masks"):
        for name in (".DS_Store", "._a.png", ".trash/old.png", "deep/.b.png", "Thumbs.db", "n.txt"):
            (root / part / name).parent.mkdir(exist_ok=True)
            (root / part / name).write_bytes(b"no image")
    save(root / "images" / "animation.gif", picture((9, 9)))
    assert opened(root).image_ids == sorted(SIZES)


def test_an_accent_may_be_a_character_of_its_own(root: Path) -> None:
    """Files that were on a Mac have names of other characters that look and are the same."""
    one, other = "caf\N{LATIN SMALL LETTER E WITH ACUTE}", "cafe\N{COMBINING ACUTE ACCENT}"
    save(root / "images" / one / "x.png", picture((9, 9)))
    save(root / "masks" / other / "x.png", labels((9, 9)))
    assert f"{one}/x" in opened(root).image_ids
    for name in (one, other):
        assert opened(root, ids=[f"{name}/x"]).image_ids == [f"{one}/x"]
    refused(lambda: opened(root, ids=[f"{one}/x", f"{other}/x"]), f"`ids` names {one}/x twice")
    save(root / "images" / other / "x.png", picture((9, 9)))
    refused(lambda: opened(root), f"{root}/images/{other}/x.png and {root}/images/{one}/x.png have")


def test_links_are_followed(root: Path) -> None:
    linked = root / "linked"
    linked.mkdir()
    (linked / "images").symlink_to(root / "images")
    (linked / "masks").mkdir()
    for path in (root / "masks").iterdir():
        (linked / "masks" / path.name).symlink_to(path)
    assert opened(linked).image_ids == sorted(SIZES)


def test_what_lacks_the_other_is_one_sentence(root: Path) -> None:
    for name in ("e", "f", "g", "h"):
        save(root / "images" / f"{name}.png", picture((9, 9)))
    save(root / "masks" / "a_mask.png", labels((9, 9)))
    (root / "masks" / "a.png").unlink()
    refused(
        lambda: opened(root),
        f"there are 5 of the 8 images in {root}/images without a mask in {root}/masks (a, e, f, …) "
        f"and 1 of the 4 masks in {root}/masks without an image in {root}/images (a_mask); a mask",
    )
    (root / "ids.txt").write_text("\ufeffdeep/z.1\n\n  b \n", encoding="utf-8")
    assert opened(root, ids=root / "ids.txt").image_ids == ["b", "deep/z.1"]
    assert opened(root, ids=["b"]).image_ids == ["b"]


def test_two_files_of_one_name_are_one_sentence(root: Path) -> None:
    save(root / "images" / "a.JPG", picture((9, 9)))
    save(root / "images" / "b.PNG", picture((9, 9)))
    files = f"{root}/images/a.JPG and {root}/images/a.png have the same id, and so have the files"
    refused(lambda: opened(root), f"{files} of 1 more ids; keep one file for each name")
    assert opened(root, ids=["deep/z.1"]).image_ids == ["deep/z.1"]
    (root / "images" / "a.JPG").unlink()
    (root / "images" / "b.PNG").unlink()
    save(root / "masks" / "a.tif", labels((9, 9)))
    refused(lambda: opened(root), f"{root}/masks/a.png and {root}/masks/a.tif have the same id; ")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a\na.png\nc\n", "2 of the 3 ids have no image in {root}/images (a.png, c); an id is a f"),
        ("a\nb\na\n", "the list of ids {root}/ids.txt names a twice; name each once"),
        ("\n", "the list of ids {root}/ids.txt is empty"),
        (None, "the list of ids {root}/ids.txt is missing or not text ("),
    ],
)
def test_a_list_that_does_not_fit_is_refused(root: Path, text: str | None, sentence: str) -> None:
    if text is not None:
        (root / "ids.txt").write_text(text)
    refused(lambda: opened(root, ids=root / "ids.txt"), sentence.format(root=root))


def test_a_listed_image_without_a_mask_is_refused(root: Path) -> None:
    (root / "masks" / "b.png").unlink()
    refused(lambda: opened(root, ids=["a", "b"]), "1 of the 2 ids have no mask in")


def test_missing_and_empty_folders_are_said(root: Path) -> None:
    refused(
        lambda: open_folder(root / "none", root / "masks", classes=3),
        f"the folder {root}/none is missing or cannot be read (No such file or directory); corr",
    )
    (root / "empty").mkdir()
    refused(
        lambda: open_folder(root / "empty", root / "masks", classes=3),
        f"{root}/empty has no image (.bmp, .jpeg",
    )


def test_opening_reads_no_file_and_sizes_are_from_headers(root: Path) -> None:
    for path in (root / "images").rglob("*.png"):
        path.write_bytes(path.read_bytes()[:60])
    for path in (root / "masks").rglob("*.png"):
        path.write_bytes(b"")
    dataset = opened(root)
    assert len(dataset) == 4
    assert dataset.sizes_px == [SIZES[name] for name in sorted(SIZES)]
    refused(lambda: dataset.batch([0]), f"{root}/images/a.png is damaged (")


# Images.


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".bmp", ".BMP", ".tif", ".TIFF", ".webp"])
def test_lossless_images_are_read_as_they_were_written(suffix: str, tmp_path: Path) -> None:
    options = {"lossless": True, "exact": True} if suffix == ".webp" else {}
    path = save(tmp_path / f"x{suffix}", picture((20, 30)), **options)
    images, _, _ = one(tmp_path, path, labels((20, 30))).batch([0])
    assert np.array_equal(images[0].permute(1, 2, 0) * 255, picture((20, 30)))


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".webp"])
def test_lossy_images_are_read_nearly(suffix: str, tmp_path: Path) -> None:
    path = save(tmp_path / f"x{suffix}", np.full((20, 30, 3), [200, 100, 50], np.uint8), quality=95)
    images, _, _ = one(tmp_path, path, labels((20, 30))).batch([0])
    assert (images[0] * 255).amax((1, 2)).tolist() == pytest.approx([200, 100, 50], abs=4)


GREY = picture((20, 30))[..., 0]
DEEP = GREY.astype(np.uint16) * 256 + 17
"""16 bits, whose upper 8 are those of GREY."""


def handmade(path: Path, samples: Pixels, depth: int, colour: int) -> Path:
    path.write_bytes(png(samples, depth, colour))
    return path


def with_alpha(mode: str) -> Image.Image:
    image = Image.fromarray(GREY if mode == "LA" else picture((20, 30))).convert(mode)
    image.putalpha(100)
    return image


def see_through(path: Path) -> Path:
    """Save a palette image whose places are of different transparency."""
    image = Image.fromarray(GREY % 4).convert("P")
    image.putdata((GREY % 4).flatten().tolist())
    image.putpalette([0, 0, 0, 80, 80, 80, 160, 160, 160, 240, 240, 240])
    return save(path, image, transparency=bytes([0, 100, 255, 255]))


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (lambda folder: save(folder / "x.png", GREY), GREY),
        (lambda folder: save(folder / "x.png", GREY > 100), (GREY > 100) * np.uint8(255)),
        (lambda folder: save(folder / "x.png", DEEP), GREY),
        (lambda folder: save(folder / "x.tif", DEEP), GREY),
        (lambda folder: save(folder / "x.tif", DEEP.astype(np.int32)), GREY),
        (lambda folder: handmade(folder / "x.png", DEEP, 16, 0), GREY),
        (lambda folder: handmade(folder / "x.png", np.stack([DEEP] * 3, 2), 16, 2), GREY),
        (lambda folder: save(folder / "x.png", with_alpha("LA")), GREY),
        (lambda folder: save(folder / "x.png", with_alpha("RGBA")), picture((20, 30))),
        (lambda folder: see_through(folder / "x.png"), GREY % 4 * 80),
        (
            lambda folder: save(
                folder / "x.tif", Image.fromarray(picture((20, 30))).convert("CMYK")
            ),
            picture((20, 30)),
        ),
    ],
    ids=["grey", "1bit", "16bit", "16tif", "32tif", "16png", "48bit", "LA", "RGBA", "P", "CMYK"],
)
def test_every_kind_of_pixel_becomes_rgb(
    write: Callable[[Path], Path], expected: Pixels, tmp_path: Path
) -> None:
    images, _, _ = one(tmp_path, write(tmp_path), labels((20, 30))).batch([0])
    wanted = expected if expected.ndim == 3 else np.stack([expected] * 3, 2)
    assert np.array_equal((images[0] * 255).round().permute(1, 2, 0), wanted)


@pytest.mark.parametrize("values", [GREY.astype(np.float32), GREY.astype(np.int32) << 16])
def test_pixels_that_are_no_colours_are_refused(values: Pixels, tmp_path: Path) -> None:
    path = save(tmp_path / "x.tif", values)
    dataset = one(tmp_path, path, labels((20, 30)))
    refused(lambda: dataset.batch([0]), "where 8 or 16 bits are known")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".bmp"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.1, 0.4, 0.8])
def test_a_truncated_image_is_one_sentence(suffix: str, share: float, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 40, 3), np.uint8)
    path = save(tmp_path / f"x{suffix}", noise)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    dataset = one(tmp_path, path, labels((50, 40)))
    refused(lambda: dataset.batch([0]), f"{tmp_path}/images/x{suffix} is damaged (")


# Masks.


def place_png(values: Pixels) -> Image.Image:
    """Return a mask whose values are places in a palette of other numbers."""
    image = Image.fromarray(values).convert("P")
    image.putdata(values.flatten().tolist())
    image.putpalette([(71 * place) % 256 for place in range(768)])
    return image


STRIPES = labels((20, 30))
WIDE = labels((20, 30), 4)


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (lambda folder: save(folder / "x.png", STRIPES), STRIPES),
        (lambda folder: save(folder / "x.BMP", STRIPES), STRIPES),
        (lambda folder: save(folder / "x.tif", STRIPES), STRIPES),
        (lambda folder: save(folder / "x.png", place_png(STRIPES)), STRIPES),
        (lambda folder: save(folder / "x.png", STRIPES > 0), STRIPES > 0),
        (lambda folder: save(folder / "x.png", STRIPES.astype(np.uint16)), STRIPES),
        (lambda folder: save(folder / "x.tiff", STRIPES.astype(np.uint16)), STRIPES),
        (lambda folder: save(folder / "x.tif", STRIPES.astype(np.int32)), STRIPES),
        (lambda folder: handmade(folder / "x.png", STRIPES.astype(np.uint16), 16, 0), STRIPES),
        (lambda folder: handmade(folder / "x.png", WIDE, 2, 0), WIDE),
        (lambda folder: handmade(folder / "x.png", WIDE, 4, 0), WIDE),
        (lambda folder: handmade(folder / "x.png", WIDE, 8, 0), WIDE),
        (lambda folder: handmade(folder / "x.png", WIDE % 2, 1, 0), WIDE % 2),
    ],
    ids=["L", "bmp", "tif", "P", "1", "16", "16tif", "32tif", "16png", "2", "4", "8", "1png"],
)
def test_masks_of_numbers(write: Callable[[Path], Path], expected: Pixels, tmp_path: Path) -> None:
    dataset = one(tmp_path, picture((20, 30)), write(tmp_path), classes=["a", "b", "c", "d"])
    assert np.array_equal(dataset.batch([0])[1][0], expected)
    assert dataset.class_names == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("ignore", "left_out"),
    [(255, {255}), ([0, 255], {0, 255}), ([1, 255, 9], {1, 9, 255}), (None, set())],
)
def test_ignored_values(ignore: Any, left_out: set[int], tmp_path: Path) -> None:
    mask = STRIPES.copy()
    if ignore is not None:
        mask[5] = 255
    dataset = one(tmp_path, picture((20, 30)), mask, ignore=ignore)
    expected = np.where(np.isin(mask, list(left_out)), -1, mask.astype(int))
    assert np.array_equal(dataset.batch([0])[1][0], expected)


CITYSCAPES = [7, 8, 11, 12, 13, 17, *range(19, 29), 31, 32, 33]
"""Ids of the 19 classes that are evaluated, in the order of their train ids."""


@pytest.mark.parametrize(
    ("classes", "values", "listed", "ignore"),
    [
        (150, "1-150", list(range(1, 151)), 0),
        (19, "7,8,11-13,17,19-28,31-33", CITYSCAPES, "others"),
        (19, CITYSCAPES, CITYSCAPES, [value for value in range(256) if value not in CITYSCAPES]),
        (3, " 2, 0 ,1", [2, 0, 1], "others"),
    ],
)
def test_classes_may_have_other_values_in_masks(
    classes: int, values: Any, listed: list[int], ignore: Any, tmp_path: Path
) -> None:
    """By the workflow and without: the place of a mask's value in the list, or none."""
    there = [0, *listed] if ignore == 0 else list(range(256))
    mask = np.resize(np.array(there, np.uint8), (16, 40))
    settings = {"classes": classes, "values": values, "ignore": ignore}
    dataset = one(tmp_path, picture((16, 40)), mask, **settings)
    expected = [[listed.index(v) if v in listed else -1 for v in line] for line in mask.tolist()]
    assert dataset.batch([0])[1][0].tolist() == expected
    split = load_split(prepared(tmp_path, section(tmp_path, **settings))["val"])
    assert split.batch([0])[1][0].tolist() == expected
    assert len(split.class_names) == classes


def test_values_that_do_not_fit_the_classes_are_refused(root: Path, tmp_path: Path) -> None:
    for values, sentence in (
        ("1-4", "`values` names 4 values and there are 3 classes; give one for each"),
        ("1,2,1", "`values` names 1 twice"),
        ("a-c", "`values` should hold values of masks, whole numbers from 0 to 65535, as in"),
        ("0-9999999999", "`values` should hold values of masks"),
        ([1, 2, -1], "`values` should hold values of masks"),
        ([1, 2, 255], "`ignore` is 255, which is the value of the class 'class 2' too"),
    ):
        refused(lambda values=values: opened(root, values=values), sentence)
    refused(lambda: opened(root, classes=COLOURS, values="1-3"), "gives colours, and `values`")
    refused(lambda: opened(root, values="1-3").batch([0]), "holds the value 0, which is none of")
    with pytest.raises(
        ValueError, match="has padding: background, but the value 0 is neither a class"
    ):
        training_section(root, values="1-3", padding="background")
    with pytest.raises(ValueError, match="names 4 values and there are 3 classes"):
        section(root, values="1-4")


def test_all_other_colours_may_be_ignored(tmp_path: Path) -> None:
    pixels = coloured(STRIPES)
    pixels[5] = (1, 2, 3)
    settings = {"classes": COLOURS, "ignore": "others"}
    dataset = one(tmp_path, picture((20, 30)), pixels, **settings)
    expected = STRIPES.astype(int)
    expected[5] = -1
    assert np.array_equal(dataset.batch([0])[1][0], expected)


def coloured(values: Pixels) -> Pixels:
    """Return a mask with the colours of COLOURS."""
    colours = [[int(word) for word in line.split()[-3:]] for line in COLOURS]
    return np.array(colours, np.uint8)[values]


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("as_file", [False, True])
def test_masks_of_colours(mode: str, as_file: bool, tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("\n".join(COLOURS) + "\n\n")
    mask = Image.fromarray(coloured(STRIPES)).convert(mode)
    classes: Any = tmp_path / "classes.txt" if as_file else COLOURS
    path = save(tmp_path / "x.png", mask)
    dataset = one(tmp_path, picture((20, 30)), path, classes=classes, ignore=1)
    assert dataset.class_names == ["road", "traffic light", "sky"]
    assert dataset.palette == [(128, 64, 128), (250, 170, 30), (70, 130, 180)]
    expected = np.where(STRIPES == 1, -1, STRIPES.astype(int))
    assert np.array_equal(dataset.batch([0])[1][0], expected)


def jpeg_mask(folder: Path) -> Path:
    return save(folder / "x.jpg", STRIPES)


@pytest.mark.parametrize(
    ("write", "classes", "sentence"),
    [
        (
            lambda folder: save(folder / "x.png", coloured(STRIPES)),
            3,
            "x.png is a mask of colours, but the classes have none; give them colours in `classes`",
        ),
        (
            lambda folder: save(folder / "x.png", with_alpha("RGBA")),
            3,
            "x.png is a mask of colours, but the classes have none; give them colours in `classes`",
        ),
        (
            lambda folder: save(folder / "x.png", picture((20, 30))),
            COLOURS,
            "x.png holds the colour (0, 0, 0), which is none of the 3 classes; give it a line in",
        ),
        (
            lambda folder: save(folder / "x.png", with_alpha("LA")),
            3,
            "x.png is not a mask: its pixels are of mode LA, instead of whole numbers or RGB",
        ),
        (
            lambda folder: save(folder / "x.tif", GREY.astype(np.float32)),
            3,
            "x.tif is not a mask: its pixels are of mode F, instead of whole numbers or RGB",
        ),
        (jpeg_mask, 3, "x.jpg is a JPEG, which blurs the values of a mask; make it anew as PNG"),
        (
            lambda folder: save(folder / "x.png", WIDE),
            3,
            "x.png holds the value 3, which is none of the 3 classes and not ignored; correct the",
        ),
        (
            lambda folder: save(folder / "x.png", STRIPES.astype(np.uint16) * 30000),
            3,
            "x.png holds the value 30000, which is none of the 3 classes",
        ),
        (
            lambda folder: save(folder / "x.tif", STRIPES.astype(np.int32) - 1),
            3,
            "x.tif holds the value -1, which is none of the 3 classes",
        ),
    ],
    ids=["RGB", "RGBA", "colour", "LA", "F", "JPEG", "value", "16bit", "below"],
)
def test_masks_that_are_refused(
    write: Callable[[Path], Path], classes: Any, sentence: str, tmp_path: Path
) -> None:
    dataset = one(tmp_path, picture((20, 30)), write(tmp_path), classes=classes)
    refused(lambda: dataset.batch([0]), f"{tmp_path}/masks/{sentence}")


@pytest.mark.parametrize("size", [(7, 9), (30, 20)])
def test_a_mask_of_another_size_is_refused(size: tuple[int, int], tmp_path: Path) -> None:
    dataset = one(tmp_path, picture((20, 30)), labels(size))
    mask, image = tmp_path / "masks" / "x.png", tmp_path / "images" / "x.png"
    has = f"{mask} has {size[1]}x{size[0]} pixels, but its image {image} 30x20; restore the pair"
    refused(lambda: dataset.batch([0]), has)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_a_turned_photograph_is_used_as_its_pixels_lie(suffix: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photograph = save(tmp_path / f"x{suffix}", picture((20, 30)), exif=exif)
    dataset = one(tmp_path, photograph, labels((20, 30)))
    assert dataset.batch([0])[0].shape == (1, 3, 20, 30)
    assert dataset.sizes_px == [(20, 30)]
    save(tmp_path / "masks" / "x.png", labels((30, 20)))
    refused(lambda: dataset.batch([0]), "30x20; the image is to be shown turned, as its EXIF orie")


def test_a_turned_tiff_is_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    scan = save(tmp_path / "x.tif", picture((20, 30)), exif=exif)
    dataset = one(tmp_path, scan, labels((30, 20)))
    images, _, _ = dataset.batch([0])
    assert np.array_equal(images[0].permute(1, 2, 0) * 255, np.rot90(picture((20, 30)), -1))
    assert dataset.sizes_px == [(30, 20)]
    save(tmp_path / "masks" / "x.png", labels((20, 30)))
    refused(lambda: dataset.batch([0]), "30x20 pixels, but its image")


@pytest.mark.parametrize("classes", [255, 256, 300])
def test_any_number_of_classes(classes: int, tmp_path: Path) -> None:
    mask = np.arange(600).reshape(20, 30).astype(np.uint16) % classes
    mask[3, 4:8] = 65535
    image = picture((20, 30))
    dataset = one(tmp_path, image, mask, classes=classes, ignore=[65535], resize_px=40)
    assert dataset.num_classes == len(dataset.palette) == classes
    found = dataset.batch([0])[1][0]
    assert found.shape == (40, 60)
    expected = np.where(mask == 65535, -1, mask.astype(int))
    assert np.array_equal(found[::2, ::2], expected)
    assert np.array_equal(found[1::2, 1::2], expected)


def test_the_default_does_not_leave_out_a_class_in_silence(root: Path) -> None:
    refused(lambda: opened(root, classes=256), "`ignore` is 255, which is the value of the class '")
    assert len(opened(root, classes=256, ignore=None)) == 4
    assert len(opened(root, classes=256, ignore=[255])) == 4
    assert len(opened(root, classes=255)) == 4


# Classes.


@pytest.mark.parametrize(
    ("classes", "sentence"),
    [
        (1, "`classes` names 1 classes; at least 2 are needed"),
        (["sky", "sea", "sky"], "`classes` names the class 'sky' twice"),
        (["sky", " "], "`classes` has a class without a name; give it one"),
        ([*COLOURS, "sea"], "`classes` gives no colour to 'sea', but to others; give one to each"),
        ([*COLOURS, "sea 0 0 256"], "`classes` has the colour (0, 0, 256); red, green and blue"),
        ([*COLOURS, "sea 70 130 180"], "`classes` gives the colour (70, 130, 180) to two classes"),
        ([True, "sky"], "`classes` should be a file, a list of names or a number, not [True, 'sky"),
        (2.5, "`classes` should be a file, a list of names or a number, not 2.5"),
        (Path("none.txt"), "the file of classes none.txt is missing or not text ("),
    ],
)
def test_classes_that_are_refused(root: Path, classes: Any, sentence: str) -> None:
    refused(lambda: opened(root, classes=classes), sentence)


def test_a_file_that_is_no_list_of_classes_is_named(root: Path) -> None:
    refused(lambda: opened(root, classes=root / "images" / "a.png"), "a.png is missing or not text")
    (root / "classes.txt").write_text("sky\n")
    refused(lambda: opened(root, classes=root / "classes.txt"), "classes.txt names 1 classes; at")


@pytest.mark.parametrize("ignore", [-1, [0, 70000], [True], ["255"]])
def test_values_that_no_mask_has_are_refused(root: Path, ignore: Any) -> None:
    refused(lambda: opened(root, ignore=ignore), "`ignore` should hold values of masks, whole num")


# What a model sees.


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(37, 53), (53, 37), (32, 64), (100, 101)])
def test_the_short_side_is_resized(
    interpolation: str, size: tuple[int, int], tmp_path: Path
) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    options: Any = {"resize_px": 41, "interpolation": interpolation}
    dataset = one(tmp_path, noise, labels(size), **options)
    images, found, _ = dataset.batch([0])
    height, width = (int(41 * side / min(size)) for side in size)
    assert dataset.sizes_px == [(height, width)] == [tuple(found.shape[1:])]
    method = Image.Resampling[interpolation.upper()]
    expected = np.array(Image.fromarray(noise).resize((width, height), method))
    assert np.array_equal((images[0] * 255).round().permute(1, 2, 0), expected)
    nearest = Image.fromarray(labels(size)).resize((width, height), Image.Resampling.NEAREST)
    assert np.array_equal(found[0], np.array(nearest))


def test_unknown_ways_to_resize_are_refused(root: Path) -> None:
    refused(lambda: opened(root, interpolation="area"), "interpolation is 'area'; known are bilin")
    refused(lambda: opened(root, resize_px=0), "resize_px is 0; it should be at least 1 pixel")


def test_images_of_different_sizes_cannot_share_a_batch(root: Path) -> None:
    dataset = opened(root)
    refused(
        lambda: dataset.batch([1, 2, 0]),
        "the image b of 60x40 pixels and the image a of 36x48 pixels cannot share a batch; ask for",
    )
    assert dataset.batch([1, 2])[0].shape == (2, 3, 40, 60)
    assert batches_of(dataset, range(4), 8) == [[0], [1, 2], [3]]
    refused(lambda: dataset.training_batch([0], 0, 0), "so it can only be evaluated; to train on")


def test_evidence_counts_every_labelled_pixel_once(root: Path) -> None:
    mask = labels(SIZES["b"])
    mask[:7] = 255
    save(root / "masks" / "b.png", mask)

    class Stripes(torch.nn.Module):
        """Is right but for the first 5 columns, which it takes for class 1."""

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            across = torch.arange(images.shape[3]) % 3
            across[:5] = 1
            logits = torch.nn.functional.one_hot(across, 3).float().T[None, :, None]
            return logits.expand(len(images), 3, *images.shape[2:])

    rows = evaluate_clean(Stripes(), opened(root), batch_size=3, identity={})
    by_id = {row["image_id"]: row for row in rows}
    assert list(by_id) == sorted(SIZES)
    for name, (height, width) in SIZES.items():
        lines = height - 7 * (name == "b")
        assert by_id[name]["pixels"] == lines * width
        assert by_id[name]["pixels_correct"] == lines * (width - 3)  # columns 0, 2 and 3 are wrong


# For the workflow.


def section(root: Path, **settings: Any) -> dict[str, Any]:
    paths = {key: str(root / key) for key in ("images", "masks")}
    return Folder(kind="folder", **{"classes": 3, **paths, **settings}).model_dump()


def training_section(root: Path, **settings: Any) -> dict[str, Any]:
    paths = {f"train_{key}": str(root / key) for key in ("images", "masks")}
    return section(root, **paths, **{"crop_px": 32, "base_px": 32, **settings})


def prepared(root: Path, settings: dict[str, Any]) -> dict[str, Path]:
    outputs = {name: root / f"{name}.parquet" for name in ("manifest", "train", "val")}
    prepare_folder(settings, outputs, 2, Progress("test"))
    return outputs


def test_a_prepared_split_is_what_opening_gives(root: Path) -> None:
    outputs = prepared(root, section(root, classes=COLOURS, ignore=[1, 255], resize_px=45))
    dataset = load_split(outputs["val"])
    assert isinstance(dataset, DiskDataset)
    same = opened(root, classes=COLOURS, ignore=[1, 255], resize_px=45)
    for name in ("image_ids", "class_names", "palette", "sizes_px"):
        assert getattr(dataset, name) == getattr(same, name)
    for place in range(4):
        for mine, theirs in zip(dataset.batch([place])[:2], same.batch([place])[:2], strict=True):
            assert torch.equal(mine, theirs)
    assert len(load_split(outputs["train"])) == 0
    rows = pq.read_table(outputs["manifest"]).to_pylist()
    assert {row["image_id"]: (row["height"], row["width"]) for row in rows} == SIZES
    assert {tuple(row["splits"]) for row in rows} == {("val",)}


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_split_without_a_label_is_refused(
    root: Path, split: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        save(root / "masks" / f"{name}.png", np.full(SIZES[name], 7, np.uint8))
    prefix = {"train": "train_", "val": ""}[split]
    settings = training_section(root, ignore="others")
    prepared(root, settings)
    assert capsys.readouterr().err.count(f"{split}: 2 of 4 images have no label") == 1
    (root / "ids.txt").write_text("b\na\n")
    with pytest.raises(RobustsegError) as error:
        prepared(root, settings | {f"{prefix}ids": str(root / "ids.txt")})
    assert f"no pixel of the split {split} has a label: 2 of 2 masks, first " in str(error.value)
    assert "masks/a.png, hold ignored values alone; correct `values`" in str(error.value)


def test_classes_without_a_pixel_are_said(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepared(root, training_section(root))
    assert "no pixel of" not in capsys.readouterr().err
    prepared(root, section(root, classes=["road", "car", "sky", "x", "y", "z", "w"]))
    said = capsys.readouterr().err
    assert "val: no pixel of 4 of the 7 classes (x, y, z, …)" in said
    for name, size in SIZES.items():  # 255 for the second class, as masks of two often have it
        save(root / "masks" / f"{name}.png", labels(size, 2) * 255)
    prepared(root, training_section(root, classes=["road", "car"]))
    said = capsys.readouterr().err
    for split in ("train", "val"):
        assert f"{split}: no pixel of 1 of the 2 classes (car)" in said


def test_masks_whose_values_are_none_of_values_are_refused(root: Path) -> None:
    """Train ids, 0 to 2, that are read as label ids."""
    with pytest.raises(RobustsegError, match="split val has a label: 4 of 4 masks"):
        prepared(root, section(root, values="7,8,11", ignore="others"))


def test_the_same_files_give_the_same_split_and_others_another(root: Path) -> None:
    settings = section(root)
    first = {name: path.read_bytes() for name, path in prepared(root, settings).items()}
    assert first == {name: path.read_bytes() for name, path in prepared(root, settings).items()}
    before = settings_fingerprint(settings)
    save(root / "images" / "a.png", np.zeros((*SIZES["a"], 3), np.uint8))
    assert settings_fingerprint(settings) != before
    assert prepared(root, settings)["val"].read_bytes() != first["val"]


@pytest.mark.parametrize("part", ["images", "masks"])
def test_a_file_that_was_exchanged_since_it_was_prepared_is_refused(root: Path, part: str) -> None:
    """Of the same name, size and time, which only its content tells."""
    (root / part / "a.png").unlink()
    pixels = {"images": np.zeros((*SIZES["a"], 3), np.uint8), "masks": labels(SIZES["a"])}[part]
    path = root / part / "a.bmp"
    save(path, pixels)
    settings, about = section(root), path.stat()
    paths = prepared(root, settings)
    first, dataset = paths["val"].read_bytes(), load_split(paths["val"])
    place = dataset.image_ids.index("a")
    dataset.batch([place])
    save(path, (pixels + 1) % 3)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert path.stat().st_size == about.st_size
    with pytest.raises(RobustsegError, match=f"{part}/a.bmp is another file than when the data"):
        dataset.batch([place])
    assert prepared(root, settings)["val"].read_bytes() != first
    load_split(paths["val"]).batch([place])


def test_a_split_of_an_earlier_version_is_read_as_it_is(root: Path) -> None:
    path = prepared(root, section(root))["val"]
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["content"]), path)
    dataset = load_split(path)
    save(root / "images" / "a.png", np.zeros((*SIZES["a"], 3), np.uint8))
    dataset.batch([dataset.image_ids.index("a")])


def test_the_fingerprint_follows_files_and_lists(root: Path) -> None:
    (root / "ids.txt").write_text("a\n")
    settings = section(root, ids=str(root / "ids.txt"))
    seen = {settings_fingerprint(settings)}
    (root / "ids.txt").write_text("b\n")
    seen.add(settings_fingerprint(settings))
    save(root / "masks" / "b.png", labels((9, 9)))
    last = settings_fingerprint(settings)
    assert len({*seen, last}) == 3
    (root / "images" / "notes.txt").write_text("other files do not count")
    save(root / "masks" / "a.png", labels((9, 9)))
    save(root / "images" / "unlisted.png", picture((9, 9)))
    assert settings_fingerprint(settings) == last
    everything = settings_fingerprint(section(root))
    (root / "images" / "unlisted.png").unlink()
    assert settings_fingerprint(section(root)) != everything


def test_what_is_evaluated_and_trained_on_may_differ(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "train.txt").write_text("a\nb\n")
    settings = training_section(root, ids=None, train_ids=str(root / "train.txt"))
    outputs = prepared(root, settings)
    assert load_split(outputs["train"]).image_ids == ["a", "b"]
    assert load_split(outputs["val"]).image_ids == sorted(SIZES)
    assert "2 of 4 validation images are in the training split (a, b)" in capsys.readouterr().err


def test_a_copy_of_a_validation_image_is_the_same_image(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for part, name in (("images", "a"), ("masks", "a")):
        pixels = np.array(Image.open(next((root / part).glob(f"{name}.*"))))
        save(root / f"train_{part}" / "another name.png", pixels, compress_level=0)
    paths = {f"train_{part}": str(root / f"train_{part}") for part in ("images", "masks")}
    prepared(root, training_section(root) | paths)
    assert "1 of 4 validation images are in the training split (a)" in capsys.readouterr().err


@pytest.mark.parametrize("classes", [3, 300])
@pytest.mark.parametrize(("padding", "label"), [("ignore", -1), ("background", 0)])
def test_training_views_hold_image_and_labels_together(
    root: Path, classes: int, padding: str, label: int
) -> None:
    """Red says in which line a pixel was, and so do the labels."""
    lines = np.tile(np.arange(40, dtype=np.uint8)[:, None], (1, 60))
    save(root / "images" / "b.png", np.stack([lines * 6, lines * 0, lines * 0 + 200], 2))
    save(root / "masks" / "b.png", lines)
    (root / "train.txt").write_text("b\n")
    names = classes if classes > 40 else 40
    settings = training_section(
        root, classes=names, ignore=None, padding=padding, train_ids=str(root / "train.txt")
    )
    dataset = load_split(prepared(root, settings)["train"])
    assert isinstance(dataset, DiskDataset)
    padded = 0
    for epoch in range(30):
        images, found = dataset.training_batch([0], 0, epoch)
        assert images.shape == (1, 3, 32, 32)
        assert (found.dtype, tuple(found.shape)) == (torch.int64, (1, 32, 32))
        inside = images[0, 2] > 150 / 255  # the padding is black
        inner = inside & (images[0, 2] == 200 / 255)
        error = (images[0, 0] * 255 / 6 - found[0]).abs()[inner]
        assert error.max() < 3
        outside = images[0, 2] < 50 / 255
        padded += bool(outside.any())
        assert (found[0][outside] == label).all()
    assert padded > 3


def test_images_that_would_be_too_large_once_resized_are_said_before_anything_is_written(
    root: Path,
) -> None:
    save(root / "images" / "b.png", picture((4, 400)))
    save(root / "masks" / "b.png", labels((4, 400)))
    where = f"{root}/images/b.png: 400x4 pixels would become"
    (root / "ids.txt").write_text("a\n")
    settings = training_section(root, base_px=500, ids=str(root / "ids.txt"), train_ids=None)
    refused(
        lambda: prepared(root, settings),
        f"{where} 100000x1000, where at most 67,108,864 are computed with; lower `base_px`",
    )
    large = section(root, resize_px=1000)
    refused(
        lambda: prepared(root, large),
        f"{where} 100000x1000, where at most 67,108,864 are computed with; lower `resize_px`",
    )
    assert not list(root.glob("*.parquet"))


def test_a_training_view_of_too_many_pixels_names_the_image(root: Path) -> None:
    dataset = load_split(prepared(root, training_section(root))["train"])
    assert isinstance(dataset, DiskDataset)
    views = replace(dataset.views, cut=Views(crop_px=32, base_px=16_000, padding_label=0))
    refused(
        lambda: replace(dataset, views=views).training_batch([0], 0, 0),
        f"{root}/images/a.png: 36x48 pixels would become 32000x42666, where at most 67,108,864 are "
        "computed with; lower `base_px`",
    )
    with pytest.raises(RobustsegError, match="lower `crop_px`"):
        Views(16_000, 32, 0).validation(Image.new("RGB", (9, 8)), Image.new("L", (9, 8)))


def test_what_is_wrong_with_a_file_is_said_before_anything_is_written(root: Path) -> None:
    mask = labels(SIZES["deep/z.1"])
    mask[1, 2] = 7
    save(root / "masks" / "deep" / "z.1.png", mask)
    refused(
        lambda: prepared(root, section(root)),
        f"{root}/masks/deep/z.1.png holds the value 7, which is none of the 3 classes",
    )
    refused(
        lambda: prepared(root, training_section(root, ids=None)),
        f"{root}/masks/deep/z.1.png holds the value 7",
    )
    assert not list(root.glob("*.parquet"))


def test_the_plan_counts_and_measures_without_reading_masks(root: Path) -> None:
    images = str(root / "images")
    (root / "ids.txt").write_text("a\nb\n")
    assert count_images(images, None) == 4
    assert count_images(images, str(root / "ids.txt")) == 2
    area = sum(height * width for height, width in SIZES.values()) / 4
    assert mean_side_px(images, None, None) == round(area**0.5)
    assert mean_side_px(images, str(root / "ids.txt"), 40) == round(
        ((40 * 60 + 53 * 40) / 2) ** 0.5
    )
    refused(lambda: count_images(f"{images}-none", None), "-none is missing or cannot be read")
    mean_side_px.cache_clear()
    (root / "images" / "a.png").write_bytes(b"no image")
    assert mean_side_px(images, str(root / "ids.txt"), None) == round((40 * 60) ** 0.5)


def refused(action: Callable[[], object], beginning: str) -> None:
    """Check that an action ends in one sentence with these words, which are not only its end."""
    with pytest.raises(RobustsegError, match=re.escape(beginning)) as caught:
        action()
    assert "\n" not in str(caught.value)


def test_ids_may_be_any_sequence(root: Path) -> None:
    chosen: Sequence[str] = ("b", "a")
    assert opened(root, ids=chosen).image_ids == ["a", "b"]


def test_photographs_of_other_formats_are_named(root: Path) -> None:
    (root / "images" / "a.png").rename(root / "images" / "a.heic")
    with pytest.raises(RobustsegError, match=r"the image .*/a\.heic is none of .*images as PNG"):
        opened(root)
    (root / "images" / "a.heic").unlink()
    (root / "images" / "a.png").mkdir()
    with pytest.raises(RobustsegError, match=r"1 of the 4 masks .* without an image"):
        opened(root)


def test_masks_that_are_no_images_are_named(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for name in ("a [1]", "b"):
        Image.new("RGB", (4, 4)).save(tmp_path / "images" / f"{name}.png")
        np.save(tmp_path / "masks" / f"{name}.npy", np.zeros((4, 4), np.uint8))
    with pytest.raises(
        RobustsegError, match=r"mask .*/a \[1\]\.npy is none of .*save the masks as"
    ):
        open_folder(tmp_path / "images", tmp_path / "masks", classes=2)


def test_a_mask_of_grey_saved_as_colours_is_told_apart(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (4, 4), (1, 1, 1)).save(tmp_path / folder / "a.png")
    data = open_folder(tmp_path / "images", tmp_path / "masks", classes=2)
    with pytest.raises(RobustsegError, match=r"a\.png holds three times the same .*one channel"):
        data.batch([0])
