"""Losses, each one entry: name, label, and gradient and objective in closed form.

The paper's six are those of arXiv 2306.12941, Sec. 2.2. For five of them the gradient at pixel a is
a weight times that of cross-entropy, w_a (p_a - e_y):

    CE          w = 1
    Bal-CE      w = 1 - lambda(t) where the pixel is right, lambda(t) where it is wrong
    CosSim-CE   w = sigma(u_y) / ||sigma(u)||_2
    JS          w = -1/2 p_y log(p_y / (1 + p_y))
    Mask-CE     w = 1 where the pixel is right, else 0

Mask-Spherical has a gradient of its own (Appendix A). The gradient goes to `backward` as it is, so
that a loss costs two passes over the logits, with an exponential each, and no second backward.

Objective and gradient are two things. The objective is what an optimizer compares between iterates:

- masks apply to the gradient only (B.1), so Mask-CE's objective is CE and Mask-Spherical's the
  spherical loss;
- ASSUME: other weights in front of CE are handled alike, so the objective of Bal-CE and CosSim-CE
  is CE. Bal-CE's own value grows with lambda(t) and cannot be compared between iterations, and
  CosSim-CE's "gradient" is not the gradient of its value.
- JS steers by JS. RELEASED CODE: by CE.

A loss is a function of the logits u of some images, see `logits.Logits`. This file imports no
torch: configurations read it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from robustseg.attacks.logits import Logits

    Pixels = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Loss:
    """What an attack maximises.

    Attributes:
        name: in configurations and evidence.
        label: in print.
        about: what it is, in a few words.
        of_pixels: turns logits into their gradient in place and returns of each pixel,
            (b, 1, h, w), the objective and whether the pixel is right. Its second argument is
            lambda(t) of Bal-CE, in [0, 1/2).
    """

    name: str
    label: str
    about: str
    of_pixels: Callable[[Logits, float], Pixels]


def _ce(u: Logits, lam: float) -> Pixels:
    softmax = u.softmax()
    u.write_gradient(softmax.total.new_ones(softmax.total.shape), softmax)
    return softmax.cross_entropy, softmax.right


def _bal_ce(u: Logits, lam: float) -> Pixels:
    softmax = u.softmax()
    right = softmax.right.to(softmax.total.dtype)
    u.write_gradient(right.mul_(1 - 2 * lam).add_(lam), softmax)
    return softmax.cross_entropy, softmax.right


def _cossim_ce(u: Logits, lam: float) -> Pixels:
    softmax, cosine = u.softmax_and_cosine()
    u.write_gradient(cosine, softmax)
    return softmax.cross_entropy, softmax.right


def _js(u: Logits, lam: float) -> Pixels:
    """D_JS(p || e_y) = log 2 + (p_y log p_y - (1 + p_y) log(1 + p_y)) / 2.

    log p_y is taken from CE, so that p_y log p_y is 0 and not NaN where p_y underflows.
    """
    softmax = u.softmax()
    p, minus_log_p = softmax.probability, softmax.cross_entropy
    log_1_p = (1 + p).log()
    weight = (log_1_p + minus_log_p).mul_(p).mul_(0.5)
    objective = (weight + 0.5 * log_1_p).neg_().add_(math.log(2))
    u.write_gradient(weight, softmax)
    return objective, softmax.right


def _mask_ce(u: Logits, lam: float) -> Pixels:
    softmax = u.softmax()
    u.write_gradient(softmax.right.to(softmax.total.dtype), softmax)
    return softmax.cross_entropy, softmax.right


def _mask_sph(u: Logits, lam: float) -> Pixels:
    """L = -u_y / ||u||_2, with dL/du_t = (u_y u_t / ||u||^2 - [t = y]) / ||u|| (Appendix A).

    ASSUME: at u = 0, where L has no gradient, gradient and L are 0; and also where ||u|| < 1e-15,
    whose square float32 cannot hold.
    """
    label, largest, norm = u.norms()
    right = label >= largest
    inverse = (1 / norm).masked_fill_(norm < 1e-15, 0)
    cosine = label * inverse
    weight = u.labels.counted * right * inverse
    u.values.mul_(weight * cosine * inverse)
    u.values.scatter_add_(1, u.labels.index, weight.neg_())
    return (0 * norm).sub_(cosine), right  # 0 * norm: NaN where any logit is infinite


LOSSES: dict[str, Loss] = {
    loss.name: loss
    for loss in (
        Loss("ce", "CE", "cross-entropy", _ce),
        Loss("bal_ce", "Bal-CE", "CE, right and wrong pixels weighed by lambda(t)", _bal_ce),
        Loss("cossim_ce", "CosSim-CE", "CE weighed by the cosine of sigmoid and label", _cossim_ce),
        Loss("js", "JS", "Jensen-Shannon divergence of softmax and label", _js),
        Loss("mask_ce", "Mask-CE", "CE of the pixels that are still right", _mask_ce),
        Loss("mask_sph", "Mask-Sph.", "spherical loss of the pixels still right", _mask_sph),
    )
}
"""All losses, by name."""

PAPER_LOSSES = ("ce", "bal_ce", "cossim_ce", "js", "mask_ce", "mask_sph")
"""Sec. 2.2 of the paper, in the order of its Table 2."""

SEA_LOSSES = ("mask_ce", "bal_ce", "js", "mask_sph")
"""Sec. 2.4, in the order of its Table 9."""
