"""What is seen of a model and its gradients before it is attacked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from robustseg.attacks.attacked_model import Model
from robustseg.attacks.gradient_checks import GradientLook, look_at_gradients
from robustseg.attacks.outcomes import Batch
from robustseg.attacks.surrogates import StraightThrough, hiding
from robustseg.attacks.warning_signs import WarningSigns, in_train_mode
from robustseg.evaluation.over_batches import on_device
from robustseg.evidence.findings import CHECKS, Finding, judged, not_run
from robustseg.evidence.wording import percent

GRADIENT_IMAGES = 8
"""Whose gradients are looked at."""


@dataclass
class Seen:
    """What was seen of a model before it is attacked.

    Attributes:
        signs: of the clean images.
        gradients: of some images.
        noted: what in a forward pass hides gradients or is random.
    """

    signs: WarningSigns
    gradients: GradientLook
    noted: StraightThrough

    @property
    def is_random(self) -> bool:
        """Whether two passes differ."""
        return CHECKS["deterministic"].fails(self.signs.apart["again"])

    @property
    def has_gradients(self) -> bool:
        """Whether an attack can follow the model's own gradients at all."""
        zeros, broken = self.gradients.zeros, self.gradients.not_finite
        return bool((zeros < 1).all()) and not bool(broken.any())

    @property
    def agreement(self) -> float:
        """Of gradients and differences, the median over images."""
        return float(self.gradients.agreement.nanmedian())

    @property
    def agrees(self) -> bool:
        """Whether gradients agree with differences, as far as there are any."""
        return np.isnan(self.agreement) or not CHECKS["finite_differences"].fails(self.agreement)

    @property
    def is_trusted(self) -> bool:
        """Whether the model's own gradients look as they should."""
        gone = CHECKS["zero_gradients"].fails(percent(_mean(self.gradients.zeros)))
        return self.has_gradients and self.agrees and not gone

    def findings(self, model: Model) -> list[Finding]:
        """Return what the checks of the model and its gradients found."""
        signs, gradients, noted = self.signs, self.gradients, self.noted
        zeros, broken = percent(_mean(gradients.zeros)), percent(_mean(gradients.not_finite))
        label, guess, right = signs.commonest
        hides = f"hidden by {', '.join(noted.hidden)}" if noted.hidden else ""
        if noted.nearest and not hides:
            hides = "an image is resized to the nearest pixel, and others are not looked at"
        draws = f"draws at random: {', '.join(noted.random)}" if noted.random else ""
        agreement = (
            not_run("finite_differences", "neither the gradient nor the model changes")
            if np.isnan(self.agreement)
            else judged("finite_differences", self.agreement, self._shattered())
        )
        saturated = percent(float(gradients.saturated.nanmean()))  # NaN if nothing is right
        return [
            judged("eval_mode", len(in_train_mode(model))),
            judged("deterministic", signs.apart["again"], draws if self.is_random else ""),
            judged("alone", signs.apart["alone"])
            if not self.is_random
            else not_run("alone", "two passes differ in any case"),
            judged("logits", float(signs.probabilities)),
            judged("clean_score", percent(right - guess), f"the commonest is class {label}"),
            judged("finite_gradients", broken),
            judged("zero_gradients", zeros, hides if CHECKS["zero_gradients"].fails(zeros) else ""),
            judged("saturated", 0.0 if np.isnan(saturated) else saturated),
            agreement,
        ]

    def _shattered(self) -> str:
        """Return what a gradient is that is there and does not agree with differences."""
        if self.agrees or CHECKS["zero_gradients"].fails(percent(_mean(self.gradients.zeros))):
            return ""
        return "shattered, or the gradient of another function"


def look(model: Model, batches: Sequence[Batch], eps_255: float) -> Seen:
    """Look at a model without attacking it: images and labels as for `run_attack`."""
    signs = WarningSigns(model, [eps_255])
    looks: list[GradientLook] = []
    left = GRADIENT_IMAGES
    for images, labels, ids in on_device(batches, model):
        signs.look((images, labels, ids))
        if left > 0:
            looks.append(look_at_gradients(model, images[:left], labels[:left], ids[:left]))
            left -= len(ids)
    first = next(iter(on_device(batches, model)))[0][:1]
    together = (torch.cat([getattr(one, name) for one in looks]) for name in LOOKED_AT)
    return Seen(signs, GradientLook(*together), hiding(model, first))


LOOKED_AT = tuple(field.name for field in fields(GradientLook))


def _mean(values: Tensor) -> float:
    return float(values.double().mean())
