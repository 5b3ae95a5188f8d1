"""Losses over the logits of a batch: gradient in place, objective and right pixels by image."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from robustseg.attacks.logit_sums import (
    exponential_sums,
    is_swept,
    norms,
    sigmoid_sums,
    write_gradient,
)
from robustseg.attacks.losses import LOSSES
from robustseg.data.interface import IGNORE_LABEL
from robustseg.errors import RobustsegError

USUAL_LOGIT = 35
"""Exponentials of logits up to it, and their sums over classes, are far from float32's limits."""
CPU_CHUNK_VALUES = 2**20
"""Logits handled at a time on a CPU, so that they stay in its cache."""
CHUNK_VALUES = 2**26
"""The same on other devices, where it bounds scratch memory."""


@dataclass(frozen=True)
class Labels:
    """Labels as the losses need them.

    Attributes:
        index: (B, 1, H, W) int64, the label, 0 where it is ignored.
        counted: (B, 1, H, W) in the logits' dtype, 1 where the pixel counts, 0 where it is ignored.
    """

    index: Tensor
    counted: Tensor

    @classmethod
    def of(cls, labels: Tensor, dtype: torch.dtype) -> "Labels":
        """Prepare (B, H, W) int64 labels, where 255 stands for ignored."""
        counted = (labels != IGNORE_LABEL).unsqueeze(1)
        return cls(labels.unsqueeze(1) * counted, counted.to(dtype))

    def select(self, kept: Tensor | slice) -> "Labels":
        """Return the labels of the images `kept`."""
        return Labels(self.index[kept], self.counted[kept])


@dataclass
class Softmax:
    """What losses ask of the softmax of some images' logits; of each pixel, (b, 1, h, w).

    Attributes:
        total: sum_k e^u_k.
        right: whether u_y is the largest logit. ASSUME: a tie counts as right.
        probability: p_y, which may underflow to 0.
        cross_entropy: -log p_y, finite also where p_y underflows.
    """

    total: Tensor
    right: Tensor
    probability: Tensor
    cross_entropy: Tensor

    @classmethod
    def of(
        cls,
        logits: Tensor,
        labels: Labels,
        sums: tuple[Tensor, Tensor, Tensor, Tensor] | None = None,
    ) -> "Softmax":
        """Compute it for logits (b, K, h, w) from their `exponential_sums`.

        Usual logits need no shift by the largest, which would cost passes over them. Where p_y
        might underflow or the total overflow, logits are shifted in place, and nowhere else, so
        that other pixels keep the same bits.
        """
        label, own, largest, total = sums or exponential_sums(logits, labels.index)
        right = label >= largest
        all_usual = bool((label.amin() > -USUAL_LOGIT) & (largest.amax() < USUAL_LOGIT))
        if not all_usual:
            usual = (label > -USUAL_LOGIT) & (largest < USUAL_LOGIT)
            logits -= torch.where(usual, 0, largest)
            label, own, _, total = exponential_sums(logits, labels.index)
        probability = own / total
        cross_entropy = probability.log().neg_()
        if not all_usual:
            cross_entropy = torch.where(usual, cross_entropy, total.log() - label)
        return cls(total, right, probability, cross_entropy)


@dataclass
class Logits:
    """Logits u of some images, which a loss turns into its gradient.

    Attributes:
        values: (b, K, h, w), detached; overwritten by the gradient, summed over pixels.
        labels: of the same images.
    """

    values: Tensor
    labels: Labels

    def softmax(self) -> Softmax:
        """Return what losses ask of the softmax."""
        return Softmax.of(self.values, self.labels)

    def softmax_and_cosine(self) -> tuple[Softmax, Tensor]:
        """Return the same, and sigma(u_y) / ||sigma(u)||_2 of each pixel, (b, 1, h, w)."""
        label, own, largest, total, sigmoid, norm = sigmoid_sums(self.values, self.labels.index)
        cosine = sigmoid_cosine(self.values, self.labels.index, largest, sigmoid, norm)
        return Softmax.of(self.values, self.labels, (label, own, largest, total)), cosine

    def norms(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return u_y, max_k u_k, and ||u||_2 of each pixel, (b, 1, h, w)."""
        return norms(self.values, self.labels.index)

    def write_gradient(self, weight: Tensor, softmax: Softmax) -> None:
        """Overwrite the logits with the gradient w (p - e_y), with w = 0 where ignored.

        Args:
            weight: w of each pixel, (b, 1, h, w).
            softmax: of these logits.
        """
        weight = weight * self.labels.counted
        write_gradient(self.values, self.labels.index, weight / softmax.total, weight)


def sigmoid_cosine(
    logits: Tensor, index: Tensor, largest: Tensor, sigmoid: Tensor, norm: Tensor
) -> Tensor:
    """Return sigma(u_y) / ||sigma(u)||_2, (b, 1, h, w), from `sigmoid_sums`.

    Where even the largest logit is below -30, sigma is exponential to rounding, and a factor common
    to all classes cancels: where the norm might underflow, logits are taken shifted up to -30.
    """
    if not bool(norm.amin() >= 1e-15):
        shift = torch.where(norm < 1e-15, largest + 30, 0)
        *_, sigmoid, norm = sigmoid_sums(logits - shift, index)
    return sigmoid / norm


def loss_and_gradient(
    name: str, logits: Tensor, labels: Labels, lam: float
) -> tuple[Tensor, Tensor]:
    """Turn logits into a loss's gradient; return objective and correct pixels by image.

    The gradient takes the logits' memory: of all that an iteration keeps, logits at full resolution
    are among the largest, and writing to memory that was just read is faster.

    Args:
        name: one of `losses.LOSSES`.
        logits: u (B, K, H, W), detached, in any dense memory layout; becomes the gradient of the
            loss summed over pixels, 0 at ignored pixels.
        labels: of the same images.
        lam: lambda(t) of Bal-CE, in [0, 1/2).

    Returns:
        Objective (B,) float64, summed over counted pixels (it is to be maximised), and the number
        of counted pixels whose largest logit is the label's, (B,) int64.
    """
    of_pixels = LOSSES[name].of_pixels
    pixels = [of_pixels(Logits(logits[p], labels.select(p)), lam) for p in _chunks(logits)]
    objectives, rights = (torch.cat(values) for values in zip(*pixels, strict=True))
    # Rows first: threads share the sum over a whole image, but only if it is alone.
    objective = objectives.mul_(labels.counted).sum(3, dtype=torch.float64).flatten(1).sum(1)
    return objective, (rights * labels.counted).flatten(1).sum(1).long()


def _chunks(logits: Tensor) -> Iterator[slice]:
    """Yield slices of the batch that are worked on together, of as many images as suit the device.

    Sweeps need no scratch memory, and a pixel gets the same wherever it lies. On a CPU, torch works
    64 values at a time and computes a rest differently in the last bit, so images are put together
    only if none begins within such a rest: what an image gets must not depend on the others.
    """
    on_cpu = logits.device.type == "cpu"
    together = max(1, (CPU_CHUNK_VALUES if on_cpu else CHUNK_VALUES) // logits[0].numel())
    if is_swept(logits):
        together = len(logits)
    elif on_cpu and logits[0, 0].numel() % 64:
        together = 1
    for start in range(0, len(logits), together):
        yield slice(start, start + together)


def check_logits(logits: Tensor, labels: Tensor, image_ids: list[str]) -> None:
    """Refuse logits that do not fit the labels, and labels that do not fit the logits.

    Args:
        logits: what the model returned for the images.
        labels: (B, H, W) int64.
        image_ids: of the B images, for the message.

    Raises:
        RobustsegError: logits not (B, K, H, W) floats, not at the labels' resolution, or not
            finite; labels outside 0..K-1 that are not 255.
    """
    if not isinstance(logits, Tensor) or logits.ndim != 4 or len(logits) != len(labels):
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise RobustsegError(
            f"the model returned {got} for {len(labels)} images; it must return one tensor of "
            "logits (images, classes, height, width)"
        )
    if logits.dtype not in (torch.float32, torch.float64):
        raise RobustsegError(f"logits must be float32 or float64, not {logits.dtype}")
    if logits.shape[2:] != labels.shape[1:]:
        raise RobustsegError(
            f"logits are {tuple(logits.shape[2:])} and labels {tuple(labels.shape[1:])} pixels; "
            "let the model upsample its logits to the labels' resolution"
        )
    outside = ((labels < 0) | (labels >= logits.shape[1])) & (labels != IGNORE_LABEL)
    refuse_images(
        outside.flatten(1).any(1),
        image_ids,
        f"has a label outside 0..{logits.shape[1] - 1} that is not {IGNORE_LABEL} (ignored); "
        "check the number of classes",
    )
    refuse_images(
        ~logits.sum((1, 2, 3)).isfinite(),
        image_ids,
        "gets logits that are not finite; check the model's weights and the image",
    )


def refuse_images(wrong: Tensor, image_ids: list[str], problem: str) -> None:
    """Raise a RobustsegError that names the first image where `wrong` (B,) holds."""
    for image_id, is_wrong in zip(image_ids, wrong.tolist(), strict=True):
        if is_wrong:
            raise RobustsegError(f"image {image_id} {problem}")
