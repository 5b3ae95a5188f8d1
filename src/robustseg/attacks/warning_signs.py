"""Signs that a set-up is not what its user means, seen without an attack and said once.

Each would otherwise give a plausible number in silence.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from inspect import isfunction
from math import ceil
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from robustseg.attacks import tolerances
from robustseg.attacks.attacked_model import Model, data_classes, frozen, full_precision
from robustseg.attacks.gradient_checks import saturated
from robustseg.attacks.logit_distance import distance, lead, unit_of
from robustseg.attacks.outcomes import Batch, Outcome, clean_outcome, count_logits, predict
from robustseg.attacks.run import check_batch
from robustseg.attacks.search_model import exact
from robustseg.attacks.spec import Member
from robustseg.attacks.surrogates import hiding
from robustseg.data.interface import IGNORE_LABEL
from robustseg.errors import RobustsegError
from robustseg.models.modules_behind import modules_behind, unregistered
from robustseg.models.wrap import WrappedModel, is_exported

WEIGHED_BY_EVALUATION = (
    "a loss weighs pixels by class, and those of the evaluation labels were counted for it; "
    "robustseg.evaluate(class_pixels=...) takes those of the training set, as published"
)
SMALL_EPS_255 = 0.1
"""Below, a radius is rather one in [0, 1]: 8/255 is 0.03."""
FOLLOWED = 0.3
"""A pass whose gradient is taken agrees with one without if logits are at most so many units apart,
see `logit_distance`: torch's attention takes other ways then, by which networks in bfloat16 differ
by up to 0.11."""


class RobustsegWarning(UserWarning):
    """Something that makes a result doubtful, in one sentence.

    Attributes:
        result: what had been found when it was said, which is not lost where warnings are errors;
            None if nothing had been attacked yet.
    """

    result: Any = None


def said_of_radii(radii_255: Sequence[float]) -> list[str]:
    """Return a sentence for each radius that was rather meant in [0, 1]."""
    return [
        f"eps_255 is {eps_255:g}, which is {eps_255:g}/255: radii are in units of 1/255; say "
        f"{255 * eps_255:.3g} if {eps_255:g} of the range [0, 1] is meant"
        for eps_255 in radii_255
        if 0 < eps_255 < SMALL_EPS_255
    ]


class WarningSigns:
    """What speaks against a model, images and radii; looked for while clean scores are taken.

    Args:
        model: wrapped.
        radii_255: of the attacks, in 1/255.
        ignore_index: what labels said for pixels to ignore, before they became IGNORE_LABEL.
        losses: members of the attacks on the model's logits, see `spec.Member`.

    Attributes:
        said: the signs that do not depend on all that was seen.
        device: where the images were.
        apart: by how many units of the logits, see `logit_distance`, two passes differ (`again`;
            one of them may be one whose gradient is taken),
            and an image alone from itself in its batch (`alone`); of the first batch.
    """

    def __init__(
        self,
        model: Model,
        radii_255: list[float],
        ignore_index: int | None = None,
        losses: Iterable[str] = (),
    ) -> None:
        self.model, self.ignore_index = model, ignore_index
        self.scales = [Member.read(one).margin is not None for one in losses]
        self.said: list[str] = []
        self.device = torch.device("cpu")
        self.batches, self.largest = 0, 0.0
        self.labels: np.ndarray = np.zeros(0, dtype=np.int64)
        self.correct = self.ignored = 0
        self._probabilities: bool | None = None
        self._one_channel = False
        self._unexplained: list[float] = []
        self._saturated: list[float] = []
        self._leads: list[float] = []
        self._first: Tensor | None = None
        self.said += said_of_radii(radii_255)
        self.apart = {"again": 0.0, "alone": 0.0}

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
            self.said += in_train_mode(self.model)  # after a pass, which may have called eval()
            self.said += self._measure(images, logits)
        self.batches += 1
        self.device = images.device
        self.largest = max(self.largest, float(images.max()))
        self._probabilities = (self._probabilities is not False) and _are_probabilities(logits)
        self._one_channel = _is_one_channel(logits)
        certain = saturated(logits, labels)
        self._saturated += certain[~certain.isnan()].tolist()
        self._leads += lead(logits).flatten(1).mean(1).tolist()
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
        if acc > clean_acc + tolerances.BETTER:
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
                f"always predicting class {label} would get {100 * guess:.1f} %: "
                f"{tolerances.CHECK_SET_UP}"
            )
        if self.ignored and np.count_nonzero(self.labels) == 1:
            said.append(
                f"every pixel that counts is of class {int(self.labels.argmax())}: is the value of "
                "another class ignored? Masks of 0 and 255 must be 0 and 1 (--values 0,255 "
                "--ignore none)"
            )
        if self.batches and self.largest < 1.01 / 255:
            said.append(
                f"no pixel of any image is above {self.largest:.2g}: were images divided by 255 "
                "twice?"
            )
        model = exact(self.model)
        if isinstance(model, WrappedModel) and model.shrunk:
            sizes = [f"{height} x {width}" for height, width in model.shrunk]
            said.append(
                f"the model returned logits of {sizes[0]} pixels (height x width) for an image of "
                f"{sizes[1]}, to which they are shrunk: if it pads its images inside, it must cut "
                "its logits to their size"
            )
        if self.probabilities:
            everywhere = ", and one channel counts as class 1 wherever it is above 0"
            said.append(
                "the model returns probabilities (from 0 to 1): pass the logits before the "
                "softmax or sigmoid, else gradients vanish and the model may look more robust than "
                f"it is{everywhere if self._one_channel else ''}"
            )
        if self._unexplained and (share := float(np.mean(self._unexplained))) > tolerances.ZEROS:
            said.append(
                f"{100 * share:.0f} % of the gradient's values are exactly 0 and no loss explains "
                f"it: the model hides them ({self._hides()}), and may look more robust than it is"
            )
        if self._saturated and (share := float(np.mean(self._saturated))) > tolerances.SATURATED:
            said.append(
                f"{100 * share:.0f} % of the right pixels have a probability "
                "of 1 after rounding, where losses like cross-entropy have no gradient: divide the "
                "logits, or use losses that scale them (js@10; suite sea_plus)"
            )
        small = float(np.mean(self._leads)) if self._leads else SMALL_LEAD
        if 0 < small < SMALL_LEAD and self.scales and not (self.probabilities or any(self.scales)):
            said.append(
                f"the best class is ahead of the second by {small:.2g} on average, so little that "
                "losses like cross-entropy take nearly right and nearly wrong pixels for the same: "
                "use losses that scale the logits (js@10; suite sea_plus)"
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

    def _measure(self, images: Tensor, logits: Tensor) -> list[str]:
        """Return what another pass, and one of the first image alone, tell.

        Before the others the model sees another image, which it must have forgotten, and then two
        of them: one that takes turns is at the same turn in no more than one. Several images are
        seen alone: of a batch that is taken for a film, the first does not depend on the others.
        """
        unit = unit_of(logits)
        other = predict(self.model, 1 - images)
        memory = StorageWeakRef(other.untyped_storage())  # type: ignore[no-untyped-call]
        del other
        model = exact(self.model)
        if isinstance(model, WrappedModel):
            model.keeps_output = not memory.expired()  # type: ignore[no-untyped-call]
        again = max(distance(logits, predict(self.model, images), unit) for _ in range(2))
        followed = _distance_when_followed(self.model, images[:1], unit)
        self.apart["again"] = max(again, followed if followed > FOLLOWED else 0.0)
        if len(images) > 1:
            self.apart["alone"] = max(
                distance(logits[at : at + 1], predict(self.model, images[at : at + 1]), unit)
                for at in range(0, len(images), ceil(len(images) / SEEN_ALONE))
            )
        if again > tolerances.REPEATS:
            return [
                f"two passes over the same images differ (by up to {again:.2g} times what the best "
                "class is ahead by): a random model, dropout in training mode, or one that keeps "
                "something from pass to pass; attacks on one draw of it say little"
            ]
        if followed > FOLLOWED:
            return [
                "a pass whose gradient is taken gives other logits than one without (by up to "
                f"{followed:.2g} times what the best class is ahead by): the attack follows "
                "another model than the one that counts"
            ]
        if self.apart["alone"] > tolerances.ALONE:
            return [
                "an image's logits depend on the others of its batch (by up to "
                f"{self.apart['alone']:.2g} times what the best class is ahead by): BatchNorm in "
                "training mode? Results then depend on batch_size"
            ]
        return []


def _distance_when_followed(model: Model, images: Tensor, unit: float) -> float:
    """Return by how many units logits differ where a gradient is taken of the pass.

    0 for a model that refuses such a pass: an attack that follows gradients says why.
    """
    net = exact(model)
    try:
        with frozen(net), torch.enable_grad(), full_precision(images.device.type):
            logits = net(images.detach().clone().requires_grad_()).detach()
    except RobustsegError:
        return 0.0
    return distance(predict(model, images), logits, unit)


SEEN_ALONE = 16
"""Images of the first batch that are seen alone, too, at most; from all over it."""
SMALL_LEAD = 0.1
"""By how much the best logit should be ahead of the second on average, see docs/attacks.md."""


def warn(sentences: list[str], result: object = None) -> None:
    """Say each sentence once, as a Python warning that has the result so far."""
    for sentence in sentences:
        warning = RobustsegWarning(sentence)
        warning.result = result
        warnings.warn(warning, stacklevel=3)


def in_train_mode(model: Model) -> list[str]:
    """Return a sentence if a module is in training mode that the model's own `eval` cannot reach.

    A function may run one, or a module that keeps it in a list or a function of its own.
    """
    model = exact(model)
    if not isinstance(model, WrappedModel):
        return []
    is_module = isinstance(model.net, torch.nn.Module)
    behind = unregistered(model.net) if is_module else modules_behind(model.net)
    names = [type(one).__name__ for one in behind if _trains(one)]
    if not names:
        return []
    if is_module:
        return [
            f"{type(model.net).__name__} keeps {names[0]} where its eval() does not reach it, and "
            "that is in training mode: keep modules in a torch.nn.ModuleList or ModuleDict, or "
            "call eval() of each"
        ]
    return [
        f"the function that was passed runs {names[0]} in training mode: call its eval(), or "
        "pass the module itself (robustseg.wrap takes logits out of what it returns)"
    ]


def _trains(module: torch.nn.Module) -> bool:
    """Return whether a module in which there are no others is in training mode.

    Modules around others do not matter; those of torch.export have but the mode of their export,
    those of torch.jit.freeze none. Nor do torch's own that compute the same in either mode, such as
    losses and activations.
    """
    return not is_exported(module) and any(
        getattr(one, "training", False)
        for one in module.modules()
        if not list(one.children()) and _heeds_mode(type(one))
    )


def _heeds_mode(kind: type[torch.nn.Module]) -> bool:
    """Return whether modules of a class may compute something else in training mode."""
    if not kind.__module__.startswith("torch.nn.modules."):
        return True
    own = kind.__mro__[: kind.__mro__.index(torch.nn.Module)]
    codes = [one.__code__ for base in own for one in vars(base).values() if isfunction(one)]
    return any("training" in code.co_names for code in codes)


def _are_probabilities(logits: Tensor) -> bool:
    """Return whether logits (B, K, h, w) are rather what a softmax or a sigmoid makes of them."""
    low, high = float(logits.min()), float(logits.max())
    if low < 0 or high > 1:
        return False
    adds_up = bool((logits.sum(1) - 1).abs().max() < 1e-3)
    # ReLU gives zeros, too, and cosines with texts stay below 0.5; what a sigmoid gives is above 0
    # everywhere, or has reached both ends.
    sigmoid = (low > 0 and high > 0.5) or (low < 0.01 and high > 0.99)
    return adds_up or _is_one_channel(logits) or sigmoid


def _is_one_channel(logits: Tensor) -> bool:
    """Return whether logits (B, K, h, w) are rather those of a head of one channel, see `wrap`."""
    return logits.shape[1] == 2 and not bool(logits[:, 0].any())
