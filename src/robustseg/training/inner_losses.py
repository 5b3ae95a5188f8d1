"""The six losses (Sec. 2.2) as what PGD inside training maximises; the paper trains with CE."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from robustseg.attacks.logits import Labels
from robustseg.attacks.losses import Moment
from robustseg.attacks.pixel_losses import loss_and_gradient
from robustseg.data.interface import IGNORE_LABEL


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy over images or over pixels that are not ignored."""
    return functional.cross_entropy(logits, labels, ignore_index=IGNORE_LABEL)


def attack_loss(name: str, logits: Tensor, labels: Tensor, at: Moment) -> Tensor:
    """Return a loss to be maximised, with the gradient that attacks use for it.

    Args:
        name: one of `losses.LOSSES`.
        logits: float32 (B, K, H, W), or (B, K) of a classifier: one pixel an image.
        labels: (B, H, W), or (B,); -1 where ignored.
        at: the step.

    Returns:
        Mean over the pixels that are not ignored. Its gradient is that of `attacks.losses`: with
        weights and masks that no derivative of the value would give.
    """
    if name == "ce":
        return cross_entropy(logits, labels)
    if logits.ndim == 2:
        logits, labels = logits[:, :, None, None], labels[:, None, None]
    loss: Tensor = _ClosedForm.apply(logits, labels, name, at)
    return loss


class _ClosedForm(torch.autograd.Function):
    """A loss of `attacks.losses` as a node of the graph."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, name: str, at: Moment) -> Tensor:
        gradient = logits.clone()
        prepared = Labels.of(labels, logits.dtype)
        objective, _ = loss_and_gradient(name, gradient, prepared, at)
        counted = prepared.counted.sum().clamp_(min=1)
        ctx.save_for_backward(gradient.div_(counted))
        return objective.sum().to(logits.dtype) / counted

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * upstream, None, None, None
