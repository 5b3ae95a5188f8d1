"""One forward and one backward pass of the attacked model: all that an iteration costs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robustseg.attacks.losses import Labels, check_logits, loss_and_gradient
from robustseg.errors import RobustsegError

Model = Callable[[Tensor], Tensor]
"""Images (B, C, H, W) in [0, 1] to logits (B, K, h, w)."""


@dataclass
class Evaluation:
    """A loss at one iterate of B images.

    Attributes:
        objective: (B,) float64, what is maximised.
        correct: (B,) int64, counted pixels whose largest logit is the label's.
        direction: (B, C, H, W), the sign of the loss's gradient; None without a backward pass.
    """

    objective: Tensor
    correct: Tensor
    direction: Tensor


class Oracle:
    """The attacked model under one loss.

    Args:
        model: frozen, see `frozen`.
        loss: one of `names.LOSSES`.
        labels: (B, h, w) int64, 255 where ignored.
        image_ids: of the B images, for messages.
    """

    def __init__(self, model: Model, loss: str, labels: Tensor, image_ids: list[str]) -> None:
        self.model, self.loss = model, loss
        self.raw_labels, self.image_ids = labels, image_ids
        self.labels: Labels | None = None
        self.memory: Tensor | None = None

    def __call__(self, images: Tensor, lam: float) -> Evaluation:
        """Evaluate loss and gradient at images (B, C, H, W), with lambda(t) of Bal-CE."""
        images = images.detach().requires_grad_()
        with torch.enable_grad():
            logits = self.model(images)
        objective, correct, logit_gradient = self._loss(logits, lam)
        if not logits.requires_grad:
            raise RobustsegError(
                "the model's logits carry no gradient; let it run without torch.no_grad and detach"
            )
        (gradient,) = torch.autograd.grad(logits, images, logit_gradient)
        return Evaluation(objective, correct, gradient.sign_())

    def look(self, images: Tensor) -> Evaluation:
        """Evaluate without a backward pass; the direction is 0."""
        with torch.no_grad():
            objective, correct, _ = self._loss(self.model(images), 0.0)
        return Evaluation(objective, correct, torch.zeros(()))

    def select(self, kept: Tensor) -> None:
        """Go on with the images `kept` alone."""
        self.raw_labels = self.raw_labels[kept]
        self.image_ids = [self.image_ids[i] for i in kept.tolist()]
        self.labels = self.labels.select(kept) if self.labels else None

    def _loss(self, logits: Tensor, lam: float) -> tuple[Tensor, Tensor, Tensor]:
        """Return objective, correct pixels, logit gradient; the last is overwritten next time."""
        if self.labels is None:
            check_logits(logits, self.raw_labels, self.image_ids)
            self.labels = Labels.of(self.raw_labels, logits.dtype)
        logits = logits.detach()
        if self.memory is None or self.memory.shape != logits.shape:
            self.memory = torch.empty_like(logits)
        objective, correct = loss_and_gradient(self.loss, logits, self.labels, lam, self.memory)
        return objective, correct, self.memory


@contextmanager
def frozen(model: Model) -> Iterator[None]:
    """Put a module in eval mode without parameter gradients, and restore both afterwards.

    Without parameter gradients a backward pass to the image costs about a third less.
    """
    if not isinstance(model, nn.Module):
        yield
        return
    modes = [(module, module.training) for module in model.modules()]
    wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        model.eval()
        model.requires_grad_(False)
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, want in wanted:
            parameter.requires_grad_(want)


def device_of(model: Model, otherwise: torch.device) -> torch.device:
    """Return where a module's parameters are; `otherwise` for a model without any."""
    parameters = model.parameters() if isinstance(model, nn.Module) else iter(())
    return next((parameter.device for parameter in parameters), otherwise)
