"""Attacked images that are kept, with what the model predicts on them (Figures 1 and 7-10)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robustseg.attacks.outcomes import Batch, measure, predict
from robustseg.attacks.run import run_attack
from robustseg.attacks.spec import AttackSpec
from robustseg.attacks.targeted import TargetedResult, targeted_attack
from robustseg.data.batching import batches_of, labelled_images
from robustseg.data.interface import IGNORE_BYTE, Dataset
from robustseg.errors import RobustsegError
from robustseg.evaluation.over_batches import on_device
from robustseg.metrics import count_pixels, image_accuracy
from robustseg.progress import Progress

SEED = 0
"""Of the attacks: one run, to be looked at."""
OUTSIDE = 128
"""Grey around images that are smaller than others of their file."""

Arrays = dict[str, NDArray[Any]]
Key = TypeVar("Key")
Part = TypeVar("Part")


def attack_gallery(
    model: nn.Module,
    dataset: Dataset,
    settings: Mapping[str, Any],
    batch_size: int,
    progress: Progress | None = None,
) -> Arrays:
    """Attack the first labelled images of a data set at several radii; return what to show.

    Args:
        model: images to logits (B, K, h, w).
        dataset: the images.
        settings: `images`, `loss`, `schedule`, `iterations`, and ascending `eps_255`.
        batch_size: images at a time.
        progress: says how far it is.

    Returns:
        See `attack_pictures`.

    Raises:
        RobustsegError: fewer images with labels than asked for, or what the attack refuses.
    """
    spec = AttackSpec(settings["loss"], "apgd", settings["schedule"], settings["iterations"])
    batches = _first(model, dataset, settings["images"], batch_size)
    names, colours = dataset.class_names, dataset.palette
    return attack_pictures(
        model, batches, names, colours, spec, settings["eps_255"], SEED, progress
    )


def attack_pictures(
    model: nn.Module,
    batches: Sequence[Batch],
    class_names: Sequence[str],
    colours: Sequence[tuple[int, int, int]],
    spec: AttackSpec,
    radii_255: Sequence[float],
    seed: int,
    progress: Progress | None = None,
) -> Arrays:
    """Attack images at several radii and return what to show of them.

    Args:
        model: images to logits (B, K, h, w).
        batches: images (B, 3, H, W), labels (B, H, W), ids; each of one size, on its device.
        class_names, colours: of the K classes.
        spec: the attack.
        radii_255: ascending, in 1/255.
        seed: of the attack.
        progress: says how far it is.

    Returns:
        image_ids (N,), labels (N, H, W) uint8, images (N, H, W, 3) uint8, eps_255 (R,) float64,
        which begins with 0 for the clean images, perturbation (R, N, H, W, 3) float16 in 1/255,
        prediction (R, N, H, W) uint8, accuracy (R, N) float64, a fraction, loss () name,
        class_names (K,) and palette (K, 3) uint8. Images that are smaller than others have grey
        pixels without a label on the right and below.

    Raises:
        RobustsegError: what the attack refuses.
    """

    def attack(eps_255: float, batch: Batch) -> Tensor:
        return run_attack(model, *batch, spec, eps_255, seed).adversarial

    radii = [0.0, *radii_255]
    parts = _each(attack, radii[1:], batches, "batches x radii", progress)
    attacked = [[images for images, _, _ in batches], *parts]
    _check_norms(attacked, batches, radii)
    predictions = [[_predict(model, one) for one in some] for some in attacked]
    classes = len(class_names)
    outputs = 1 + max(classes - 1, *(int(one.max()) for some in predictions for one in some))
    counts = [
        [
            count_pixels(one, labels, outputs)
            for one, (_, labels, _) in zip(some, batches, strict=True)
        ]
        for some in predictions
    ]
    return {
        **_shown(batches, class_names, colours),
        "eps_255": np.array(radii),
        "perturbation": np.stack([_perturbations(some, batches) for some in attacked]),
        "prediction": np.stack([_shown_classes(some, classes) for some in predictions]),
        "accuracy": np.stack(
            [
                np.concatenate([image_accuracy(one.pixels, one.pixels_correct) for one in some])
                for some in counts
            ]
        ),
        "loss": np.array(spec.loss),
    }


def attack_targeted(
    model: nn.Module,
    dataset: Dataset,
    settings: Mapping[str, Any],
    batch_size: int,
    progress: Progress | None = None,
) -> Arrays:
    """Drive the first labelled images of a data set towards some classes; return what to show.

    Args:
        model: images to logits (B, K, h, w).
        dataset: the images.
        settings: `images`, `classes` (names), `eps_255`, `iterations`.
        batch_size: images at a time.
        progress: says how far it is.

    Returns:
        As `attack_gallery` without loss, with T target classes in place of R radii: targets (T,),
        eps_255 () float64, share (T, N) and clean_share (T, N) of the pixels predicted as the
        target class, on attacked and clean images.

    Raises:
        RobustsegError: an unknown class, or as `attack_gallery`.
    """
    names, eps_255 = dataset.class_names, float(settings["eps_255"])
    unknown = [name for name in settings["classes"] if name not in names]
    if unknown:
        raise RobustsegError(
            f"target class {unknown[0]!r} is not one of the data set's: {', '.join(names)}"
        )
    batches = _first(model, dataset, settings["images"], batch_size)
    budget = {"eps_255": eps_255, "seed": SEED, "iterations": settings["iterations"]}

    def attack(name: str, batch: Batch) -> TargetedResult:
        images, _, ids = batch
        return targeted_attack(model, images, names.index(name), ids, **budget)

    found = _each(attack, settings["classes"], batches, "batches x classes", progress)
    attacked = [[part.adversarial for part in parts] for parts in found]
    _check_norms(attacked, batches, [eps_255] * len(attacked))
    return {
        **_shown(batches, names, dataset.palette),
        "targets": np.array(settings["classes"]),
        "eps_255": np.array(eps_255),
        "perturbation": np.stack([_perturbations(some, batches) for some in attacked]),
        "prediction": np.stack(
            [
                _shown_classes([_predict(model, one) for one in some], len(names))
                for some in attacked
            ]
        ),
        "share": np.stack([_joined(part.share for part in parts) for parts in found]),
        "clean_share": np.stack([_joined(part.clean_share for part in parts) for parts in found]),
    }


def _first(model: nn.Module, dataset: Dataset, count: int, batch_size: int) -> list[Batch]:
    """Return the first images that have labels as batches of one size, on the model's device."""
    places = list(islice(labelled_images(dataset), count))
    if len(places) < count:
        raise RobustsegError(
            f"{count} images are to be kept and {len(places)} have labels; lower `images`"
        )
    chosen = batches_of(dataset, places, batch_size)
    return list(on_device((dataset.batch(some) for some in chosen), model))


def _each(
    attack: Callable[[Key, Batch], Part],
    keys: Sequence[Key],
    batches: Sequence[Batch],
    unit: str,
    progress: Progress | None,
) -> list[list[Part]]:
    """Return what `attack` gives for each key, batch by batch, and say how far it is."""
    steps = (attack(key, batch) for key in keys for batch in batches)
    total = len(keys) * len(batches)
    parts = list(progress.track(steps, total, unit) if progress else steps)
    return [parts[at : at + len(batches)] for at in range(0, total, len(batches))]


def _check_norms(
    attacked: Sequence[Sequence[Tensor]], batches: Sequence[Batch], radii_255: Sequence[float]
) -> None:
    for some, eps_255 in zip(attacked, radii_255, strict=True):
        for one, (images, _, ids) in zip(some, batches, strict=True):
            measure(one, images, ids, eps_255)


def _predict(model: nn.Module, images: Tensor) -> Tensor:
    """Return the predicted classes (B, h, w) of a forward pass in full precision."""
    return predict(model, images).argmax(1)


def _shown_classes(predictions: Sequence[Tensor], classes: int) -> NDArray[np.uint8]:
    """Return predicted classes as bytes; an output that is no class of the data as no label."""
    return _stacked([_bytes(one.masked_fill(one >= classes, IGNORE_BYTE)) for one in predictions])


def _joined(parts: Iterable[Tensor]) -> NDArray[Any]:
    array: NDArray[Any] = torch.cat(list(parts)).cpu().numpy()
    return array


def _shown(
    batches: Sequence[Batch], class_names: Sequence[str], colours: Sequence[tuple[int, int, int]]
) -> Arrays:
    """Return what is the same for every attack."""
    pictures = [_bytes((images * 255).round().permute(0, 2, 3, 1)) for images, _, _ in batches]
    return {
        "image_ids": np.array([image_id for _, _, ids in batches for image_id in ids]),
        "labels": _stacked([_bytes(labels) for _, labels, _ in batches]),
        "images": _stacked(pictures, OUTSIDE),
        "class_names": np.array(class_names),
        "palette": np.array(colours, np.uint8),
    }


def _bytes(values: Tensor) -> NDArray[np.uint8]:
    array: NDArray[np.uint8] = values.to(torch.uint8).cpu().numpy()
    return array


def _perturbations(attacked: Sequence[Tensor], batches: Sequence[Batch]) -> NDArray[Any]:
    """Return perturbations (N, H, W, 3) in 1/255, float16."""
    differences = [
        (one.double() - images.double()) * 255
        for one, (images, _, _) in zip(attacked, batches, strict=True)
    ]
    moved = [one.permute(0, 2, 3, 1).cpu().numpy() for one in differences]
    with np.errstate(under="ignore"):  # a caller may have made it an error
        values = [one.astype(np.float16) for one in moved]
    return _stacked(values, 0)


def _stacked(parts: Sequence[NDArray[Any]], outside: int = IGNORE_BYTE) -> NDArray[Any]:
    """Return arrays (B, H, W, ...) as one, smaller ones filled up on the right and below."""
    height, width = (max(part.shape[axis] for part in parts) for axis in (1, 2))
    return np.concatenate(
        [
            np.pad(
                part,
                [(0, 0), (0, height - part.shape[1]), (0, width - part.shape[2])]
                + [(0, 0)] * (part.ndim - 3),
                constant_values=outside,
            )
            for part in parts
        ]
    )
