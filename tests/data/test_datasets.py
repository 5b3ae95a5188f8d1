"""Reading a split back, and what is said about files that cannot be read."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from count_classes import count_classes

from robustseg.data.arrays import ArrayDataset, save_split
from robustseg.data.opening import load_split
from robustseg.errors import RobustsegError
from robustseg.progress import Progress


def small(labels=None):
    images = np.arange(3 * 4 * 5 * 3, dtype=np.uint8).reshape(3, 4, 5, 3)
    if labels is None:
        labels = np.arange(60, dtype=np.uint8).reshape(3, 4, 5) % 2
    return ArrayDataset(images, labels, ["a", "b", "c"], ["sky", "sea"], [(0, 0, 9), (0, 9, 9)])


def test_a_split_comes_back_as_it_was_written(tmp_path):
    dataset = small()
    save_split(tmp_path / "s.npz", dataset)
    loaded = load_split(tmp_path / "s.npz")
    assert np.array_equal(loaded.images, dataset.images)
    assert np.array_equal(loaded.labels, dataset.labels)
    assert (loaded.image_ids, loaded.class_names) == (["a", "b", "c"], ["sky", "sea"])
    assert (loaded.palette, loaded.num_classes, len(loaded)) == (dataset.palette, 2, 3)


def test_bytes_do_not_depend_on_the_clock(tmp_path, monkeypatch):
    save_split(tmp_path / "a.npz", small())
    monkeypatch.setattr("time.time", lambda: 2e9)
    save_split(tmp_path / "b.npz", small())
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_batch_gives_images_in_0_1_channels_first_with_their_ids():
    dataset = small()
    images, labels, ids = dataset.batch([2, 0])
    assert (images.shape, images.dtype) == ((2, 3, 4, 5), torch.float32)
    assert images[0, 1, 2, 3] == dataset.images[2, 2, 3, 1] / np.float32(255)
    assert labels.dtype == torch.int64
    assert labels[1].tolist() == dataset.labels[0].tolist()
    assert ids == ["c", "a"]


def test_classification_labels_have_one_axis(tmp_path):
    save_split(tmp_path / "s.npz", small(np.array([0, 1, 1], np.uint8)))
    _, labels, _ = load_split(tmp_path / "s.npz").batch([1])
    assert labels.tolist() == [1]


def test_ignored_pixels_are_allowed(tmp_path):
    labels = np.full((3, 4, 5), 255, np.uint8)
    save_split(tmp_path / "s.npz", small(labels))
    assert load_split(tmp_path / "s.npz").batch([0])[1].eq(-1).all()


def test_label_out_of_range_names_image_and_file(tmp_path):
    labels = np.zeros((3, 4, 5), np.uint8)
    labels[1, 2, 3] = 2
    save_split(tmp_path / "s.npz", small(labels))
    with pytest.raises(RobustsegError, match=r"s\.npz: image b has label 2, .* 2 classes"):
        load_split(tmp_path / "s.npz")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.99])
def test_truncated_file_gets_one_sentence(tmp_path, share):
    path = tmp_path / "s.npz"
    save_split(path, small())
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(RobustsegError, match=r"s\.npz is truncated.*generate it again") as caught:
        load_split(path)
    assert "\n" not in str(caught.value)


def test_damaged_pixels_are_noticed(tmp_path):
    path = tmp_path / "s.npz"
    save_split(path, small())
    content = bytearray(path.read_bytes())
    content[250] ^= 1
    path.write_bytes(content)
    with pytest.raises(RobustsegError, match="truncated or no data set"):
        load_split(path)


def test_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(RobustsegError, match=r"absent\.npz does not exist; generate"):
        load_split(tmp_path / "absent.npz")


def test_a_pickle_is_not_opened(tmp_path):
    arrays = {name: np.array([{}], dtype=object) for name in ("images", "labels", "image_ids")}
    np.savez(tmp_path / "s.npz", **arrays, class_names=[""], palette=[0])
    with pytest.raises(RobustsegError, match=r"s\.npz"):
        load_split(tmp_path / "s.npz")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image_ids": ["a", "a", "c"]}, "an id of its own"),
        ({"images": np.zeros((2, 4, 5, 3), np.uint8)}, "each of the 2 images"),
        ({"images": np.zeros((3, 4, 5, 3), np.float32)}, "images must be uint8"),
        ({"labels": np.zeros((3, 4, 4), np.uint8)}, "labels must be uint8"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, change, words):
    save_split(tmp_path / "s.npz", replace(small(), **change))
    with pytest.raises(RobustsegError, match=words):
        load_split(tmp_path / "s.npz")


def test_pixels_of_each_class_are_counted_where_there_are_images(tmp_path, monkeypatch):
    labels = np.array([[[0, 1, 1, 255]], [[2, 255, 1, 255]]], np.uint8)
    images, names, colours = np.zeros((2, 1, 4, 3), np.uint8), list("abcd"), [(0, 0, 0)] * 4
    splits = {
        name: ArrayDataset(images[:count], labels[:count], list("xy")[:count], names, colours)
        for name, count in (("none", 0), ("train", 2), ("val", 1))
    }
    monkeypatch.setattr("count_classes.load_split", splits.__getitem__)
    out = tmp_path / "pixels.json"
    for first, counts in (("train", [1, 3, 1, 0]), ("none", [1, 2, 0, 0])):
        count_classes([first, "val"], out, Progress("test"))
        assert json.loads(out.read_text()) == counts
