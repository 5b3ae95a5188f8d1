"""Images are loaded ahead, in order, by several threads, and errors are the training's."""

import threading

import pytest
import torch

from robustseg.data.arrays import ArrayDataset
from robustseg.errors import RobustsegError
from robustseg.training.batches import AHEAD, Loader, epoch_passes
from tests.training.tiny import images, trained


class Watched(ArrayDataset):
    """Counts what is read, and by which threads."""

    def __init__(self, of):
        super().__init__(of.images, of.labels, of.image_ids, of.class_names, of.palette)
        object.__setattr__(self, "read", [])

    def batch(self, indices):
        self.read.append((threading.current_thread(), tuple(indices)))
        return super().batch(indices)


class Augmented(ArrayDataset):
    """Says by the first pixel what it was asked for."""

    def training_batch(self, indices, training_seed, epoch):
        values = torch.tensor([[index, training_seed, epoch] for index in indices]).float()
        return values.view(-1, 3, 1, 1), torch.tensor(indices)


def passes(dataset, size=2, epoch=0):
    return epoch_passes(dataset, size, size, 0, epoch)


@pytest.mark.parametrize("threads", [1, 2, 3, 9])
def test_any_number_of_threads_gives_the_same_images_in_the_same_order(threads):
    one, many = (list(Loader(images(), 0, n).load(passes(images(), 4))) for n in (1, threads))
    for (first, *tensors), (second, *others) in zip(one, many, strict=True):
        assert first.indices == second.indices
        assert all(torch.equal(*pair) for pair in zip(tensors, others, strict=True))


def test_it_reads_ahead_but_not_all_and_not_in_the_trainings_thread():
    dataset, asked = Watched(images()), []

    def plan():
        for one in passes(dataset, 1):
            asked.append(one)
            yield one

    loaded = Loader(dataset, 0).load(plan())
    next(loaded)
    loaded.close()
    assert len(asked) == AHEAD + 1 < len(dataset)
    assert dataset.read
    assert all(thread is not threading.current_thread() for thread, _ in dataset.read)


def test_data_sets_that_augment_do_so_for_the_seed_and_the_epoch():
    source = images()
    dataset = Augmented(
        source.images, source.labels, source.image_ids, source.class_names, source.palette
    )
    for one, pixels, labels in Loader(dataset, 7, threads=2).load(passes(dataset, 4, epoch=3)):
        assert pixels.flatten(1).tolist() == [[index, 7, 3] for index in one.indices]
        assert labels.tolist() == one.indices


def test_an_unreadable_image_ends_the_training_with_its_own_sentence(tmp_path):
    class Broken(Watched):
        def batch(self, indices):
            if 3 in indices:
                raise RobustsegError("image 3 is truncated")
            return super().batch(indices)

    with pytest.raises(RobustsegError, match=r"^image 3 is truncated$"):
        trained(tmp_path, data=Broken(images()))
    assert not any(thread.name.startswith("loader") for thread in threading.enumerate())


def test_waiting_is_measured_and_asked_for_once():
    slow = Watched(images())
    gate = threading.Event()

    class Slow(Loader):
        def _read(self, one, part):
            gate.wait(0.05)
            return super()._read(one, part)

    loader = Slow(slow, 0)
    list(loader.load(passes(slow, 8)))
    assert loader.waited() > 0.01
    assert loader.waited() == 0
