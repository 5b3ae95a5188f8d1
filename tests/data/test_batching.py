"""Images of different sizes: what shares a batch, and that evidence does not depend on it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustseg.attacks.spec import AttackSpec
from robustseg.data.arrays import ArrayDataset
from robustseg.data.batching import batches_of, labelled_images
from robustseg.data.relabelled import without_background
from robustseg.errors import RobustsegError
from robustseg.evaluation.over_batches import evaluate_clean, on_itself, rows_of_dataset

SIZES = [(8, 8), (8, 8), (8, 8), (8, 10), (8, 10), (8, 8), (6, 9)]


class Mixed:
    """Noise of different sizes; it counts on never being asked for two sizes at once."""

    class_names = ("background", "red", "green")
    palette = ((0, 0, 0),) * 3
    num_classes = 3

    def __init__(self, sizes: Sequence[tuple[int, int]] = SIZES) -> None:
        random = np.random.default_rng(0)
        self.sizes_px = list(sizes)
        self.image_ids = [f"image{place}" for place in range(len(sizes))]
        self.images = [random.random((3, *size), np.float32) for size in sizes]
        self.labels = [random.integers(0, 3, size) for size in sizes]

    def __len__(self) -> int:
        return len(self.image_ids)

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor, list[str]]:
        images = np.stack([self.images[index] for index in indices])
        labels = np.stack([self.labels[index] for index in indices])
        ids = [self.image_ids[index] for index in indices]
        return torch.from_numpy(images), torch.from_numpy(labels), ids


@pytest.mark.parametrize(
    ("batch_size", "batches"),
    [
        (1, [[0], [1], [2], [3], [4], [5], [6]]),
        (2, [[0, 1], [2], [3, 4], [5], [6]]),
        (9, [[0, 1, 2], [3, 4], [5], [6]]),
    ],
)
def test_a_batch_ends_where_the_size_changes(batch_size: int, batches: list[list[int]]) -> None:
    dataset: Any = Mixed()
    assert batches_of(dataset, range(7), batch_size) == batches
    assert batches_of(without_background(dataset), range(7), batch_size) == batches
    assert batches_of(dataset, range(4, 6), 9) == [[4], [5]]


def test_without_sizes_all_images_are_of_one() -> None:
    dataset: Any = Mixed()
    del dataset.sizes_px
    assert batches_of(dataset, range(7), 3) == [[0, 1, 2], [3, 4, 5], [6]]
    assert batches_of(without_background(dataset), range(7), 4) == [[0, 1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize("batch_size", [0, -1, 2.0, True])
def test_a_batch_size_that_is_none_is_refused(batch_size: Any) -> None:
    with pytest.raises(RobustsegError, match=f"batch_size is {batch_size!r}; it must be a whole"):
        batches_of(Mixed(), range(7), batch_size)


def test_an_image_with_one_label_is_labelled() -> None:
    dataset = Mixed([(2, 2)] * 3)
    dataset.labels = [np.full((2, 2), -1), np.array([[-1, -1], [-1, 0]]), np.ones((2, 2), int)]
    assert list(labelled_images(dataset)) == [1, 2]


def test_a_split_in_memory_says_its_size() -> None:
    pixels = np.zeros((2, 4, 5, 3), np.uint8)
    dataset = ArrayDataset(pixels, np.zeros((2, 4, 5), np.uint8), ["a", "b"], ["sky"], [(0, 0, 0)])
    assert dataset.sizes_px == [tuple(image.shape[1:]) for image in dataset.batch([0, 1])[0]]


@pytest.mark.parametrize("attacked", [False, True])
def test_evidence_does_not_depend_on_what_shares_a_batch(attacked: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1))
    dataset: Any = Mixed()

    def rows(batch_size: int) -> list[dict[str, Any]]:
        if not attacked:
            return evaluate_clean(model, dataset, batch_size=batch_size, identity={})
        specs = [AttackSpec("mask_ce", "apgd", "reduced", 4)]
        attacks = on_itself(model, specs, eps_255=4, seed=0, identity={"suite": "some"})
        return rows_of_dataset(attacks, model, dataset, batch_size=batch_size)

    alone = rows(1)
    assert [row["image_id"] for row in alone] == dataset.image_ids
    assert [row["pixels"] for row in alone] == [height * width for height, width in SIZES]
    assert rows(2) == rows(9) == alone
