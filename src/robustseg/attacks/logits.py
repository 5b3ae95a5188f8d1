"""Logits of some images and their labels, with what losses ask of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robustseg.attacks.logit_sums import (
    exponential_sums,
    label_and_largest,
    norms,
    sigmoid_and_norm,
    sigmoid_sums,
    write_gradient,
)
from robustseg.data.interface import IGNORE_LABEL

USUAL_LOGIT = 35
"""Exponentials of logits up to it, and their sums over classes, are far from float32's limits."""


@dataclass(frozen=True)
class Labels:
    """Labels as the losses need them.

    Attributes:
        index: (B, 1, H, W) int64, the label, 0 where it is ignored.
        counted: (B, 1, H, W) in the logits' dtype, 1 where the pixel counts, 0 where it is ignored.
        weights: (K,) in the logits' dtype, N_min / N_k for each class; None: not known.
    """

    index: Tensor
    counted: Tensor
    weights: Tensor | None = None

    @classmethod
    def of(
        cls, labels: Tensor, dtype: torch.dtype, class_pixels: Sequence[int] | None = None
    ) -> "Labels":
        """Prepare (B, H, W) int64 labels, where -1 stands for ignored.

        ASSUME: a class without a pixel weighs as much as the rarest one that has some.
        """
        counted = (labels != IGNORE_LABEL).unsqueeze(1)
        weights = None
        if class_pixels is not None:
            pixels = torch.tensor(class_pixels, dtype=torch.float64, device="cpu")
            rarest = pixels[pixels > 0].amin()
            weights = (rarest / pixels.clamp_(min=rarest)).to(labels.device, dtype)
        return cls(labels.unsqueeze(1) * counted, counted.to(dtype), weights)

    def select(self, kept: Tensor | slice) -> "Labels":
        """Return the labels of the images `kept`."""
        return Labels(self.index[kept], self.counted[kept], self.weights)

    def class_weights(self, classes: Tensor) -> Tensor:
        """Return N_min / N_k of classes k (b, 1, h, w) int64; 1 for those beyond the data's."""
        assert self.weights is not None  # refused before any pass
        beyond = classes >= len(self.weights)
        return self.weights[classes.masked_fill(beyond, 0)].masked_fill_(beyond, 1)


Sums = tuple[Tensor, Tensor, Tensor, Tensor]
"""u_y, e^u_y, max_k u_k, and sum_k e^u_k of each pixel."""


def has_values_at_hand(logits: Tensor) -> bool:
    """Return whether asking for a value costs less than the passes over logits that it may save.

    It does on a CPU. Other devices would first have to finish all that they were asked for, and
    stand still until they are asked for more.
    """
    return logits.device.type == "cpu"


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
    def of(cls, logits: "Logits", sums: Sums | None = None) -> "Softmax":
        """Compute it, from the logits' exponential sums if they are known already.

        Usual logits need no shift by the largest, which would cost passes over them. Where p_y
        might underflow or the total overflow, logits are shifted, and nowhere else, so that other
        pixels keep the same bits.
        """
        if has_values_at_hand(logits.values):
            label, own, largest, total = sums or logits.exponential_sums()
            if bool((label.amin() > -USUAL_LOGIT) & (largest.amax() < USUAL_LOGIT)):
                probability = own / total
                return cls(total, label >= largest, probability, probability.log().neg_())
        else:
            label, largest = label_and_largest(logits.values, logits.labels.index)
        right = label >= largest
        usual = (label > -USUAL_LOGIT) & (largest < USUAL_LOGIT)
        logits.shift(torch.where(usual, 0, largest))
        label, own, _, total = logits.exponential_sums()
        probability = own / total
        of_usual = probability.log().neg_()
        return cls(total, right, probability, torch.where(usual, of_usual, total.log() - label))


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
        return Softmax.of(self)

    def softmax_and_cosine(self) -> tuple[Softmax, Tensor]:
        """Return the same, and sigma(u_y) / ||sigma(u)||_2 of each pixel, (b, 1, h, w).

        Where even the largest logit is below -30, sigma is exponential to rounding, and a factor
        common to all classes cancels: where the norm might underflow, logits are taken shifted up
        to -30.
        """
        if not has_values_at_hand(self.values):
            cosine = unasked_cosine(self.values, self.labels.index)
            return self.softmax(), cosine
        label, own, largest, total, sigmoid, norm = self.sigmoid_sums()
        if not bool(norm.amin() >= 1e-15):
            shift = torch.where(norm < 1e-15, largest + 30, 0)
            *_, sigmoid, norm = self.sigmoid_sums(shift)
        return Softmax.of(self, (label, own, largest, total)), sigmoid / norm

    def exponential_sums(self) -> Sums:
        """Return u_y, e^u_y, max_k u_k, and sum_k e^u_k of each pixel, (b, 1, h, w)."""
        return exponential_sums(self.values, self.labels.index)

    def sigmoid_sums(self, shift: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return the same four of u - shift, sigma(u_y), and ||sigma(u)||_2."""
        values = self.values if shift is None else self.values - shift
        return sigmoid_sums(values, self.labels.index)

    def shift(self, by: Tensor) -> None:
        """Go on with u - by, (b, 1, h, w)."""
        self.values -= by

    def norms(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return u_y, max_k u_k, and ||u||_2 of each pixel, (b, 1, h, w)."""
        return norms(self.values, self.labels.index)

    def strongest_other(self) -> tuple[Tensor, Tensor]:
        """Return the largest logit of the other classes and its class, (b, 1, h, w)."""
        others = self.values.scatter(1, self.labels.index, -torch.inf)
        strongest = others.max(1, keepdim=True)
        return strongest.values, strongest.indices

    def write_gradient(self, weight: Tensor, softmax: Softmax) -> None:
        """Overwrite the logits with the gradient w (p - e_y), with w = 0 where ignored.

        Args:
            weight: w of each pixel, (b, 1, h, w).
            softmax: of these logits.
        """
        weight = weight * self.labels.counted
        write_gradient(self.values, self.labels.index, weight / softmax.total, weight)

    def write_multiple(self, factor: Tensor, weight: Tensor) -> None:
        """Overwrite the logits with factor u - weight e_y, both of each pixel (b, 1, h, w)."""
        self.values.mul_(factor)
        self.values.scatter_add_(1, self.labels.index, weight.neg())


def unasked_cosine(logits: Tensor, index: Tensor) -> Tensor:
    """Return the same without asking whether a norm might underflow, for `has_values_at_hand`."""
    _, largest = label_and_largest(logits, index)
    _, norm = sigmoid_and_norm(logits.sigmoid(), index)
    shift = torch.where(norm < 1e-15, largest + 30, 0)
    sigmoid, norm = sigmoid_and_norm((logits - shift).sigmoid_(), index)
    return sigmoid / norm
