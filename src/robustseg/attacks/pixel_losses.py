"""Losses over the logits of a batch: gradient in place, objective and right pixels by image."""

from collections.abc import Iterator

import torch
from torch import Tensor

from robustseg.attacks.coarse_logits import CoarseLogits
from robustseg.attacks.logit_sums import is_swept
from robustseg.attacks.logits import Labels, Logits
from robustseg.attacks.losses import LOSSES, Moment
from robustseg.data.interface import IGNORE_LABEL
from robustseg.errors import RobustsegError

CPU_CHUNK_VALUES = 2**20
"""Logits handled at a time on a CPU, so that they stay in its cache."""
CHUNK_VALUES = 2**26
"""The same on other devices, where it bounds scratch memory."""


def loss_and_gradient(
    name: str, logits: Tensor, labels: Labels, at: Moment
) -> tuple[Tensor, Tensor]:
    """Turn logits into a loss's gradient; return objective and correct pixels by image.

    The gradient takes the logits' memory: of all that an iteration keeps, logits at full resolution
    are among the largest, and writing to memory that was just read is faster.

    Args:
        name: one of `losses.LOSSES`.
        logits: u (B, K, H, W), detached, in any dense memory layout; becomes the gradient of the
            loss summed over pixels, 0 at ignored pixels.
        labels: of the same images.
        at: the iteration.

    Returns:
        Objective (B,) float64, summed over counted pixels (it is to be maximised), and the number
        of counted pixels whose largest logit is the label's, (B,) int64.
    """
    of_pixels = LOSSES[name].of_pixels
    pixels = [of_pixels(Logits(logits[p], labels.select(p)), at) for p in _chunks(logits)]
    objectives, rights = (torch.cat(values) for values in zip(*pixels, strict=True))
    return _summed(objectives, rights, labels)


def loss_of_coarse(name: str, logits: CoarseLogits, at: Moment) -> tuple[Tensor, Tensor]:
    """Do the same with logits that stay as they are and have a gradient of their own."""
    return _summed(*LOSSES[name].of_pixels(logits, at), logits.labels)


def _summed(objectives: Tensor, rights: Tensor, labels: Labels) -> tuple[Tensor, Tensor]:
    # Rows first: threads share the sum over a whole image, but only if it is alone.
    objective = objectives.mul_(labels.counted).sum(3, dtype=torch.float64).flatten(1).sum(1)
    correct = rights.to(labels.counted.dtype).mul_(labels.counted)  # bool times float is slow
    return objective, correct.flatten(1).sum(1).long()


def _chunks(logits: Tensor) -> Iterator[slice]:
    """Yield slices of the batch that are worked on together, of as many images as suit the device.

    Sweeps need no scratch memory, and a pixel gets the same wherever it lies. On a CPU, torch works
    64 values at a time and computes a rest differently in the last bit, so images are put together
    only if none begins within such a rest: what an image gets must not depend on the others.
    """
    on_cpu = is_on_cpu(logits)
    together = max(1, (CPU_CHUNK_VALUES if on_cpu else CHUNK_VALUES) // logits[0].numel())
    if is_swept(logits):
        together = len(logits)
    elif on_cpu and logits[0, 0].numel() % 64:
        together = 1
    for start in range(0, len(logits), together):
        yield slice(start, start + together)


def is_on_cpu(logits: Tensor) -> bool:
    """Return whether chunks are to suit a CPU's cache, and not another device's memory.

    A benchmark of memory answers otherwise.
    """
    return logits.device.type == "cpu"


def check_logits(
    logits: Tensor,
    labels: Tensor,
    image_ids: list[str],
    num_classes: int | None = None,
    size: tuple[int, int] | None = None,
) -> None:
    """Refuse logits that do not fit the labels, and labels that do not fit the logits.

    Args:
        logits: what the model returned for the images.
        labels: (B, H, W) int64.
        image_ids: of the B images, for the message.
        num_classes: K, the first of the logits; None: all of them.
        size: height and width that the logits stand for; None: their own.

    Raises:
        RobustsegError: logits not (B, K, H, W) floats, not at the labels' resolution, or not
            finite; labels outside 0..K-1 that are not -1.
    """
    if not isinstance(logits, Tensor) or logits.ndim != 4 or len(logits) != len(labels):
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise RobustsegError(
            f"the model returned {got} for {len(labels)} images; it must return one tensor of "
            "logits (images, classes, height, width)"
        )
    if logits.dtype not in (torch.float32, torch.float64):
        raise RobustsegError(f"logits must be float32 or float64, not {logits.dtype}")
    size = size or (logits.shape[2], logits.shape[3])
    if size != labels.shape[1:]:
        raise RobustsegError(
            f"logits are {size} and labels {tuple(labels.shape[1:])} pixels; "
            "let the model upsample its logits to the labels' resolution"
        )
    classes = num_classes or logits.shape[1]
    outside = ((labels < 0) | (labels >= classes)) & (labels != IGNORE_LABEL)
    if outside.any():
        refuse_images(
            outside.flatten(1).any(1),
            image_ids,
            f"has the label {int(labels[outside][0])}, which is none of the classes "
            f"0..{classes - 1}; check the number of classes, and which label is ignored",
        )
    if not logits.sum((1, 2, 3)).isfinite().all():  # or a sum of large values that are
        _refuse_not_finite(logits, labels, image_ids)


def _refuse_not_finite(logits: Tensor, labels: Tensor, image_ids: list[str]) -> None:
    wrong = ~are_finite(logits)
    never = (logits == -torch.inf).flatten(2).all(2)
    counted = labels.unsqueeze(1) != IGNORE_LABEL
    if never.any() and logits.amax() < torch.inf:  # nothing else is wrong; not true of NaN
        shown = int(never.nonzero()[0, 1])
        problem = (
            f"gets the logit -inf for class {shown} at every pixel, which losses cannot use; give "
            "a class that is never predicted a finite one below all others, such as -30"
        )
    elif logits.shape[2:] == labels.shape[1:] and are_finite(logits.where(counted, 0)).all():
        problem = (
            "gets logits that are not finite at ignored pixels; let the model put any finite "
            "number there, such as 0"
        )
    else:
        problem = "gets logits that are not finite; check the model's weights and the image"
    refuse_images(wrong, image_ids, problem)


def are_finite(values: Tensor) -> Tensor:
    """Return (B,) whether all values (B, ...) are finite: a sum of such may be infinite.

    By their extremes, which NaN is one of: on a CPU that takes a fifteenth of `isfinite` of each.
    """
    axes = tuple(range(1, values.ndim))
    return values.amax(axes).isfinite() & values.amin(axes).isfinite()


def refuse_images(
    wrong: Tensor,
    image_ids: list[str],
    problem: str,
    kind: type[RobustsegError] = RobustsegError,
) -> None:
    """Raise an error that names the first image where `wrong` (B,) holds."""
    for image_id, is_wrong in zip(image_ids, wrong.tolist(), strict=True):
        if is_wrong:
            raise kind(f"image {image_id} {problem}")
