"""The attack inside training (Appendix B.2 of the paper: PGD, cross-entropy, step 0.01)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robustseg.attacks.coarse_logits import logits_for
from robustseg.attacks.losses import Moment
from robustseg.attacks.pixel_losses import are_finite
from robustseg.attacks.projection import ball
from robustseg.errors import RobustsegError
from robustseg.training.inner_losses import attack_loss


@dataclass(frozen=True)
class TrainingAttack:
    """PGD for training, and how far it follows the paper's released code.

    # ASSUME: starts at the image itself; the last iterate is used; the model is in eval mode. The
    # paper does not say; its released code does so.
    # RELEASED CODE: contaminates. The attack's backward passes add to the gradients of the
    # parameters, and with them to the update. The paper does not describe that.

    Attributes:
        loss: what is maximised, one of `losses.LOSSES`.
        epsilon: radius, in [0, 1].
        steps: forward and backward passes.
        step_size: in [0, 1]; larger than the radius means a step to the border.
        start: `image`, or `random`, uniform in the radius.
        mode: of the model, `eval` or `train`.
        contaminates: whether the parameters' gradients of all steps are added to `grad`.
    """

    loss: str
    epsilon: float
    steps: int
    step_size: float
    start: str = "image"
    mode: str = "eval"
    contaminates: bool = False


def perturb(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    attack: TrainingAttack,
    *,
    seed: int = 0,
    weight: float = 1.0,
    precision: str = "fp32",
) -> Tensor:
    """Return the last iterate of l_inf PGD.

    Args:
        model: gives logits; its mode is left as it was, and so are its parameters' gradients,
            unless the attack contaminates them.
        images: (B, 3, H, W) in [0, 1].
        labels: (B, H, W), or (B,) of a classifier; -1 where ignored.
        attack: how.
        seed: of a random start; the same for the same images.
        weight: factor on the gradients that contaminate.
        precision: of the forward passes, one of `names.PRECISIONS`.
    """
    epsilon = attack.epsilon
    box = ball(images, epsilon)
    perturbed = images
    broken = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    if attack.start == "random":
        perturbed = (images + epsilon * _uniform(images, seed)).clamp_(0, 1)
    with _prepared(model, attack):
        for step in range(attack.steps):
            point = perturbed.detach().requires_grad_()
            at = Moment(step / attack.steps)
            with autocast(images.device, precision):
                logits = logits_for(attack.loss, model, point)
            if isinstance(logits, Tensor):
                logits = logits.float()
            loss = attack_loss(attack.loss, logits, labels, at)
            gradient = _gradient(loss * weight, point, attack.contaminates)
            broken |= ~are_finite(gradient) & loss.isfinite()  # else the training says so itself
            perturbed = box.project(point.detach().add(gradient.sign(), alpha=attack.step_size))
    _refuse(broken)  # here alone: to ask is to wait for the device
    return perturbed.detach()


def _refuse(broken: Tensor) -> None:
    """Refuse a gradient that is not finite for some images of a batch, (B,) bool: its sign is 0."""
    if broken.any():
        raise RobustsegError(
            f"the attack inside training gets a gradient that is not finite for image "
            f"{int(broken.nonzero()[0])} of a batch, while its loss is; lower the "
            "learning_rate, use precision fp32, or fix the model's backward pass (a root or "
            "logarithm at 0)"
        )


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return a context in which the network computes with a precision of `names.PRECISIONS`."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def _gradient(loss: Tensor, point: Tensor, contaminates: bool) -> Tensor:
    """Return the gradient of the image, and add that of the parameters to theirs if wanted."""
    if not contaminates:
        (gradient,) = torch.autograd.grad(loss, point)
        return gradient
    loss.backward()  # type: ignore[no-untyped-call]
    assert point.grad is not None
    return point.grad


def _uniform(images: Tensor, seed: int) -> Tensor:
    """Draw from [-1, 1], shaped like the images, the same for the same seed and device."""
    source = torch.Generator(images.device).manual_seed(seed)
    noise = torch.rand(images.shape, generator=source, device=images.device)
    return noise.mul_(2).sub_(1)


@contextmanager
def _prepared(model: nn.Module, attack: TrainingAttack) -> Iterator[None]:
    """Put a model into the attack's mode, without parameter gradients if none is wanted."""
    training = model.training
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.train(attack.mode == "train")
    for parameter in trainable:
        parameter.requires_grad_(attack.contaminates)
    try:
        yield
    finally:
        model.train(training)
        for parameter in trainable:
            parameter.requires_grad_(True)
