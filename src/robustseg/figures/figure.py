"""What a figure of numbers is, and what all figures share: colours, style, files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustseg.evidence.wording import METRIC_LABELS, printed, radius
from robustseg.exhibits import Exhibit
from robustseg.files import atomic_path

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

    from robustseg.evidence.numbers import Number
    from robustseg.numbers_shown import Numbers

INK = "#1b1e23"
GRID = "#c9ced6"
"""Colours of text and of grid lines; the page replaces them by those of its theme."""

LINE_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", INK)
LINE_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""Okabe and Ito's palette, which colour-blind readers can tell apart."""


@dataclass(frozen=True)
class Drawing:
    """A figure with what must be said of it; `alt` describes it to those who do not see it."""

    canvas: Canvas
    title: str
    caption: str
    alt: str


@dataclass(frozen=True, kw_only=True)
class Figure(Exhibit):
    """A figure of numbers: see `Exhibit`, and how it is drawn.

    Attributes:
        draw: the drawing, made from the numbers alone.
    """

    draw: Callable[[Numbers], Drawing]


def axis_label(metric: str) -> str:
    """Return a metric as an axis names it."""
    return f"{METRIC_LABELS[metric]} (%)"


def draw_points(axis: Axes, places: Any, points: list[Number], index: int, label: str) -> None:
    """Draw a line through numbers with their intervals; `index` chooses colour and marker."""
    values = [one.value for one in points]
    below = [one.value - (one.value if one.low is None else one.low) for one in points]
    above = [(one.value if one.high is None else one.high) - one.value for one in points]
    axis.errorbar(
        places,
        values,
        yerr=[below, above],
        color=LINE_COLOURS[index % len(LINE_COLOURS)],
        marker=LINE_MARKERS[index % len(LINE_MARKERS)],
        markersize=5,
        linewidth=1.6,
        elinewidth=0.9,
        capsize=2,
        label=label,
        clip_on=False,
    )


def spoken(numbers: Numbers) -> str:
    """Return all values drawn, for alternative texts."""
    values = (
        f"{radius(one.eps_255)} {re.sub('[/_]', ' ', one.attack)}: "
        f"{METRIC_LABELS[one.metric]} {printed(one.value)} %"
        for one in numbers.entries
    )
    return f"{'; '.join(values)}."


def style(salt: str) -> Any:
    """Return matplotlib settings; `salt` fixes the ids in an SVG and keeps those of two apart."""
    ink = ("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor")
    return {
        **dict.fromkeys(ink, INK),
        "svg.hashsalt": salt,
        "svg.fonttype": "none",
        "pdf.fonttype": 42,
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.titlesize": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "grid.color": GRID,
        "grid.linewidth": 0.6,
        "legend.frameon": False,
        "savefig.dpi": 200,
    }


def write_drawing(
    drawing: Drawing, numbers: pd.DataFrame, out_paths: Mapping[str, str | Path]
) -> None:
    """Write a drawing in every format asked for, and close it.

    Args:
        drawing: what is drawn.
        numbers: those drawn, for csv.
        out_paths: files by format: any of pdf, png, svg, csv, json (title, caption and alternative
            text, for the page).
    """
    import matplotlib.pyplot as plt

    drawing.canvas.draw_without_rendering()
    drawing.canvas.set_layout_engine("none")  # laid out by now, and the same for every format
    said = {"title": drawing.title, "caption": drawing.caption, "alt": drawing.alt}
    for kind, path in out_paths.items():
        with atomic_path(path) as temporary:
            if kind == "csv":
                numbers.to_csv(temporary, index=False, lineterminator="\n")
            elif kind == "json":
                text = json.dumps(said, ensure_ascii=False, indent=1)
                temporary.write_text(f"{text}\n", encoding="utf-8")
            else:
                # Without a date or a version, so that the same numbers give the same bytes.
                about = {
                    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
                    "png": {"Software": None},
                    "svg": {"Date": None, "Creator": None, "Title": drawing.title},
                }[kind]
                drawing.canvas.savefig(
                    temporary, format=kind, metadata=about, transparent=kind == "svg"
                )
    plt.close(drawing.canvas)
