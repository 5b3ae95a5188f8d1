"""The six losses (Sec. 2.2) as what PGD inside training maximises; the paper trains with CE."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from robustseg.attacks.coarse_logits import CoarseLogits, Columns, Rows
from robustseg.attacks.logits import Labels
from robustseg.attacks.losses import Moment
from robustseg.attacks.pixel_losses import loss_and_gradient, loss_of_coarse
from robustseg.data.interface import IGNORE_LABEL


def cross_entropy(logits: Tensor | Columns, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy over images or over pixels that are not ignored."""
    if isinstance(logits, Columns):
        return attack_loss("ce", logits, labels, Moment())
    return functional.cross_entropy(logits, labels, ignore_index=IGNORE_LABEL)


def attack_loss(name: str, logits: Tensor | Columns, labels: Tensor, at: Moment) -> Tensor:
    """Return a loss to be maximised, with the gradient that attacks use for it.

    Args:
        name: one of `losses.LOSSES`.
        logits: float32 (B, K, H, W) or their `Columns`; (B, K) of a classifier, one pixel an image.
        labels: (B, H, W), or (B,); -1 where ignored.
        at: the step.

    Returns:
        Mean over the pixels that are not ignored, NaN if all are. Its gradient is that of
        `attacks.losses`: with weights and masks that no derivative of the value would give.
    """
    if isinstance(logits, Columns):
        values, rows = logits.values, (logits.first, logits.share)
    elif name == "ce":
        return cross_entropy(logits, labels)
    else:
        values, rows = logits, None
    if values.ndim == 2:
        values, labels = values[:, :, None, None], labels[:, None, None]
    loss: Tensor = _ClosedForm.apply(values, rows, labels, name, at)
    return loss


class _ClosedForm(torch.autograd.Function):
    """A loss of `attacks.losses` as a node of the graph, of logits or of their `Columns`."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, rows: Rows | None, labels: Tensor, name: str, at: Moment
    ) -> Tensor:
        prepared = Labels.of(labels, values.dtype)
        if rows:
            logits = CoarseLogits.of(Columns(values, *rows), prepared)
            gradient = logits.gradient
            objective, _ = loss_of_coarse(name, logits, at)
        else:
            gradient = values.clone()
            objective, _ = loss_and_gradient(name, gradient, prepared, at)
        counted = prepared.counted.sum()
        ctx.save_for_backward(gradient.div_(counted.clamp(min=1)))
        return objective.sum().to(values.dtype) / counted

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * upstream, None, None, None, None
