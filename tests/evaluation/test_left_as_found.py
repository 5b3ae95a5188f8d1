"""Whatever looks at or attacks a network leaves it as it was, also in training mode."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import robustseg


class Network(nn.Module):
    """What changes in a pass in training mode, and gradients that are hidden."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.dropout = nn.Dropout(0.3)
        self.logits = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        rounded = torch.round(8 * images) / 8
        return self.logits(self.dropout(self.norm(rounded + 1e-3 * images)))


def state(network: nn.Module) -> list[Any]:
    """Return all that may change in a network, and torch's random state."""
    return [
        *({name: value.tolist() for name, value in network.state_dict().items()}.items()),
        [module.training for module in network.modules()],
        [(one.requires_grad, one.grad is None) for one in network.parameters()],
        torch.get_rng_state().tolist(),
    ]


@pytest.mark.filterwarnings("ignore::robustseg.RobustsegWarning")
@pytest.mark.parametrize("train", [True, False])
def test_every_function_leaves_a_network_as_it_was(train: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Network().train(train)
    network.norm.eval()
    network.norm.weight.requires_grad_(False)
    images, labels = torch.rand(4, 3, 16, 16), torch.randint(4, (4, 16, 16))
    data = list(zip(images, labels, strict=True))
    few: dict[str, Any] = {"iterations": 6, "progress": False}
    suites = ["sea", "alma", "blackbox", "baselines"]
    functions: list[Callable[[], Any]] = [
        lambda: robustseg.wrap(network, mean=[0.5] * 3, std=[0.2] * 3),
        lambda: robustseg.sea(network, images, labels, 8, iterations=6),
        lambda: robustseg.evaluate(
            network, data, 8, suites=suites, folder=tmp_path, pictures=2, **few
        ),
        lambda: robustseg.doubt(network, data, folder=tmp_path, progress=False),
        lambda: robustseg.perturb_batch(network, images, labels, 8),
    ]
    before = state(network)
    for function in functions:
        function()
        assert state(network) == before
