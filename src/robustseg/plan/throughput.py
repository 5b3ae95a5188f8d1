"""How long a pass takes on a device: measured here, or read from a file that somebody measured."""

import json
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import ConfigDict, Field

from robustseg.errors import RobustsegError
from robustseg.files import atomic_path
from robustseg.plan.networks import OWN, Network, Work
from robustseg.progress import Progress
from robustseg.sections import Section, read_section

if TYPE_CHECKING:  # planning alone needs no torch, which takes seconds
    from torch import nn


Seconds: TypeAlias = Annotated[float, Field(gt=0, lt=86_400)]
"""ASSUME: no pass of one image takes a day."""


class Throughput(Section):
    """Seconds for each image and pass through one network.

    Attributes:
        forward_s: a forward pass without gradient.
        attack_s: a forward and backward pass to the image, as in an attack's iteration.
        update_s: a forward and backward pass to the parameters, as in a training's update.
    """

    forward_s: Seconds
    attack_s: Seconds
    update_s: Seconds

    def seconds(self, work: Work) -> float:
        """Return how long a piece of work takes."""
        return (
            work.forward * self.forward_s
            + work.attack * self.attack_s
            + work.update * self.update_s
        )


class Measured(Section):
    """A file of `write_throughput`; what else it says is for its reader."""

    model_config = ConfigDict(extra="ignore")

    device: str
    networks: dict[str, Throughput]


def measure(network: Network, device: str, batch_size: int, rounds: int = 3) -> Throughput:
    """Time the three kinds of pass on random images, the median of some rounds each.

    Args:
        network: what to build, with random weights.
        device: of torch.
        batch_size: images at a time, at least 2, which BatchNorm needs.
        rounds: how often; one more warms up.
    """
    return measure_passes(_built(network).to(device), network, device, batch_size, rounds)


def measure_passes(
    model: "nn.Module", network: Network, device: str, batch_size: int, rounds: int = 3
) -> Throughput:
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
    return Throughput(
        **{name: _seconds(step, device, rounds) / batch_size for name, step in steps.items()}
    )


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


def _seconds(step: Callable[[], None], device: str, rounds: int) -> float:
    """Return the median time of a step, in seconds."""
    import torch

    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        step()
        if torch.device(device).type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def write_throughput(
    path: str | Path,
    networks: list[Network],
    device: str,
    device_name: str,
    batch_size: int,
    progress: Progress,
) -> None:
    """Measure networks and write a file that `read_throughput` understands.

    Args:
        path: the output, JSON: `device`, `batch_size`, and by network the fields of `Throughput`.
        networks: to be measured.
        device: of torch.
        device_name: what the file says about it.
        batch_size: images at a time.
        progress: says how far it is.
    """
    measured: dict[str, Any] = {}
    for network in progress.track(iter(networks), len(networks), "networks"):
        measured[str(network)] = measure(network, device, batch_size).model_dump()
    text = {"device": device_name, "batch_size": batch_size, "networks": measured}
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")


def read_throughput(path: str | Path) -> tuple[str, dict[str, Throughput]]:
    """Return the device that a file is about, and the throughput of each network by name.

    Raises:
        RobustsegError: no such file, or not what `write_throughput` writes.
    """
    if not Path(path).exists():
        raise RobustsegError(f"{path} does not exist; `snakemake plan` measures one")
    content = read_section(path, Measured, "see docs/plan.md for its form")
    networks = {name: Throughput(**passes) for name, passes in content["networks"].items()}
    return content["device"], networks


def lookup(throughputs: Mapping[str, Throughput], network: Network, path: str) -> Throughput:
    """Return the throughput of a network.

    Raises:
        RobustsegError: the file does not have it.
    """
    if str(network) not in throughputs:
        raise RobustsegError(f"{path} has no throughput of {network}; add it or measure again")
    return throughputs[str(network)]
