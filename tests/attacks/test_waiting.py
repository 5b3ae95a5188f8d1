"""How often the processor waits for another device: asked of one without values, and of CUDA."""

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustseg.attacks import attacked_model, run
from robustseg.attacks.alma_prox import alma_prox
from robustseg.attacks.attacked_model import AttackedModel
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
def test_an_iteration_waits_only_to_learn_which_images_are_done(
    spec: AttackSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On torch's meta device, which computes sizes alone, asking for a value is an error."""
    model, images, labels, names = batch("meta")
    asked = 0

    def tolist(tensor: Tensor) -> list[Any]:
        nonlocal asked
        asked += tensor.ndim == 2
        return [[True] * len(images)] * 2 if tensor.ndim == 2 else list(range(len(tensor)))

    monkeypatch.setattr(Tensor, "tolist", tolist)
    # Asked once, before the iterations.
    monkeypatch.setattr(attacked_model, "check_logits", lambda *_: None)
    monkeypatch.setattr(run.Found, "unfinished", lambda found: torch.arange(3, device="meta"))
    (slot, *_) = slots(spec.schedule, spec.iterations)
    run._search(
        AttackedModel(model, spec.loss, labels, names, class_pixels=CLASS_PIXELS),
        run._optimizer(spec, ball(images, 0.1), 0.1, slot),
        images,
        slot,
        spec,
        run.Found(images),
        torch.zeros((2, 3), dtype=torch.int64, device="meta"),
        torch.zeros(3, dtype=torch.float64, device="meta"),
    )
    assert asked == slot.iterations + 1  # the last iterate is looked at, too


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
