"""Whether a model's gradients lead anywhere: what can be told without an attack.

An attack that follows wrong gradients fails in silence, and the model passes for robust.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustseg.attacks.attacked_model import Model, backward, frozen
from robustseg.attacks.search_model import exact
from robustseg.data.interface import IGNORE_LABEL
from robustseg.models.interpolation import as_precise_as
from robustseg.seeds import derive_seed

STEP_255 = 0.7
"""Of the differences, in 1/255: large enough to tell the slope of a staircase of 8 bits from a
gradient, small enough for the networks that were tried to be linear (docs/doubt.md)."""
DIRECTIONS = 16


@dataclass(frozen=True)
class GradientLook:
    """What was seen of the gradients of B images; on the CPU.

    The gradient is that of the margin: at each pixel the logit of the class that is predicted minus
    the mean of the others, summed. It is linear in the logits, so that no loss can hide it.

    Attributes:
        zeros: (B,) share of the gradient's values that are exactly 0.
        not_finite: (B,) share that is infinite or NaN.
        agreement: (B,) of the gradient with differences of the margin along DIRECTIONS random
            corners: the cosine of the slopes by either, whatever their size. 1: the same slopes;
            about 0: unrelated, or one of them is 0; NaN: both are.
        saturated: (B,) share of the right pixels whose probability is 1 after rounding, so that
            losses which follow cross-entropy have no gradient there; NaN: no pixel is right.
    """

    zeros: Tensor
    not_finite: Tensor
    agreement: Tensor
    saturated: Tensor

    def or_worse(self, other: GradientLook) -> GradientLook:
        """Return what is worse of each image in either look; what is NaN in one is not."""
        return GradientLook(
            zeros=torch.maximum(self.zeros, other.zeros),
            not_finite=torch.maximum(self.not_finite, other.not_finite),
            agreement=torch.fmin(self.agreement, other.agreement),
            saturated=torch.fmax(self.saturated, other.saturated),
        )


def look_at_gradients(
    model: Model, images: Tensor, labels: Tensor, image_ids: list[str]
) -> GradientLook:
    """Look at the gradients of a batch.

    Random models are seen with the same draws in each pass.

    Args:
        model: images to logits (B, K, h, w); a module is put in eval mode meanwhile.
        images: (B, C, H, W) float in [0, 1].
        labels: (B, h, w) int64, -1 where ignored.
        image_ids: B names, from which the directions follow.
    """
    step = STEP_255 / 255
    model = exact(model)
    inside = images.clamp(step, 1 - step)

    def draw(at: Tensor) -> Tensor:
        with torch.random.fork_rng([at.device] if at.is_cuda else []):
            torch.manual_seed(0)
            return model(at)

    def margin(at: Tensor) -> Tensor:
        return (draw(at).double() * weights).flatten(1).sum(1)

    with frozen(model), as_precise_as(images):
        with torch.no_grad():
            logits = draw(inside)
            weights = _margin_weights(logits)
        certain = saturated(logits, labels)
        gradient = _gradient(margin, inside)
        finite = gradient.isfinite()
        known = gradient.nan_to_num(0, 0, 0)
        by_gradient, by_difference = [], []
        with torch.no_grad():
            for number in range(DIRECTIONS):
                direction = _corners(inside, image_ids, number)
                by_gradient.append((known * direction).flatten(1).sum(1))
                up, down = margin(inside + step * direction), margin(inside - step * direction)
                by_difference.append((up - down) / (2 * step))
    slopes, differences = torch.stack(by_gradient), torch.stack(by_difference)
    sizes = differences.norm(dim=0) * slopes.norm(dim=0)
    none = (differences == 0).all(0) & (slopes == 0).all(0)
    cosine = (differences * slopes).sum(0) / sizes.clamp(min=torch.finfo(sizes.dtype).tiny)
    return GradientLook(
        zeros=(gradient == 0).flatten(1).double().mean(1).cpu(),
        not_finite=(~finite).flatten(1).double().mean(1).cpu(),
        agreement=torch.where(none, torch.nan, cosine).cpu(),
        saturated=certain.cpu(),
    )


def _gradient(margin: Model, images: Tensor) -> Tensor:
    """Return the gradient (B, C, H, W) float64 of the margin; 0 where the logits carry none."""
    images = images.detach().requires_grad_()
    with torch.enable_grad():
        value = margin(images).sum()
    if not value.requires_grad:
        return torch.zeros_like(images, dtype=torch.float64)
    gradient = backward(value, images)
    return (torch.zeros_like(images) if gradient is None else gradient).double()


def _margin_weights(logits: Tensor) -> Tensor:
    """Return the weights of logits (B, K, h, w): 1 where largest, -1 / (K - 1) elsewhere."""
    largest = torch.zeros_like(logits, dtype=torch.float64)
    largest.scatter_(1, logits.argmax(1, keepdim=True), 1)
    return largest - (1 - largest) / (logits.shape[1] - 1)


def saturated(logits: Tensor, labels: Tensor) -> Tensor:
    """Return of each image (B,) the share of right pixels with probability 1, NaN without any."""
    right = (logits.argmax(1) == labels) & (labels != IGNORE_LABEL)
    certain = logits.softmax(1).amax(1) == 1
    return (certain & right).flatten(1).sum(1) / right.flatten(1).sum(1)


def _corners(images: Tensor, image_ids: list[str], number: int) -> Tensor:
    """Return a random corner of the unit ball (B, C, H, W) for each image, of -1 and 1."""
    drawn = []
    for image_id in image_ids:
        generator = torch.Generator().manual_seed(derive_seed(image_id, number, "corner"))
        drawn.append(torch.randint(0, 2, images.shape[1:], generator=generator, device="cpu"))
    return (2 * torch.stack(drawn) - 1).to(images)
