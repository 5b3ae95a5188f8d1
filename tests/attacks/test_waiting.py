"""How often the processor waits for another device: counted without one, and of CUDA."""

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustseg.attacks import run
from robustseg.attacks.alma_prox import alma_prox
from robustseg.attacks.ensemble import sea
from robustseg.attacks.losses import LOSSES, TRAINING_LOSSES
from robustseg.attacks.spec import SCHEDULES, AttackSpec, SquareSpec
from robustseg.attacks.square import square
from robustseg.attacks.targeted import targeted_attack
from robustseg.models.wrap import wrap
from robustseg.names import IMAGENET_MEAN, IMAGENET_STD
from robustseg.training.inner_attack import TrainingAttack, perturb
from tests.elsewhere import DEVICE, Device

CLASSES, ITERATIONS = 4, 12
CLASS_PIXELS = [40, 30, 20, 10]
EPS_255 = 0.01
WAITED = "called a synchronizing CUDA operation"
"""What torch says of each wait; that not all are seen, it says once in a process."""
SPECS = [
    *(AttackSpec(loss, "apgd", "constant", ITERATIONS) for loss in LOSSES),
    *(AttackSpec("mask_ce", "apgd", schedule, ITERATIONS) for schedule in SCHEDULES),
    AttackSpec("mask_ce", "pgd", "constant", ITERATIONS, 5e-3),
]
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="counts CUDA's waits")
devices = pytest.mark.parametrize("device", [DEVICE, pytest.param("cuda", marks=needs_cuda)])


@pytest.fixture(autouse=True)
def _no_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not know the device that is not there, and no attack here asks for half precision."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **options: nullcontext())


def batch(device: str) -> tuple[nn.Module, Tensor, Tensor, list[str]]:
    """A model, three images, the labels that it gives them, and names."""
    torch.manual_seed(0)
    model = nn.Conv2d(3, CLASSES, 1, device=device)
    images = torch.full((3, 3, 6, 8), 0.5, device=device)
    with torch.no_grad():
        return model, images, model(images).argmax(1), ["a", "b", "c"]


def waits(device: str, attack: Callable[[], object]) -> int:
    """Return how often an attack waits for the device."""
    if device == DEVICE:
        with Device() as there:
            attack()
        return there.waits.total()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            attack()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum(str(one.message).startswith(WAITED) for one in said)


def test_waits_alone_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not what torch says of its counting, in its own words."""

    def say(mode: str) -> None:
        if mode == "warn":
            warnings.warn(
                "Synchronization debug mode is a prototype feature and does not yet "
                "detect all synchronizing operations",
                stacklevel=1,
            )

    def wait() -> None:
        warnings.warn("called a synchronizing CUDA operation (Triggered internally)", stacklevel=1)

    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", say)
    assert waits("cuda", wait) == 1


def waits_of_an_iteration(device: str, attack: Callable[[int], object]) -> float:
    """Return how often an iteration waits, of so many."""
    few, many = (waits(device, lambda n=n: attack(n)) for n in (ITERATIONS, 4 * ITERATIONS))
    return (many - few) / (3 * ITERATIONS)


@devices
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_an_iteration_waits_only_to_learn_which_images_are_done(
    spec: AttackSpec, device: str
) -> None:
    def attack(iterations: int) -> None:
        longer = replace(spec, iterations=iterations)
        run.run_attack(*batch(device), longer, EPS_255, 0, CLASS_PIXELS)

    assert waits_of_an_iteration(device, attack) == 1


@devices
@pytest.mark.parametrize(
    "settings",
    [
        {"mean": IMAGENET_MEAN, "std": IMAGENET_STD},
        {"classes": [3, None, 2, 1, 0, 0]},
        {"num_classes": CLASSES, "divisor": 5},
    ],
    ids=["normalised", "classes in another order", "padded"],
)
def test_what_is_around_a_network_waits_for_nothing(settings: dict[str, Any], device: str) -> None:
    """The network is on the device already; mean and deviation come from the processor."""

    def attack(iterations: int) -> None:
        _, images, _, names = batch(device)
        model = wrap(nn.Conv2d(3, CLASSES + 2, 1, device=device), **settings)
        with torch.no_grad():
            labels = model(images)[:, :CLASSES].argmax(1)
        spec = AttackSpec("ce", "apgd", "constant", iterations)
        run.run_attack(model, images, labels, names, spec, EPS_255, 0)

    assert waits_of_an_iteration(device, attack) == 1


@devices
@pytest.mark.parametrize("kind", ["alma", "square", "targeted"])
def test_attacks_of_other_kinds_wait_once_too(kind: str, device: str) -> None:
    def attack(iterations: int) -> None:
        model, images, labels, names = batch(device)
        if kind == "alma":
            alma_prox(model, images, labels, steps=iterations)
        elif kind == "square":
            square(model, images, labels, names, SquareSpec(iterations, 0.8), EPS_255, 0)
        else:
            budget = {"eps_255": EPS_255, "seed": 0, "iterations": iterations}
            targeted_attack(model, images, 1, names, **budget)

    assert waits_of_an_iteration(device, attack) == 1


@devices
@pytest.mark.parametrize("loss", TRAINING_LOSSES)
def test_the_attack_inside_training_waits_once(loss: str, device: str) -> None:
    def attack() -> None:
        model, images, labels, _ = batch(device)
        perturb(model, images, labels, TrainingAttack(loss, 0.1, 5, 0.05))

    assert waits(device, attack) == 1


@pytest.mark.filterwarnings("ignore::robustseg.attacks.warning_signs.RobustsegWarning")
def test_sea_mixes_no_tensors_of_two_devices() -> None:
    """Images are elsewhere or not; some are broken at once, and leave the others."""
    with Device():
        model, images, labels, _ = batch(DEVICE)
        labels[0] = (labels[0] + 1) % CLASSES  # nothing is right
        for some in ((images, labels), (images.cpu(), labels.cpu())):
            found = sea(model, *some, 8, losses=list(LOSSES), iterations=3, batch_size=2)
            assert found.adversarial.device == some[0].device
            assert found.acc < found.clean_acc < 1
