"""How long passes through a network take here, by fields of `throughput.Throughput`.

Needs no pydantic: machines with a GPU often have torch and little else.
"""

import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from robustseg.plan.networks import OWN, Network

if TYPE_CHECKING:  # planning alone needs no torch, which takes seconds
    from torch import nn

ROUNDS = 3
"""How often a pass is timed; one more warms up."""


def measure(network: Network, device: str, batch_size: int) -> dict[str, float]:
    """Return the fields of a `Throughput`: on random images, the median of some rounds each.

    Args:
        network: what to build, with random weights.
        device: of torch.
        batch_size: images at a time, at least 2, which BatchNorm needs.
    """
    return measure_passes(_built(network).to(device), network, device, batch_size)


def measure_passes(
    model: "nn.Module", network: Network, device: str, batch_size: int
) -> dict[str, float]:
    """Do the same with a model that is built already, and on the device."""
    import torch

    from robustseg.attacks.attacked_model import frozen

    images = torch.rand(batch_size, 3, network.size_px, network.size_px, device=device)

    def forward() -> None:
        with frozen(model), torch.no_grad():
            model(images)

    def attack() -> None:
        inputs = images.detach().requires_grad_()
        with frozen(model):
            torch.autograd.grad(model(inputs).sum(), inputs)

    def update() -> None:
        model.train()
        model.zero_grad()
        model(images).sum().backward()

    steps = {"forward_s": forward, "attack_s": attack, "update_s": update}
    return {name: _seconds(step, device) / batch_size for name, step in steps.items()}


def _built(network: Network) -> "nn.Module":
    """Return a network with random weights."""
    from robustseg.models.build import build_classifier, build_segmentation_model
    from robustseg.models.references import load_reference
    from robustseg.models.wrap import wrap

    if network.decoder == OWN:
        return wrap(load_reference(network.architecture).net)
    if network.decoder:
        return build_segmentation_model(network.architecture, network.decoder, network.num_classes)
    return build_classifier(network.architecture, network.num_classes)


def _seconds(step: Callable[[], None], device: str) -> float:
    """Return the median time of a step, in seconds."""
    import torch

    times = []
    for _ in range(ROUNDS + 1):
        start = time.perf_counter()
        step()
        if torch.device(device).type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])
