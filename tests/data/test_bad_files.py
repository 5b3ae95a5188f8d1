"""Nothing bad gets in: files that are damaged, lie, explode, or are not what they seem."""

import io
import os
import struct
import threading
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFile
from scipy.io import loadmat, savemat

from robustseg.array_files import read_npz, write_arrays
from robustseg.data import image_files, mat_files
from robustseg.data.arrays import load_arrays
from robustseg.data.classes import read_classes
from robustseg.data.folder import open_folder
from robustseg.data.image_files import image_size_px, read_any_mask, read_image, read_mask
from robustseg.data.listing import list_pairs, read_ids
from robustseg.data.manifest import read_list
from robustseg.data.opening import load_split
from robustseg.data.png_files import PASSES
from robustseg.data.published import open_published
from robustseg.errors import RobustsegError
from robustseg.evaluation.anybodys_data import source_of
from robustseg.evidence.attacked_images import read_arrays
from tests.campaign import campaign
from tests.campaign.cases import RIGHT, SENTENCE
from tests.data import archives
from tests.data.test_folder import (
    COLOURS,
    labels,
    one,
    picture,
    png,
    prepared,
    refused,
    save,
    section,
)

Pixels = NDArray[Any]
ROOT = Path(__file__).parents[2]
SIZE = (20, 30)
NOISE = np.random.default_rng(5).integers(0, 256, (*SIZE, 3), np.uint8)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [0, 1])
def test_damaged_files_of_every_kind_are_refused_in_one_sentence(seed: int) -> None:
    """Thousands of them, in a process that is missed if it is killed."""
    found = campaign.run([campaign.CLASSES["image_files"]], seed, minutes=5, most=2000, lanes=1)
    assert not found.faults
    counts = found.counts["image_files"]
    assert counts.total() == 2000
    assert counts[SENTENCE] > 1000 > counts[RIGHT] > 300


# What is no file, or no image.


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.write(archives.plain_png(labels(SIZE)))
        file.truncate(2**40)


def content(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


STRANGE = {
    "a folder": (Path.mkdir, "is a folder; put a file in its place"),
    "a pipe": (pipe, "is a pipe or device; put a file in its place"),
    "a device": (device, "is a pipe or device; put a file in its place"),
    "a link to itself": (link_to_itself, "is a link that leads nowhere; restore what it"),
    "nothing": (lambda path: None, "is missing; restore it, or unpack again"),
    "too long": (sparse, "has 1,099,511,627,776 bytes, where at most"),
    "empty": (content(b""), "it is empty"),
    "text": (content(b"Hello\r\nworld"), "it is text"),
    "SVG": (content(b'<svg xmlns="http://www.w3.org/2000/svg"/>'), "it is an SVG drawing"),
    "XML": (content(b'\xef\xbb\xbf <?xml version="1.0"?><svg/>'), "it is a web page, an SVG or"),
    "GIF": (content(b"GIF89a" + bytes(40)), "it is a GIF"),
    "LFS": (content(b"version https://git-lfs.github.com/spec/v1\n"), "whose file was not fetched"),
    "zeros": (content(bytes(5000)), "it is zeros"),
    "RIFF": (content(b"RIFF\x10\0\0\0WAVEfmt " + bytes(30)), "it is nothing known"),
}


@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.parametrize("read", [read_image, read_mask, read_any_mask, image_size_px])
def test_what_is_no_image_is_said(kind: str, read: Callable[[Path], Any], tmp_path: Path) -> None:
    make, sentence = STRANGE[kind]
    path = tmp_path / "x.png"
    make(path)
    in_time(lambda: refused(lambda: read(path), sentence))
    assert str(path) in said(lambda: read(path))


def in_time(action: Callable[[], object]) -> None:
    """Run an action that would otherwise wait for ever, in a thread that is left behind."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            action()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "it waits"
    if failures:
        raise failures[0]


def said(action: Callable[[], object]) -> str:
    with pytest.raises(RobustsegError) as caught:
        action()
    return str(caught.value)


@pytest.mark.parametrize("make", [Path.mkdir, pipe, device, link_to_itself])
@pytest.mark.parametrize("read", [read_ids, read_classes, read_list, load_arrays])
def test_lists_and_arrays_that_are_no_files_are_said(
    make: Callable[[Path], None], read: Callable[[Path], Any], tmp_path: Path
) -> None:
    path = tmp_path / "list"
    make(path)
    in_time(lambda: refused(lambda: read(path), str(path)))


def test_nothing_but_a_file_that_may_be_read_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "x.png", NOISE)

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", forbidden)
    refused(lambda: read_image(path), f"{path} may not be read; correct its permissions")


def test_too_little_memory_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "x.png", NOISE)

    def exhausted(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(image_files, "check_png", exhausted)
    refused(lambda: read_image(path), f"{path} needs more memory than there is")


# Headers that lie, and bombs.


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of(width: int, height: int, data: bytes, depth: int = 8, colour: int = 0) -> bytes:
    """Return a PNG whose checksums are right, whatever its header says of its data."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


LINES = bytes(20 * (1 + 30))
"""20 lines of 30 pixels."""


@pytest.mark.parametrize(
    ("width", "height", "sentence"),
    [
        (30, 19, "it has more data than its header says"),
        (30, 21, "it has less data than its header says"),
        (15, 30, "it has more data than its header says"),
        (0, 20, "is damaged ("),
        (30, 0, "is damaged ("),
        (8193, 8192, "has 8193x8192 pixels, where at most 67,108,864 are read; make it smaller"),
        (2**31 - 1, 2**31 - 1, "make it smaller"),
        (3000, 29, "is more than 100 times as long as wide; cut it into parts"),
    ],
)
def test_a_header_that_lies_is_noticed(
    width: int, height: int, sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(png_of(width, height, LINES))
    for read in (read_image, read_any_mask, read_mask):
        refused(lambda read=read: read(path), sentence)
    path.write_bytes(png_of(30, 20, LINES))
    assert read_mask(path).shape == (20, 30)


def test_pixels_with_the_checksum_of_others_are_refused(tmp_path: Path) -> None:
    """As a flipped bit may leave them: unpacked, they can have zlib's checksum all the same."""
    path = tmp_path / "x.png"
    others = png_of(30, 20, bytes([0, 1]) * (len(LINES) // 2))
    path.write_bytes(others.replace(others[-16:-12], png_of(30, 20, LINES)[-16:-12]))
    for read in (read_image, read_any_mask, read_mask):
        refused(lambda read=read: read(path), "its data have another checksum than it says")


def test_what_is_compressed_a_thousandfold_does_not_go_off(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(png_of(30, 20, bytes(2**28)))
    refused(lambda: read_image(path), "it has more data than its header says")
    mat = archives.gtcls_mat(np.zeros(SIZE, np.uint8))
    bomb = zlib.compress(bytes(2**28))
    (tmp_path / "x.mat").write_bytes(mat[:128] + struct.pack("<II", 15, len(bomb)) + bomb)
    tracemalloc.start()
    refused(lambda: read_mask(tmp_path / "x.mat"), "it unpacks to more than 67,108,864 bytes")
    assert tracemalloc.get_traced_memory()[1] < 2**28
    tracemalloc.stop()


def test_a_jpeg_that_begins_again_and_again_is_refused(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(NOISE).save(file, "JPEG", progressive=True)
    whole = file.getvalue()
    assert 1 < whole.count(b"\xff\xda") < 20
    scan = whole[whole.rindex(b"\xff\xda") : -2]
    (tmp_path / "x.jpg").write_bytes(whole[:-2] + 500 * scan + whole[-2:])
    refused(lambda: read_image(tmp_path / "x.jpg"), "it has more than 200 scans")


def test_what_telephones_put_behind_a_photograph_is_left_alone(tmp_path: Path) -> None:
    """A film holds bytes that look like scans, and like ends."""
    path = save(tmp_path / "x.jpg", Image.fromarray(NOISE), exif=b"Exif\0\0" + 300 * b"\xff\xda")
    alone = read_image(path)
    with path.open("ab") as file:
        file.write(300 * b"\xff\xda\xff\xd9")
    assert np.array_equal(read_image(path), alone)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_a_jpeg_that_ends_early_but_orderly_is_refused(
    mode: str, subsampling: int, tmp_path: Path
) -> None:
    pixels = np.tile(NOISE, (4, 4, 1))
    pixels[60:] = 128
    path, options = tmp_path / "x.jpg", {"quality": 95, "subsampling": subsampling}
    save(path, Image.fromarray(pixels).convert(mode), **options)
    with Image.open(path) as file:
        assert np.array_equal(read_image(path), file.convert("RGB"))  # grey, and complete
    whole = save(path, Image.fromarray(np.tile(NOISE, (4, 4, 1))).convert(mode), **options)
    data = whole.read_bytes()
    begin = data.rindex(b"\xff\xda") + 14
    for share in (0.02, 0.3, 0.6, 0.95):
        path.write_bytes(data[: begin + int(share * (len(data) - begin))] + b"\xff\xd9")
        refused(lambda: read_image(path), f"{path} is damaged (")
    at = data.index(b"\xff\xc0") + 5
    path.write_bytes(data[:at] + struct.pack(">H", 200) + data[at + 2 :])
    refused(lambda: read_image(path), f"{path} is damaged (it has less data than its header says")


def test_half_an_image_is_refused_whatever_a_model_asked_of_pillow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    path = save(tmp_path / "x.jpg", NOISE)
    path.write_bytes(path.read_bytes()[:-200])
    refused(lambda: read_image(path), f"{path} is damaged (image file is truncated")


def test_every_changed_bit_of_a_png_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    whole = archives.palette_png(labels((9, 9)))
    path.write_bytes(whole)
    mask, image = read_mask(path), read_image(path)
    for place in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << place % 8
        path.write_bytes(changed)
        with suppress(RobustsegError):
            assert np.array_equal(read_mask(path), mask)
        with suppress(RobustsegError):
            assert read_image(path).tobytes() == image.tobytes()


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (8, 8), (13, 30)])
@pytest.mark.parametrize("colour", [0, 2])
def test_interlaced_images_are_read(size: tuple[int, int], colour: int, tmp_path: Path) -> None:
    height, width = size
    pixels = NOISE[:height, :width] if colour else NOISE[:height, :width, :1]
    parts = [pixels[top::down, left::across] for left, top, across, down in PASSES]
    data = b"".join(b"\0" + line.tobytes() for part in parts if part.size for line in part)
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 1)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    path = tmp_path / "x.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in chunks))
    assert np.array_equal(read_image(path), np.broadcast_to(pixels, (*size, 3)))


# Images of unusual kinds.


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_several_images_in_one_file_are_refused(suffix: str, tmp_path: Path) -> None:
    pages = [Image.fromarray(NOISE), Image.fromarray(NOISE[::-1].copy())]
    path = save(tmp_path / f"x.{suffix}", pages[0], save_all=True, append_images=pages[1:])
    for read in (read_image, read_any_mask):
        if (read, suffix) != (read_any_mask, "webp"):  # lossy in the first place
            refused(lambda read=read: read(path), f"{path} holds several images in one file; save")


def test_previews_in_a_tiff_are_no_other_images(tmp_path: Path) -> None:
    pages = [Image.fromarray(NOISE), Image.fromarray(NOISE[::2, ::2].copy())]
    pages[1].encoderinfo = {"tiffinfo": {254: 1}}
    path = save(tmp_path / "x.tif", pages[0], save_all=True, append_images=pages[1:])
    with Image.open(path) as file:
        assert file.n_frames == 2
    assert np.array_equal(read_image(path), NOISE)


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".tif", ".bmp", ".png"])
def test_the_content_counts_and_not_the_suffix(suffix: str, tmp_path: Path) -> None:
    path = save(tmp_path / f"x{suffix}", Image.fromarray(NOISE), format="PNG")
    assert np.array_equal(read_image(path), NOISE)


def test_deep_grey_is_scaled_and_never_all_black_or_white(tmp_path: Path) -> None:
    grey = NOISE[..., 0].astype(np.uint16)
    grey[0, 0] = 255  # the whitest that there is
    for values in (grey * 257, grey * 256 + 3):
        path = save(tmp_path / "x.png", values)
        assert np.array_equal(np.array(read_image(path))[..., 0], grey)
    for values in (grey, grey * 16):
        save(tmp_path / "x.png", values)
        refused(
            lambda: read_image(tmp_path / "x.png"),
            "which would be black or nearly so; save it with 8",
        )
    save(tmp_path / "x.png", grey * 0)
    assert not np.array(read_image(tmp_path / "x.png")).any()


@pytest.mark.parametrize("colour", [2, 4, 6])
def test_deep_colours_are_never_all_black(colour: int, tmp_path: Path) -> None:
    """Values of 8 bits in a file of 16, as programs for arrays write them: Pillow has none left."""
    channels = {2: [0, 1, 2], 4: [0, 1], 6: [0, 1, 2, 0]}[colour]
    for most in (255, 4095):  # of 8 bits, and of cameras of 12
        values = NOISE[..., channels].astype(np.uint16) * (most // 255)
        (tmp_path / "x.png").write_bytes(png(values, 16, colour))
        refused(lambda: read_image(tmp_path / "x.png"), f"none above {most}, which would be black")
    (tmp_path / "x.png").write_bytes(png(NOISE[..., channels].astype(np.uint16) * 257, 16, colour))
    assert np.array_equal(np.array(read_image(tmp_path / "x.png"))[..., 0], NOISE[..., 0])


def test_pictures_of_pil_are_read_as_files_are(tmp_path: Path) -> None:
    deep = Image.fromarray(NOISE[..., 0].astype(np.uint16) * 257)
    mask = Image.fromarray(labels(SIZE))
    (images, found, _), *_ = source_of([(deep, mask)], batch_size=1, ignore_index=255).batches
    assert np.array_equal((images[0, 0] * 255).round(), NOISE[..., 0])
    assert np.array_equal(found[0], labels(SIZE))
    for image, label, sentence in (
        (deep, Image.open(save(tmp_path / "m.jpg", labels(SIZE))), "the mask of image 0 is a JPEG"),
        (Image.fromarray(NOISE[..., 0].astype(np.float32)), mask, "image 0 has pixels of mode F"),
        (Image.open(cut(save(tmp_path / "i.png", NOISE))), mask, "image 0 is damaged ("),
    ):
        batches = source_of([(image, label)], batch_size=1, ignore_index=255).batches
        refused(lambda batches=batches: list(batches), sentence)


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-300])
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [SIZE, (24, 24)])
def test_a_turn_that_nobody_can_see_is_refused(
    orientation: int, size: tuple[int, int], tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    photograph = save(tmp_path / "x.jpg", picture(size), exif=exif)
    dataset = one(tmp_path, photograph, labels(size))
    if orientation == 1 or (orientation > 4 and size == SIZE):
        assert dataset.sizes_px == [size]
    else:
        refused(lambda: dataset.sizes_px, f"orientation is {orientation}), and its mask would fit")


def test_damaged_exif_is_none(tmp_path: Path) -> None:
    path = save(tmp_path / "x.jpg", NOISE, exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + bytes(9))
    dataset = one(tmp_path, path, labels(SIZE))
    assert dataset.sizes_px == [SIZE]
    assert dataset.batch([0])[0].shape == (1, 3, *SIZE)


# Masks.


@pytest.mark.parametrize(
    ("suffix", "options", "kind"),
    [
        ("jpg", {}, "a JPEG"),
        ("png", {"format": "JPEG"}, "a JPEG"),
        ("webp", {"quality": 95}, "a lossy WebP"),
        ("webp", {"quality": 95, "exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}, "a lossy WebP"),
        ("tif", {"compression": "jpeg"}, "a TIFF compressed as jpeg"),
    ],
)
def test_masks_that_were_stored_with_loss_are_refused(
    suffix: str, options: dict[str, Any], kind: str, tmp_path: Path
) -> None:
    path = save(tmp_path / f"x.{suffix}", labels(SIZE), **options)
    for read in (read_any_mask, read_mask):
        refused(lambda read=read: read(path), f"{path} is {kind}, which blurs the values of a mask")


def test_a_lossless_webp_may_be_a_mask(tmp_path: Path) -> None:
    path = save(tmp_path / "x.webp", NOISE, lossless=True, exact=True)
    assert np.array_equal(read_any_mask(path), NOISE)


def test_colours_of_16_bits_are_refused(tmp_path: Path) -> None:
    """Of a colour in 0..255, stored with 16 bits, all would become black."""
    path = tmp_path / "x.png"
    path.write_bytes(png(NOISE.astype(np.uint16), 16, 2))
    refused(lambda: read_any_mask(path), "x.png is a mask of colours of 16 bits; save it with 8")


def test_published_masks_of_few_bits_are_not_spread(tmp_path: Path) -> None:
    """Pillow makes 17 and 34 of ADE20K's classes 1 and 2 where a mask has 4 bits."""
    path = tmp_path / "x.png"
    path.write_bytes(png(labels(SIZE), 4, 0))
    assert np.array_equal(read_mask(path), labels(SIZE))


def test_a_palette_must_not_contradict_the_colours_of_the_classes(tmp_path: Path) -> None:
    mask = labels(SIZE)
    mask[3] = 255
    colours = np.array([[int(word) for word in line.split()[-3:]] for line in COLOURS])
    palette = np.full((256, 3), 224)
    palette[:3] = colours
    image = Image.frombytes("P", SIZE[::-1], mask.tobytes())
    image.putpalette(palette.flatten().tolist())
    dataset = one(tmp_path, picture(SIZE), save(tmp_path / "x.png", image), classes=COLOURS)
    expected = np.where(mask == 255, -1, mask.astype(int))
    assert np.array_equal(dataset.batch([0])[1][0], expected)
    image.putpalette(np.repeat(np.arange(256), 3).tolist())
    image.save(tmp_path / "masks" / "x.png")
    assert np.array_equal(dataset.batch([0])[1][0], expected)
    palette[:3] = colours[[0, 2, 1]]
    image.putpalette(palette.flatten().tolist())
    image.save(tmp_path / "masks" / "x.png")
    refused(
        lambda: dataset.batch([0]),
        "x.png has the colour (70, 130, 180) at place 1 of its palette, but (250, 170, 30) is",
    )


def test_masks_whose_palettes_are_in_other_orders_are_refused(tmp_path: Path) -> None:
    """As after a look at one of them in a program that draws: the same picture, other numbers."""
    palette = [value for line in COLOURS for value in map(int, line.split()[-3:])]
    for name in ("a", "b", "c"):
        image = Image.fromarray(labels(SIZE))
        image.putpalette(palette)
        save(tmp_path / "masks" / f"{name}.png", image)
        save(tmp_path / "images" / f"{name}.png", picture(SIZE))
    root, settings, path = tmp_path, section(tmp_path), tmp_path / "masks" / "b.png"
    prepared(root, settings)
    save(path, Image.open(path).remap_palette([2, 0, 1]))
    refused(lambda: prepared(root, settings), "is there in `classes` or in other masks; correct")
    save(path, Image.open(path).convert("RGB"))
    refused(lambda: prepared(root, settings), f"{path} is a mask of colours, but the classes have")


def test_published_masks_with_other_values_are_refused_without_preparing(tmp_path: Path) -> None:
    archives.write_files(tmp_path, archives.ade20k_files())
    dataset = open_published("ade20k", tmp_path)
    assert len(dataset.batch([0])[1]) == 1
    mask = archives.ade_mask(archives.ADE_VAL[0])
    mask[2, 3] = 151
    path = tmp_path / str(dataset.masks[0])
    path.write_bytes(archives.plain_png(mask))
    refused(lambda: dataset.batch([0]), f"{path} holds the value 151, which is none of the 150")


# SBD's masks.


def sbd_struct(source: np.random.Generator) -> dict[str, Any]:
    """Return a struct like SBD's, of any size, with its fields in any order and some more."""
    height, width = source.integers(1, 40, 2)
    boundaries = np.empty((20, 1), object)
    for place in range(20):
        boundaries[place, 0] = np.eye(int(source.integers(1, 5)))
    fields: dict[str, Any] = {
        "Boundaries": boundaries,
        "Segmentation": source.integers(0, 256, (height, width), np.uint8),
        "CategoriesPresent": source.integers(1, 21, (int(source.integers(0, 4)), 1), np.uint8),
        "note": "x" * int(source.integers(0, 30)),
        "inner": {"Segmentation": source.random((2, 2)), "deep": {"a": 1.5 + 2j}},
    }
    order = [list(fields)[place] for place in source.permutation(len(fields))]
    kept = order[: int(source.integers(1, 6))]
    return {name: fields[name] for name in [*kept, "Segmentation"] if name in fields}


@pytest.mark.parametrize("compressed", [True, False])
def test_sbd_masks_are_read_as_scipy_reads_them(compressed: bool, tmp_path: Path) -> None:
    source = np.random.default_rng(3)
    path = tmp_path / "x.mat"
    for _ in range(60):
        before = {"other": source.random((3, 4)), "text": "GTcls"}
        variables: dict[str, Any] = {**before, "GTcls": sbd_struct(source), "after": 1}
        savemat(path, variables, do_compression=compressed)
        theirs = loadmat(path)["GTcls"]["Segmentation"][0, 0]
        assert np.array_equal(read_mask(path), theirs)
        assert read_mask(path).dtype == theirs.dtype == np.uint8


def test_sbd_masks_of_the_other_order_of_bytes_are_read(tmp_path: Path) -> None:
    """Written by hand, as scipy writes one order only; scipy reads it too."""

    def element(kind: int, body: bytes) -> bytes:
        return struct.pack(">II", kind, len(body)) + body + bytes(-len(body) % 8)

    def matrix(kind: int, shape: tuple[int, int], name: bytes, *parts: bytes) -> bytes:
        about = element(6, struct.pack(">II", kind, 0)) + element(5, struct.pack(">ii", *shape))
        return element(14, about + element(1, name) + b"".join(parts))

    mask = labels((5, 7), 21)
    inner = matrix(9, mask.shape, b"", element(2, mask.tobytes(order="F")))
    names = element(5, struct.pack(">i", 16)) + element(1, b"Segmentation".ljust(16, b"\0"))
    path = tmp_path / "x.mat"
    header = b"MATLAB 5.0".ljust(124) + struct.pack(">H", 0x0100) + b"MI"
    path.write_bytes(header + matrix(2, (1, 1), b"GTcls", names, inner))
    assert np.array_equal(read_mask(path), mask)
    assert np.array_equal(loadmat(path)["GTcls"]["Segmentation"][0, 0], mask)


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"GTinst": {"Segmentation": STRIPE}}, "it has no GTcls")
        for STRIPE in [np.zeros((3, 3), np.uint8)]
    ]
    + [
        ({"GTcls": np.zeros((3, 3), np.uint8)}, "its GTcls is not one struct"),
        ({"GTcls": {"Boundaries": 1}}, "its GTcls has not one field Segmentation"),
        ({"GTcls": {"Segmentation": np.zeros((3, 3))}}, "its Segmentation is not of one byte a"),
        ({"GTcls": {"Segmentation": np.zeros((3, 3), np.int8)}}, "is not of one byte a pixel"),
        ({"GTcls": {"Segmentation": np.zeros((3, 3), complex)}}, "is not a matrix of real numbers"),
        ({"GTcls": {"Segmentation": "text"}}, "its Segmentation is not a matrix of real numbers"),
        ({"GTcls": {"Segmentation": np.zeros((2, 3, 3), np.uint8)}}, "is not a matrix of real"),
    ],
)
@pytest.mark.parametrize("compressed", [True, False])
def test_mat_files_with_something_else_are_refused(
    variables: dict[str, Any], sentence: str, compressed: bool, tmp_path: Path
) -> None:
    path = tmp_path / "x.mat"
    savemat(path, variables, do_compression=compressed)
    refused(lambda: read_mask(path), f"{path} is damaged (")
    refused(lambda: read_mask(path), sentence)


def test_mat_files_that_unpack_to_too_much_together_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, mask = tmp_path / "x.mat", np.zeros((30, 40), np.uint8)
    variables = {"other": mask, "GTcls": {"Segmentation": mask}}
    savemat(path, variables, do_compression=True)
    assert np.array_equal(read_mask(path), mask)
    monkeypatch.setattr(mat_files, "MOST_BYTES", 2000)
    refused(lambda: read_mask(path), "it unpacks to more than 2,000 bytes")


def test_mat_files_of_other_versions_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.mat"
    savemat(path, {"GTcls": np.zeros((3, 3), np.uint8)}, format="4")
    refused(lambda: read_mask(path), "it is not a MAT file")
    newer = archives.gtcls_mat(np.zeros(SIZE, np.uint8))
    path.write_bytes(newer[:124] + b"\0\2" + newer[126:])
    refused(lambda: read_mask(path), "it is a MAT file of version 7.3, where 7 is known")


@pytest.mark.parametrize("compressed", [True, False])
def test_every_changed_byte_of_a_mat_file_is_survived(compressed: bool) -> None:
    file = io.BytesIO()
    struct_of = {"Boundaries": 1, "Segmentation": labels((3, 4)), "CategoriesPresent": 1}
    savemat(file, {"GTcls": struct_of}, do_compression=compressed)
    whole = file.getvalue()
    same = 0
    for place in range(124, len(whole)):
        for change in (1, 0x80, 0xFF):
            data = bytearray(whole)
            data[place] ^= change
            try:
                found = mat_files.read_segmentation(bytes(data))
            except (ValueError, zlib.error):
                continue
            same += 1
            assert not compressed or np.array_equal(found, struct_of["Segmentation"])
            assert found.size == 12
    assert compressed or same > 12
    for end in range(len(whole)):
        with pytest.raises((ValueError, zlib.error)):
            mat_files.read_segmentation(whole[:end])


# Sizes.


def test_what_resizing_makes_too_large_is_refused(tmp_path: Path) -> None:
    dataset = one(tmp_path, picture((2, 200)), labels((2, 200)), resize_px=900)
    sentence = f"{tmp_path}/images/x.png: 200x2 pixels would become 90000x900, where at most"
    refused(lambda: dataset.sizes_px, sentence)
    refused(lambda: dataset.batch([0]), sentence)


def test_an_image_that_changed_its_size_since_it_was_prepared_is_refused(tmp_path: Path) -> None:
    folder_of(tmp_path, ["a.png", "b.png"])
    dataset = load_split(prepared(tmp_path, section(tmp_path))["val"])
    save(tmp_path / "images" / "b.png", picture((7, 9)))
    save(tmp_path / "masks" / "b.png", labels((7, 9)))
    refused(lambda: dataset.batch([0, 1]), "images/b.png has 9x7 pixels, and had another size when")


# Folders and lists.


def folder_of(top: Path, names: list[str | bytes]) -> Path:
    for part, pixels in (("images", picture(SIZE)), ("masks", labels(SIZE))):
        for name in names:
            path = top / part / os.fsdecode(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archives.plain_png(pixels))
    return top


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\nb.png", r"a\nb.png"),
        ("a\tb.png", r"a\tb.png"),
        (b"caf\xe9.png", r"caf\udce9.png"),
        ("a\u2028b.png", r"a\u2028b.png"),
        ("new\nfolder/a.png", r"new\nfolder/a.png"),
        ("\x1b[31mred.png", r"\x1b[31mred.png"),
    ],
)
def test_names_that_no_list_can_hold_are_refused(
    name: str | bytes, shown: str, tmp_path: Path
) -> None:
    folder_of(tmp_path, ["good.png", name])
    refused(
        lambda: list_pairs(tmp_path / "images", tmp_path / "masks"),
        f"the name {tmp_path}/images/{shown} has line breaks or other control characters, or is",
    )


def test_names_in_any_script_are_good(tmp_path: Path) -> None:
    names = [
        "straße.png",
        "画像/一.png",
        "Bildschirmfoto 14.02\u202fUhr.png",
        "a\u00a0b.png",
        "..c.png",
    ]
    folder_of(tmp_path, list(names[:4]))
    found = [pair.image_id for pair in list_pairs(tmp_path / "images", tmp_path / "masks")]
    assert found == sorted(name.removesuffix(".png") for name in names[:4])


def test_links_that_go_round_are_refused(tmp_path: Path) -> None:
    folder_of(tmp_path, ["a.png", "deep/b.png"])
    for name in ("x", "deep/y", "deep/z"):
        (tmp_path / "images" / name).symlink_to(tmp_path / "images")
    in_time(
        lambda: refused(
            lambda: list_pairs(tmp_path / "images", tmp_path / "masks"),
            f"is the same folder as {tmp_path}/images; remove the link",
        )
    )


def test_images_that_links_show_twice_are_refused(tmp_path: Path) -> None:
    """Ten folders of two links each would be a thousand copies."""
    folder_of(tmp_path, ["a.png"])
    (tmp_path / "images" / "real").mkdir()
    for name in ("one", "two"):
        (tmp_path / "images" / name).symlink_to(tmp_path / "images" / "real")
    refused(lambda: list_pairs(tmp_path / "images", tmp_path / "masks"), "is the same folder as")


@pytest.mark.parametrize(
    ("ids", "sentence"),
    [
        ([1, 2], "`ids` should be a file or a list of texts"),
        ([b"a"], "`ids` should be a file or a list of texts"),
        ({"a": 1}, "`ids` should be a file or a list of texts"),
        (7, "`ids` should be a file or a list of texts"),
        ([], "`ids` is empty"),
        (["a", "a"], "`ids` names a twice; name each once"),
        (["../images/a"], "1 of the 1 ids have no image in"),
        (["/etc/passwd", "a"], "1 of the 2 ids have no image in"),
        (["a.png"], "an id is a file's path in that folder without its suffix"),
        (["a\nb"], r"(a\nb)"),
        (b"\xff\xfea\0\n\0", "is missing or not text ("),
        (b"a\0b\n", "is missing or not text (it holds zeros)"),
        (b"a\nb.png\n", "1 of the 2 ids have no image"),
    ],
)
def test_lists_of_ids_that_are_refused(ids: Any, sentence: str, tmp_path: Path) -> None:
    folder_of(tmp_path, ["a.png"])
    if isinstance(ids, bytes):
        (tmp_path / "ids.txt").write_bytes(ids)
        ids = tmp_path / "ids.txt"
    refused(lambda: list_pairs(tmp_path / "images", tmp_path / "masks", ids), sentence)


def test_a_folder_with_a_zero_in_its_name_is_refused() -> None:
    refused(lambda: open_folder("a\0b", "c", classes=3), r"the name a\x00b has line breaks or")


def test_a_list_that_is_no_list_is_shown_in_part(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("/" * 10_000)
    sentence = said(lambda: read_list(tmp_path / "train.txt"))
    assert len(sentence) < 300 + len(str(tmp_path))


# Arrays.


def npy(description: str, data: bytes = b"") -> bytes:
    text = description.encode() + b" " * (-len(description) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def array(kind: str, shape: str, data: bytes) -> bytes:
    return npy(f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}", data)


def test_arrays_are_read_as_numpy_reads_them(tmp_path: Path) -> None:
    source = np.random.default_rng(0)
    arrays: dict[str, Pixels] = {
        "a": source.integers(0, 256, (3, 4, 5), np.uint8),
        "b": np.array(["x", "longer"]),
        "c": np.array(1.5),
        "d": np.zeros((0, 4), np.float16),
        "e": np.asfortranarray(source.random((4, 3))),
        "f": source.random(2**18),
    }
    for compressed in (True, False):
        path = tmp_path / f"{compressed}.npz"
        write_arrays(path, arrays, compressed=compressed)
        with np.load(path) as theirs:
            mine = read_npz(path)
            assert list(mine) == theirs.files == list(arrays)
            for name, values in mine.items():
                assert values.dtype == theirs[name].dtype
                assert np.array_equal(values, theirs[name])


@pytest.mark.parametrize(
    ("member", "sentence"),
    [
        (array("|u1", "(10**12,)", b""), "cannot be read ("),
        (array("|u1", "(1000000000000,)", b"x"), "it has an array uint8 (1000000000000,) in 1 by"),
        (array("|u1", "(-1,)", b""), "it has an array uint8 (-1,) in 0 bytes"),
        (array("|u1", "(3,)", b"xxxx"), "it has an array uint8 (3,) in 4 bytes"),
        (array("|O", "(1,)", b"cos\nsystem\n"), "it has an array of Python's objects"),
        (array("<U0", "(1000000000000,)", b""), "or of nothing"),
        (b"\x80\x04K\x01.", "cannot be read ("),
        (npy("{" * 60), "cannot be read ("),
        (b"", "cannot be read ("),
    ],
)
def test_arrays_that_lie_are_refused(member: bytes, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", member)
    refused(lambda: read_arrays(path, ("images",)), sentence)
    refused(lambda: read_arrays(path, ("images",)), f"{path} cannot be read (")


def test_arrays_that_end_early_with_the_right_checksum_are_refused(tmp_path: Path) -> None:
    """Else what memory held before would be read for pixels."""
    path = tmp_path / "x.npz"
    member = array("|u1", "(100000,)", b"abc")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", member)
    whole, size = path.read_bytes(), struct.pack("<I", len(member))
    assert whole.count(size) >= 2
    path.write_bytes(whole.replace(size, struct.pack("<I", len(member) - 3 + 100_000)))
    refused(lambda: read_arrays(path, ("images",)), "it has an array that ends 99,997 bytes early")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_arrays_of_one_name_or_too_large_together_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for content in (b"abc", b"xyz"):
            archive.writestr("images.npy", array("|u1", "(3,)", content))
    refused(lambda: read_arrays(path, ("images",)), "it has two arrays of one name")
    write_arrays(path, {name: np.zeros(1500, np.uint8) for name in "ab"}, compressed=True)
    monkeypatch.setattr("robustseg.array_files.MOST_BYTES", 2000)
    assert len(read_npz(path, ["a"])["a"]) == 1500
    refused(lambda: read_arrays(path, ("a", "b")), "its arrays have more than 2,000 bytes")


def test_archives_of_arrays_that_are_bombs_or_none_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", array("|u1", "(3,)", b"abc"))
    whole = path.read_bytes()
    size = struct.pack("<I", len(array("|u1", "(3,)", b"abc")))
    assert whole.count(size) >= 2
    path.write_bytes(whole.replace(size, b"\xf0\xff\xff\xff"))
    refused(lambda: read_arrays(path, ("images",)), f"{path} cannot be read (")
    np.save(tmp_path / "y.npy", np.zeros(3))
    (tmp_path / "y.npy").rename(path)
    refused(lambda: read_arrays(path, ("images",)), f"{path} cannot be read (")


@pytest.mark.parametrize(
    "changes",
    [
        {"palette": np.zeros((5,), np.uint8)},
        {"palette": np.zeros((5, 3))},
        {"palette": np.zeros((4, 3), np.uint8)},
        {"image_ids": np.zeros(2)},
        {"class_names": np.array("a")},
    ],
)
def test_splits_whose_names_or_colours_are_none_are_refused(
    changes: dict[str, Pixels], tmp_path: Path
) -> None:
    arrays: dict[str, Pixels] = {
        "images": np.zeros((2, 4, 4, 3), np.uint8),
        "labels": np.zeros((2, 4, 4), np.uint8),
        "image_ids": np.array(["a", "b"]),
        "class_names": np.array(list("vwxyz")),
        "palette": np.zeros((5, 3), np.uint8),
    }
    write_arrays(tmp_path / "x.npz", arrays)
    assert len(load_arrays(tmp_path / "x.npz")) == 2
    write_arrays(tmp_path / "x.npz", arrays | changes)
    refused(lambda: load_arrays(tmp_path / "x.npz"), f"{tmp_path}/x.npz has no ids and names of")
