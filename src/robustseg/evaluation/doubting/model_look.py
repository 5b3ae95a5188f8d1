"""What is seen of a model and its gradients before it is attacked."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from robustseg.attacks.attacked_model import Model
from robustseg.attacks.gradient_checks import GradientLook, look_at_gradients
from robustseg.attacks.outcomes import Batch
from robustseg.attacks.projection import random_start
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
        gradients: of some images, the worst of each as it is, at a random point of its ball, and
            where an attack ended: they may be in order on the clean image, and nowhere that an
            attack goes.
        noted: what hides gradients or is random in a forward pass of such a point.
        clean: by image id, how many pixels are labelled, and right.
        pass_s: seconds of a forward and backward pass of one image, about.
    """

    signs: WarningSigns
    gradients: GradientLook
    noted: StraightThrough
    clean: Mapping[str, tuple[int, int]]
    pass_s: float

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
    def lowest_agreement(self) -> float:
        """Of gradients and differences, that of the worst image."""
        return float(self.gradients.agreement.nan_to_num(torch.inf).min())

    @property
    def agrees(self) -> bool:
        """Whether gradients agree with differences, as far as there are any."""
        return np.isnan(self.agreement) or not (
            CHECKS["finite_differences"].fails(self.agreement)
            or CHECKS["every_image"].fails(self.lowest_agreement)
        )

    @property
    def is_trusted(self) -> bool:
        """Whether the model's own gradients look as they should."""
        gone = CHECKS["zero_gradients"].fails(percent(_mean(self.gradients.zeros)))
        return self.has_gradients and self.agrees and not gone

    def look_again(self, model: Model, ended: Iterable[Batch]) -> None:
        """Look at gradients where an attack ended: its images (B, C, H, W), labels and ids.

        Pixels that are right there are the most certain ones: how many are says nothing.
        """
        looks: list[GradientLook] = []
        left = GRADIENT_IMAGES
        for images, labels, ids in ended:
            looks.append(look_at_gradients(model, images[:left], labels[:left], ids[:left]))
            if not self.noted.hidden:
                self.noted = hiding(model, images[:1])
            left -= len(ids)
            if left <= 0:
                break
        there = replace(_joined(looks), saturated=self.gradients.saturated)
        self.gradients = self.gradients.or_worse(there)

    def findings(self, model: Model) -> list[Finding]:
        """Return what the checks of the model and its gradients found."""
        signs, gradients, noted = self.signs, self.gradients, self.noted
        zeros, broken = percent(_mean(gradients.zeros)), percent(_mean(gradients.not_finite))
        label, guess, right = signs.commonest
        hides = f"hidden by {', '.join(noted.hidden)}" if noted.hidden else ""
        if noted.nearest and not hides:
            hides = "an image is resized to the nearest pixel, and others are not looked at"
        draws = f"draws at random: {', '.join(noted.random)}" if noted.random else ""
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
            *self._of_agreement(),
        ]

    def _of_agreement(self) -> list[Finding]:
        """Return how gradients agree with differences: in most images and, if so, in each."""
        most, every = "finite_differences", "every_image"
        if np.isnan(self.agreement):
            return [
                not_run(one, "neither the gradient nor the model changes") for one in (most, every)
            ]
        if CHECKS[most].fails(self.agreement):
            return [
                self._judged(most, self.agreement),
                not_run(every, "it does not in most of them"),
            ]
        return [self._judged(most, self.agreement), self._judged(every, self.lowest_agreement)]

    def _judged(self, check: str, agreement: float) -> Finding:
        gone = CHECKS["zero_gradients"].fails(percent(_mean(self.gradients.zeros)))
        shattered = CHECKS[check].fails(agreement) and not gone
        note = "shattered, or the gradient of another function" if shattered else ""
        return judged(check, agreement, note)


def look(model: Model, batches: Sequence[Batch], eps_255: float) -> Seen:
    """Look at a model without attacking it: images and labels as for `run_attack`."""
    moved = partial(random_start, epsilon=eps_255 / 255)
    signs = WarningSigns(model, [eps_255])
    clean: dict[str, tuple[int, int]] = {}
    looks: list[GradientLook] = []
    left, took_s = GRADIENT_IMAGES, 0.0
    for images, labels, ids in on_device(batches, model):
        counts = signs.look((images, labels, ids)).counts
        both = zip(counts.pixels.tolist(), counts.pixels_correct.tolist(), strict=True)
        clean |= zip(ids, both, strict=True)
        if left > 0:
            started = time.monotonic()
            some = labels[:left], ids[:left]
            at_image = look_at_gradients(model, images[:left], *some)
            nearby = moved(images[:left], image_ids=ids[:left])
            looks.append(at_image.or_worse(look_at_gradients(model, nearby, *some)))
            took_s += time.monotonic() - started
            left -= len(ids)
    images, _, ids = next(iter(on_device(batches, model)))
    first = moved(images[:1], image_ids=ids[:1])
    gradients = _joined(looks)
    pass_s = took_s / PASSES_OF_A_LOOK / len(gradients.zeros)
    return Seen(signs, gradients, hiding(model, first), clean, pass_s)


PASSES_OF_A_LOOK = 26
"""What two of `look_at_gradients` take, in forward and backward passes: 34 of 35 of each are
forward alone."""


def _joined(looks: Sequence[GradientLook]) -> GradientLook:
    """Return what was seen of batches, of all their images."""
    return GradientLook(
        *(torch.cat([getattr(one, field.name) for one in looks]) for field in fields(GradientLook))
    )


def _mean(values: Tensor) -> float:
    return float(values.double().mean())
