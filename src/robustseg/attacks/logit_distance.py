"""How far apart two passes' logits are, in a unit that a class far below the best cannot enlarge.

Models often give a class that must not be predicted a constant like -1e4 or -1e9, beside which all
that the model computes is small.
"""

import torch
from torch import Tensor

FAR = 30.0
"""Logits that are more units than this below a pixel's best one count as so far below it."""


def lead(logits: Tensor) -> Tensor:
    """Return by how much the best of logits (B, K, h, w) is ahead of the second, (B, h, w) float64.

    0 where there is a single class.
    """
    two = logits.topk(min(2, logits.shape[1]), dim=1).values.double()
    return two[:, 0] - two[:, -1]


def unit_of(logits: Tensor) -> float:
    """Return by how much the best class is ahead of the second one at half of the pixels.

    Args:
        logits: (B, K, h, w). Pixels where the two are equal are left out; 0 if there are no others.
    """
    ahead = lead(logits)
    ahead = ahead[ahead > 0]
    return float(ahead.median()) if len(ahead) else 0.0


def near_best(logits: Tensor, unit: float) -> Tensor:
    """Return logits (B, K, h, w) of which those far below a pixel's best are raised, see FAR."""
    return torch.maximum(logits, logits.amax(1, keepdim=True) - FAR * unit)


def distance(one: Tensor, other: Tensor, unit: float) -> float:
    """Return the largest difference of two passes' logits (B, K, h, w), in units of `unit_of`."""
    difference = near_best(one, unit) - near_best(other, unit)
    return float(difference.abs().max()) / (unit or 1.0)
