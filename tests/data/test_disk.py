"""What a model sees of images on the disk: validation, and views that follow from their names."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from robustseg.config.data import Ade20k
from robustseg.data.disk import DiskDataset
from robustseg.data.interface import AugmentedDataset
from robustseg.data.opening import load_split
from robustseg.data.prepare import prepare
from robustseg.data.relabelled import without_background
from robustseg.data.transforms import Views
from robustseg.errors import RobustsegError
from robustseg.progress import Progress
from tests.data import archives

CROP = 48
VIEWS = Views(crop_px=CROP, base_px=52, padding_label=255)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("ade20k")
    archives.write_files(folder, archives.ade20k_files())
    settings = Ade20k(kind="ade20k", check_counts=False, crop_px=CROP, base_px=52)
    outputs = {name: folder / f"{name}.parquet" for name in ("manifest", "train", "val")}
    prepare(settings.model_dump(), folder, {"ade20k": ""}, outputs, 1, Progress("test"))
    return outputs


@pytest.mark.parametrize(
    ("padding", "background", "label"),
    [("ignore", "class", 255), ("background", "class", 0), ("background", "ignore", 255)],
)
def test_padding_has_the_label_of_its_value(
    tmp_path: Path, padding: Any, background: Any, label: int
) -> None:
    archives.write_files(tmp_path, archives.ade20k_files())
    settings = Ade20k(
        kind="ade20k", check_counts=False, crop_px=160, padding=padding, background=background
    )
    outputs = {name: tmp_path / f"{name}.parquet" for name in ("manifest", "train", "val")}
    prepare(settings.model_dump(), tmp_path, {"ade20k": ""}, outputs, 1, Progress("test"))
    dataset = load_split(outputs["train"])
    assert isinstance(dataset, DiskDataset)
    assert dataset.views.padding_label == label


@pytest.fixture(scope="module")
def train(outputs: dict[str, Path]) -> DiskDataset:
    dataset = load_split(outputs["train"])
    assert isinstance(dataset, DiskDataset)
    return dataset


def pair(height: int = 70, width: int = 90) -> tuple[Image.Image, Image.Image]:
    """Return an image whose red says where it was from left to right, and so do its labels."""
    across = np.tile(np.linspace(0, 200, width).round().astype(np.uint8), (height, 1))
    return Image.fromarray(np.stack([across] * 3, 2)), Image.fromarray(across)


def views(count: int = 200, **size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    images, labels = pair(**size)
    drawn = (VIEWS.training(images, labels, random.Random(seed)) for seed in range(count))
    return [(np.array(image), np.array(label)) for image, label in drawn]


def test_validation_shows_the_centre_with_the_short_side_at_the_crop(train: DiskDataset) -> None:
    images, labels, ids = train.batch([3, 1])
    assert ids == [archives.ADE_TRAIN[3], archives.ADE_TRAIN[1]]
    assert images.shape == (2, 3, CROP, CROP)
    assert images.dtype == torch.float32
    assert images.is_contiguous()
    assert labels.shape == (2, CROP, CROP)
    assert labels.dtype == torch.int64
    with Image.open(train.root / train.images[3]) as file:
        width, height = file.size
        short = min(width, height)
        size = (CROP * width // short, CROP * height // short)
        resized = np.array(file.resize(size, Image.Resampling.BILINEAR))
    left, top = round((size[0] - CROP) / 2), round((size[1] - CROP) / 2)
    expected = resized[top : top + CROP, left : left + CROP].transpose(2, 0, 1) / np.float32(255)
    assert np.array_equal(images[0], expected)


def test_a_view_follows_from_seed_epoch_and_image_alone(train: DiskDataset) -> None:
    images, labels = train.training_batch([0, 1, 2, 3, 4], 7, 1)
    alone, alone_labels = train.training_batch([3], 7, 1)
    assert torch.equal(images[3], alone[0])
    assert torch.equal(labels[3], alone_labels[0])
    reversed_images, _ = train.training_batch([4, 3], 7, 1)
    assert torch.equal(reversed_images, images[[4, 3]])
    for other in ((7, 2), (8, 1)):
        assert not torch.equal(train.training_batch([3], *other)[0], alone)


def test_views_hold_image_and_labels_together() -> None:
    for image, label in views():
        assert image.shape == (CROP, CROP, 3)
        whole = np.abs(image[..., 0].astype(int) - label)
        if (label != 255).all():  # the blur smears an edge of the padding
            assert whole.max() <= 12
            assert whole.mean() < 2


@pytest.mark.parametrize("turned", [False, True])
def test_crops_come_from_everywhere(turned: bool) -> None:
    image, labels = (one.transpose(Image.Transpose.ROTATE_270) if turned else one for one in pair())
    centres = []
    for seed in range(300):
        _, label = VIEWS.training(image, labels, random.Random(seed))
        line = np.array(label)[:, 0] if turned else np.array(label)[0]
        if 255 not in line and np.ptp(line) < 100:  # less than half of the image
            centres.append(line.mean() / 200)
    for low in (0.2, 0.4, 0.6):
        assert any(low < centre < low + 0.2 for centre in centres)


def test_half_of_the_views_are_mirrored() -> None:
    mirrored = [bool(label[0, 0] > label[0, 20]) for _, label in views()]
    assert 0.4 < np.mean(mirrored) < 0.6


def test_views_are_scaled_from_half_to_twice_the_base() -> None:
    # 200 grey levels over 90 pixels; a short side of s makes the long one s * 90 / 70.
    steps = [np.abs(np.diff(label[0].astype(int)))[:20].mean() for _, label in views(400)]
    short = np.array([200 / step * 70 / 90 for step in steps])
    assert 26 - 3 < short.min() < 30
    assert 100 < short.max() < 104 + 8
    assert 60 < short.mean() < 70  # uniform: (26 + 104) / 2, and edges in the row


def test_small_images_are_padded_on_the_right_and_below() -> None:
    padded = [(image, label) for image, label in views() if (label == 255).any()]
    assert len(padded) > 20
    for image, label in padded:
        assert label[0, 0] != 255
        assert label[-1, -1] == 255
        outside = label == 255
        assert (image[outside] <= 210).all()
        assert image[-1, -1].max() <= 40  # black, and a little of a blurred neighbour
    image, label = Views(CROP, 20, padding_label=0).training(*pair(), random.Random(0))
    assert np.array(label)[-1, -1] == 0


def test_about_half_of_the_views_are_blurred_and_labels_never() -> None:
    rough = np.random.default_rng(0).integers(0, 255, (CROP, CROP, 3), np.uint8)
    labels = Image.fromarray(rough[..., 0] // 64)
    same = Views(CROP, CROP, 255)
    blurred = 0
    for seed in range(300):
        source = Fixed(seed)
        image, label = same.training(Image.fromarray(rough), labels, source)
        assert np.array_equal(label, labels)
        blurred += not np.array_equal(image, rough)
    assert 120 < blurred < 180


class Fixed(random.Random):
    """Draws no flip and no scale, and what follows at random."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.draws = 0

    def random(self) -> float:
        self.draws += 1
        return 0.9 if self.draws == 1 else super().random()

    def uniform(self, a: float, b: float) -> float:
        return 1.0 if (a, b) == (0.5, 2.0) else super().uniform(a, b)


def test_the_background_can_be_ignored_in_training_too(train: DiskDataset) -> None:
    without = without_background(train)
    assert isinstance(without, AugmentedDataset)
    images, labels = train.training_batch([0, 1], 0, 0)
    same_images, ignored = without.training_batch([0, 1], 0, 0)
    assert torch.equal(images, same_images)
    assert (labels == 0).any()
    assert torch.equal(ignored, torch.where(labels == 0, -1, labels))


def test_a_damaged_split_is_a_sentence(outputs: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    with pytest.raises(RobustsegError, match=r"train\.parquet does not exist; prepare the data"):
        load_split(path)
    path.write_bytes(outputs["train"].read_bytes()[:1000])
    with pytest.raises(RobustsegError, match=r"train\.parquet is truncated or no split"):
        load_split(path)


def test_an_image_that_went_away_is_named(outputs: dict[str, Path], tmp_path: Path) -> None:
    dataset = load_split(outputs["val"])
    assert isinstance(dataset, DiskDataset)
    moved = DiskDataset(**{**vars(dataset), "root": tmp_path})
    with pytest.raises(RobustsegError, match=rf"{archives.ADE_VAL[0]}\.jpg is missing"):
        moved.batch([0])
