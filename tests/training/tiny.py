"""A segmentation task without BatchNorm and a data set with ignored pixels, for whole updates."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from robustseg.data.arrays import ArrayDataset
from robustseg.data.interface import IGNORE_BYTE
from robustseg.progress import Silence
from robustseg.training.inner_losses import cross_entropy
from robustseg.training.loop import Trainer
from robustseg.training.processes import ProcessGroup
from robustseg.training.settings import settings_of
from robustseg.training.tasks import Scores

CLASSES = 3
IMAGES = 8
TRAINING = {
    "optimizer": "sgd",
    "momentum": 0.0,
    "learning_rate": 0.5,
    "weight_decay": 0.0,
    "batch_size": IMAGES,
    "warmup": 0.0,
    "power": 1.0,
    "step_size": 0.01,
}
AT = {"epochs": 1, "eps_255": 8, "steps": 3}


def network(seed=0):
    """Return a network of two layers, the same for the same seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, CLASSES, 1))


def images(count=IMAGES):
    """Return a data set in which each image has another number of ignored pixels."""
    source = np.random.default_rng(0)
    pixels = source.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    labels = source.integers(0, CLASSES, (count, 8, 8)).astype(np.uint8)
    for number in range(count):
        labels[number, :number] = IGNORE_BYTE
    names = [f"image{number}" for number in range(count)]
    return ArrayDataset(pixels, labels, names, ["a", "b", "c"], [(0, 0, 0)] * CLASSES)


class Task:
    """The least that a trainer needs."""

    def __init__(self, model):
        self.model = model

    def training_loss(self, images, labels):
        return cross_entropy(self.model(images), labels)

    def scores(self, dataset, indices, attack):
        return Scores(0.0, None)


def trainer(
    folder,
    subject=AT,
    scheme="at",
    model=None,
    data=None,
    val=None,
    processes=1,
    checkpoint_every_s=1e9,
    **changes,
):
    """Return a trainer that has not yet begun."""
    return Trainer(
        Task(model or network()),
        settings_of(subject, TRAINING | changes, scheme, training_seed=0),
        data or images(),
        val or images(2),  # few, so that each epoch has a row
        group=ProcessGroup(0, processes, torch.device("cpu")),
        settings="",
        checkpoint=Path(folder) / "checkpoint.pt",
        checkpoint_every_s=checkpoint_every_s,
        loaders=1,
        progress=Silence(),
    )


def trained(*arguments, **options):
    """Train and return the network and a row an epoch."""
    one = trainer(*arguments, **options)
    rows = one.run()
    return one.task.model, rows


def weights(model):
    """Return all weights as one vector."""
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
