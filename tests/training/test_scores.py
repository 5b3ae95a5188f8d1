"""What a training measures on its validation split, and how it ends where it cannot."""

import numpy as np
import pytest
import torch

from robustseg.data.arrays import ArrayDataset
from robustseg.errors import RobustsegError
from robustseg.progress import Silence
from robustseg.training.loop import ROBUST_VAL_IMAGES, Trainer
from robustseg.training.processes import ProcessGroup
from robustseg.training.settings import settings_of
from robustseg.training.tasks import Segmentation
from tests.training import tiny


class Net(torch.nn.Sequential):
    """The tiny network with what a segmentation task asks for."""

    def __init__(self):
        super().__init__(*tiny.network())
        self.sizes = []

    def forward(self, images):
        self.sizes.append(tuple(images.shape))
        return super().forward(images)


class Task(Segmentation):
    """Scores of segmentation, with the loss of the tiny network."""

    def training_loss(self, images, labels):
        return tiny.Task.training_loss(self, images, labels)


class Photographs(ArrayDataset):
    """Images that are evaluated whole and trained on in views of 4x4 pixels."""

    def training_batch(self, indices, training_seed, epoch):
        images, labels, _ = self.batch(indices)
        return images[..., :4, :4], labels[..., :4, :4]


def photographs(count=tiny.IMAGES):
    whole = tiny.images(count)
    return Photographs(
        whole.images, whole.labels, whole.image_ids, whole.class_names, whole.palette
    )


def trainer(folder, train=None, val=None, subject=tiny.AT, scheme="at", **changes):
    return Trainer(
        Task(Net(), 0.0),
        settings_of(subject, tiny.TRAINING | changes, scheme, training_seed=0),
        train or tiny.images(),
        val or tiny.images(2),
        group=ProcessGroup(0, 1, torch.device("cpu")),
        settings="",
        checkpoint=folder / "checkpoint.pt",
        checkpoint_every_s=1e9,
        loaders=1,
        progress=Silence(),
    )


def test_images_without_a_label_at_the_beginning_leave_a_robust_accuracy(tmp_path):
    val = tiny.images(ROBUST_VAL_IMAGES + tiny.IMAGES)
    val.labels[:ROBUST_VAL_IMAGES] = 255
    val.labels[ROBUST_VAL_IMAGES:] = np.random.default_rng(0).integers(0, 3, (tiny.IMAGES, 8, 8))
    (row,) = trainer(tmp_path, val=val).run()
    assert 0 < row["robust_accuracy"] <= 1
    assert 0 < row["robust_miou"] <= 1


def test_a_last_update_that_breaks_the_network_is_said(tmp_path):
    one = trainer(tmp_path, subject={"epochs": 1}, scheme="clean", learning_rate=1e39)
    with pytest.raises(RobustsegError, match="outputs are not finite after this epoch's updates"):
        one.run()
    assert one.losses  # the update itself was one


@pytest.mark.parametrize(("images_per_pass", "most"), [(8, 2), (4, 1), (2, 1)])
def test_whole_images_are_scored_in_no_more_pixels_than_a_pass_has(tmp_path, images_per_pass, most):
    one = trainer(tmp_path, photographs(), photographs(), images_per_pass=images_per_pass)
    one.run()
    assert {size for size in one.task.model.sizes if size[-1] == 8} == {(most, 3, 8, 8)}
    assert {size for size in one.task.model.sizes if size[-1] == 4} == {(images_per_pass, 3, 4, 4)}


def test_images_as_large_as_views_are_scored_as_many_at_a_time_as_in_a_pass(tmp_path):
    one = trainer(tmp_path, val=tiny.images(), images_per_pass=4)
    one.run()
    assert set(one.task.model.sizes) == {(4, 3, 8, 8)}


@pytest.mark.parametrize("where", ["training_loss", "scores"])
def test_too_little_memory_of_a_gpu_is_one_sentence(tmp_path, monkeypatch, where):
    def fail(*arguments, **options):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    one = trainer(tmp_path)
    monkeypatch.setattr(one.task, where, fail)
    with pytest.raises(RobustsegError, match="passes of 8 images; lower images_per_pass"):
        one.run()
