"""Signs that a set-up is not what its user means, seen without an attack and said once.

Each would otherwise give a plausible number in silence.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from robustseg.attacks.attacked_model import Model, data_classes
from robustseg.attacks.gradient_checks import saturated
from robustseg.attacks.outcomes import Batch, Outcome, clean_outcome, count_logits, predict
from robustseg.attacks.run import check_batch
from robustseg.attacks.search_model import exact
from robustseg.attacks.surrogates import hiding
from robustseg.data.interface import IGNORE_LABEL
from robustseg.errors import RobustsegError
from robustseg.models.wrap import WrappedModel, is_exported, modules_behind

WEIGHED_BY_EVALUATION = (
    "a loss weighs pixels by class, and those of the evaluation labels were counted for it; "
    "robustseg.evaluate(class_pixels=...) takes those of the training set, as published"
)
SMALL_EPS_255 = 0.1
"""Below, a radius is rather one in [0, 1]: 8/255 is 0.03."""
REPEATS = 1e-4
"""Two passes agree if their logits do up to this share of the largest."""


class RobustsegWarning(UserWarning):
    """Something that makes a result doubtful, in one sentence."""


class WarningSigns:
    """What speaks against a model, images and radii; looked for while clean scores are taken.

    Args:
        model: wrapped.
        radii_255: of the attacks, in 1/255.
        ignore_index: what labels said for pixels to ignore, before they became IGNORE_LABEL.

    Attributes:
        said: the signs that do not depend on all that was seen.
        device: where the images were.
        apart: by how much of the largest logit two passes differ (`again`), and an image alone from
            itself in its batch (`alone`); of the first batch.
    """

    def __init__(
        self, model: Model, radii_255: list[float], ignore_index: int | None = None
    ) -> None:
        self.model, self.ignore_index = model, ignore_index
        self.said: list[str] = []
        self.device = torch.device("cpu")
        self.batches, self.largest = 0, 0.0
        self.labels: np.ndarray = np.zeros(0, dtype=np.int64)
        self.correct = self.ignored = 0
        self._probabilities: bool | None = None
        self._unexplained: list[float] = []
        self._saturated: list[float] = []
        self._first: Tensor | None = None
        for eps_255 in radii_255:
            if 0 < eps_255 < SMALL_EPS_255:
                self.said.append(
                    f"eps_255 is {eps_255:g}, which is {eps_255:g}/255: radii are in units of "
                    f"1/255; say eps_255={255 * eps_255:.3g} if {eps_255:g} of the range [0, 1] is "
                    "meant"
                )
        self.apart = {"again": 0.0, "alone": 0.0}
        self.said += in_train_mode(model)

    def look(self, batch: Batch) -> Outcome:
        """Count what the model gets right on a batch, and look for signs."""
        images, labels, ids = batch
        check_batch(images, labels, ids, eps_255=0)
        # A classifier is a model of one pixel.
        if labels.shape[1:] not in (images.shape[2:], (1, 1)):
            raise RobustsegError(
                f"labels are {tuple(labels.shape[1:])} and images {tuple(images.shape[2:])} pixels "
                "(height, width): bring them to one size, labels by their nearest pixel"
            )
        logits = predict(self.model, images)
        classes = data_classes(self.model) or logits.shape[1]
        if self.ignore_index == 255 < classes:
            raise RobustsegError(
                f"255 is one of the model's {classes} classes and cannot stand for ignored "
                "pixels too; pass ignore_index=None if there are none, or their label"
            )
        outcome = clean_outcome(count_logits(self.model, logits, labels, ids))
        if not self.batches:
            self._first = images[:1]
            self._measure(images, logits)
            self.said += self._differences()
        self.batches += 1
        self.device = images.device
        self.largest = max(self.largest, float(images.max()))
        self._probabilities = (self._probabilities is not False) and _are_probabilities(logits)
        certain = saturated(logits, labels)
        self._saturated += certain[~certain.isnan()].tolist()
        counted = np.bincount(labels[labels != IGNORE_LABEL].cpu().numpy())
        longest = max(len(counted), len(self.labels))
        self.labels = np.pad(self.labels, (0, longest - len(self.labels)))
        self.labels[: len(counted)] += counted
        self.ignored += int((labels == IGNORE_LABEL).sum())
        self.correct += int(outcome.counts.pixels_correct.sum())
        return outcome

    def gradients(self, unexplained: np.ndarray) -> None:
        """Take in what share of the gradients' values was 0 for no reason, (B,), NaN: unknown."""
        self._unexplained += unexplained[~np.isnan(unexplained)].tolist()

    def attacked(self, attack: str, acc: float, clean_acc: float) -> None:
        """Take in what an attack leaves right of some images, and what is right of them without."""
        if acc > clean_acc + BETTER_TOLERATED:
            self.said.append(
                f"the attack {attack} leaves {100 * acc:.1f} % of the pixels right, and without it "
                f"{100 * clean_acc:.1f} % are: its gradients lead nowhere, and the model may look "
                "more robust than it is"
            )

    def found(self) -> list[str]:
        """Return the signs so far, each in one sentence."""
        said = list(self.said)
        label, guess, right = self.commonest
        if guess and right <= guess and right < 1:
            said.append(
                f"without an attack {100 * right:.1f} % of the pixels are right, and "
                f"always predicting class {label} would get {100 * guess:.1f} %: check "
                "normalisation, channel order, the order of classes, and the weights"
            )
        if self.ignored and np.count_nonzero(self.labels) == 1:
            said.append(
                f"every pixel that counts is of class {int(self.labels.argmax())}: is the value of "
                "another class ignored, as in masks of 0 and 255?"
            )
        if self.batches and self.largest < 1.01 / 255:
            said.append(
                f"no pixel of any image is above {self.largest:.2g}: were images divided by 255 "
                "twice?"
            )
        if self.probabilities:
            said.append(
                "the model returns probabilities (from 0 to 1): hand over the logits before the "
                "softmax or sigmoid, else gradients vanish and the model may look more robust than "
                "it is"
            )
        if self._unexplained and (share := float(np.mean(self._unexplained))) > ZEROS_TOLERATED:
            said.append(
                f"{100 * share:.0f} % of the gradient's values are exactly 0 and no loss explains "
                f"it: the model hides them ({self._hides()}), and may look more robust than it is"
            )
        if self._saturated and (share := float(np.mean(self._saturated))) > SATURATED_TOLERATED:
            said.append(
                f"{100 * share:.0f} % of the right pixels have a probability "
                "of 1 after rounding, where losses like cross-entropy have no gradient: divide the "
                "logits, or use losses that scale them (js@10; suite sea_plus)"
            )
        return said

    def _hides(self) -> str:
        """Return what is known to hide gradients in a forward pass."""
        if self._first is not None:
            noted = hiding(self.model, self._first)
            if noted.hidden:
                return ", ".join(noted.hidden)
        return "rounding, clipping, saturated scores, lost resolution"

    @property
    def probabilities(self) -> bool:
        """Whether all that the model has returned so far were probabilities."""
        return bool(self._probabilities)

    @property
    def commonest(self) -> tuple[int, float, float]:
        """The commonest class, and the shares of pixels that it has and that are right."""
        pixels = int(self.labels.sum())
        if not pixels:
            return 0, 0.0, 0.0
        return int(self.labels.argmax()), float(self.labels.max()) / pixels, self.correct / pixels

    def _measure(self, images: Tensor, logits: Tensor) -> None:
        """Take another pass, and one of the first image alone."""
        self.largest_logit = float(logits.abs().max())
        size = self.largest_logit or 1.0
        self.apart["again"] = float((predict(self.model, images) - logits).abs().max()) / size
        if len(images) > 1:
            alone = predict(self.model, images[:1]) - logits[:1]
            self.apart["alone"] = float(alone.abs().max()) / size

    def _differences(self) -> list[str]:
        """Return what another pass, and the first image alone, tell."""
        size = self.largest_logit
        again, alone = self.apart["again"], self.apart["alone"]
        if again > REPEATS:
            return [
                f"two passes over the same images differ (logits up to {size:.3g} by up to "
                f"{again * size:.2g}): a random model, or dropout in training mode; attacks on one "
                "draw of it say little"
            ]
        if alone > 100 * REPEATS:
            return [
                f"an image's logits depend on the others of its batch (up to {size:.3g} by up to "
                f"{alone * size:.2g}): BatchNorm in training mode? Results then depend on "
                "batch_size"
            ]
        return []


ZEROS_TOLERATED = 0.05
"""Share of the gradient's values that may be 0 without a reason."""
SATURATED_TOLERATED = 0.5
"""Share of the right pixels whose probability may be 1."""
BETTER_TOLERATED = 0.005
"""By how much accuracy may be higher under an attack than without, as a fraction."""


def warn(sentences: list[str]) -> None:
    """Say each sentence once, as a Python warning."""
    for sentence in sentences:
        warnings.warn(sentence, RobustsegWarning, stacklevel=3)


def in_train_mode(model: Model) -> list[str]:
    """Return a sentence if a function runs a module that is in training mode."""
    model = exact(model)
    if not isinstance(model, WrappedModel) or isinstance(model.net, torch.nn.Module):
        return []
    names = [type(one).__name__ for one in modules_behind(model.net) if _trains(one)]
    if not names:
        return []
    return [
        f"the function that was handed over runs {names[0]} in training mode: call its eval(), or "
        "hand over the module itself (robustseg.wrap takes logits out of what it returns)"
    ]


def _trains(module: torch.nn.Module) -> bool:
    """Return whether a module in which there are no others is in training mode.

    Modules around others do not matter; those of torch.export have but the mode of their export.
    """
    return not is_exported(module) and any(
        one.training for one in module.modules() if not list(one.children())
    )


def _are_probabilities(logits: Tensor) -> bool:
    """Return whether logits (B, K, h, w) are rather what a softmax or a sigmoid makes of them."""
    low, high = float(logits.min()), float(logits.max())
    if low < 0 or high > 1:
        return False
    adds_up = bool((logits.sum(1) - 1).abs().max() < 1e-3)
    one_channel = logits.shape[1] == 2 and not logits[:, 0].any()
    return adds_up or one_channel or (low < 0.01 and high > 0.99)
