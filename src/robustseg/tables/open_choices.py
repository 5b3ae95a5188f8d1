"""The table `open_choices`: what the paper leaves open about APGD, measured; not in the paper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from robustseg.attacks.spec import CHOICES, DEFAULT_CHOICE, SCHEDULES
from robustseg.evidence.numbers import Number, Sources, evidence_in, number
from robustseg.evidence.runs import Run, Runs, Selection
from robustseg.evidence.wording import listed, member_label, percent, radius, signed
from robustseg.exhibits import ITERATIONS_SPENT
from robustseg.numbers_shown import Numbers
from robustseg.tables.layout import Cell, Group, Layout, Row
from robustseg.tables.table import Table, best, cell

if TYPE_CHECKING:
    from robustseg.evidence.queries import Evidence

SIZES = ("acc_difference", "difference_error")
"""Metrics that are 0 where a choice changes nothing."""

OVER_ALL = "/all"
"""Ends the name of an attack over all models and radii."""


def select(runs: Runs) -> Iterator[Selection]:
    """Yield each attack with a choice that is not the default at each radius, then over all.

    Its runs are pairs: with the default, with the choice.
    """
    chosen = {}
    for model in runs.models():
        for eps_255 in runs.bounded_radii(model):
            found = runs.find(model=model, eps_255=eps_255)
            chosen[model, eps_255] = [run for run in found if run.choice != DEFAULT_CHOICE]
            if not chosen[model, eps_255]:
                raise runs.refusal(
                    f"reads no attack on {model} at {radius(eps_255)} with another choice than the "
                    "default; name a suite with `choices`"
                )
    for attack in dict.fromkeys(run.attack for found in chosen.values() for run in found):
        every: list[Run] = []
        for (_, eps_255), found in chosen.items():
            pairs = [(_default(runs, run), run) for run in found if run.attack == attack]
            if pairs:
                yield Selection(attack, tuple(run for pair in pairs for run in pair), eps_255)
            every += (run for pair in pairs for run in pair)
        yield Selection(attack + OVER_ALL, tuple(every), 0.0)


def _default(runs: Runs, run: Run) -> Run:
    """Return the run that differs in the choice alone."""
    name = run.attack.removesuffix(f"-{run.choice}")
    return runs.one(model=run.model, eps_255=run.eps_255, seed=run.seed, attack=name)


def measure(sources: Sources, selection: Selection) -> list[Number]:
    """Return ACC with the choice and with the default, their difference, and what it is worth.

    `more_often`: in how many of 100 pairs the choice leaves more.
    """
    evidence = evidence_in(sources)
    pairs = list(zip(selection.runs[::2], selection.runs[1::2], strict=True))
    by_pair = [[_accuracy(evidence, run) for run in pair] for pair in pairs]
    default, chosen = np.array([[one.mean() for one in pair] for pair in by_pair]).T
    gaps: dict[str, list[NDArray[np.float64]]] = {}
    for (run, _), (before, after) in zip(pairs, by_pair, strict=True):
        gaps.setdefault(run.dataset, []).append(after - before)
    values = {
        "acc": chosen.mean(),
        "default_acc": default.mean(),
        "acc_difference": (chosen - default).mean(),
        "difference_error": standard_error(list(gaps.values())),
        "more_often": (chosen > default).mean(),
    }
    images = sum(len(some[0]) for some in gaps.values())
    dataset, model = (
        listed(getattr(run, n) for run in selection.runs) for n in ("dataset", "model")
    )
    found = [
        number(evidence, selection, metric, percent(float(value)), images=images)
        for metric, value in values.items()
        if np.isfinite(value)
    ]
    return [replace(one, dataset=dataset, model=model) for one in found]


def _accuracy(evidence: Evidence, run: Run) -> NDArray[np.float64]:
    from robustseg.evidence.queries import mean_image_accuracy

    return mean_image_accuracy([evidence.outcomes(run)])


def standard_error(gaps: Sequence[Sequence[NDArray[np.float64]]]) -> float:
    """Return the standard error over images of the mean over pairs; NaN of a single image.

    Pairs on one data set share its images, so they are averaged image by image first: the error
    says what other images would change, not what other models or seeds would.

    Args:
        gaps: for each data set its pairs, each one difference an image (N,).
    """
    pairs = sum(map(len, gaps))
    variance = 0.0
    for some in gaps:
        by_image = np.mean(some, axis=0)
        if len(by_image) < 2:
            return float("nan")
        variance += (len(some) / pairs) ** 2 * by_image.var(ddof=1) / len(by_image)
    return float(np.sqrt(variance))


def layout(numbers: Numbers) -> Layout:
    """Lay out a line a model and radius for each attack and choice, and one over all.

    Where no image is the other for a choice, the one over all stands alone.
    """
    groups = []
    for attack in dict.fromkeys(one.attack.removesuffix(OVER_ALL) for one in numbers.entries):
        found = numbers.find(attack, attack + OVER_ALL)
        places = dict.fromkeys((one.attack, one.model, one.eps_255) for one in found)
        rows = [_row(numbers, *place) for place in places]
        if all(not one.value for one in found if one.metric in SIZES):
            rows = rows[-1:]
        groups.append(Group(_title(found[0].runs[1]), tuple(rows)))
    return Layout(
        "What the paper leaves open",
        "ACC under the same attack, from the same random starts, as robustseg does it and with one "
        "choice made otherwise; bold: the stronger. Difference: choice minus default, in points, ± "
        f"{_spread(numbers)}. Choice leaves more: in how many cases (model, radius, attack seed). "
        "Means over attack seeds; the last line of each group is over all cases. "
        f"{numbers.about()}",
        ("Model", "ε∞"),
        (("default",), ("choice",), ("difference",), ("choice leaves more",)),
        tuple(groups),
        numbers.notes(),
    )


def _spread(numbers: Numbers) -> str:
    if len(numbers.training_seeds) > 1:
        return "its standard deviation over training seeds"
    return "its standard error over images"


def _title(run: Run) -> str:
    member = run.member
    scale = f" at margin {member.margin:g}" if member.margin else ""
    budget = f"{SCHEDULES[run.schedule].label}, {run.iterations} iterations"
    return f"{member_label(member)}{scale}, {budget}: {CHOICES[run.choice]}"


def _row(numbers: Numbers, attack: str, model: str, eps_255: float) -> Row:
    default, chosen, difference, error, more = (
        numbers.get(model, attack, eps_255, metric)
        for metric in ("default_acc", "acc", "acc_difference", "difference_error", "more_often")
    )
    assert difference is not None
    assert more is not None
    spread = difference.std if difference.std is not None else error and error.value
    cases = len(more.runs) // 2
    cells = (
        *best([cell(numbers, default), cell(numbers, chosen)]),
        Cell(signed(difference.value, 2) + ("" if spread is None else f" ± {spread:.2f}")),
        Cell(f"{round(more.value * cases / 100)} of {cases}"),
    )
    if attack.endswith(OVER_ALL):
        return Row(("all", ""), cells)
    return Row((model, radius(eps_255)), cells)


TABLE = Table(
    id="open_choices",
    label="Open choices",
    question=ITERATIONS_SPENT,
    shows="What the paper leaves open about APGD: the same attack as robustseg does it, and with "
    "one choice made otherwise.",
    metrics=("acc", "default_acc", "acc_difference", "difference_error", "more_often"),
    select=select,
    measure=measure,
    layout=layout,
    in_paper=False,
)
