"""The attack inside training (Appendix B.2 of the paper: PGD, cross-entropy, step 0.01)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def perturb(
    model: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    steps: int,
    step_size: float,
) -> Tensor:
    """Return the last iterate of l_inf PGD.

    # ASSUME: starts at the image itself; the last iterate is used; the model is in eval mode. The
    # paper does not say; its released code does so.
    # RELEASED CODE: the attack's backward passes add to the gradients of the parameters, and with
    # them to the update. The paper does not describe that, and it does not happen here.

    Args:
        model: gives logits; its mode and its parameters' gradients are left as they were.
        loss: of (logits, labels), to be maximised.
        images: (B, 3, H, W) in [0, 1].
        labels: as `loss` takes them.
        epsilon: radius, in [0, 1].
        steps: forward and backward passes.
        step_size: in [0, 1]; larger than the radius means a step to the border.
    """
    lower, upper = (images - epsilon).clamp_(min=0), (images + epsilon).clamp_(max=1)
    perturbed = images
    with frozen(model):
        for _ in range(steps):
            point = perturbed.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(loss(model(point), labels), point)
            moved = point.detach() + step_size * gradient.sign()
            perturbed = torch.minimum(torch.maximum(moved, lower), upper)
    return perturbed


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Put a model into eval mode with parameters that need no gradient, then restore both."""
    training = model.training
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.eval()
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        model.train(training)
        for parameter in trainable:
            parameter.requires_grad_(True)
