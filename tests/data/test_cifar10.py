"""CIFAR-10 in its published binary version and as folders of image files."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from robustseg.data import cifar10
from robustseg.data.cifar10 import prepare_cifar10
from robustseg.data.opening import load_split
from robustseg.data.splits import CIFAR10_CLASSES
from robustseg.errors import RobustsegError
from robustseg.progress import Silence

COUNTS = {"train": 20, "test": 10}
"""One or two images of each class."""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar10, "CIFAR10_IMAGES", COUNTS)


def images_of(name: str) -> np.ndarray:
    rng = np.random.default_rng(len(name))
    return rng.integers(0, 256, (COUNTS[name], 32, 32, 3), np.uint8)


def binary(root: Path) -> Path:
    folder = root / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for name, files in cifar10.FILES.items():
        rows = [
            bytes([number % 10]) + image.transpose(2, 0, 1).tobytes()
            for number, image in enumerate(images_of(name))
        ]
        share = len(rows) // len(files)
        for place, file in enumerate(files):
            part = rows[place * share : (place + 1) * share]
            (folder / file).write_bytes(b"".join(part))
    return root


def folders(root: Path) -> Path:
    for name in COUNTS:
        for number, image in enumerate(images_of(name)):
            folder = root / name / CIFAR10_CLASSES[number % 10]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{number:02d}.png")
    return root


def packed(root: Path) -> Path:
    root.mkdir()
    pack(folders(root / "x"), root)
    return root


def pack(found: Path, root: Path) -> None:
    for name in COUNTS:
        with tarfile.open(root / f"cifar10_{name}.tar.gz", "w:gz") as archive:
            archive.add(found / name, name)


def prepare(root: Path, work: Path, train_images: int = 20, val_images: int = 10) -> None:
    settings = {"train_images": train_images, "val_images": val_images}
    outputs = {"train": work / "train.npz", "val": work / "val.npz"}
    prepare_cifar10(settings, root, outputs, Silence())


@pytest.mark.parametrize("layout", [binary, folders, packed])
def test_images_and_classes_are_read(layout, tmp_path: Path) -> None:
    prepare(layout(tmp_path / "root"), tmp_path)
    for split, name in (("train", "train"), ("val", "test")):
        dataset = load_split(tmp_path / f"{split}.npz")
        images, labels, _ = dataset.batch(range(len(dataset)))
        found = images.permute(0, 2, 3, 1).mul(255).round().byte().numpy()
        wanted = {image.tobytes(): number % 10 for number, image in enumerate(images_of(name))}
        assert {
            image.tobytes(): int(label) for image, label in zip(found, labels, strict=True)
        } == wanted
        assert dataset.class_names == list(CIFAR10_CLASSES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["root", "train.npz", "val.npz"]


@pytest.mark.parametrize("is_packed", [False, True])
def test_what_is_hidden_is_left_alone(is_packed: bool, tmp_path: Path) -> None:
    found = folders(tmp_path / "root")
    for name in ("._00.png", ".DS_Store"):
        (found / "train" / "airplane" / name).write_bytes(b"of a Mac")
    if is_packed:
        pack(found, tmp_path)
        found = tmp_path
    prepare(found, tmp_path)
    assert len(load_split(tmp_path / "train.npz")) == 20


def test_some_of_the_images_are_of_all_classes(tmp_path: Path) -> None:
    prepare(folders(tmp_path / "root"), tmp_path, train_images=10)
    labels = load_split(tmp_path / "train.npz").batch(range(10))[1]
    assert labels.tolist() == list(range(10))


def test_what_is_no_complete_copy_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RobustsegError, match=r"has neither cifar-10-batches-bin.*cifar10_train"):
        prepare(tmp_path / "empty", tmp_path)
    root = binary(tmp_path / "short")
    path = root / "cifar-10-batches-bin" / "data_batch_2.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RobustsegError, match=r"batch_2.bin has 12,291 bytes instead of 12,292"):
        prepare(root, tmp_path)
    path.unlink()
    with pytest.raises(RobustsegError, match=r"data_batch_2.bin cannot be read"):
        prepare(root, tmp_path)
    root = binary(tmp_path / "label")
    path = root / "cifar-10-batches-bin" / "test_batch.bin"
    path.write_bytes(b"\x0b" + path.read_bytes()[1:])
    with pytest.raises(RobustsegError, match=r"test_batch.bin has the label 11, but there are"):
        prepare(root, tmp_path)
    root = folders(tmp_path / "few")
    next((root / "train" / "cat").iterdir()).unlink()
    with pytest.raises(RobustsegError, match=r"has 19 images .* instead of 20"):
        prepare(root, tmp_path)
    (root / "train" / "cat" / "new.png").write_bytes(b"no image")
    with pytest.raises(RobustsegError, match=r"cat/new.png is damaged"):
        prepare(root, tmp_path)
    (tmp_path / "packed").mkdir()
    pack(root, tmp_path / "packed")
    with pytest.raises(RobustsegError, match=r"cifar10_train.tar.gz/train/cat/new.png is damaged"):
        prepare(tmp_path / "packed", tmp_path)
    Image.new("RGB", (30, 32)).save(root / "train" / "cat" / "new.png")
    with pytest.raises(RobustsegError, match=r"new.png has 30x32 pixels instead of 32x32"):
        prepare(root, tmp_path)
