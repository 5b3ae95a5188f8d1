"""The time and memory that jobs ask a scheduler for, from their work and the size of the network.

Nothing is lost where they are too small: a job that is ended continues when it is tried again.
"""

from collections.abc import Iterable

from robustseg.config.schema import Config
from robustseg.plan.costs import attack_work, clean_work, network_of, training_work
from robustseg.plan.networks import Network, Work

GIGA_MACS: dict[str, dict[str, float]] = {
    "convnext_demo": {"": 0.6, "upernet": 212, "upernet_mini": 15, "upernet_demo": 2.4},
    "convnext_mini": {"": 3.6, "upernet": 216, "upernet_mini": 18, "upernet_demo": 5.5},
    "convnext_tiny": {"": 24, "upernet": 237, "upernet_mini": 39, "upernet_demo": 26},
    "convnext_small": {"": 46, "upernet": 259, "upernet_mini": 61, "upernet_demo": 48},
    "convnext_base": {"": 83, "upernet": 297, "upernet_mini": 98, "upernet_demo": 85},
    "convnext_large": {"": 186, "upernet": 401, "upernet_mini": 201, "upernet_demo": 188},
    "vit_demo": {"": 3.5, "segmenter": 7.4},
    "vit_small": {"": 32, "segmenter": 38},
    "resnet_demo": {"": 0.2, "pspnet": 5.6, "pspnet_demo": 1.1},
    "resnet50": {"": 21.4, "pspnet": 178, "pspnet_demo": 105},
    "resnet50_deep_stem": {"": 28.4, "pspnet": 185, "pspnet_demo": 112},
}
"""Multiplications of a forward pass of 512 x 512 pixels, in billions, by architecture and decoder;
without a decoder, those of the classifier."""
MAIN = Network("convnext_tiny", "upernet", 21, 512)
SMALL = 20
"""Up to here a network is one of the demo's."""

# ASSUME: a quarter of an A100's peak in full precision, without TF32.
GIGA_MACS_A_S = 2500
SHORTEST_MIN, LONGEST_MIN = 30, 24 * 60
"""ASSUME: most clusters allow a day. What takes longer goes on in the next attempt."""


def attack_minutes(config: Config, model: str, suite: str, attempt: int, radii: int = 1) -> int:
    """Return the time for the largest shard of a suite at some number of radii, in minutes."""
    return _minutes(attack_work(config, model, suite) * radii, attempt)


def clean_minutes(config: Config, model: str, attempt: int) -> int:
    """Return the time for a clean evaluation, in minutes."""
    return _minutes([clean_work(config, model)], attempt)


def training_minutes(config: Config, name: str, attempt: int) -> int:
    """Return the time for the training of a model or a backbone on one GPU, in minutes."""
    return _minutes([training_work(config, name)], attempt)


def training_priority(config: Config, name: str) -> float:
    """Return how early Snakemake begins a training, of a model or a backbone, if it has a choice.

    Before all that has no priority and so 0, and the longest first: most of the rest waits for
    trainings, and one that is begun last would keep a machine waiting alone.
    """
    return 1 + relative_cost(training_work(config, name))


def memory_mb(config: Config, name: str, attempt: int) -> int:
    """Return the memory of the machine (not of its GPU) for a job of a model or a backbone."""
    giga_macs = round(_giga_macs(network_of(config, name)))
    # ASSUME: CUDA's libraries take 4 GB; the rest is for weights and for images on their way.
    return (4000 if giga_macs <= SMALL else 10_000 + 25 * giga_macs) * attempt


def relative_cost(work: Work) -> float:
    """Return what some work costs, in attack passes of one image through the paper's main network.

    That is UPerNet with ConvNeXt-T on 512 pixels. A pass to the image costs two forward passes, one
    to the parameters three.
    """
    passes = work.forward + 2 * work.attack + 3 * work.update
    size = (work.network.size_px / 512) ** 2
    return passes / 2 * size * _giga_macs(work.network) / _giga_macs(MAIN)


def _minutes(work: Iterable[Work], attempt: int) -> int:
    """Return the time for some work, longer at each attempt, within bounds."""
    seconds = sum(map(relative_cost, work)) * 2 * _giga_macs(MAIN) / GIGA_MACS_A_S
    return min(max(SHORTEST_MIN, round(seconds / 60)) * attempt, LONGEST_MIN)


def _giga_macs(network: Network) -> float:
    known = GIGA_MACS.get(network.architecture, {})
    # ASSUME: of one's own, or new in the registry: not larger than the paper's main network
    return known.get(network.decoder, GIGA_MACS[MAIN.architecture][MAIN.decoder])
