"""What a figure of numbers is, and what all figures share: colours, style, files."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustseg.evidence.wording import METRIC_LABELS, printed, radius
from robustseg.exhibits import Exhibit
from robustseg.files import atomic_path

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

    from robustseg.evidence.numbers import Number
    from robustseg.numbers_shown import Numbers

WIDTH_INCHES = 5.5
"""Of a figure, like the text of a paper: there its letters are as large as they say here."""
PANEL_INCHES = 2.3
"""Height of one of several axes."""
TITLE_LETTERS = 76
"""Letters of a title that fit across a figure."""

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


def panels(count: int, sharey: bool = False) -> tuple[Canvas, list[Axes]]:
    """Return a canvas with that many axes, two to a line."""
    import matplotlib.pyplot as plt

    columns = min(count, 2)
    rows = -(-count // columns)
    size = (WIDTH_INCHES, PANEL_INCHES * rows)
    canvas, axes = plt.subplots(
        rows, columns, figsize=size, layout="constrained", squeeze=False, sharey=sharey
    )
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    return canvas, list(axes.flat[:count])


def entitle(axis: Axes, title: str) -> None:
    """Write a title above an axis, on as many lines as it takes."""
    axis.set_title(textwrap.fill(title, TITLE_LETTERS // columns_beside(axis)))


def columns_beside(axis: Axes) -> int:
    """Return how many axes stand beside each other on an axis's canvas."""
    spec = axis.get_subplotspec()
    return 1 if spec is None else spec.get_gridspec().ncols


def legend_outside(
    canvas: Canvas, above: bool, handles: Sequence[Artist], labels: Sequence[str]
) -> None:
    """Name what is drawn, above or below all axes, on as few lines as the width allows."""
    names = [textwrap.fill(label, TITLE_LETTERS) for label in labels]
    for columns in range(len(names), 0, -1):
        legend = canvas.legend(
            handles,
            names,
            loc="outside upper center" if above else "outside lower center",
            ncols=columns,
        )
        if columns == 1 or legend.get_window_extent().width <= canvas.bbox.width:
            return
        legend.remove()


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
        marker=LINE_MARKERS[(index + index // len(LINE_COLOURS)) % len(LINE_MARKERS)],
        markersize=4,
        linewidth=1.3,
        elinewidth=0.8,
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
        "font.size": 8,
        "axes.titlesize": 8,
        "xtick.labelsize": 7,
        "ytick.labelsize": 7,
        "legend.fontsize": 7,
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
