"""How often the processor waits for another device: asked of one without values, and of CUDA."""

import warnings
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from robustseg.attacks import run
from robustseg.attacks.attacked_model import AttackedModel
from robustseg.attacks.logits import Labels
from robustseg.attacks.losses import LOSSES, TRAINING_LOSSES
from robustseg.attacks.projection import ball
from robustseg.attacks.schedules import slots
from robustseg.attacks.spec import SCHEDULES, AttackSpec
from robustseg.training import inner_attack
from robustseg.training.inner_attack import TrainingAttack, perturb

CLASSES, ITERATIONS = 4, 12
CLASS_PIXELS = [40, 30, 20, 10]
SPECS = [
    *(AttackSpec(loss, "apgd", "constant", ITERATIONS) for loss in LOSSES),
    *(AttackSpec("mask_ce", "apgd", schedule, ITERATIONS) for schedule in SCHEDULES),
    AttackSpec("mask_ce", "pgd", "constant", ITERATIONS, 5e-3),
]


def batch(device: str) -> tuple[nn.Module, Tensor, Tensor, list[str]]:
    """A model, three images, labels and names."""
    images = torch.full((3, 3, 6, 8), 0.5, device=device)
    labels = torch.zeros(3, 6, 8, dtype=torch.int64, device=device)
    return nn.Conv2d(3, CLASSES, 1).to(device), images, labels, ["a", "b", "c"]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_an_iteration_waits_only_to_learn_which_images_are_done(spec: AttackSpec) -> None:
    """On torch's meta device, which computes sizes alone, asking for a value is an error."""
    model, images, labels, names = batch("meta")
    attacked = AttackedModel(model, spec.loss, labels, names, class_pixels=CLASS_PIXELS)
    weights = torch.ones(CLASSES, device="meta")
    attacked.labels = replace(Labels.of(labels, torch.float32), weights=weights)
    slot = next(iter(slots(spec.schedule, spec.iterations)))
    optimizer = run._optimizer(spec, ball(images, 0.1), 0.1, slot)
    found = run.Found(images)
    everything = torch.arange(len(images), device="meta")
    for t in range(slot.iterations):
        evaluation = attacked(images, run._moment(spec, slot, t))
        found.offer(everything, images, optimizer.score(evaluation))
        images = optimizer.step(images, evaluation)
    assert images.device.type == "meta"


@pytest.mark.parametrize("loss", TRAINING_LOSSES)
def test_the_attack_inside_training_waits_once(loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, images, labels, _ = batch("meta")
    asked: list[Tensor] = []
    monkeypatch.setattr(inner_attack, "_refuse", asked.append)
    monkeypatch.setattr(inner_attack, "autocast", lambda *_: nullcontext())  # not known there
    perturb(model, images, labels, TrainingAttack(loss, 0.1, 5, 0.05))
    assert len(asked) == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="counts what CUDA waits for")
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_cuda_is_waited_for_once_an_iteration(spec: AttackSpec) -> None:
    model, images, labels, names = batch("cuda")

    def waits(iterations: int) -> int:
        longer = replace(spec, iterations=iterations)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                run.run_attack(model, images, labels, names, longer, 0.01, 0, CLASS_PIXELS)
            finally:
                torch.cuda.set_sync_debug_mode("default")
        return sum("synchroniz" in str(one.message) for one in said)

    assert waits(4 * ITERATIONS) - waits(ITERATIONS) == 3 * ITERATIONS
