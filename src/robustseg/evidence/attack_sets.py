"""Sets of attacks: a suite at one budget of iterations, what it leaves and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from robustseg import intervals
from robustseg.evidence.numbers import Number, bounds, mean_number, number
from robustseg.evidence.runs import Runs, Selection
from robustseg.evidence.wording import percent, radius

if TYPE_CHECKING:
    from robustseg.evidence.queries import Evidence


def check_seeds(runs: Runs, model: str, eps_255: float) -> None:
    """Refuse suites on a model at a radius that were run with different attack seeds.

    Raises:
        RobustsegError: there are some.
    """
    by_suite = {
        suite: sorted({run.seed for run in runs.find(model=model, eps_255=eps_255, suite=suite)})
        for suite in runs.suites(model, eps_255)
    }
    (first, wanted), *others = by_suite.items()
    for suite, seeds in others:
        if seeds != wanted:
            raise runs.refusal(
                f"compares suites with the same attack seeds, and reads {wanted} of {first} and "
                f"{seeds} of {suite} on {model} at {radius(eps_255)}"
            )


def sets_at(runs: Runs, model: str, eps_255: float) -> list[Selection]:
    """Return each suite at each of its budgets, ascending, in the order of the configuration.

    The clean image is a candidate of each, the last of equals.

    Raises:
        RobustsegError: suites that were run with different attack seeds.
    """
    check_seeds(runs, model, eps_255)
    clean = runs.clean(model)
    sets = []
    for suite in runs.suites(model, eps_255):
        found = runs.find(model=model, eps_255=eps_255, suite=suite)
        for budget in sorted({run.iterations for run in found}):
            chosen = (run for run in found if run.iterations == budget)
            sets.append(Selection(f"{suite}/{budget}", (*chosen, clean), eps_255))
    return sets


def reference(sets: Sequence[Selection]) -> Selection:
    """Return what sets are compared with: the first suite at its largest budget."""
    first = sets[0].runs[0].suite
    return [one for one in sets if one.runs[0].suite == first][-1]


def acc_and_passes(evidence: Evidence, selection: Selection) -> list[Number]:
    """Return ACC, passes and, but for the reference, how far ACC is from that of the reference.

    Each is the mean over attack seeds of the worst case over the runs of one. Passes are forward
    and backward ones of an image, as they were counted: where no pixel is left to attack, there
    are none. Images are paired in the interval of the difference.
    """
    from robustseg.evidence.queries import mean_image_accuracy

    *attacks, clean = selection.runs
    seeds = len({run.seed for run in attacks})
    images = evidence.images(clean)
    spent = sum(evidence.passes(attacks)) / seeds + sum(evidence.passes([clean]))
    accuracy = mean_image_accuracy(evidence.worst_by_seed(selection.runs))
    found = [
        mean_number(evidence, selection, "acc", accuracy),
        number(evidence, selection, "passes", spent / images, images=images),
    ]
    first = attacks[0]
    other = reference(sets_at(evidence.runs(first.training_seed), first.model, first.eps_255))
    if selection.attack != other.attack:
        gap = accuracy - mean_image_accuracy(evidence.worst_by_seed(other.runs))
        ends = bounds(intervals.of_difference(gap))
        value = percent(float(gap.mean()))
        found.append(number(evidence, selection, "acc_difference", value, images=len(gap), **ends))
    return found
