"""How often the processor waits for another device: asked of one without values, and of CUDA."""

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from robustseg.attacks import run
from robustseg.attacks.alma_prox import alma_prox
from robustseg.attacks.attacked_model import AttackedModel
from robustseg.attacks.logits import Labels
from robustseg.attacks.losses import LOSSES, TRAINING_LOSSES
from robustseg.attacks.projection import ball
from robustseg.attacks.schedules import slots
from robustseg.attacks.spec import SCHEDULES, AttackSpec, SquareSpec
from robustseg.attacks.square import square
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
    """A model, three images, the labels that it gives them, and names."""
    torch.manual_seed(0)
    model = nn.Conv2d(3, CLASSES, 1).to(device)
    images = torch.full((3, 3, 6, 8), 0.5, device=device)
    with torch.no_grad():
        return model, images, model(images).argmax(1), ["a", "b", "c"]


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


needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="counts CUDA's waits")


def waits(attack: Callable[[int], object], iterations: int) -> int:
    """Return how often an attack of so many iterations waits for the GPU."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            attack(iterations)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(one.message) for one in said)


@needs_cuda
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_cuda_is_waited_for_once_an_iteration(spec: AttackSpec) -> None:
    def attack(iterations: int) -> None:
        longer = replace(spec, iterations=iterations)
        run.run_attack(*batch("cuda"), longer, 0.01, 0, CLASS_PIXELS)

    assert waits(attack, 4 * ITERATIONS) - waits(attack, ITERATIONS) == 3 * ITERATIONS


@needs_cuda
def test_attacks_of_other_kinds_wait_once_too() -> None:
    model, images, labels, names = batch("cuda")

    def alma(iterations: int) -> None:
        alma_prox(model, images, labels, steps=iterations)

    def search(iterations: int) -> None:
        square(model, images, labels, names, SquareSpec(iterations, 0.8), 0.01, 0)

    for attack in (alma, search):
        assert waits(attack, 4 * ITERATIONS) - waits(attack, ITERATIONS) == 3 * ITERATIONS
