"""What Figures 2 to 4 share: bars by loss and schedule, one panel a metric and radius."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from robustseg.attacks.losses import LOSSES, SEA_LOSSES
from robustseg.attacks.spec import SCHEDULES
from robustseg.evidence.numbers import Number
from robustseg.evidence.runs import Runs, Selection
from robustseg.evidence.wording import METRIC_LABELS, a_model_of, printed, radius, scheme
from robustseg.figures.figure import GRID, INK, Drawing, axis_label, legend_outside, panels, spoken
from robustseg.numbers_shown import Numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"constant": "#a9d6f0", "restarts": "#d98a00", "reduced": "#0072b2"}
"""The schedules that are compared: the paper's. Each is darker than the one before."""
ON_BAR = {"constant": "#000000", "restarts": "#000000", "reduced": "#ffffff"}
WORST = "worst"
BARS = {**{loss: LOSSES[loss].label for loss in SEA_LOSSES}, WORST: "worst\ncase"}
"""What is drawn, from left to right, and how it is labelled."""


def select(runs: Runs) -> Iterator[Selection]:
    """Yield each loss of SEA and their worst case under each schedule, radius by radius."""
    model = runs.only_model()
    for eps_255 in runs.radii(model):
        for schedule in COLOURS:
            at = {"model": model, "eps_255": eps_255, "schedule": schedule}
            found = [runs.one(loss=loss, optimizer="apgd", **at) for loss in SEA_LOSSES]
            for run in found:
                yield Selection(f"{run.loss}/{schedule}", (run,))
            yield Selection(f"{WORST}/{schedule}", tuple(found))


def draw(numbers: Numbers) -> Drawing:
    """Draw the bars of one model."""
    from matplotlib.patches import Patch

    (model, settings), *_ = numbers.models.items()
    metrics = numbers.exhibit.metrics
    shown = [(eps_255, metric) for eps_255 in numbers.radii() for metric in metrics]
    canvas, axes = panels(len(shown), sharey=True)
    for axis, (eps_255, metric) in zip(axes, shown, strict=True):
        drawn = {
            (loss, schedule): numbers.get(model, f"{loss}/{schedule}", eps_255, metric)
            for loss in BARS
            for schedule in COLOURS
        }
        _bars(axis, {key: one for key, one in drawn.items() if one}, axis_label(metric))
        axis.set_title(f"ε = {radius(eps_255)}")
    names = " and ".join(METRIC_LABELS[metric] for metric in metrics)
    handles = [Patch(color=colour) for colour in COLOURS.values()]
    legend_outside(canvas, True, handles, [SCHEDULES[name].label for name in COLOURS])
    return Drawing(
        canvas,
        f"Constant against reduced radius: {names} of {a_model_of(scheme(settings))}",
        f"APGD with {numbers.iterations()} iterations in all on {numbers.title(model)}, for each "
        "loss of SEA and for their image-wise worst case; lower is a stronger attack. Lines: "
        f"{numbers.interval_words}. {numbers.about()}",
        f"Bars of {names} by loss and schedule. {spoken(numbers)}",
    )


def _bars(axis: Axes, drawn: dict[tuple[str, str], Number], label: str) -> None:
    """Draw grouped bars with intervals, and write each value on its bar."""
    import pandas as pd
    import seaborn as sns

    rows = [(BARS[loss], schedule, one.value) for (loss, schedule), one in drawn.items()]
    sns.barplot(
        pd.DataFrame(rows, columns=["loss", "schedule", "value"]),
        x="loss",
        y="value",
        hue="schedule",
        order=list(BARS.values()),
        hue_order=list(COLOURS),
        palette=COLOURS,
        saturation=1,
        errorbar=None,
        legend=False,
        ax=axis,
    )
    for container, schedule in zip(axis.containers, COLOURS, strict=True):
        numbers = [drawn[loss, schedule] for loss in BARS]
        centres = [bar.get_x() + bar.get_width() / 2 for bar in container]
        lows, highs = ([getattr(one, end) for one in numbers] for end in ("low", "high"))
        axis.vlines(centres, lows, highs, color=INK, linewidth=0.9)
        for centre, one in zip(centres, numbers, strict=True):
            high = one.value if one.high is None else one.high
            _write_value(axis, centre, one.value, high, ON_BAR[schedule])
    axis.axvline(len(SEA_LOSSES) - 0.5, color=GRID, linewidth=0.8)
    axis.set(xlabel="", ylabel=label)
    axis.yaxis.label.set_visible(True)  # seaborn hides those of panels that share a scale
    axis.tick_params(axis="x", length=0, labelsize=7)
    axis.tick_params(axis="y", labelleft=True)


def _write_value(axis: Axes, centre: float, value: float, high: float, on_bar: str) -> None:
    """Write a value along its bar or, where the bar is too short, above its interval."""
    inside = value > 0.3 * axis.get_ylim()[1]
    axis.annotate(
        printed(value),
        (centre, 0 if inside else high),
        xytext=(0, 3),
        textcoords="offset points",
        ha="center",
        va="bottom",
        rotation=90,
        fontsize=6.5,
        color=on_bar if inside else INK,
    )
