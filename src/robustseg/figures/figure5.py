"""Figure 5: ACC (left) and mIoU (right) under SEA by number of iterations."""

from collections.abc import Iterator

from robustseg.evidence.runs import Runs, Selection
from robustseg.evidence.wording import radius
from robustseg.exhibits import ITERATIONS_SPENT
from robustseg.figures.figure import (
    Drawing,
    Figure,
    axis_label,
    draw_points,
    legend_outside,
    panels,
    spoken,
)
from robustseg.numbers_shown import Numbers


def select(runs: Runs) -> Iterator[Selection]:
    """Yield SEA at each radius and number of iterations."""
    model = runs.only_model()
    for eps_255 in runs.radii(model):
        found = runs.find(model=model, eps_255=eps_255, schedule="reduced")
        for budget in sorted({run.iterations for run in found}):
            sea = runs.sea(model=model, eps_255=eps_255, iterations=budget)
            yield Selection(f"sea_{budget}", sea)


def draw(numbers: Numbers) -> Drawing:
    """Draw a line a radius over the iterations."""
    model, *_ = numbers.models
    canvas, axes = panels(2)
    budgets = sorted({one.runs[0].iterations for one in numbers.entries})
    for axis, metric in zip(axes, numbers.exhibit.metrics, strict=True):
        for index, eps_255 in enumerate(numbers.radii()):
            found = [
                one for one in numbers.entries if (one.eps_255, one.metric) == (eps_255, metric)
            ]
            points = sorted(found, key=lambda one: one.runs[0].iterations)
            places = [one.runs[0].iterations for one in points]
            draw_points(axis, places, points, index, f"ε = {radius(eps_255)}")
        axis.set(xlabel="iterations for each loss", ylabel=axis_label(metric))
        axis.set_xticks(budgets)
        axis.set_ylim(bottom=0)
    legend_outside(canvas, False, *axes[0].get_legend_handles_labels())
    return Drawing(
        canvas,
        "Influence of the number of iterations in SEA",
        f"SEA on {numbers.title(model)}. Bars: {numbers.interval_words}. {numbers.about()}",
        f"ACC and mIoU under SEA against the iterations for each loss. {spoken(numbers)}",
    )


FIGURE = Figure(
    id="figure5",
    label="Figure 5",
    question=ITERATIONS_SPENT,
    shows="ACC and mIoU under SEA by the number of iterations spent on each loss.",
    select=select,
    draw=draw,
)
