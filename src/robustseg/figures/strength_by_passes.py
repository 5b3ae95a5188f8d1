"""The figure `strength_by_passes`: what sets of attacks leave, by cost; not in the paper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from robustseg.evidence.attack_sets import acc_and_passes, sets_at
from robustseg.evidence.numbers import Number, Sources, evidence_in
from robustseg.evidence.runs import Runs, Selection
from robustseg.evidence.wording import printed, radius
from robustseg.exhibits import ITERATIONS_SPENT
from robustseg.figures.figure import (
    LINE_COLOURS,
    Drawing,
    Figure,
    axis_label,
    draw_points,
    entitle,
    legend_outside,
    panels,
)
from robustseg.numbers_shown import Numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REFERENCE = "#8a9099"
"""Colour of the line of the reference."""


def select(runs: Runs) -> Iterator[Selection]:
    """Yield each set of attacks at each radius of each model."""
    for model in runs.models():
        for eps_255 in runs.bounded_radii(model):
            yield from sets_at(runs, model, eps_255)


def measure(sources: Sources, selection: Selection) -> list[Number]:
    """Return ACC, passes and the difference to the reference."""
    return acc_and_passes(evidence_in(sources), selection)


def draw(numbers: Numbers) -> Drawing:
    """Draw a line a suite over its budgets; a panel a model and radius."""
    shown = [(model, eps_255) for model in numbers.models for eps_255 in numbers.radii(model)]
    canvas, axes = panels(len(shown))
    suites = list(dict.fromkeys(map(_suite, numbers.entries)))
    lines: dict[str, Any] = {}
    for axis, (model, eps_255) in zip(axes, shown, strict=True):
        entitle(axis, f"{model}, ε = {radius(eps_255)}")
        _draw_suites(axis, numbers.find(model=model, eps_255=eps_255), suites)
        lines |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    legend_outside(canvas, False, [lines[suite] for suite in suites], suites)
    return Drawing(
        canvas,
        "Strength of sets of attacks by their cost",
        "ACC in the image-wise worst case over the attacks of a suite and the clean image, against "
        "all forward and backward passes that it took an image; beside each point the iterations "
        "of each attack. Lower and further left is better. Grey: the reference, which is the first "
        "suite at its largest number of iterations. Bars: of the difference to the reference, "
        f"image by image, {numbers.interval_words}: one that ends short of the grey line tells the "
        f"two apart. Means over attack seeds. {numbers.about()}",
        f"ACC against passes by suite and iterations. {_spoken(numbers)}",
    )


def _suite(one: Number) -> str:
    return one.runs[0].suite


PLACES = ((4, 3), (4, -8), (-11, 3), (-11, -8))
"""Where the iterations stand beside a point, in 1/72 inch, so that those of two can be read."""


def _draw_suites(axis: Axes, at: Sequence[Number], suites: Sequence[str]) -> None:
    """Draw the lines of one model and radius; `suites` choose colours and markers."""
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    passes = {one.attack: one.value for one in at if one.metric == "passes"}
    acc = [one for one in at if one.metric == "acc"]
    gaps = {one.attack: one for one in at if one.metric == "acc_difference"}
    for index, suite in enumerate(suites):
        found = [one for one in acc if _suite(one) == suite]
        points = [_beside(one, gaps.get(one.attack)) for one in found]
        if not points:
            continue
        draw_points(axis, [passes[one.attack] for one in points], points, index, suite)
        for one in points:
            axis.annotate(
                str(one.runs[0].iterations),
                (passes[one.attack], one.value),
                xytext=PLACES[index % len(PLACES)],
                textcoords="offset points",
                fontsize=6.5,
                color=LINE_COLOURS[index % len(LINE_COLOURS)],
            )
    (other,) = (one for one in acc if one.attack not in gaps)
    axis.axhline(other.value, color=REFERENCE, linewidth=1.2, zorder=1)
    axis.set(xscale="log", xlabel="passes an image", ylabel=axis_label("acc"))
    near = max(passes.values()) < 5 * min(passes.values())
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7) if near else (1, 2, 5)))
    axis.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.margins(x=0.1)


def _beside(one: Number, gap: Number | None) -> Number:
    """Return ACC with the interval of the difference to the reference about it."""
    if gap is None or gap.low is None or gap.high is None:
        return replace(one, low=None, high=None)
    low, high = (one.value + end - gap.value for end in (gap.low, gap.high))
    return replace(one, low=low, high=high)


def _spoken(numbers: Numbers) -> str:
    """Return all values drawn, for the alternative text."""
    values = []
    for one in numbers.entries:
        if one.metric == "acc":
            passes = numbers.get(one.model, one.attack, one.eps_255, "passes")
            assert passes is not None
            suite, budget = one.attack.split("/")
            values.append(
                f"{one.model} at {radius(one.eps_255)}, {suite.replace('_', ' ')} with {budget} "
                f"iterations: ACC {printed(one.value)} % after {passes.value:,.0f} passes"
            )
    return f"{'; '.join(values)}."


FIGURE = Figure(
    id="strength_by_passes",
    label="Strength by passes",
    question=ITERATIONS_SPENT,
    shows="ACC that sets of attacks leave against the passes that they take, one line per suite.",
    metrics=("acc", "passes", "acc_difference"),
    select=select,
    measure=measure,
    draw=draw,
    in_paper=False,
)
