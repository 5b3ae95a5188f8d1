"""Attacks in turn, and what goes on record of each: counts of a pass of its own, norms, cost."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustseg.attacks.alma_prox import alma_prox
from robustseg.attacks.attacked_model import Model, data_classes, device_of, frozen, full_precision
from robustseg.attacks.pixel_losses import check_logits, refuse_images
from robustseg.attacks.run import AttackResult, check_batch, run_attack
from robustseg.attacks.search_model import exact
from robustseg.attacks.spec import UNBOUNDED_255, Spec, SquareSpec
from robustseg.attacks.square import square
from robustseg.metrics import PixelCounts, count_pixels

TOLERANCE = 1e-6
"""Slack on the radius and on [0, 1], in image units: rounding of float32 sums."""


Batch = tuple[Tensor, Tensor, list[str]]
"""Images (B, C, H, W) in [0, 1], labels (B, h, w) int64, and B ids."""


@dataclass
class Outcome:
    """What is on record of one attack on B images.

    Attributes:
        counts: of the predictions on the adversarial images.
        linf_255: (B,) measured norm of the perturbation in 1/255.
        forward_passes, backward_passes: (B,), the counting pass included.
        unexplained_zeros: (B,) see `run.unexplained_zeros`; NaN without an attack.
        adversarial: (B, C, H, W); None where only the record was kept.
    """

    counts: PixelCounts
    linf_255: NDArray[np.float64]
    forward_passes: NDArray[np.int64]
    backward_passes: NDArray[np.int64]
    unexplained_zeros: NDArray[np.float64]
    adversarial: Tensor | None = None


Attack = Callable[[Batch], Outcome]


def in_turn(
    batches: Iterable[Batch], attacks: Sequence[Attack], until_broken: bool = False
) -> Iterator[tuple[Batch, int, NDArray[np.intp], Outcome]]:
    """Run attacks one after the other on each batch: the one loop under `sea` and the suites.

    Args:
        batches: what is attacked.
        attacks: each from a batch to its outcome.
        until_broken: leave images without a right pixel out of the later attacks: they cannot get
            worse.

    Yields:
        The batch, the place of the attack among `attacks`, the places of the images in the batch
        that it was run on, and its outcome there.
    """
    for batch in batches:
        images, labels, ids = batch
        places = np.arange(len(ids))
        for number, attack in enumerate(attacks):
            if not len(places):
                break
            some = batch
            if len(places) < len(ids):
                some = (images[places], labels[places], [ids[place] for place in places])
            outcome = attack(some)
            yield batch, number, places, outcome
            if until_broken:
                places = places[outcome.counts.pixels_correct > 0]


def attack_and_count(
    model: Model,
    spec: Spec,
    eps_255: float,
    seed: int,
    batch: Batch,
    class_pixels: Sequence[int] | None = None,
) -> Outcome:
    """Run one attack on a batch and count what the model gets right afterwards.

    Arguments as for `run_attack`.

    Raises:
        RobustsegError: what `run_attack` and `count` refuse.
    """
    return transfer_and_count(model, model, spec, eps_255, seed, batch, class_pixels)


def transfer_and_count(
    source: Model,
    target: Model,
    spec: Spec,
    eps_255: float,
    seed: int,
    batch: Batch,
    class_pixels: Sequence[int] | None = None,
) -> Outcome:
    """Run one attack on the source and count what the target gets right (C.5 and Table 11).

    Passes are those of the source, and one forward pass of the target.

    Raises:
        RobustsegError: what `run_attack` and `count` refuse, of either model.
    """
    images, labels, ids = batch
    there = device_of(source, images.device)
    moved = images.to(there), labels.to(there), ids
    if isinstance(spec, SquareSpec):
        found = square(source, *moved, spec, eps_255, seed)
    else:
        found = run_attack(source, *moved, spec, eps_255, seed, class_pixels)
    return outcome_of(target, found, eps_255, batch)


def outcome_of(target: Model, found: AttackResult, eps_255: float, batch: Batch) -> Outcome:
    """Measure what an attack found, and count what the target gets right of it.

    Raises:
        RobustsegError: what `count` and `measure` refuse.
    """
    images, labels, ids = batch
    adversarial = found.adversarial.to(images.device)
    return Outcome(
        counts=count(target, adversarial, labels, ids),
        linf_255=measure(adversarial, images, ids, eps_255),
        forward_passes=found.forward_passes.numpy() + 1,
        backward_passes=found.backward_passes.numpy(),
        unexplained_zeros=found.unexplained_zeros.numpy(),
        adversarial=adversarial,
    )


def alma_and_count(model: Model, threshold: float, steps: int, batch: Batch) -> Outcome:
    """Run ALMA prox on a batch and count what the model gets right afterwards.

    Where the threshold was never reached the outcome is that of the clean image, with a norm of 0
    and most pixels right.

    Raises:
        RobustsegError: what `alma_prox` and `count` refuse.
    """
    images, labels, ids = batch
    found = alma_prox(model, images, labels, threshold=threshold, steps=steps, image_ids=ids)
    return Outcome(
        counts=count(model, found.adversarial, labels, ids),
        linf_255=measure(found.adversarial, images, ids, UNBOUNDED_255),
        forward_passes=found.forward_passes.cpu().numpy() + 1,
        backward_passes=found.backward_passes.cpu().numpy(),
        unexplained_zeros=np.full(len(ids), np.nan),
        adversarial=found.adversarial,
    )


def look_and_count(model: Model, batch: Batch) -> Outcome:
    """Count what the model gets right without an attack.

    Raises:
        RobustsegError: what `check_batch` and `count` refuse.
    """
    images, labels, ids = batch
    check_batch(images, labels, ids, eps_255=0)
    return clean_outcome(count(model, images, labels, ids))


def clean_outcome(counts: PixelCounts) -> Outcome:
    """Return what is on record of images without an attack."""
    none = np.zeros(len(counts.pixels), dtype=np.int64)
    return Outcome(counts, none.astype(np.float64), none + 1, none, np.full(len(none), np.nan))


def count(model: Model, images: Tensor, labels: Tensor, image_ids: list[str]) -> PixelCounts:
    """Count a forward pass in full precision: images (B, C, H, W), labels (B, h, w).

    Raises:
        RobustsegError: logits that are not finite or do not fit the labels.
    """
    return count_logits(model, predict(model, images), labels, image_ids)


def predict(model: Model, images: Tensor) -> Tensor:
    """Return the logits of a forward pass in full precision: images (B, C, H, W)."""
    model = exact(model)
    with frozen(model), torch.no_grad(), full_precision(images.device.type):
        return model(images)


def count_logits(model: Model, logits: Tensor, labels: Tensor, image_ids: list[str]) -> PixelCounts:
    """Count what a model's logits get right, over the classes of the data.

    Raises:
        RobustsegError: logits that are not finite or do not fit the labels.
    """
    classes = data_classes(model)
    check_logits(logits, labels, image_ids, classes)
    counts = count_pixels(logits.argmax(1), labels, logits.shape[1])
    return counts.of_classes(classes) if classes else counts


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
