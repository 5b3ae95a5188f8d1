"""What a second opinion found of one robustness figure, and the verdict that follows from it.

Findings are made by `evaluation.doubt` and kept in the metadata of its evidence, where tables and
pages read them. Imports nothing slow.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite, nan
from typing import Any

from robustseg.attacks import tolerances
from robustseg.evidence.wording import printed
from robustseg.names import amount

SUITE = "doubt"
"""The suite of a second opinion's evidence."""

FINDINGS_KEY = "findings"
"""Of the metadata of evidence: findings by radius, as JSON."""

PASSED, FAILED, NOTED, NOT_RUN = "passed", "failed", "noted", "not run"

POINTS = 2.0
"""Threshold of every check that is an attack: percentage points of accuracy that it finds less.
Derived in docs/doubt.md from models where the truth is known."""


@dataclass(frozen=True)
class Check:
    """One thing that is looked at.

    Attributes:
        part: "model", "gradients", "attack" or "figure": what would be wrong.
        asks: the question, in words.
        unit: of its figure; none if it is yes or no.
        threshold: beyond which it fails.
        fails_below: whether small figures are the bad ones.
        advice: what to do if it fails.
        misleads: whether failing it means that robustness may be overestimated; otherwise it is
            noted and changes no verdict.
    """

    part: str
    asks: str
    unit: str
    threshold: float
    advice: str
    fails_below: bool = False
    misleads: bool = True

    @property
    def limit(self) -> str:
        """The threshold in words."""
        return f"at {'least' if self.fails_below else 'most'} {self.threshold:g}"

    def fails(self, figure: float) -> bool:
        """Return whether a figure is beyond the threshold; one that is not finite is."""
        if not isfinite(figure):
            return True
        return figure < self.threshold if self.fails_below else figure > self.threshold


def _lower(asks: str, advice: str) -> Check:
    """Return a check that is an attack, whose figure is what it finds less."""
    return Check("attack", asks, "points less", POINTS, advice)


CHECKS: dict[str, Check] = {
    "eval_mode": Check(
        "model", "Is the model in eval mode?", "modules in training mode", 0,
        "call eval() on the module that the function runs, or pass the module itself",
        misleads=False,  # where it matters, two passes differ, or an image depends on its batch
    ),
    "deterministic": Check(
        "model", "Do two passes over the same images agree?",
        "times the lead of the best class between two passes", tolerances.REPEATS,
        "switch off what is random or kept from pass to pass, or attack and report the expectation "
        "over draws",
    ),
    "alone": Check(
        "model", "Are an image's logits independent of its batch?",
        "times the lead of the best class between an image alone and in its batch",
        tolerances.ALONE,
        "BatchNorm must use its running statistics: call eval()",
    ),
    "logits": Check(
        "model", "Does the model return logits?", "(1: probabilities, 0: logits)", 0,
        "pass the scores before softmax, sigmoid or argmax",
    ),
    "clean_score": Check(
        "model", "Is it better than always saying the commonest class?",
        "points above always saying the commonest class", 0, tolerances.CHECK_SET_UP,
        fails_below=True,
    ),
    "finite_gradients": Check(
        "gradients", "Are all gradients finite?", "% of the gradient's values are not finite", 0,
        "fix the operation whose derivative is infinite (a root or logarithm at 0, a division)",
    ),
    "zero_gradients": Check(
        "gradients", "Is the gradient there at every pixel?", "% of the gradient's values are 0",
        100 * tolerances.ZEROS,
        "attack a copy without what hides the gradient, and count on the model itself",
    ),
    "saturated": Check(
        "gradients", "Are the scores of right pixels below certainty?",
        "% of the right pixels have probability 1", 100 * tolerances.SATURATED,
        "add losses that scale the logits, like js@10 (suite sea_plus)",
    ),
    "finite_differences": Check(
        "gradients", "Does the gradient agree with differences along random directions?",
        "agreement (1: the same slopes, 0: unrelated)", 0.75,
        "attack a surrogate (straight-through, or an average over shifted images), and count on "
        "the model itself",
        fails_below=True,
    ),
    "every_image": Check(
        "gradients", "Does the gradient agree with differences in every image?",
        "agreement in the worst image", 0.5,
        "find what the model does otherwise in some images, and attack a surrogate without it",
        fails_below=True,
    ),
    "random_corners": _lower(
        "Does random noise at the radius find more?",
        "the attack does worse than chance: fix the gradients before you quote a figure",
    ),
    "logit_scale": _lower(
        "Does an attack on scaled logits find more?",
        "report the image-wise worst case over scales, or use suite sea_plus, which scales",
    ),
    "more_iterations": _lower(
        "Do twice the iterations find more?", "use more iterations, until they gain nothing",
    ),
    "other_seed": _lower(
        "Does another random start find more?",
        "report the worst case over several seeds, or use more iterations",
    ),
    "square_from_attack": _lower(
        "Does a search without gradients find more, from where the attack ended?",
        "the gradients mislead: add suite blackbox to the evaluation",
    ),
    "transfer": _lower(
        "Does an attack on another model find more?",
        "the model's own gradients mislead: add transfer attacks to the evaluation",
    ),
    "straight_through": _lower(
        "Does an attack through what hides the gradient find more?",
        "report the attack on the surrogate, counted on the model itself",
    ),
    "averaged_gradients": _lower(
        "Does an attack on the average over shifted images find more?",
        "report the attack on the average, counted on the model itself",
    ),
    "expectation": _lower(
        "Does an attack on the expectation over draws find more?",
        "report the expectation over draws, attacked as such",
    ),
    "rounded_to_8_bits": Check(
        "attack", "Does the attack survive as an image file of 8 bits?",
        "points more after rounding", 2.0,
        "say that the figure is of perturbations that no image file can hold", misleads=False,
    ),
    "radius_and_box": Check(
        "figure", "Is every perturbation inside the radius?", "/255 outside the radius", 1e-3,
        "the evidence is not of this code: run the attack again",
    ),
    "unbounded": Check(
        "figure", "Does an attack without a radius break what can be broken?",
        "points more are left than by another image in its place", 10,
        "the attack fails where nothing should withstand it: the gradients mislead",
    ),
    "falls_with_radius": Check(
        "figure", "Does accuracy fall as the radius grows?",
        "points up from one radius to a larger one", 0.5,
        "an attack at the larger radius is too weak: use more iterations",
    ),
    "below_clean": Check(
        "figure", "Is accuracy under each attack below that without?",
        "points above the clean score", 100 * tolerances.BETTER,
        "an attack that makes images better does not work: look at its loss and at the gradients",
    ),
}  # fmt: skip
"""By name, in the order in which they are shown."""


GRADIENTS = ("finite_gradients", "zero_gradients", "finite_differences", "every_image")
"""Checks that fail where an attack cannot follow gradients."""
SURROGATES = ("transfer", "straight_through", "averaged_gradients", "expectation")
"""Checks whose attacks follow those of something else."""


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: one of CHECKS.
        status: PASSED, FAILED, NOTED (a figure beyond its threshold that misleads nobody about
            robustness) or NOT_RUN.
        figure: in the check's unit; None if it was not run.
        note: what is known besides: what hides the gradient, or why it was not run.
    """

    check: str
    status: str
    figure: float | None = None
    note: str = ""

    def __str__(self) -> str:
        about = CHECKS[self.check]
        figure = "" if self.figure is None else f"{self.measured} ({about.limit})"
        return f"{self.status:8} {self.check:19} {', '.join(filter(None, (figure, self.note)))}"

    @property
    def measured(self) -> str:
        """The figure with its unit, or nothing."""
        return "" if self.figure is None else f"{shown(self.figure)} {CHECKS[self.check].unit}"


def judged(check: str, figure: float, note: str = "") -> Finding:
    """Return a finding whose status follows from its figure."""
    about = CHECKS[check]
    bad = FAILED if about.misleads else NOTED
    kept = float(figure) if isfinite(figure) else None
    return Finding(check, bad if about.fails(figure) else PASSED, kept, note)


def not_run(check: str, why: str) -> Finding:
    """Return the finding of a check that had nothing to look at."""
    return Finding(check, NOT_RUN, None, why)


SOUND, DOUBTFUL, TOO_HIGH = "no sign", "may be too high", "too high"
"""What a figure is."""


def verdict_of(rating: str, points: float) -> str:
    """Return a rating in a few words; `points`: by how many the figure is too high at least."""
    if rating == SOUND:
        return "no sign of overestimation"
    if rating == TOO_HIGH:
        return f"overestimated by at least {printed(points)} points"
    return "may be overestimated, by an amount that no attack here could tell"


@dataclass(frozen=True)
class Opinion:
    """All findings on one figure: a model at one radius.

    Attributes:
        eps_255: the radius in 1/255.
        images: how many it was looked at on.
        acc: the figure on these images, the worst case of the evidence, in percent.
        found: the accuracy that is left when the second opinion's own attacks are candidates too,
            in percent; of a random model the mean over draws.
        findings: of all checks, in the order of CHECKS.
    """

    eps_255: float
    images: int
    acc: float
    found: float
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> list[Finding]:
        """The findings that speak against the figure."""
        return [one for one in self.findings if one.status == FAILED]

    @property
    def points(self) -> float:
        """By how many percentage points the figure is too high at least."""
        return max(self.acc - self.found, 0.0)

    @property
    def rating(self) -> str:
        """SOUND, DOUBTFUL or TOO_HIGH; of a figure of 0 nothing can be too high."""
        if self.points > POINTS:
            return TOO_HIGH
        return DOUBTFUL if self.failed and self.acc > 0 else SOUND

    @property
    def is_blind(self) -> bool:
        """Whether gradients could not be followed, nor those of anything in the model's place."""
        failed = {one.check for one in self.failed}
        return bool(failed & set(GRADIENTS)) and not failed & set(SURROGATES)

    @property
    def verdict(self) -> str:
        """The verdict in a few words."""
        return verdict_of(self.rating, self.points)

    def __str__(self) -> str:
        lines = [
            f"at {self.eps_255:g}/255: {self.verdict}.",
            f"On {amount(self.images, 'image')} the run leaves {printed(self.acc)} % of the pixels "
            f"right, and with the attacks of this second opinion {printed(self.found)} % are left.",
        ]
        if self.is_blind:
            lines.append(
                "Its gradients could not be followed, so that the amount may be far larger. An "
                "attack on another model of the task may tell, best on the same network without "
                "what hides them: robustseg doubt --source, or sources=..."
            )
        for one in self.findings:
            lines.append(f"  {one}")
            if one.status in (FAILED, NOTED):
                lines.append(f"{'':11}-> {CHECKS[one.check].advice}")
        return "\n".join(lines)


def to_text(opinions: Iterable[Opinion]) -> str:
    """Return opinions as evidence keeps them."""
    return json.dumps([asdict(one) for one in opinions], allow_nan=False)


def from_text(text: str) -> list[Opinion]:
    """Return opinions as they were kept, their figures judged by the thresholds of this code.

    Raises:
        ValueError, KeyError, TypeError: a text that `to_text` has not written, or whose checks this
            code does not know.
    """
    return [_opinion(one) for one in json.loads(text)]


def _opinion(said: Mapping[str, Any]) -> Opinion:
    findings: Sequence[Mapping[str, Any]] = said["findings"]
    return Opinion(**{**said, "findings": tuple(_finding(**one) for one in findings)})


def _finding(check: str, status: str, figure: float | None, note: str) -> Finding:
    if status == NOT_RUN and check in CHECKS:
        return not_run(check, note)
    return judged(check, nan if figure is None else figure, note)


def shown(figure: float) -> str:
    """Return a figure with what matters of it."""
    return f"{figure:z.2g}" if abs(figure) < 0.95 else f"{figure:.1f}".removesuffix(".0")
