"""From folders in the published layout to manifests, splits and labels; and what is refused."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from torchvision.datasets import SBDataset, VOCSegmentation

from robustseg.config.data import Ade20k, Voc
from robustseg.data.labels import VOC_CLASSES, palette
from robustseg.data.opening import load_split
from robustseg.data.prepare import prepare
from robustseg.data.relabelled import without_background
from robustseg.data.splits import archives_of
from robustseg.errors import RobustsegError
from robustseg.progress import Progress
from tests.data import archives
from tests.data.archives import ADE_TRAIN, ADE_VAL, SBD_TRAIN, SBD_VAL, VOC_TRAIN, VOC_VAL

FOLDERS = {"voc2012": "", "sbd": "", "train_noval": "", "ade20k": ""}
VOC = "VOCdevkit/VOC2012"
SBD = "benchmark_RELEASE/dataset"
ADE = "ADEChallengeData2016"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder with everything unpacked into it."""
    root = tmp_path / "root"
    archives.write_files(root, archives.voc_files() | archives.sbd_files())
    archives.write_files(root, archives.ade20k_files())
    (root / "train_noval.txt").write_bytes(archives.lines(archives.TRAIN_NOVAL))
    return root


def prepared(root: Path, settings: Voc | Ade20k) -> dict[str, Path]:
    outputs = {name: root.parent / f"{name}.parquet" for name in ("manifest", "train", "val")}
    prepare(settings.model_dump(), root, FOLDERS, outputs, 2, Progress("test"))
    return outputs


def voc(**settings: Any) -> Voc:
    return Voc(kind="voc", check_counts=False, crop_px=32, base_px=40, **settings)


def ade(**settings: Any) -> Ade20k:
    return Ade20k(kind="ade20k", check_counts=False, crop_px=32, base_px=40, **settings)


def rows_of(path: Path) -> dict[str, dict[str, Any]]:
    return {row["image_id"]: row for row in pq.read_table(path).to_pylist()}


def labels_of(path: Path) -> dict[str, set[int]]:
    split = load_split(path)
    _, labels, ids = split.batch(range(len(split)))
    return {name: set(np.unique(one).tolist()) for name, one in zip(ids, labels, strict=True)}


def centre(mask: archives.Mask) -> archives.Mask:
    """Return what validation shows of a mask: the centre of 32x32, the short side being 32."""
    height, width = mask.shape
    short = min(height, width)
    high, wide = 32 * height // short, 32 * width // short
    resized = np.array(Image.fromarray(mask).resize((wide, high), Image.Resampling.NEAREST))
    top, left = round((high - 32) / 2), round((wide - 32) / 2)
    return resized[top : top + 32, left : left + 32]


def ignored(mask: archives.Mask) -> np.ndarray:
    """Return a mask with -1 where its value says that the pixel is ignored."""
    return np.where(mask == 255, -1, mask.astype(int))


def test_a_data_set_needs_its_own_archives() -> None:
    assert archives_of({"kind": "camvid"}) == ["segnet_camvid"]
    assert archives_of({"kind": "ade20k"}) == ["ade20k"]
    assert archives_of({"kind": "voc", "train_split": "paper_8498"}) == ["voc2012", "sbd"]
    listed = archives_of({"kind": "voc", "train_split": "noleak_5623"})
    assert listed == ["voc2012", "sbd", "train_noval"]


def test_the_manifest_names_every_image_its_lists_and_splits(root: Path) -> None:
    rows = rows_of(prepared(root, voc(train_split="noleak_5623"))["manifest"])
    assert list(rows) == sorted({*VOC_TRAIN, *VOC_VAL, *SBD_TRAIN, *SBD_VAL})
    leaked = rows["2007_000033"]
    assert set(leaked["lists"]) == {"voc_val", "sbd_train"}
    assert (leaked["height"], leaked["width"]) == archives.size_of("2007_000033")
    for row in rows.values():
        assert (root / row["image"]).exists()
        assert all((root / row[key]).exists() for key in ("mask", "sbd_mask") if row[key])
        assert bool(row["mask"]) == (row["image_id"] in VOC_TRAIN + VOC_VAL)
        assert bool(row["sbd_mask"]) == (row["image_id"] in SBD_TRAIN + SBD_VAL)
    of_split = {
        split: {name for name, row in rows.items() if split in row["splits"]}
        for split in ("paper_8498", "released_11355", "train_aug_10582", "noleak_5623", "val")
    }
    assert of_split == {
        "paper_8498": set(SBD_TRAIN),
        "released_11355": {*SBD_TRAIN, *SBD_VAL},
        "train_aug_10582": {*VOC_TRAIN, "2008_000002", "2008_000003", "2008_000008", "2008_000015"},
        "noleak_5623": set(archives.TRAIN_NOVAL),
        "val": set(VOC_VAL),
    }


@pytest.mark.parametrize(
    ("train_split", "leak"),
    [
        ("paper_8498", {"2007_000033"}),
        ("released_11355", {"2007_000033", "2007_000042"}),
        ("train_aug_10582", set()),
        ("noleak_5623", set()),
    ],
)
def test_the_leak_is_that_of_the_training_split(
    root: Path, train_split: str, leak: set[str]
) -> None:
    outside = voc(train_split=train_split, val_split="val_outside_training")
    assert set(rows_of(prepared(root, outside)["val"])) == set(VOC_VAL) - leak
    inside = voc(train_split=train_split, val_split="val_in_training")
    if leak:
        assert set(rows_of(prepared(root, inside)["val"])) == leak
    else:
        with pytest.raises(RobustsegError, match=f"split val_in_training has no image in {root}"):
            prepared(root, inside)


def test_splits_use_the_masks_that_they_should(root: Path) -> None:
    for split in ("paper_8498", "released_11355", "noleak_5623"):
        rows = rows_of(prepared(root, voc(train_split=split))["train"])
        assert all(row["mask"].endswith(".mat") for row in rows.values())
    outputs = prepared(root, voc(train_split="train_aug_10582"))
    for name, row in rows_of(outputs["train"]).items():
        assert row["mask"].endswith(".png" if name in VOC_TRAIN else ".mat")
    assert all(row["mask"].endswith(".png") for row in rows_of(outputs["val"]).values())


def test_masks_are_read_as_torchvision_reads_them(root: Path) -> None:
    split = load_split(prepared(root, voc())["train"])
    theirs = SBDataset(str(root / SBD), image_set="train", mode="segmentation")
    by_id = {Path(path).stem: theirs[place][1] for place, path in enumerate(theirs.images)}
    images, labels, ids = split.batch(range(len(split)))
    assert ids == sorted(by_id)
    for label, name in zip(labels, ids, strict=True):
        assert np.array_equal(label, ignored(centre(np.array(by_id[name]))))
    assert images.shape == (5, 3, 32, 32)
    val = load_split(prepared(root, voc())["val"])
    theirs_val = VOCSegmentation(str(root), year="2012", image_set="val")
    _, labels, ids = val.batch(range(4))
    assert ids == VOC_VAL
    for place, label in enumerate(labels):
        assert np.array_equal(label, ignored(centre(np.array(theirs_val[place][1]))))


def test_void_is_ignored_or_background(root: Path) -> None:
    left_out = labels_of(prepared(root, voc())["val"])
    background = labels_of(prepared(root, voc(void="background"))["val"])
    for name, values in left_out.items():
        assert values == {0, 1 + int(name[-3:]) % 20, -1}
        assert background[name] == values - {-1}


def test_classes_and_colours_of_voc(root: Path) -> None:
    split = load_split(prepared(root, voc())["val"])
    assert split.num_classes == 21
    assert split.class_names == list(VOC_CLASSES)
    assert split.palette == archives.VOC_COLOURS
    assert len(set(palette(151))) == 151


def test_hidden_files_of_ade20k_are_left_alone(root: Path) -> None:
    folder = root / "ADEChallengeData2016" / "images" / "validation"
    before = load_split(prepared(root, ade())["val"]).image_ids
    (folder / "._ADE_val_00000001.jpg").write_bytes(b"of a Mac")
    assert load_split(prepared(root, ade())["val"]).image_ids == before


def test_ade20k_has_151_classes_or_150(root: Path) -> None:
    outputs = prepared(root, ade())
    assert list(rows_of(outputs["train"])) == ADE_TRAIN
    assert list(rows_of(outputs["val"])) == ADE_VAL
    with_background = load_split(outputs["val"])
    assert with_background.num_classes == 151
    assert with_background.class_names[:3] == ["background", "wall", "building"]
    assert set().union(*labels_of(outputs["val"]).values()) == {0, 1, 2, 3, 150}
    _, labels, _ = without_background(with_background).batch([0])
    without = load_split(prepared(root, ade(background="ignore"))["val"])
    assert without.num_classes == 150
    assert without.class_names[:2] == ["wall", "building"]
    _, shifted, _ = without.batch([0])
    assert set(np.unique(shifted)) == {-1, 0, 1, 2, 149}
    assert np.array_equal(np.where(shifted == -1, -1, shifted + 1), labels)


def test_the_same_folder_gives_the_same_files(root: Path) -> None:
    first = {name: path.read_bytes() for name, path in prepared(root, voc()).items()}
    assert first == {name: path.read_bytes() for name, path in prepared(root, voc()).items()}


def test_an_incomplete_copy_is_refused(root: Path) -> None:
    with pytest.raises(RobustsegError, match=f"paper_8498 has 5 images in {root} instead of 8498"):
        prepared(root, Voc(kind="voc"))
    with pytest.raises(RobustsegError, match=f"train has 5 images in {root} instead of 20210"):
        prepared(root, Ade20k(kind="ade20k"))


def remove(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def other_size(path: Path) -> None:
    mask = np.zeros((7, 9), np.uint8)
    encode = archives.gtcls_mat if path.suffix == ".mat" else archives.plain_png
    path.write_bytes(encode(mask))


def unknown_value(path: Path) -> None:
    mask = archives.ade_mask(path.stem) if ADE in str(path) else archives.sbd_mask(path.stem)
    mask[3, 4] = 151 if ADE in str(path) else 21
    encode = archives.gtcls_mat if path.suffix == ".mat" else archives.plain_png
    path.write_bytes(encode(mask))


def colours(path: Path) -> None:
    Image.fromarray(archives.picture(path.stem)).save(path)


def web_page(path: Path) -> None:
    path.write_text("<html>Please log in</html>")


@pytest.mark.parametrize(
    ("name", "damage", "sentence"),
    [
        (f"{VOC}/SegmentationClass/2007_000042.png", remove, "is missing; restore it, or unpack"),
        (f"{SBD}/cls/2008_000003.mat", remove, "is missing; restore it"),
        (f"{SBD}/img/2008_000003.jpg", truncate, "is damaged ("),
        (f"{SBD}/img/2008_000003.jpg", web_page, "is damaged (cannot identify image file"),
        (f"{SBD}/cls/2008_000003.mat", truncate, "is damaged ("),
        (f"{SBD}/cls/2008_000003.mat", web_page, "is damaged ("),
        (f"{SBD}/cls/2008_000003.mat", other_size, "has 9x7 pixels, but its image"),
        (f"{SBD}/cls/2008_000003.mat", unknown_value, "the value 21, which is none of the 21"),
        (f"{VOC}/SegmentationClass/2007_000033.png", truncate, "is damaged ("),
        (f"{VOC}/SegmentationClass/2007_000033.png", other_size, "has 9x7 pixels, but its image"),
        (f"{VOC}/SegmentationClass/2007_000033.png", unknown_value, "the value 21, which is none"),
        (f"{VOC}/SegmentationClass/2007_000033.png", colours, "a pixel; restore the published one"),
        (f"{VOC}/ImageSets/Segmentation/val.txt", remove, "is missing or damaged"),
        (f"{VOC}/ImageSets/Segmentation/val.txt", web_page, "is not a list of image ids: '<html>"),
        (f"{SBD}/train.txt", remove, "correct `root`"),
    ],
)
def test_bad_files_of_voc(
    root: Path, name: str, damage: Callable[[Path], None], sentence: str
) -> None:
    refused(root, voc(), name, damage, sentence)


@pytest.mark.parametrize(
    ("name", "damage", "sentence"),
    [
        (f"{ADE}/annotations/training/{ADE_TRAIN[1]}.png", remove, "is missing; restore it, or"),
        (f"{ADE}/annotations/validation/{ADE_VAL[1]}.png", other_size, "has 9x7 pixels, but its"),
        (f"{ADE}/annotations/validation/{ADE_VAL[1]}.png", unknown_value, "holds the value 151, w"),
        (f"{ADE}/images/validation/{ADE_VAL[1]}.jpg", truncate, "is damaged ("),
        (
            f"{ADE}/objectInfo150.txt",
            remove,
            "let `root` be the folder that ADEChal",
        ),
        (f"{ADE}/objectInfo150.txt", truncate, "objects instead of 150"),
    ],
)
def test_bad_files_of_ade20k(
    root: Path, name: str, damage: Callable[[Path], None], sentence: str
) -> None:
    refused(root, ade(), name, damage, sentence)


def refused(
    root: Path, settings: Voc | Ade20k, name: str, damage: Callable[[Path], None], sentence: str
) -> None:
    damage(root / name)
    with pytest.raises(RobustsegError, match=re.escape(sentence)) as caught:
        prepared(root, settings)
    assert str(root / name) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(root.parent.glob("*.parquet"))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("../../etc/passwd\n", "'../../etc/passwd' in it is none"),
        ("a\na\n", "twice"),
        ("", "empty"),
    ],
)
def test_a_list_that_is_none(root: Path, content: str, sentence: str) -> None:
    (root / SBD / "train.txt").write_text(content)
    with pytest.raises(
        RobustsegError, match=rf"train\.txt is not a list of image ids: .*{sentence}"
    ):
        prepared(root, voc())


def test_an_empty_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    with pytest.raises(RobustsegError, match=r"train\.txt is missing or damaged.* correct `root`"):
        prepared(tmp_path / "root", voc())
    with pytest.raises(RobustsegError, match="objectInfo150"):
        prepared(tmp_path / "root", ade())
