"""What a model computes on some images, in few numbers: whether two models are one.

An attack follows from logits and gradients. A digest of them would tell apart what other threads or
another device round in another way, and all of them take too much disk.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from robustseg.attacks.attacked_model import Model, backward, device_of, frozen, full_precision
from robustseg.attacks.logit_distance import near_best, unit_of
from robustseg.attacks.outcomes import predict
from robustseg.attacks.search_model import exact
from robustseg.errors import FullGpuError, RobustsegError

NUMBERS = 32
"""That a sketch has."""
SAME_LOGITS = 1e-3
"""By how many units logits may differ in the root mean square, see `logit_distance`."""
SAME_GRADIENT = 0.1
"""By which share gradients may differ: rounding moves maxima of pooling and kinks of ReLU."""


class Probe(TypedDict):
    """What a model computes on B images, as JSON has it.

    Attributes:
        unit: of the logits, see `logit_distance.unit_of`.
        logits: (B, NUMBERS), sketches of what is near the best.
        gradient: NUMBERS, a sketch of the first image's gradient of a fixed sum of the logits; 0
            where there is none.
    """

    unit: float
    logits: list[list[float]]
    gradient: list[float]


def probe(model: Model, images: Tensor) -> Probe:
    """Return what a model computes on images (B, C, H, W); a random one with fixed draws."""
    images = images.to(device_of(model, images.device))
    with torch.random.fork_rng([images.device] if images.is_cuda else []):
        torch.manual_seed(0)
        logits = predict(model, images)
        gradient = _gradient(model, images[:1])
    unit = unit_of(logits)
    return Probe(
        unit=unit,
        logits=_sketch(near_best(logits, unit)).tolist(),
        gradient=_sketch(gradient)[0].tolist(),
    )


def same(kept: Probe, now: Probe) -> bool:
    """Return whether two probes of the same images are of one model."""
    if np.shape(kept["logits"]) != np.shape(now["logits"]):
        return False
    apart = np.subtract(kept["logits"], now["logits"])
    logits_are = (_rms(apart) <= SAME_LOGITS * now["unit"]).all()
    gradient_is = _rms(np.subtract(kept["gradient"], now["gradient"])) <= SAME_GRADIENT * max(
        _rms(kept["gradient"]), _rms(now["gradient"])
    )
    return bool(logits_are and gradient_is)


def _rms(values: np.ndarray | Sequence[float]) -> np.ndarray:
    return np.asarray(np.sqrt(np.square(values).mean(-1)))


def _gradient(model: Model, images: Tensor) -> Tensor:
    """Return a gradient (B, C, H, W), 0 where it is not finite, or the model gives none."""
    images = images.detach().clone().requires_grad_()
    try:
        with frozen(model), full_precision(images.device.type), torch.enable_grad():
            logits = exact(model)(images)
            gradient = backward((logits * _signs(logits)).sum(), images)
    except FullGpuError:
        raise
    except RobustsegError:  # what is wrong is said where a gradient is needed
        gradient = None
    return torch.zeros_like(images) if gradient is None else gradient.nan_to_num(0, 0, 0)


def _sketch(values: Tensor) -> Tensor:
    """Return sums (B, NUMBERS) with random signs: they differ as much as all values do (B, ...).

    The root mean square of the difference of two sketches is about that of the values.
    """
    signed = (values * _signs(values)).flatten(1)
    rows = -(-signed.shape[1] // NUMBERS)
    padded = torch.nn.functional.pad(signed, (0, rows * NUMBERS - signed.shape[1]))
    sums = padded.view(-1, rows, NUMBERS).sum(1, dtype=torch.float64)
    return (sums / math.sqrt(rows)).cpu()


def _signs(values: Tensor) -> Tensor:
    """Return random signs for the values of one image of (B, ...), the same each time."""
    generator = torch.Generator().manual_seed(0)
    draw = partial(torch.randint, generator=generator, device="cpu", dtype=torch.int8)
    drawn: Tensor = draw(0, 2, values.shape[1:])
    return drawn.mul_(2).sub_(1).to(values.device)
