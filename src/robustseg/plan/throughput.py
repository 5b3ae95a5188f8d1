"""How long a pass takes on a device: measured here, or read from a file that somebody measured."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import ConfigDict, Field

from robustseg.errors import RobustsegError
from robustseg.files import write_text
from robustseg.plan.networks import Network, Work
from robustseg.plan.passes import measure
from robustseg.progress import Progress
from robustseg.sections import Section, read_section

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
        measured[str(network)] = measure(network, device, batch_size)
    text = {"device": device_name, "batch_size": batch_size, "networks": measured}
    write_text(path, json.dumps(text, indent=1) + "\n")


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
