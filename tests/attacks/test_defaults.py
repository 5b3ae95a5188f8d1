"""What torch's default device and type are set to changes no attack."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from robustseg import doubt, evaluate, sea, wrap
from robustseg.attacks.losses import LOSSES

SETTINGS: dict[str, Callable[[], None]] = {
    "float64": lambda: torch.set_default_dtype(torch.float64),
    "meta": lambda: torch.set_default_device("meta"),
}
"""Tensors that are made on the device `meta` fail as soon as their values are asked for."""

NORMALISED = {"mean": [0.4, 0.4, 0.4], "std": [0.2, 0.2, 0.2]}


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)


def network() -> nn.Module:
    """Return a network with coarse logits of three classes, the same each time."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 3, 3, stride=2))
    source = torch.Generator().manual_seed(0)
    for parameter in net.parameters():
        nn.init.uniform_(parameter, -1, 1, generator=source)
    return net


def every_attack(net: nn.Module, images: Tensor, labels: Tensor) -> list[object]:
    """Return the figures of all attacks and losses, and all that a second opinion says."""
    model = wrap(net, **NORMALISED)
    pairs = list(zip(images, labels, strict=True))
    result = sea(model, images, labels, 4, losses=[*LOSSES, "js@10"], iterations=12)
    suites = ["sea_plus", "alma", "blackbox", "transfer"]
    run = evaluate(
        model, pairs, [4], suites=suites, sources={"same": model}, iterations=6, progress=False
    )
    opinion = doubt(model, pairs, eps_255=4, iterations=4, progress=False)
    return [result.attack_accuracy.tolist(), run.clean, run.robust, str(opinion)]


@pytest.mark.filterwarnings("ignore")
def test_all_attacks_and_losses_find_the_same_under_other_defaults() -> None:
    net, images = network(), torch.rand(2, 3, 12, 16, generator=torch.Generator().manual_seed(1))
    labels = wrap(net, **NORMALISED)(images).argmax(1)
    wanted = every_attack(net, images, labels)
    for name, change in SETTINGS.items():
        change()
        assert every_attack(net, images, labels) == wanted, name
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
