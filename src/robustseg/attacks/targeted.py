"""Targeted attacks: one class for every pixel (arXiv 2306.12941, Appendix D and Figure 1)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from robustseg.attacks.apgd import Apgd
from robustseg.attacks.attacked_model import AttackedModel, Model, frozen, refuse_gradients
from robustseg.attacks.coarse_logits import Columns
from robustseg.attacks.losses import Moment
from robustseg.attacks.pixel_losses import refuse_images
from robustseg.attacks.projection import ball, random_start
from robustseg.attacks.run import Found, check_batch
from robustseg.attacks.schedules import Slot, slots
from robustseg.errors import RobustsegError
from robustseg.models.interpolation import as_precise_as


@dataclass(frozen=True)
class TargetedResult:
    """What a targeted attack found for B images.

    Attributes:
        adversarial: (B, C, H, W), inside the radius and [0, 1].
        share, clean_share: (B,) float64, share of all pixels predicted as the target class, on
            `adversarial` and on the clean image; the first is never below the second.
        forward_passes, backward_passes: the same for each image.
    """

    adversarial: Tensor
    share: Tensor
    clean_share: Tensor
    forward_passes: int
    backward_passes: int


class TargetedModel(AttackedModel):
    """The attacked model under the negative JS divergence to the one-hot target.

    With the target in place of the label, the objective and the closed-form gradient of JS change
    sign; `correct` counts the pixels that are not predicted as the target.
    """

    def __init__(self, model: Model, targets: Tensor, image_ids: list[str]) -> None:
        """Begin; targets: (B, h, w) int64."""
        super().__init__(model, "js", targets, image_ids)

    def _loss(self, logits: Tensor | Columns, at: Moment) -> tuple[Tensor, Tensor, Tensor]:
        divergence, on_target, gradient = super()._loss(logits, at)
        pixels = self.raw_labels[0].numel()
        return divergence.neg_(), pixels - on_target, gradient.neg_()


def targeted_attack(
    model: Model,
    images: Tensor,
    target_class: int,
    image_ids: list[str],
    *,
    eps_255: float,
    seed: int,
    iterations: int = 300,
) -> TargetedResult:
    """Perturb images so that as many pixels as possible are predicted as `target_class`.

    APGD with red-eps on the negative JS divergence between softmax and target (Appendix D).

    ASSUME: all pixels are attacked, those with an ignored label too: no label is needed.
    ASSUME: returned is the iterate with most pixels on target, of several the latest, where
    the clean image counts as an iterate; the paper does not say.

    Args:
        model: images to logits (B, K, h, w).
        images: (B, C, H, W) float in [0, 1].
        target_class: in [0, K).
        image_ids: B names, from which the random starts follow.
        eps_255: radius of the l_inf ball in 1/255.
        seed: of the random starts.
        iterations: over all three radii.

    Raises:
        RobustsegError: input that does not fit, an unknown class, or logits that are not finite.
    """
    with frozen(model), as_precise_as(images):
        targets = _targets(model, images, target_class, image_ids, eps_255)
        attacked = TargetedModel(model, targets, image_ids)
        found, clean = Found(images), attacked.look(images).correct
        everywhere = torch.arange(len(images), device=images.device)
        found.offer(everywhere, images, -clean.double())
        previous, parts = images, slots("reduced", iterations)
        for slot in parts:
            epsilon = float(eps_255) / 255 * slot.scale
            if not slot.before:
                previous = random_start(images, epsilon, image_ids, seed, "targeted", target_class)
            result = found if slot.final else Found(images)
            _search(attacked, images, previous, epsilon, slot, result)
            previous = result.images
    pixels = targets[0].numel()
    return TargetedResult(
        adversarial=found.images,
        share=1 + found.score / pixels,
        clean_share=1 - clean.double() / pixels,
        forward_passes=iterations + len(parts) + 2,
        backward_passes=iterations,
    )


def _search(
    attacked: TargetedModel, images: Tensor, start: Tensor, epsilon: float, slot: Slot, found: Found
) -> None:
    """Run one slot of APGD from the projection of `start` and offer every iterate to `found`."""
    box = ball(images, epsilon)
    apgd, iterate = Apgd(box, epsilon, slot.iterations), box.project(start)
    everywhere = torch.arange(len(images), device=images.device)
    for _ in range(slot.iterations):
        evaluation = attacked(iterate)
        if not evaluation.finite.all():  # the one time an iteration waits for the device
            broken = ~evaluation.objective.isfinite()
            refuse_images(broken, attacked.image_ids, "got logits that are not finite under attack")
            refuse_gradients(~evaluation.finite, attacked.image_ids)
        found.offer(everywhere, iterate, apgd.score(evaluation))
        iterate = apgd.step(iterate, evaluation)
    found.offer(everywhere, iterate, apgd.score(attacked.look(iterate)))


def _targets(
    model: Model, images: Tensor, target_class: int, image_ids: list[str], eps_255: float
) -> Tensor:
    """Check the input and return the target as labels (B, h, w) at the logits' resolution."""
    blank = torch.zeros_like(images[:, 0], dtype=torch.int64)
    check_batch(images, blank, image_ids, eps_255)
    with torch.no_grad():
        shape = model(images[:1].clone()).shape
    if not 0 <= target_class < shape[1]:
        raise RobustsegError(
            f"target class {target_class} is not one of the model's classes 0..{shape[1] - 1}"
        )
    return blank.new_full((len(images), *shape[2:]), target_class)
