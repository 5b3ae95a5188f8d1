"""Losses, each one entry: name, label, and gradient and objective in closed form.

The paper's six are those of arXiv 2306.12941, Sec. 2.2. For five of them the gradient at pixel a is
a weight times that of cross-entropy, w_a (p_a - e_y)::

    CE          w = 1
    Bal-CE      w = 1 - lambda(t) where the pixel is right, lambda(t) where it is wrong
    CosSim-CE   w = sigma(u_y) / ||sigma(u)||_2
    JS          w = -1/2 p_y log(p_y / (1 + p_y))
    Mask-CE     w = 1 where the pixel is right, else 0

Mask-Spherical has a gradient of its own (Appendix A). Beyond the paper::

    Tsallis            w = p_y^(1 - q(t)), arXiv 2605.03405: q grows from -2 to 1, which is CE
    Mask-CE, balanced  w = N_min / N_y where the pixel is right, else 0, with N_y pixels of class y
                       (ECCV 2024, LNCS 15137, pp. 180-197)
    mIoU-CE            w = N_min (1 / N_y + 1 / N_k) where the pixel is right, else 0, with k the
                       strongest other class: what its fall is worth to the IoU of both
    Smooth-CE          w = 1 where the margin u_y - u_k, averaged over a neighbourhood, is above 0
    Wide-Mask-CE       w = 1 where the margin u_y - u_k is above -1
    Object-Mask-CE     w = 1 where most pixels of the class are right in the image

The gradient goes to `backward` as it is, so
that a loss costs two passes over the logits, with an exponential each, and no second backward.

Objective and gradient are two things. The objective is what an optimizer compares between iterates:

- masks apply to the gradient only (B.1), so Mask-CE's objective is CE and Mask-Spherical's the
  spherical loss;
- ASSUME: other weights in front of CE are handled alike, so the objective of Bal-CE and CosSim-CE
  is CE. Bal-CE's own value grows with lambda(t) and cannot be compared between iterations, and
  CosSim-CE's "gradient" is not the gradient of its value.
- JS steers by JS. RELEASED CODE: by CE, which is the choice `js_by_ce`, see `spec.CHOICES`.

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


TSALLIS_Q = (-2.0, 1.0)
"""q of the Tsallis loss at the begin and the end (arXiv 2605.03405)."""


@dataclass(frozen=True)
class Moment:
    """Where an attack is, as far as losses depend on it.

    Attributes:
        progress: (t - 1) / T in [0, 1), of T iterations.
        q_range: of the Tsallis loss, from its begin to its end.
        by_ce: whether JS returns CE for its objective.
    """

    progress: float = 0.0
    q_range: tuple[float, float] = TSALLIS_Q
    by_ce: bool = False

    @property
    def lam(self) -> float:
        """lambda(t) of Bal-CE, in [0, 1/2)."""
        return self.progress / 2

    @property
    def q(self) -> float:
        """The Tsallis loss's exponent. ASSUME: linear in (t - 1) / T, as lambda(t) is."""
        begin, end = self.q_range
        return begin + (end - begin) * self.progress


@dataclass(frozen=True)
class Loss:
    """What an attack maximises.

    Attributes:
        name: in configurations and evidence.
        label: in print.
        about: what it is, in a few words.
        of_pixels: has logits write the loss's gradient and returns of each pixel, (b, 1, h, w),
            the objective and whether the pixel is right.
        weighs_classes: whether it asks for the pixels of each class, `Labels.class_weights`.
        compares_classes: whether it asks for the strongest other class, or for u itself.
    """

    name: str
    label: str
    about: str
    of_pixels: Callable[[Logits, Moment], Pixels]
    weighs_classes: bool = False
    compares_classes: bool = False


def _ce(u: Logits, at: Moment) -> Pixels:
    softmax = u.softmax()
    u.write_gradient(softmax.total.new_ones(softmax.total.shape), softmax)
    return softmax.cross_entropy, softmax.right


def _bal_ce(u: Logits, at: Moment) -> Pixels:
    softmax = u.softmax()
    right = softmax.right.to(softmax.total.dtype)
    u.write_gradient(right.mul_(1 - 2 * at.lam).add_(at.lam), softmax)
    return softmax.cross_entropy, softmax.right


def _cossim_ce(u: Logits, at: Moment) -> Pixels:
    softmax, cosine = u.softmax_and_cosine()
    u.write_gradient(cosine, softmax)
    return softmax.cross_entropy, softmax.right


def _js(u: Logits, at: Moment) -> Pixels:
    """D_JS(p || e_y) = log 2 + (p_y log p_y - (1 + p_y) log(1 + p_y)) / 2.

    log p_y is taken from CE, so that p_y log p_y is 0 and not NaN where p_y underflows.
    """
    softmax = u.softmax()
    p, minus_log_p = softmax.probability, softmax.cross_entropy
    log_1_p = (1 + p).log()
    weight = (log_1_p + minus_log_p).mul_(p).mul_(0.5)
    objective = (weight + 0.5 * log_1_p).neg_().add_(math.log(2))
    u.write_gradient(weight, softmax)
    return minus_log_p if at.by_ce else objective, softmax.right


def _mask_ce(u: Logits, at: Moment) -> Pixels:
    softmax = u.softmax()
    u.write_gradient(softmax.right.to(softmax.total.dtype), softmax)
    return softmax.cross_entropy, softmax.right


def _wide_mask_ce(u: Logits, at: Moment) -> Pixels:
    """Return CE of pixels that are right or wrong by less than WIDE_BY."""
    strongest, _ = u.strongest_other()
    margin = u.values.gather(1, u.labels.index) - strongest
    softmax = u.softmax()
    u.write_gradient((margin > -WIDE_BY).to(softmax.total.dtype), softmax)
    return softmax.cross_entropy, softmax.right


WIDE_BY = 1.0
"""Logits by which a pixel may be wrong and still be attacked by Wide-Mask-CE."""


def _object_mask_ce(u: Logits, at: Moment) -> Pixels:
    """Return CE of the pixels of classes of which at least half are right in the image.

    ASSUME: an object is all pixels of a class in an image; labels tell no more.
    """
    softmax = u.softmax()
    counted = u.labels.counted.flatten(1)
    classes = u.labels.index.flatten(1)
    right = softmax.right.flatten(1) * counted
    zeros = counted.new_zeros(len(counted), u.values.shape[1])
    share = zeros.scatter_add(1, classes, right) / zeros.scatter_add(1, classes, counted).clamp(1)
    kept = (share >= 0.5).to(counted.dtype).gather(1, classes).view_as(softmax.total)
    u.write_gradient(kept, softmax)
    return softmax.cross_entropy, softmax.right


def _mask_sph(u: Logits, at: Moment) -> Pixels:
    """L = -u_y / ||u||_2, with dL/du_t = (u_y u_t / ||u||^2 - [t = y]) / ||u|| (Appendix A).

    ASSUME: at u = 0, where L has no gradient, gradient and L are 0; and also where ||u|| < 1e-15,
    whose square float32 cannot hold.
    """
    label, largest, norm = u.norms()
    right = label >= largest
    inverse = (1 / norm).masked_fill_(norm < 1e-15, 0)
    cosine = label * inverse
    weight = u.labels.counted * right * inverse
    u.write_multiple(weight * cosine * inverse, weight)
    return (0 * norm).sub_(cosine), right  # 0 * norm: NaN where any logit is infinite


def _tsallis(u: Logits, at: Moment) -> Pixels:
    softmax = u.softmax()
    u.write_gradient(softmax.cross_entropy.mul(at.q - 1).exp_(), softmax)
    return softmax.cross_entropy, softmax.right


def _mask_ce_balanced(u: Logits, at: Moment) -> Pixels:
    softmax = u.softmax()
    u.write_gradient(u.labels.class_weights(u.labels.index) * softmax.right, softmax)
    return softmax.cross_entropy, softmax.right


def _miou_ce(u: Logits, at: Moment) -> Pixels:
    """Return CE of right pixels, by what a fall takes from the IoU of two classes.

    Where a pixel of class y falls to k, the intersection of y loses one and the union of k gains
    one. ASSUME: unions are taken as the labelled pixels N, which no attack changes: 1 / N_y for
    the loss of y, and as much as 1 / N_k for that of k, whose IoU is taken as 1.
    """
    _, other = u.strongest_other()
    softmax = u.softmax()
    weight = u.labels.class_weights(u.labels.index) + u.labels.class_weights(other)
    u.write_gradient(weight * softmax.right, softmax)
    return softmax.cross_entropy, softmax.right


NEIGHBOURHOOD_PX = 5
"""Side of the square over which Smooth-CE averages margins."""


def _smooth_ce(u: Logits, at: Moment) -> Pixels:
    """Return CE of pixels whose neighbourhood is still right on average.

    ASSUME: ignored pixels and those beyond the border are no neighbours.
    """
    from torch.nn.functional import avg_pool2d

    strongest, _ = u.strongest_other()
    margin = (u.values.gather(1, u.labels.index) - strongest) * u.labels.counted
    total = avg_pool2d(margin, NEIGHBOURHOOD_PX, 1, NEIGHBOURHOOD_PX // 2)
    softmax = u.softmax()
    u.write_gradient((total >= 0).to(total.dtype), softmax)
    return softmax.cross_entropy, softmax.right


LOSSES: dict[str, Loss] = {
    loss.name: loss
    for loss in (
        Loss("ce", "CE", "cross-entropy", _ce),
        Loss("bal_ce", "Bal-CE", "CE, right and wrong pixels weighted by lambda(t)", _bal_ce),
        Loss("cossim_ce", "CosSim-CE", "CE weighted by cosine of sigmoid and label", _cossim_ce),
        Loss("js", "JS", "Jensen-Shannon divergence of softmax and label", _js),
        Loss("mask_ce", "Mask-CE", "CE of the pixels that are still right", _mask_ce),
        Loss("mask_sph", "Mask-Sph.", "spherical loss of the pixels still right", _mask_sph),
        Loss("tsallis", "Tsallis", "CE weighted by p_y^(1 - q), q growing from -2 to 1", _tsallis),
        Loss(
            "mask_ce_balanced",
            "Mask-CE, bal.",
            "Mask-CE weighted by one over the pixels of the class",
            _mask_ce_balanced,
            weighs_classes=True,
        ),
        Loss(
            "miou_ce",
            "mIoU-CE",
            "Mask-CE weighted by what a pixel is worth to the IoU of two classes",
            _miou_ce,
            weighs_classes=True,
            compares_classes=True,
        ),
        Loss(
            "wide_mask_ce",
            "Wide-Mask-CE",
            "CE of pixels right, or nearly so",
            _wide_mask_ce,
            compares_classes=True,
        ),
        Loss("object_mask_ce", "Object-Mask-CE", "CE of classes mostly right", _object_mask_ce),
        Loss(
            "smooth_ce",
            "Smooth-CE",
            "CE where the margin around a pixel is above 0",
            _smooth_ce,
            compares_classes=True,
        ),
    )
}
"""All losses, by name."""

TRAINING_LOSSES = tuple(name for name, loss in LOSSES.items() if not loss.weighs_classes)
"""What PGD inside training may maximise."""

PAPER_LOSSES = ("ce", "bal_ce", "cossim_ce", "js", "mask_ce", "mask_sph")
"""Sec. 2.2 of the paper, in the order of its Table 2."""

ECCV_LOSSES = ("mask_ce_balanced", "mask_ce", "js")
"""SEA in the version of ECCV 2024, with the mIoU of a greedy search."""

SEA_LOSSES = ("mask_ce", "bal_ce", "js", "mask_sph")
"""Sec. 2.4, in the order of its Table 9."""
