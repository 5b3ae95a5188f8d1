"""One attack on one batch: schedule, optimizer and loss put together."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robustseg.attacks.apgd import Apgd
from robustseg.attacks.attacked_model import (
    AttackedModel,
    Evaluation,
    Model,
    data_classes,
    frozen,
    refuse_gradients,
)
from robustseg.attacks.logit_distance import lead
from robustseg.attacks.losses import Moment
from robustseg.attacks.pgd import Pgd
from robustseg.attacks.pixel_losses import check_logits, refuse_images
from robustseg.attacks.projection import Box, ball, choose, random_start
from robustseg.attacks.schedules import Slot, slots
from robustseg.attacks.spec import AttackSpec, ask_for_class_pixels, check_radius
from robustseg.data.interface import IGNORE_LABEL
from robustseg.errors import RobustsegError
from robustseg.models.interpolation import as_precise_as

Optimizer = Apgd | Pgd


@dataclass
class AttackResult:
    """What an attack found for B images, and what it cost.

    Attributes:
        adversarial: (B, C, H, W), inside the radius and [0, 1].
        forward_passes, backward_passes: (B,) int64 on the CPU.
        unexplained_zeros: (B,) float64 on the CPU, see `unexplained_zeros`, at the first iterate.
    """

    adversarial: Tensor
    forward_passes: Tensor
    backward_passes: Tensor
    unexplained_zeros: Tensor


class Found:
    """The best iterate so far of each image of a whole batch; of equals the latest.

    Attributes:
        images: (B, C, H, W).
        score: (B,) float64; infinite for an image that is done.
    """

    def __init__(self, images: Tensor) -> None:
        self.images = images.clone()
        self.score = images.new_full((len(images),), -torch.inf, dtype=torch.float64)

    def unfinished(self) -> Tensor:
        """Return the positions of the images that are not done, in order."""
        return (self.score < torch.inf).nonzero().flatten()

    def offer(self, position: Tensor, images: Tensor, score: Tensor) -> None:
        """Keep `images`, which are at `position` in the batch, where their score is not lower."""
        if len(position) == len(self.images):  # all of them, in order: nothing need be gathered
            choose(score >= self.score, images, self.images, out=self.images)
            torch.maximum(score, self.score, out=self.score)
            return
        old_images = self.images.index_select(0, position)
        old_score = self.score.index_select(0, position)
        self.images.index_copy_(0, position, choose(score >= old_score, images, old_images))
        self.score.index_copy_(0, position, torch.maximum(score, old_score))


def run_attack(
    model: Model,
    images: Tensor,
    labels: Tensor,
    image_ids: list[str],
    spec: AttackSpec,
    eps_255: float,
    seed: int,
    class_pixels: Sequence[int] | None = None,
) -> AttackResult:
    """Attack a batch (arXiv 2306.12941, Sec. 2.3 and B.1).

    T iterations take T steps and T backward passes, and in each slot of the schedule one forward
    pass more, since the last iterate is looked at too. An image without a right pixel inside the
    radius cannot get worse and leaves the batch. What happens to an image does not depend on the
    others in the batch, as far as the model itself treats them separately.

    ASSUME: all attacks start from uniform noise; in red-eps of the first, largest radius.
    ASSUME: also PGD returns an iterate without a right pixel where it meets one, and not the one
    of the highest loss.

    Args:
        model: images to logits (B, K, h, w) with h x w the labels' resolution; a module is put in
            eval mode meanwhile.
        images: (B, C, H, W) float in [0, 1].
        labels: (B, h, w) int64 in [0, K), or -1: neither attacked nor counted.
        image_ids: B names, from which the random starts follow.
        spec: the attack.
        eps_255: radius of the l_inf ball in 1/255.
        seed: of the random starts.
        class_pixels: N_k, the pixels of each class in the training set, for losses by class.

    Raises:
        RobustsegError: input that does not fit, or logits that are not finite, naming the image.
    """
    check_batch(images, labels, image_ids, eps_255)
    _check_class_pixels(spec, class_pixels)
    found = Found(images)
    previous = found.images
    passes = torch.zeros((2, len(images)), dtype=torch.int64, device=images.device)
    zeros = torch.full((len(images),), torch.nan, dtype=torch.float64, device=images.device)
    # Evidence says in which precision the model searches; a caller's autocast would change it.
    with frozen(model), as_precise_as(images):
        scale = None
        if spec.margin is not None:
            scale = logit_scale(model, images, labels, image_ids, spec.margin)
            passes[0] += 1
        attacked = AttackedModel(model, spec.loss, labels, image_ids, scale, class_pixels)
        for slot in slots(spec.schedule, spec.iterations):
            epsilon = float(eps_255) / 255 * slot.scale
            box = ball(images, epsilon)
            if slot.before:
                start = box.project(previous)
            else:
                key = (seed, spec.start, slot.restart)
                start = random_start(images, epsilon, image_ids, *key)
            result = found if slot.final else Found(images)
            optimizer = _optimizer(spec, box, epsilon, slot)
            _search(attacked, optimizer, start, slot, spec, result, passes, zeros)
            previous = result.images
    forward_passes, backward_passes = passes.cpu()
    return AttackResult(found.images, forward_passes, backward_passes, zeros.cpu())


def _optimizer(spec: AttackSpec, box: Box, epsilon: float, slot: Slot) -> Optimizer:
    if spec.step_size is not None:
        return Pgd(box, spec.step_size)
    return Apgd(box, epsilon, slot.iterations, spec.choice)


def logit_scale(
    model: Model, images: Tensor, labels: Tensor, image_ids: list[str], margin: float
) -> Tensor:
    """Return (B,) factors that bring the clean logits of each image to a mean margin.

    The margin of a pixel is the largest logit minus the second, whatever its label; ignored pixels
    do not count. So a factor that a model has on its logits changes nothing. ASSUME: logits that
    are equal everywhere, or of a single class, are left as they are.

    Raises:
        RobustsegError: logits that do not fit the labels.
    """
    with torch.no_grad():
        logits = model(images.clone())
    check_logits(logits, labels, image_ids, data_classes(model))
    counted = labels != IGNORE_LABEL
    total = (lead(logits) * counted).flatten(1).sum(1)
    mean = total / counted.flatten(1).sum(1).clamp_(min=1)
    return torch.where(mean > 0, margin / mean, 1.0)


def _check_class_pixels(spec: AttackSpec, class_pixels: Sequence[int] | None) -> None:
    if not ask_for_class_pixels([spec.member]):
        return
    if class_pixels is None or not any(count > 0 for count in class_pixels):
        raise RobustsegError(
            f"the loss {spec.loss} weighs pixels by class and needs class_pixels: how many pixels "
            "of each class the training set has"
        )


def _search(
    attacked: AttackedModel,
    optimizer: Optimizer,
    images: Tensor,
    slot: Slot,
    spec: AttackSpec,
    found: Found,
    passes: Tensor,
    zeros: Tensor,
) -> None:
    """Run one slot from `images` (B, C, H, W), adding to `found`, `passes` (2, B) and `zeros`."""
    position = torch.arange(len(images), device=images.device)
    attacked.focus(position)
    kept = found.unfinished()
    for t in range(slot.iterations + 1):
        if len(kept) < len(position):
            position, images = position[kept], images[kept]
            attacked.focus(position)
            optimizer.select(kept)
        if not len(position):
            return
        last = t == slot.iterations
        evaluation = attacked.look(images) if last else attacked(images, _moment(spec, slot, t))
        passes[: 1 if last else 2, position] += 1
        kept = _record(evaluation, images, position, optimizer, slot, found, attacked.image_ids)
        if slot.before + t == 0:
            zeros[position] = unexplained_zeros(evaluation, attacked.raw_labels)
        if not last:
            images = optimizer.step(images, evaluation)


def _moment(spec: AttackSpec, slot: Slot, t: int) -> Moment:
    """Return what losses need to know of iteration t of a slot.

    ASSUME: Bal-CE's lambda and the Tsallis loss's q begin anew in each slot, which was measured to
    be the stronger for Bal-CE and no weaker for Tsallis (docs/attacks.md); the paper is silent.
    """
    whole = spec.choice == "lambda_whole"
    progress = (slot.before + t) / slot.budget if whole else t / slot.iterations
    return Moment(progress, spec.q_range, by_ce=spec.choice == "js_by_ce")


def unexplained_zeros(evaluation: Evaluation, labels: Tensor) -> Tensor:
    """Return (B,) what share of a gradient's values is 0 beyond what any loss explains.

    Where a pixel is wrong or ignored, masks and weights of losses may be 0, and with them, in a
    network that sees no further, the gradient of the image there. All other zeros are the model's.
    """
    share = (evaluation.direction == 0).flatten(1).double().mean(1)
    right = evaluation.correct.double() / labels[0].numel()
    return (share - (1 - right)).clamp_(min=0)


def _record(
    evaluation: Evaluation,
    images: Tensor,
    position: Tensor,
    optimizer: Optimizer,
    slot: Slot,
    found: Found,
    image_ids: list[str],
) -> Tensor:
    """Offer the evaluated images to `found`; return the indices of those that are not done.

    `image_ids` are of the whole batch, the others of the images at `position` in it.
    Larger radii of red-eps only look for a start, so that there no image is ever done.
    """
    score = optimizer.score(evaluation)
    if slot.final:
        score = torch.where(evaluation.correct == 0, torch.inf, score)
    found.offer(position, images, score)
    flags = torch.stack((score < torch.inf, evaluation.finite))
    unfinished, finite = flags.tolist()  # the one time an iteration waits for the device
    if not all(finite):
        ids = [image_ids[place] for place in position.tolist()]
        refuse_images(
            ~evaluation.objective.isfinite(),
            ids,
            "got logits under attack that are not finite, or too large for the loss; check the "
            "model's weights, and give a class that is never predicted no less than -30",
        )
        refuse_gradients(~evaluation.finite, ids)
    if all(unfinished):  # made on the device, which a list would have to be copied to
        return torch.arange(len(images), device=images.device)
    indices = [index for index, flag in enumerate(unfinished) if flag]
    return torch.tensor(indices, dtype=torch.int64, device=images.device)


def check_batch(images: Tensor, labels: Tensor, image_ids: list[str], eps_255: float) -> None:
    """Refuse a batch that cannot be attacked, before any pass of the model.

    Raises:
        RobustsegError: a radius below 0 or above 255; images that are not (B, C, H, W) floats in
            [0, 1]; labels that are not (B, h, w) int64; not one different id for each image.
    """
    check_radius(eps_255)
    if images.ndim != 4 or images.dtype not in (torch.float32, torch.float64):
        raise RobustsegError(
            "images must be float32 or float64 (images, channels, height, width), not "
            f"{images.dtype} {tuple(images.shape)}"
        )
    if labels.ndim != 3 or labels.dtype != torch.int64 or len(labels) != len(images):
        raise RobustsegError(
            f"labels must be int64 ({len(images)}, height, width) for {len(images)} images, not "
            f"{labels.dtype} {tuple(labels.shape)}"
        )
    if len(image_ids) != len(images) or len(set(image_ids)) != len(image_ids):
        raise RobustsegError(f"{len(images)} images need as many different ids; got {image_ids}")
    inside = ((images >= 0) & (images <= 1)).flatten(1).all(1)
    refuse_images(~inside, image_ids, "has values outside [0, 1]; divide 8-bit values by 255")
