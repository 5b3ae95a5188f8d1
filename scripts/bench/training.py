"""Training efficiency: what an update must cost over what it costs, loader included.

An update of AT with k steps must go through the network k times forward and back to the images,
once forward and back to the parameters with the auxiliary head, and let the optimizer step. That
bare update is timed with fixed gradients in place of losses, in turn with the trainer's own, on the
same network and images, so that whatever else the machine does hits both.

    python scripts/bench/training.py [--threads 1] [--updates 8] [--rounds 5]
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import yaml
from attacks import timed
from torch import Tensor

from robustseg.config import load_config
from robustseg.config.models import TrainedModel
from robustseg.data.arrays import ArrayDataset
from robustseg.models.build import SegmentationModel, build_segmentation_model
from robustseg.progress import Silence
from robustseg.training.loop import Trainer
from robustseg.training.processes import ProcessGroup
from robustseg.training.settings import settings_of
from robustseg.training.tasks import Segmentation

CONFIG = Path(__file__).parents[2] / "config"
NETWORKS = {"demo": (10, 32, 32), "street": (11, 120, 160)}
"""Classes, height and width of a configuration's images."""


def trainer(name: str, steps: int, folder: Path) -> Trainer:
    """Return the trainer of a configuration's AT with so many steps, on images of noise."""
    file = CONFIG / f"{name}.yaml"
    config = load_config(yaml.safe_load(file.read_text(encoding="utf-8")), [file])
    subject = config.models[f"at_{steps}"]
    assert isinstance(subject, TrainedModel)
    classes, height, width = NETWORKS[name]
    torch.manual_seed(0)
    model = build_segmentation_model("convnext_demo", "upernet_demo", classes)
    source = np.random.default_rng(0)
    pixels = source.integers(0, 256, (64, height, width, 3), dtype=np.uint8)
    labels = source.integers(0, classes, (64, height, width)).astype(np.uint8)
    names = [str(number) for number in range(64)]
    images = ArrayDataset(pixels, labels, names, names[:classes], [(0, 0, 0)] * classes)
    recipe = settings_of(
        {**subject.model_dump(), "epochs": 10_000}, config.training_of(subject), "at", 0
    )
    return Trainer(
        Segmentation(model, recipe.auxiliary_weight),
        recipe,
        images,
        images,
        group=ProcessGroup(0, 1, torch.device("cpu")),
        settings="",
        checkpoint=folder / "checkpoint.pt",
        checkpoint_every_s=1e9,
        loaders=1,
        progress=Silence(),
    )


def bare_update(one: Trainer, steps: int) -> Callable[[], None]:
    """Return an update without losses, an attack's bookkeeping, checks or a loader."""
    model, optimizer = one.task.model, one.optimizer
    assert isinstance(model, SegmentationModel)
    images, _, _ = one.train_set.batch(range(one.recipe.batch_size))
    fixed = [torch.randn_like(logits) * 1e-6 for logits in _both_logits(model, images)]

    def update() -> None:
        model.eval()
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        for _ in range(steps):
            point = images.detach().requires_grad_()
            torch.autograd.grad(model(point), point, fixed[0])
        model.train()
        for parameter in model.parameters():
            parameter.requires_grad_(True)
        optimizer.zero_grad()
        torch.autograd.backward(_both_logits(model, images), fixed)
        optimizer.step()

    return update


def _both_logits(model: SegmentationModel, images: Tensor) -> list[Tensor]:
    decoder, auxiliary = model.coarse_with_auxiliary(images)
    assert auxiliary is not None
    return [decoder.logits(), auxiliary.logits()]


def measure(name: str, steps: int, updates: int, rounds: int) -> str:
    """Return a row of the Markdown table."""
    with tempfile.TemporaryDirectory() as folder:
        one = trainer(name, steps, Path(folder))
        bare, device = bare_update(one, steps), torch.device("cpu")
        training = one._updates(lambda: False)
        one._finish_epoch = lambda: _next_epoch(one)  # type: ignore[method-assign]

        def several() -> None:
            for _ in islice(training, updates):
                pass

        def several_bare() -> None:
            for _ in range(updates):
                bare()

        ratios, seconds = [], []
        for warm_up in [True] + [False] * rounds:
            times = [timed(step, device) for step in (several_bare, several, several_bare)]
            if not warm_up:
                ratios.append((times[0] + times[2]) / 2 / times[1])
                seconds.append(times[1] / updates)
    return (
        f"| {name} | {steps} | {statistics.median(ratios):.3f} | {min(ratios):.3f} "
        f"| {max(ratios):.3f} | {1e3 * statistics.median(seconds):.0f} |"
    )


def _next_epoch(one: Trainer) -> None:
    """Go on without scores of the validation split, which are no part of an update."""
    one.place = type(one.place)(one.place.epoch + 1)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Training efficiency.")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--steps", type=int, nargs="+", default=[2, 5])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--updates", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"torch {torch.__version__}, cpu, {args.threads} thread(s)\n")
    print("| network | steps | efficiency (median) | min | max | update, ms |")
    print("|---|---|---|---|---|---|", flush=True)
    for name in args.networks:
        for steps in args.steps:
            print(measure(name, steps, args.updates, args.rounds), flush=True)


if __name__ == "__main__":
    main()
