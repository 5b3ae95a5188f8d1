"""Entry points: train a classifier or a segmentation model as the config's sections say."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from robustseg.data.interface import Dataset
from robustseg.data.opening import load_split
from robustseg.data.relabelled import without_background
from robustseg.errors import RobustsegError, in_one_line
from robustseg.files import atomic_path, sha256
from robustseg.models.backbones import Backbone, set_drop_path
from robustseg.models.build import (
    build_classifier,
    build_segmentation_model,
    classifier_architecture,
)
from robustseg.models.checkpoints import load_backbone, save_weights
from robustseg.models.registry import has_batch_norm, least_px
from robustseg.progress import Progress, Silence
from robustseg.seeds import derive_seed
from robustseg.training.loop import Trainer
from robustseg.training.processes import join_processes
from robustseg.training.settings import TrainingSettings, settings_of
from robustseg.training.tasks import Classification, Segmentation, Task

METRICS_SCHEMA = pa.schema(
    [
        pa.field("epoch", pa.int32(), nullable=False),
        pa.field("learning_rate", pa.float64(), nullable=False),
        pa.field("loss", pa.float64()),
        pa.field("accuracy", pa.float64(), nullable=False),
        pa.field("miou", pa.float64()),
        pa.field("robust_accuracy", pa.float64()),
        pa.field("robust_miou", pa.float64()),
    ]
)
"""A row each time that the validation split is scored: after each epoch, or fewer where it is large
beside the training split. Fractions; `loss` is the mean since the row before, `accuracy` and `miou`
are of the validation split, the robust ones of its first images under the training's own weak
attack. null: classifiers have no mIoU, clean training no attack, batches of ignored pixels no loss.
No times: the same training gives the same file. The file's metadata has the `settings` that the
weights have too: batch, passes, attack, precision."""


@dataclass(frozen=True)
class Files:
    """What a training reads and writes."""

    train: Path
    """Training split, see `data.opening.load_split`."""
    val: Path
    """Validation split, for the metrics alone."""
    weights: Path
    """Output, safetensors."""
    metrics: Path
    """Output, Parquet with `METRICS_SCHEMA`."""
    checkpoint: Path
    """State of the unfinished training; removed at the end."""
    backbone: Path | None = None
    """Weights from which a segmentation model's backbone starts."""


@dataclass(frozen=True)
class Machine:
    """Where and how a training runs; changes at most the last bits of its result."""

    threads: int = 1
    """Of a process, to compute on a CPU and to load images."""
    device: str = "cpu"
    """`cpu` or `cuda`."""
    checkpoint_every_s: float = 10.0
    """Least seconds between two checkpoints."""

    def __post_init__(self) -> None:
        if type(self.threads) is not int or self.threads < 1:
            raise RobustsegError(f"threads is {self.threads!r}; it should be a whole number from 1")
        if not isinstance(self.checkpoint_every_s, int | float) or self.checkpoint_every_s < 0:
            raise RobustsegError(
                f"checkpoint_every_s is {self.checkpoint_every_s!r}; it should be seconds from 0"
            )


DEFAULT_MACHINE = Machine()


def train_classifier(
    backbone: Mapping[str, Any],
    training: Mapping[str, Any],
    files: Files,
    training_seed: int,
    progress: Progress,
    machine: Machine = DEFAULT_MACHINE,
) -> None:
    """Pretrain a backbone as a classifier; l_inf-robust if it has a radius.

    Args:
        backbone: a config's `backbones` entry: architecture, epochs, eps_255, steps, eps_ramp.
        training: its `training` entry.
        files: inputs and outputs.
        training_seed: seed of initialisation, data order and flips.
        progress: says how far it is.
        machine: threads, device, seconds between checkpoints.

    Raises:
        RobustsegError: unusable input, damaged checkpoint, loss that is not finite, full disk; or
            an image is too small for the network.
    """
    classes = load_split(files.train).num_classes
    architecture = classifier_architecture(backbone["architecture"], classes)
    with _initialisation(training_seed):
        model = build_classifier(backbone["architecture"], classes)
    scheme = "at" if backbone.get("eps_255") or backbone.get("steps") else "clean"
    recipe = settings_of(backbone, training, scheme, training_seed)
    set_drop_path(cast(Backbone, model), recipe.drop_path)
    _train(Classification(model), architecture, recipe, files, progress, machine)


def train_segmentation(
    model: Mapping[str, Any],
    training: Mapping[str, Any],
    architecture: str,
    files: Files,
    training_seed: int,
    progress: Progress,
    machine: Machine = DEFAULT_MACHINE,
) -> None:
    """Train a segmentation model on the backbone of `files`, clean or adversarially (Sec. 3).

    Args:
        model: a config's `models` entry: scheme, decoder, epochs, eps_255, steps, background.
        training: its `training` entry.
        architecture: its backbone's architecture.
        files: inputs and outputs.
        training_seed: seed of the decoder's initialisation, data order and flips.
        progress: says how far it is.
        machine: threads, device, seconds between checkpoints.

    Raises:
        RobustsegError: as `train_classifier`, or the backbone does not fit, or BatchNorm would get
            a single image.
    """
    classes = load_split(files.train).num_classes
    with _initialisation(training_seed):
        network = build_segmentation_model(architecture, model["decoder"], classes)
    start: dict[str, Any] = {}
    if files.backbone is not None:
        report = load_backbone(files.backbone, network)
        progress.say(f"backbone: {report}")
        start = {"backbone_keys": asdict(report)}
    recipe = settings_of(model, training, model["scheme"], training_seed)
    _refuse_single_images(model["decoder"], recipe)
    network.set_drop_path(recipe.drop_path)
    task = Segmentation(network, recipe.auxiliary_weight)
    _train(task, network.architecture, recipe, files, progress, machine, start)


def _refuse_single_images(decoder: str, recipe: TrainingSettings) -> None:
    """Refuse passes whose pool of the whole image would be one value for BatchNorm."""
    alone = recipe.attack.mode == "train" and recipe.attacked == 1
    if has_batch_norm(decoder) and (recipe.images_per_pass == 1 or alone):
        raise RobustsegError(
            f"single images go through the network in train mode, but BatchNorm, in {decoder}, "
            "needs at least two: raise images_per_pass, or the batch_size"
        )


def _refuse_small_images(architecture: str, view_px: tuple[int, int], val: Dataset) -> None:
    """Refuse images that the network cannot take: training views, and those scored after an epoch.

    Args:
        architecture: of its backbone.
        view_px: height and width of an image that is trained on.
        val: validation split.
    """
    least = least_px(architecture)
    if min(view_px) < least:
        raise RobustsegError(
            f"images are trained on in {view_px[1]}x{view_px[0]} pixels, and a {architecture} "
            f"takes none with a side below {least}; raise crop_px and base_px of the data set, or "
            "its size_px"
        )
    for place, (height, width) in enumerate(getattr(val, "sizes_px", None) or []):
        if min(height, width) < least:
            raise RobustsegError(
                f"the validation image {in_one_line(val.image_ids[place])} has {width}x{height} "
                f"pixels, and a {architecture} takes none with a side below {least}; set "
                "resize_px, make it larger, or leave it out"
            )


def _train(
    task: Task,
    architecture: Mapping[str, Any],
    recipe: TrainingSettings,
    files: Files,
    progress: Progress,
    machine: Machine,
    start: Mapping[str, Any] | None = None,
) -> None:
    """Run the loop, in as many processes as torchrun has started, and write what it gives.

    `start` is written beside the weights: which of them a backbone's file has given.
    """
    torch.set_num_threads(machine.threads)
    inputs = {"train": files.train, "val": files.val, "backbone": files.backbone}
    settings = {
        "architecture": architecture,
        "recipe": asdict(recipe),
        "inputs": {name: sha256(path) for name, path in inputs.items() if path is not None},
    }
    train, val = (
        split if recipe.background else without_background(split)
        for split in (load_split(files.train), load_split(files.val))
    )
    with join_processes(machine.device) as group:
        task.model.to(group.device)
        trainer = Trainer(
            task,
            recipe,
            train,
            val,
            group=group,
            settings=json.dumps(settings, sort_keys=True),
            checkpoint=Path(files.checkpoint),
            checkpoint_every_s=machine.checkpoint_every_s,
            loaders=machine.threads,
            progress=progress if group.first else Silence(),
        )
        _refuse_small_images(architecture["backbone"], trainer.view_size_px, val)
        rows = trainer.run()
        if group.first:
            _write(files, task, rows, settings, start or {})


def _write(
    files: Files,
    task: Task,
    rows: list[dict[str, Any]],
    settings: Mapping[str, Any],
    start: Mapping[str, Any],
) -> None:
    """Write weights and metrics; the checkpoint goes when both are there."""
    save_weights(files.weights, task.model, {**settings, **start})
    described = METRICS_SCHEMA.with_metadata({"settings": json.dumps(settings, sort_keys=True)})
    with atomic_path(files.metrics) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, described), temporary)
    Path(files.checkpoint).unlink(missing_ok=True)


@contextmanager
def _initialisation(training_seed: int) -> Iterator[None]:
    """Draw initial weights from the seed, whatever was drawn before; the global state stays."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("initialisation", training_seed))
        yield
