"""The attacks of a second opinion, each a check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustseg.attacks.attacked_model import Model
from robustseg.attacks.corners import random_corners
from robustseg.attacks.outcomes import (
    Attack,
    Batch,
    Outcome,
    attack_and_count,
    outcome_of,
    transfer_and_count,
)
from robustseg.attacks.run import AttackResult
from robustseg.attacks.spec import UNBOUNDED_255, AttackSpec, SquareSpec
from robustseg.attacks.square import square
from robustseg.attacks.surrogates import (
    AveragedModel,
    LevelledModel,
    ScaledModel,
    StraightThroughModel,
)
from robustseg.errors import FullGpuError, GradientError, RobustsegError, UnwritableError
from robustseg.evaluation.doubting.figure import Figure
from robustseg.evaluation.doubting.model_look import Seen
from robustseg.evaluation.over_batches import EvidenceRow, Planned, on_device, rows_of_batches
from robustseg.evaluation.resume import FinishedParts
from robustseg.evidence import enumerator
from robustseg.evidence.enumerator import DOUBT, LOGIT_FACTORS, attack_in_words
from robustseg.evidence.findings import SUITE, Finding, judged, not_run
from robustseg.evidence.wording import percent, printed
from robustseg.metrics import image_accuracy
from robustseg.progress import Progress
from robustseg.seeds import derive_seed

MARGIN = 10.0
"""To which logits are scaled in every pass for JS, where the run's losses do not scale them."""
DRAWS = 8
"""Passes that an attack on a random model averages over."""
SHIFTS = 32
"""Shifted images that an attack on shattered gradients averages over."""
NOISE_255 = 1.0
"""Half the width of the noise that gradients are averaged over."""
SMALL_SQUARES = 0.05
"""p of the Square attack where it begins at what another attack has found."""
PROBE_POINTS = 0.5
"""By how much a short attack on scaled logits must be ahead for a long one to follow."""


@dataclass
class Doubter:
    """Runs the checks of one figure that are attacks.

    Args:
        model: as for `run_attack`.
        batches: the images that it is doubted on.
        figure: what is doubted.
        seen: of the model.
        identity: `dataset`, `model` and `training_seed` of the rows.
        class_pixels: see `run_attack`.
        kept: where finished parts are kept.
        progress: is told what each check found.

    Attributes:
        rows: evidence of each check.
        failures: of checks whose attack the model refused, the sentence.
        broken: whether its gradients were among the reasons.
        base: (N,) accuracy of the images, of the figure.
        any_exchanged: whether two images are of one size, so that one can take the other's place.
    """

    model: Model
    batches: Sequence[Batch]
    figure: Figure
    seen: Seen
    identity: Mapping[str, str | int]
    class_pixels: Sequence[int] | None
    kept: FinishedParts | None
    progress: Progress | None
    rows: dict[str, list[EvidenceRow]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    broken: bool = False
    _iterates: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ids = [one for _, _, ids in self.batches for one in ids]
        self.base = self._accuracy(self.figure.worst)
        sizes = [tuple(one.shape) for _, labels, _ in self.batches for one in labels]
        self.any_exchanged = len(set(sizes)) < len(sizes)

    def run(self, check: str, words: enumerator.Attack, attack: Attack) -> None:
        """Run one attack on all images; what the model or its gradients refuse is kept as said."""
        shared: EvidenceRow = {
            **self.identity,
            "suite": SUITE,
            **words._asdict(),
            "eps_255": self.figure.eps_255,
            "seed": self.figure.seed,
        }
        seeded = partial(_seeded, attack)
        try:
            found = rows_of_batches(
                [Planned(shared, seeded)], self.model, self.batches, len(self.batches), self.kept
            )
        except (UnwritableError, FullGpuError):  # says nothing of the model
            raise
        except RobustsegError as error:
            self.failures[check] = str(error)
            self.broken = self.broken or isinstance(error, GradientError)
            return
        self.rows.setdefault(check, []).extend(found)
        if self.progress:
            self.progress.say(f"{words.attack.removeprefix(DOUBT)}: {self._said(found)}")

    def _said(self, rows: Sequence[EvidenceRow]) -> str:
        return f"leaves {printed(percent(float(self.accuracy(rows).mean())))} % right"

    def of_spec(
        self, check: str, spec: AttackSpec, source: Model | None = None, name: str = ""
    ) -> None:
        """Run an attack on the model, or on a source, counted on the model."""
        words = attack_in_words(spec, f"{DOUBT}{check}-{name}")
        attack = partial(
            transfer_and_count,
            self.model if source is None else source,
            self.model,
            spec,
            self.figure.eps_255,
            self.figure.seed,
            class_pixels=self.class_pixels,
        )
        self.run(check, words, attack)

    # What the checks have found.

    def points(self, check: str) -> float:
        """Return by how many points of accuracy a check's attacks go below the figure.

        Of a random model means are compared, since the lowest of several draws of one image would
        be a matter of chance.
        """
        found = [self.accuracy(some) for some in _by_attack(self.rows[check])]
        if self.seen.is_random:
            return percent(float(self.base.mean() - min(one.mean() for one in found)))
        return percent(float(self.base.mean() - np.min([self.base, *found], axis=0).mean()))

    def finding(self, check: str, otherwise: str, note: str = "") -> Finding:
        """Return what an attack found; `otherwise` says why it was not run, if it was not."""
        if check in self.rows:
            return judged(check, max(self.points(check), 0.0), note)
        return not_run(check, self.failures.get(check, otherwise))

    def found(self) -> float:
        """Return the accuracy that is left over all attacks, in percent."""
        checks = [check for check in self.rows if check not in ASIDE]
        lower = [some for check in checks for some in _by_attack(self.rows[check])]
        accuracy = [self.base, *(self.accuracy(some) for some in lower)]
        if self.seen.is_random:
            return percent(float(min(one.mean() for one in accuracy)))
        return percent(float(np.min(accuracy, axis=0).mean()))

    def accuracy(self, rows: Sequence[EvidenceRow]) -> NDArray[np.float64]:
        """Return the accuracy (N,) of the images under one attack."""
        return self._accuracy({row["image_id"]: row["pixels_correct"] for row in rows})

    def _accuracy(self, right: Mapping[str, int]) -> NDArray[np.float64]:
        pixels = np.array([self.figure.clean[one][0] for one in self.ids])
        return image_accuracy(pixels, np.array([right[one] for one in self.ids]))

    # The attacks.

    def everything(self, sources: Mapping[str, Model]) -> None:
        """Run all attacks that have something to tell of this model."""
        figure, seen, spec = self.figure, self.seen, self.figure.strongest
        budget = spec.iterations
        words = enumerator.random_corners_of(budget)
        draws = words.iterations
        self.run("random_corners", words, partial(self._corners, draws))
        if seen.has_gradients:
            words = attack_in_words(spec, f"{DOUBT}other_seed-")
            self.run("other_seed", words, self._other_seed)
            if "other_seed" in self.rows:
                seen.look_again(self.model, self._ended())
            self.of_spec("more_iterations", replace(spec, iterations=2 * budget))
            self._scales(spec)
            if self.any_exchanged:
                short = AttackSpec(spec.member, "apgd", "constant", enumerator.unbounded_of(budget))
                words = attack_in_words(short, f"{DOUBT}unbounded-")
                self.run("unbounded", words, partial(self._unbounded, short))
        if "other_seed" in self.rows and figure.eps_255 >= 1:
            words = attack_in_words(spec, f"{DOUBT}rounded_to_8_bits-")
            self.run("rounded_to_8_bits", words, self._rounded)
        search = SquareSpec(draws, SMALL_SQUARES)
        words = attack_in_words(search, f"{DOUBT}square_from_attack-")
        self.run("square_from_attack", words, partial(self._square, search))
        for name, source in sources.items():
            self.of_spec("transfer", spec, source, f"{name}-")
        if seen.noted.hidden and not seen.is_trusted:
            self.of_spec("straight_through", spec, StraightThroughModel(self.model))
        if seen.has_gradients and not seen.is_random and not seen.agrees:
            averaged = AveragedModel(self.model, SHIFTS, NOISE_255 / 255)
            few = replace(spec, iterations=max(budget // 4, 3))
            self.of_spec("averaged_gradients", few, averaged, f"{SHIFTS}-")
        if seen.is_random:
            fewer = replace(spec, iterations=max(budget // 2, 3))
            self.of_spec("expectation", fewer, AveragedModel(self.model, DRAWS), f"{DRAWS}-")

    def _scales(self, spec: AttackSpec) -> None:
        """Attack scaled logits for a short while, and for long the scale that is ahead, if any."""
        short = replace(spec, iterations=enumerator.short_of(spec.iterations))
        probes: dict[str, tuple[AttackSpec, Model]] = {"1": (short, self.model)}
        unscaled = spec.member.split("@")[0] if spec.margin else "js"
        levelled = LevelledModel(self.model, spec.margin or MARGIN)
        probes["margin"] = replace(short, member=unscaled), levelled
        for factor in LOGIT_FACTORS:
            if spec.margin is not None:  # which takes any factor away
                other = f"{unscaled}@{spec.margin * factor:g}"
                probes[f"{factor:g}"] = replace(short, member=other), self.model
            else:
                probes[f"{factor:g}"] = short, ScaledModel(self.model, factor)
        left: dict[str, float] = {}
        for name, (attack, source) in probes.items():
            before = len(self.rows.get("logit_scale", []))
            self.of_spec("logit_scale", attack, source, f"{name}-")
            rows = self.rows.get("logit_scale", [])[before:]
            left[name] = percent(float(self.accuracy(rows).mean())) if rows else np.inf
        best = min(left, key=lambda name: left[name])
        is_short = short.iterations < spec.iterations
        if is_short and left[best] < left["1"] - PROBE_POINTS:
            attack, source = probes[best]
            long = replace(attack, iterations=spec.iterations)
            self.of_spec("logit_scale", long, source, f"{best}-")

    def _corners(self, draws: int, batch: Batch) -> Outcome:
        figure = self.figure
        found = random_corners(self.model, *batch, draws, figure.eps_255, figure.seed)
        return outcome_of(self.model, found, figure.eps_255, batch)

    def _other_seed(self, batch: Batch) -> Outcome:
        figure = self.figure
        outcome = attack_and_count(
            self.model, figure.strongest, figure.eps_255, figure.seed + 1, batch, self.class_pixels
        )
        assert outcome.adversarial is not None
        self._iterates |= zip(batch[2], outcome.adversarial.cpu(), strict=True)
        return outcome

    def _ended(self) -> Iterator[Batch]:
        """Yield the batches with what the attack from another seed ended at in their images."""
        for batch in on_device(self.batches, self.model):
            start = self._start(batch)
            assert start is not None
            yield start, *batch[1:]

    def _start(self, batch: Batch) -> Tensor | None:
        """Return what the attack from another seed ended at; None without such an attack."""
        if "other_seed" not in self.rows:
            return None
        if batch[2][0] not in self._iterates:  # the attack was kept, and not what it found
            _seeded(self._other_seed, batch)
        return torch.stack([self._iterates[one] for one in batch[2]]).to(batch[0].device)

    def _rounded(self, batch: Batch) -> Outcome:
        """Round what was found to 8 bits, without leaving the radius."""
        start, eps_255 = self._start(batch), self.figure.eps_255
        assert start is not None
        lower = (batch[0] * 255 - eps_255).clamp(min=0).ceil()
        upper = (batch[0] * 255 + eps_255).clamp(max=255).floor()
        rounded = torch.minimum(torch.maximum(start.mul(255).round(), lower), upper)
        none = torch.zeros(len(start), dtype=torch.int64, device="cpu")
        unknown = torch.full_like(none, torch.nan, dtype=torch.float64)
        found = AttackResult(rounded / 255, none, none, unknown)
        return outcome_of(self.model, found, eps_255, batch)

    def _square(self, search: SquareSpec, batch: Batch) -> Outcome:
        figure, start = self.figure, self._start(batch)
        found = square(self.model, *batch, search, figure.eps_255, figure.seed, start)
        return outcome_of(self.model, found, figure.eps_255, batch)

    def _unbounded(self, spec: AttackSpec, batch: Batch) -> Outcome:
        seed, pixels = self.figure.seed, self.class_pixels
        return attack_and_count(self.model, spec, UNBOUNDED_255, seed, batch, pixels)


ASIDE = ("unbounded", "rounded_to_8_bits")
"""Checks whose attacks are no candidates for the worst case: another radius, or a weaker copy."""


def _seeded(attack: Attack, batch: Batch) -> Outcome:
    """Run an attack on a random model with draws that follow from the images."""
    device = batch[0].device
    with torch.random.fork_rng([device] if batch[0].is_cuda else []):
        torch.manual_seed(derive_seed("doubt", *batch[2]) % 2**63)
        return attack(batch)


def _by_attack(rows: Sequence[EvidenceRow]) -> list[list[EvidenceRow]]:
    names = dict.fromkeys(row["attack"] for row in rows)
    return [[row for row in rows if row["attack"] == name] for name in names]
