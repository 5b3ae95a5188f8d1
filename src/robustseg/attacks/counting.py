"""What goes on record of an attack: counts of a forward pass of its own, norms, passes spent."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustseg.attacks.attacked_model import Model, frozen
from robustseg.attacks.losses import check_logits, refuse_images
from robustseg.attacks.run import run_attack
from robustseg.attacks.search_model import exact
from robustseg.attacks.spec import AttackSpec
from robustseg.metrics import Counts, count_pixels

TOLERANCE = 1e-6
"""Slack on the radius and on [0, 1], in image units: rounding of float32 sums."""


@dataclass
class Outcome:
    """What is on record of one attack on B images.

    Attributes:
        adversarial: (B, C, H, W).
        counts: of the predictions there.
        linf_255: (B,) measured norm of the perturbation in 1/255.
        forward_passes, backward_passes: (B,), the counting pass included.
    """

    adversarial: Tensor
    counts: Counts
    linf_255: NDArray[np.float64]
    forward_passes: NDArray[np.int64]
    backward_passes: NDArray[np.int64]


def attack_and_count(
    model: Model,
    images: Tensor,
    labels: Tensor,
    image_ids: list[str],
    spec: AttackSpec,
    eps_255: float,
    seed: int,
) -> Outcome:
    """Run one attack on a batch and count what the model gets right afterwards.

    Arguments as for `run_attack`.

    Raises:
        RobustsegError: what `run_attack` and `count` refuse.
    """
    result = run_attack(model, images, labels, image_ids, spec, eps_255, seed)
    return Outcome(
        adversarial=result.adversarial,
        counts=count(model, result.adversarial, labels, image_ids),
        linf_255=measure(result.adversarial, images, image_ids, eps_255),
        forward_passes=result.forward_passes.numpy() + 1,
        backward_passes=result.backward_passes.numpy(),
    )


def count(model: Model, images: Tensor, labels: Tensor, image_ids: list[str]) -> Counts:
    """Count a forward pass in full precision: images (B, C, H, W), labels (B, h, w).

    Raises:
        RobustsegError: logits that are not finite or do not fit the labels.
    """
    model = exact(model)
    with frozen(model), torch.no_grad(), full_precision(images.device.type):
        logits = model(images)
    check_logits(logits, labels, image_ids)
    return count_pixels(logits.argmax(1), labels, logits.shape[1])


def measure(
    adversarial: Tensor, images: Tensor, image_ids: list[str], eps_255: float
) -> NDArray[np.float64]:
    """Return the perturbations' l_inf norms (B,) in 1/255.

    Raises:
        RobustsegError: an adversarial image is not finite, or left its radius or [0, 1].
    """
    norms = (adversarial.double() - images.double()).abs().flatten(1).amax(1)
    is_image = (adversarial >= -TOLERANCE) & (adversarial <= 1 + TOLERANCE)
    inside = is_image.flatten(1).all(1) & (norms <= eps_255 / 255 + TOLERANCE)
    problem = f"left its radius of {eps_255:g}/255 or [0, 1]; this is a defect of the attack"
    refuse_images(~inside, image_ids, problem)
    return (norms * 255).cpu().numpy()


@contextmanager
def full_precision(device_type: str) -> Iterator[None]:
    """Switch off TF32 and autocast, and restore what was set."""
    matmul, convolution = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, convolution.allow_tf32
    try:
        matmul.allow_tf32 = convolution.allow_tf32 = False
        with torch.autocast(device_type, enabled=False):
            yield
    finally:
        matmul.allow_tf32, convolution.allow_tf32 = before
