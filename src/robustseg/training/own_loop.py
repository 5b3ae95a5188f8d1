"""The attack inside adversarial training, for a training loop of one's own."""

import copy
from numbers import Real
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from robustseg.attacks.attacked_model import AttackedModel, device_of, frozen
from robustseg.attacks.inputs import (
    as_ids,
    as_images,
    as_labels,
    check_counts,
    number_of,
    refuse_swapped,
)
from robustseg.attacks.losses import Moment
from robustseg.attacks.pgd import Pgd
from robustseg.attacks.pixel_losses import refuse_images
from robustseg.attacks.projection import ball
from robustseg.attacks.run import check_batch
from robustseg.attacks.warning_signs import in_train_mode, said_of_radii, warn
from robustseg.errors import RobustsegError
from robustseg.models.wrap import WrappedModel, wrap


def perturb_batch(
    model: Any,
    images: Any,
    labels: Any,
    eps_255: float,
    *,
    steps: int = 2,
    step_size: float = 0.01,
    ignore_index: int | None = 255,
) -> Tensor:
    """Return images on which to train a network adversarially, in a training loop of one's own.

    PGD on the cross-entropy, as in the paper's training (arXiv 2306.12941, App. B.2): from the
    image itself, in eval mode, the last iterate. The model comes back in the mode in which it was,
    and its parameters' gradients are not touched. It costs `steps` forward and backward passes.

    Example:
        >>> import torch
        >>> from robustseg import perturb_batch
        >>> net = torch.nn.Conv2d(3, 4, kernel_size=1)
        >>> images, labels = torch.rand(2, 3, 8, 8), torch.randint(4, (2, 8, 8))
        >>> perturbed = perturb_batch(net, images, labels, eps_255=4)
        >>> bool(((perturbed - images).abs() * 255).max() < 4.001)
        True

    Args:
        model: what `wrap` takes, or has returned; of DistributedDataParallel, the network inside is
            attacked.
        images: (B, C, H, W) in [0, 1], after augmentation and before normalisation.
        labels: (B, H, W), whole numbers.
        eps_255: radius in 1/255, 0 to 255; the paper trains with 4.
        steps: of PGD, 1 or more; the paper has 2 and 5.
        step_size: in [0, 1], above 0; one larger than the radius goes to its border.
        ignore_index: label of pixels that are not attacked; None: there are none.

    Returns:
        (B, C, H, W) in [0, 1], without a graph, on the model's device; images as they are if all
        their pixels are ignored.

    Raises:
        RobustsegError: images, labels or settings that make no sense; a model whose logits do not
            fit the labels, or whose logits or gradients are not finite.
    """
    check_counts(steps=steps)
    if not isinstance(step_size, Real) or not 0 < step_size <= 1:
        raise RobustsegError(f"step_size must be above 0 and at most 1; got {step_size!r}")
    wrapped = _of_one_process(wrap(model))
    refuse_swapped("the call", images, labels)
    ids = as_ids(None, number_of(images))
    images, labels = as_images(images, ids), as_labels(labels, ids, ignore_index)
    check_batch(images, labels, ids, eps_255)
    warn([*said_of_radii([eps_255]), *in_train_mode(wrapped)])
    device = device_of(wrapped, images.device)
    images, labels = images.to(device), labels.to(device)
    attacked = AttackedModel(wrapped, "ce", labels, ids)
    pgd = Pgd(ball(images, eps_255 / 255), step_size)
    perturbed: Tensor = images
    broken = torch.zeros(len(images), dtype=torch.bool, device=device)
    with frozen(wrapped):
        for step in range(steps):
            found = attacked(perturbed, Moment(step / steps))
            broken |= ~found.finite
            perturbed = pgd.step(perturbed, found)
    refuse_images(broken, ids, "gets logits or a gradient from the model that are not finite")
    return perturbed


def _of_one_process(model: WrappedModel) -> WrappedModel:
    """Return the model without DistributedDataParallel around its network, compiled or not.

    That learns from a pass how to add up gradients, and one of the attack, which has none for
    parameters, would mislead it: with `static_graph` no update would be shared.
    """
    around = getattr(model.net, "_orig_mod", model.net)  # torch.compile's name of what it compiled
    if not isinstance(around, DistributedDataParallel):
        return model
    own = copy.copy(model)
    own._modules = {**model._modules, "net": around.module}
    return own
