"""Attacked images that are kept, with what the model predicts on them (Figures 1 and 7-10)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robustseg.attacks.attacked_model import device_of, frozen, full_precision
from robustseg.attacks.outcomes import measure
from robustseg.attacks.run import run_attack
from robustseg.attacks.spec import AttackSpec
from robustseg.attacks.targeted import TargetedResult, targeted_attack
from robustseg.data.interface import IGNORE_BYTE, Dataset
from robustseg.errors import RobustsegError
from robustseg.metrics import count_pixels, image_accuracy
from robustseg.progress import Progress

SEED = 0
"""Of the attacks: one run, to be looked at."""

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
    """Attack the first images of a data set at several radii and return what to show of them.

    Args:
        model: images to logits (B, K, h, w).
        dataset: the images.
        settings: `images`, `loss`, `schedule`, `iterations`, and ascending `eps_255`.
        batch_size: images at a time.
        progress: says how far it is.

    Returns:
        image_ids (N,), labels (N, H, W) uint8, images (N, H, W, 3) uint8, eps_255 (R,) float64,
        which begins with 0 for the clean images, perturbation (R, N, H, W, 3) float16 in 1/255,
        prediction (R, N, H, W) uint8, accuracy (R, N) float64, a fraction, loss () name,
        class_names (K,) and palette (K, 3) uint8.

    Raises:
        RobustsegError: fewer images than asked for, or what the attack refuses.
    """
    spec = AttackSpec(settings["loss"], "apgd", settings["schedule"], settings["iterations"])
    radii = [0.0, *settings["eps_255"]]
    images, labels, ids = _first(model, dataset, settings["images"])

    def attack(eps_255: float, p: slice) -> Tensor:
        return run_attack(model, images[p], labels[p], ids[p], spec, eps_255, SEED).adversarial

    parts = _each(attack, radii[1:], _slices(len(ids), batch_size), "batches x radii", progress)
    attacked = [images, *map(torch.cat, parts)]
    for one, eps_255 in zip(attacked, radii, strict=True):
        measure(one, images, ids, eps_255)
    predictions = [_predict(model, one, batch_size) for one in attacked]
    outputs = 1 + max(dataset.num_classes - 1, *(int(one.max()) for one in predictions))
    counts = [count_pixels(one, labels, outputs) for one in predictions]
    return {
        **_shown(dataset, images, labels, ids),
        "eps_255": np.array(radii),
        "perturbation": np.stack([_perturbation(one, images) for one in attacked]),
        "prediction": np.stack([_shown_classes(one, dataset) for one in predictions]),
        "accuracy": np.stack([image_accuracy(one.pixels, one.pixels_correct) for one in counts]),
        "loss": np.array(spec.loss),
    }


def attack_targeted(
    model: nn.Module,
    dataset: Dataset,
    settings: Mapping[str, Any],
    batch_size: int,
    progress: Progress | None = None,
) -> Arrays:
    """Drive the first images of a data set towards some classes and return what to show of them.

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
    images, labels, ids = _first(model, dataset, settings["images"])
    budget = {"eps_255": eps_255, "seed": SEED, "iterations": settings["iterations"]}

    def attack(name: str, p: slice) -> TargetedResult:
        return targeted_attack(model, images[p], names.index(name), ids[p], **budget)

    classes, slices = settings["classes"], _slices(len(ids), batch_size)
    found = _each(attack, classes, slices, "batches x classes", progress)
    attacked = [torch.cat([part.adversarial for part in parts]) for parts in found]
    for one in attacked:
        measure(one, images, ids, eps_255)
    return {
        **_shown(dataset, images, labels, ids),
        "targets": np.array(settings["classes"]),
        "eps_255": np.array(eps_255),
        "perturbation": np.stack([_perturbation(one, images) for one in attacked]),
        "prediction": np.stack(
            [_shown_classes(_predict(model, one, batch_size), dataset) for one in attacked]
        ),
        "share": np.stack([_joined(part.share for part in parts) for parts in found]),
        "clean_share": np.stack([_joined(part.clean_share for part in parts) for parts in found]),
    }


def _first(model: nn.Module, dataset: Dataset, count: int) -> tuple[Tensor, Tensor, list[str]]:
    """Return the first images with labels and ids, on the model's device."""
    if count > len(dataset):
        raise RobustsegError(
            f"{count} images are to be kept and there are {len(dataset)}; lower `images`"
        )
    images, labels, ids = dataset.batch(range(count))
    device = device_of(model, torch.device("cpu"))
    return images.to(device), labels.to(device), ids


def _each(
    attack: Callable[[Key, slice], Part],
    keys: Sequence[Key],
    slices: Sequence[slice],
    unit: str,
    progress: Progress | None,
) -> list[list[Part]]:
    """Return what `attack` gives for each key, slice by slice, and say how far it is."""
    steps = (attack(key, some) for key in keys for some in slices)
    parts = list(progress.track(steps, len(keys) * len(slices), unit) if progress else steps)
    return [parts[at : at + len(slices)] for at in range(0, len(parts), len(slices))]


def _slices(count: int, batch_size: int) -> list[slice]:
    return [slice(at, at + batch_size) for at in range(0, count, batch_size)]


def _predict(model: nn.Module, images: Tensor, batch_size: int) -> Tensor:
    """Return the predicted classes (N, h, w) of a forward pass in full precision."""
    with frozen(model), torch.no_grad(), full_precision(images.device.type):
        parts = [model(images[p]).argmax(1) for p in _slices(len(images), batch_size)]
    return torch.cat(parts)


def _shown_classes(prediction: Tensor, dataset: Dataset) -> NDArray[np.uint8]:
    """Return predicted classes as bytes; an output that is no class of the data as no label."""
    none = prediction >= dataset.num_classes
    return _bytes(prediction.masked_fill(none, IGNORE_BYTE))


def _joined(parts: Iterable[Tensor]) -> NDArray[Any]:
    array: NDArray[Any] = torch.cat(list(parts)).cpu().numpy()
    return array


def _shown(dataset: Dataset, images: Tensor, labels: Tensor, ids: Sequence[str]) -> Arrays:
    """Return what is the same for every attack."""
    return {
        "image_ids": np.array(ids),
        "labels": _bytes(labels),
        "images": _bytes((images * 255).round().permute(0, 2, 3, 1)),
        "class_names": np.array(dataset.class_names),
        "palette": np.array(dataset.palette, np.uint8),
    }


def _bytes(values: Tensor) -> NDArray[np.uint8]:
    array: NDArray[np.uint8] = values.to(torch.uint8).cpu().numpy()
    return array


def _perturbation(attacked: Tensor, images: Tensor) -> NDArray[np.float16]:
    """Return a perturbation (N, H, W, 3) in 1/255."""
    difference = (attacked.double() - images.double()) * 255
    return difference.permute(0, 2, 3, 1).cpu().numpy().astype(np.float16)
