"""What `robustseg check` says: a look at a model and its data without an attack, and the cost."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from robustseg.attacks.attacked_model import AttackedModel, frozen
from robustseg.attacks.outcomes import Batch, Outcome, predict
from robustseg.attacks.spec import SQUARE
from robustseg.attacks.warning_signs import WarningSigns
from robustseg.data.batching import batches_of
from robustseg.data.interface import IGNORE_LABEL, Dataset
from robustseg.errors import RobustsegError
from robustseg.evaluation.standard_suites import Suite, losses_of
from robustseg.evidence.enumerator import attacks_of, radius_of
from robustseg.metrics import PixelCounts, mean_accuracy, miou
from robustseg.models.wrap import WrappedModel
from robustseg.names import amount

LOOK_S = 60.0
"""Images are looked at for about so long."""
TIMED_S = 3.0
"""And passes are timed for so long, or until there are 20."""


def passes_an_image(suites: Mapping[str, Suite], radii: Sequence[float]) -> dict[bool, int]:
    """Return how many passes with and without a backward pass (the key) suites take.

    Raises:
        RobustsegError: the iterations do not suffice for a suite.
    """
    passes: dict[bool, int] = {}
    for suite in suites.values():
        own = radius_of(suite)
        for eps_255 in radii if own is None else [own]:
            for attack in attacks_of(suite, eps_255):
                backward = attack.optimizer != SQUARE
                passes[backward] = passes.get(backward, 0) + attack.iterations
    return passes


def check(
    model: WrappedModel,
    dataset: Dataset,
    images: int,
    batch_size: int,
    suites: Mapping[str, Suite],
    radii: Sequence[float],
) -> Iterator[str]:
    """Yield what is seen, line by line: shapes, device, clean score, cost, and warnings.

    Args:
        model, dataset: to look at.
        images: how many are to be attacked; those that a minute suffices for are looked at.
        batch_size: of the attack.
        suites, radii: of the attack, the radii in 1/255.

    Raises:
        RobustsegError: input that does not fit, or nothing is labelled.
    """
    signs = WarningSigns(model, list(radii), losses=losses_of(suites))
    device = torch.device(model.device or "cpu")
    found: list[Outcome] = []
    started = time.monotonic()
    for indices in batches_of(dataset, range(images), batch_size):
        pixels, labels, ids = dataset.batch(indices)
        batch = (pixels.to(device), labels.to(device), ids)
        if not found:
            first = batch
            yield from _shapes(model, dataset, images, first)
        found.append(signs.look(batch))
        if time.monotonic() - started > LOOK_S:
            break
    yield _clean_score(found, images)
    each_s, words = 0.0, []
    for backward, passes in passes_an_image(suites, radii).items():
        how = "forward and backward" if backward else "forward"
        seconds = _time_passes(model, first, backward)
        yield f"one pass      {seconds:.3g} s an image, {how}; {_memory(first)}"
        each_s += seconds * passes
        words.append(f"{passes:,} {how} passes an image")
    yield (
        f"attack        {', '.join(suites)} at {amount(len(radii), 'radius', 'radii')} on "
        f"{amount(images, 'image')} "
        f"will take about {_duration(each_s * images / 3600)} ({', '.join(words)})"
    )
    warned = signs.found()
    yield from (f"warning       {sentence}" for sentence in warned)
    if not warned:
        yield "warnings      none"


def _shapes(model: WrappedModel, dataset: Dataset, images: int, batch: Batch) -> Iterator[str]:
    pixels, labels, ids = batch
    logits = predict(model, pixels)
    classes = dataset.num_classes
    more = logits.shape[1] - classes
    net = model.net
    yield f"model         {type(net).__name__}, {_parameters(net)} on {pixels.device}, eval mode"
    yield (
        f"images        {images}, the first ({ids[0]}) {tuple(pixels.shape[1:])}, values "
        f"{float(pixels.min()):.3f} to {float(pixels.max()):.3f}"
    )
    yield f"normalised    {_normalised(model)}"
    yield (
        f"logits        {tuple(logits.shape[1:])} {str(logits.dtype).removeprefix('torch.')}, "
        f"{float(logits.min()):.3g} to {float(logits.max()):.3g}: "
        f"{classes} classes{f' and {more} of no class' if more > 0 else ''}"
    )
    there = sorted({*np.unique(labels.cpu()).tolist()} - {IGNORE_LABEL})
    ignored = float((labels == IGNORE_LABEL).float().mean())
    yield f"labels        {100 * ignored:.1f} % ignored; in the first batch classes {there}"


def _clean_score(found: Sequence[Outcome], images: int) -> str:
    each = zip(*(one.counts for one in found), strict=True)
    counts = PixelCounts(*(np.concatenate(arrays) for arrays in each))
    counted, blank = int((counts.pixels > 0).sum()), int((counts.pixels == 0).sum())
    if not counted:
        raise RobustsegError(
            f"all pixels of the {amount(blank, 'image')} looked at are ignored; check the masks, "
            "--classes, --values and --ignore"
        )
    without = f"; {amount(blank, 'image has', 'images have')} no other pixels" if blank else ""
    acc = mean_accuracy(counts.pixels, counts.pixels_correct)
    return (
        f"clean score   ACC {100 * acc:.2f} %, mIoU "
        f"{100 * miou(counts.intersection, counts.union):.2f} % over {counted} of "
        f"{amount(images, 'image')} (ignored pixels in neither{without})"
    )


def _time_passes(model: WrappedModel, batch: Batch, backward: bool) -> float:
    """Return the seconds that a pass of one image takes."""
    images, labels, ids = batch
    attacked = AttackedModel(model, "ce", labels, ids)

    def once() -> None:
        if backward:
            attacked(images)
        else:
            predict(model, images)

    with frozen(model):
        once()
        if images.is_cuda:
            torch.cuda.reset_peak_memory_stats(images.device)
            torch.cuda.synchronize(images.device)
        started, passes = time.monotonic(), 0
        while passes < 1 or (time.monotonic() - started < TIMED_S and passes < 20):
            once()
            passes += 1
        if images.is_cuda:
            torch.cuda.synchronize(images.device)
    return (time.monotonic() - started) / passes / len(images)


def _memory(batch: Batch) -> str:
    """Return in words the most memory that was used, after passes of a batch."""
    images = batch[0]
    if images.is_cuda:
        peak, where = torch.cuda.max_memory_allocated(images.device) / 2**30, "the GPU"
    else:
        peak, where = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, "memory"
    return f"{peak:.1f} GB of {where} with {amount(len(images), 'image')} at a time"


def _normalised(model: WrappedModel) -> str:
    """Return what the network gets, as far as `wrap` knows: scale, mean and deviation."""
    said = [f"times {model.scale:g}"] if model.scale != 1 else []
    for what, buffer in (("mean", model.mean), ("deviation", model.std)):
        if buffer is not None:
            said.append(f"{what} {_listed(buffer.flatten().tolist())}")
    own = getattr(model.net, "architecture", None)  # of this project's networks
    if not said and isinstance(own, dict) and own.get("mean"):
        return (
            f"by the network itself: mean {_listed(own['mean'])}; deviation {_listed(own['std'])}"
        )
    return "; ".join(said) or "no: the network gets images in [0, 1]"


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{one:.4g}" for one in values)


def _parameters(net: Any) -> str:
    count = sum(one.numel() for one in getattr(net, "parameters", lambda: ())())
    return f"{count / 1e6:.2f} million parameters" if count else "no parameters known"


def _duration(hours: float) -> str:
    if hours < 1 / 60:
        return f"{3600 * hours:.0f} s"
    return f"{60 * hours:.0f} min" if hours < 2 else f"{hours:.1f} h"
