"""ImageNet in folders of classes, and classifiers of more classes than a mask has values."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from robustseg.config.data import ImageNet
from robustseg.data.class_folders import list_class_folders
from robustseg.data.opening import load_split
from robustseg.errors import RobustsegError
from robustseg.evaluation.adapters import OnePixel, one_pixel
from robustseg.evaluation.over_batches import evaluate_clean

IMAGES = {
    "n00000005/c.JPEG": 5,
    "n00000255/a.JPEG": 255,
    "n00000256/d.png": 256,
    "n00000999/b.JPEG": 999,
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return 1000 folders, four of them with an image whose brightness tells its class."""
    root = tmp_path / "val"
    for label in range(1000):
        (root / f"n{label:08d}").mkdir(parents=True)
    for name, label in IMAGES.items():
        pixels = np.full((50, 70, 3), [label % 250, label // 250, 0], np.uint8)
        pixels[:, :2] = pixels[:, -2:] = 255  # outside the centre
        Image.fromarray(pixels).save(root / name, "PNG")  # whatever its name says: exact
    (root / "n00000005" / "notes.txt").write_text("no image")
    return root


def settings(root: Path, **changes: int) -> dict[str, object]:
    section = ImageNet(kind="imagenet", root=str(root), resize_px=40, crop_px=32)
    return section.model_dump() | changes


def test_images_have_the_class_of_their_folder(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "val.classes.parquet"
    assert list_class_folders(settings(root), path) == 4
    dataset = load_split(path)
    assert dataset.image_ids == ["a", "b", "c", "d"]
    assert (dataset.num_classes, len(dataset)) == (1000, 4)
    images, labels, ids = dataset.batch([3, 0])
    assert labels.tolist() == [256, 255]
    assert ids == ["d", "a"]
    assert images.shape == (2, 3, 32, 32)
    assert images[0, 0].mul(255).round().unique().tolist() == [256 % 250]


def test_what_is_hidden_is_left_alone(root: Path, tmp_path: Path) -> None:
    (root / ".ipynb_checkpoints").mkdir()
    (root / "n00000005" / "._c.JPEG").write_bytes(b"of a Mac")
    path = tmp_path / "val.classes.parquet"
    assert list_class_folders(settings(root), path) == 4
    assert load_split(path).image_ids == ["a", "b", "c", "d"]


def test_the_images_that_are_taken_are_spread_over_all(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "val.classes.parquet"
    assert list_class_folders(settings(root, images=2), path) == 2
    assert load_split(path).image_ids == ["a", "c"]
    with pytest.raises(RobustsegError, match=r"val has 4 images, but 5 are wanted"):
        list_class_folders(settings(root, images=5), path)


def test_a_class_with_the_number_of_ignored_pixels_counts(root: Path, tmp_path: Path) -> None:
    """Class 255 is a class like any other, although masks say with 255 that a pixel is ignored."""
    path = tmp_path / "val.classes.parquet"
    list_class_folders(settings(root), path)

    class FromBrightness(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            red, green = images[:, 0, 16, 16] * 255, images[:, 1, 16, 16] * 255
            label = (red + 250 * green).round().long()
            return torch.nn.functional.one_hot(label.where(label != 999, 3), 1000) * 9.0

    model = OnePixel(FromBrightness())
    rows = evaluate_clean(model, one_pixel(load_split(path)), batch_size=4, identity={})
    assert [row["pixels"] for row in rows] == [1, 1, 1, 1]
    right = {row["image_id"]: row["pixels_correct"] for row in rows}
    assert right == {"a": 1, "b": 0, "c": 1, "d": 1}


def test_what_is_no_imagenet_is_refused(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "val.classes.parquet"
    (root / "n00000005" / "a.JPEG").write_bytes((root / "n00000255" / "a.JPEG").read_bytes())
    with pytest.raises(RobustsegError, match="val has two images a; names must be unique"):
        list_class_folders(settings(root), path)
    (root / "n00000007").rmdir()
    with pytest.raises(RobustsegError, match="val has 999 folders instead of one for each of"):
        list_class_folders(settings(root), path)
    assert not path.exists()
    with pytest.raises(RobustsegError, match=r"classes\.parquet does not exist"):
        load_split(path)


@pytest.mark.parametrize("name", ["7", "tench", "__MACOSX", "n01440764-tench"])
def test_classes_that_are_in_no_known_order_are_refused(
    root: Path, name: str, tmp_path: Path
) -> None:
    """As text 10 comes before 2, and a bookcase before a tench."""
    (root / "n00000007").rename(root / name)
    with pytest.raises(RobustsegError, match=rf"val has 1 folders whose names .* \({name}\)"):
        list_class_folders(settings(root), tmp_path / "val.classes.parquet")


def test_a_truncated_list_is_refused(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "val.classes.parquet"
    list_class_folders(settings(root), path)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(RobustsegError, match=r"is truncated or no list of images"):
        load_split(path)
