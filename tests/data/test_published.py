"""ADE20K and PASCAL-VOC as they are unpacked, opened without the workflow."""

from pathlib import Path

import numpy as np
import pytest

from robustseg.data.published import open_published
from robustseg.errors import RobustsegError
from tests.data.archives import ade20k_files, ade_mask, voc_files, voc_mask, write_files


def test_voc_has_its_validation_images_whole_and_void_ignored(tmp_path: Path) -> None:
    write_files(tmp_path, voc_files())
    dataset = open_published("voc", tmp_path)
    assert dataset.num_classes == 21
    for index, name in enumerate(dataset.image_ids):
        _, labels, _ = dataset.batch([index])
        mask = voc_mask(name).astype(int)
        assert np.array_equal(labels[0].numpy(), np.where(mask == 255, -1, mask))


@pytest.mark.parametrize(("num_classes", "shift"), [(None, 1), (150, 1), (151, 0)])
def test_ade20k_counts_pixels_of_no_object_or_not(
    tmp_path: Path, num_classes: int | None, shift: int
) -> None:
    write_files(tmp_path, ade20k_files())
    dataset = open_published("ade20k", tmp_path, num_classes)
    assert dataset.num_classes == (num_classes or 150)
    assert all("val" in name for name in dataset.image_ids)
    for index, name in enumerate(dataset.image_ids):
        _, labels, _ = dataset.batch([index])
        assert np.array_equal(labels[0].numpy(), ade_mask(name).astype(int) - shift)


def test_other_numbers_of_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RobustsegError, match="150 or 151 classes, not 21"):
        open_published("ade20k", tmp_path, 21)
    with pytest.raises(RobustsegError, match="voc has 21 classes, not 20"):
        open_published("voc", tmp_path, 20)
