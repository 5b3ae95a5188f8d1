"""The paper's figures (arXiv 2306.12941) from evidence, with seaborn; the same bytes every time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from robustseg.errors import RobustsegError
from robustseg.evidence.book import (
    Book,
    Models,
    Reads,
    a_model_of,
    iterations,
    open_book,
    percent,
    printed,
    radius,
)
from robustseg.evidence.queries import Run
from robustseg.figures.flipped import record_robust_images, threshold_of
from robustseg.files import atomic_path
from robustseg.names import LOSS_LABELS, SCHEDULE_LABELS, SCHEDULES, SCHEME_LABELS, SEA_LOSSES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#1b1e23"
GRID = "#c9ced6"
"""Colours of text and of grid lines; the page replaces them by those of its theme."""

SCHEDULE_COLOURS = dict(zip(SCHEDULES, ("#56b4e9", "#e69f00", "#0072b2"), strict=True))
ON_SCHEDULE = dict(zip(SCHEDULES, ("#000000", "#000000", "#ffffff"), strict=True))
LINE_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
LINE_MARKERS = ("o", "s", "^", "D")
"""Okabe and Ito's palette, which colour-blind readers can tell apart."""

SILENT: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
    "png": {"Software": None},
    "svg": {},
}
"""What matplotlib is not to write of itself and of the time; an SVG's is replaced as a whole."""

METRIC_LABELS = {"acc": "ACC (%)", "miou": "mIoU (%)"}
SPOKEN_METRICS = {"acc": "ACC", "miou": "mIoU", "robust_images": "robust images"}
FLIPPED_LABELS = {"alma": "ALMA prox", "mask_ce": "Mask-CE", "sea": "SEA"}
WORST = "worst"


@dataclass(frozen=True)
class Drawing:
    """A figure with what must be said of it; `alt` describes it to those who do not see it."""

    figure: Figure
    title: str
    caption: str
    alt: str


def make_figure(
    figure_id: str,
    evidence_paths: Iterable[str | Path],
    reads: Reads,
    models: Models,
    out_paths: Mapping[str, str | Path],
) -> None:
    """Draw one figure from evidence and write it in every format asked for.

    Args:
        figure_id: one of FIGURES.
        evidence_paths: evidence of all attacks that `reads` names and of the clean evaluations.
        reads: the figure's list in the configuration, see tables.make_table.
        models: the configuration's models.
        out_paths: files by format: any of pdf, png, svg, csv (the numbers drawn).

    Raises:
        RobustsegError: evidence is missing, incomplete or damaged; the sentence says which.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    book = open_book(figure_id, evidence_paths, reads, models)
    with mpl.rc_context(style(figure_id)):
        drawing = FIGURES[figure_id](book)
        write_drawing(drawing, book.frame(), out_paths)


def write_drawing(
    drawing: Drawing, numbers: pd.DataFrame, out_paths: Mapping[str, str | Path]
) -> None:
    """Write a figure, and as csv its numbers, in every format asked for; then close it."""
    drawing.figure.draw_without_rendering()
    drawing.figure.set_layout_engine("none")  # laid out by now, and the same for every format
    for kind, path in out_paths.items():
        with atomic_path(path) as temporary:
            if kind == "csv":
                numbers.to_csv(temporary, index=False, lineterminator="\n")
            else:
                _save(drawing, kind, temporary)
    _close(drawing.figure)


def figure2(book: Book) -> Drawing:
    """Figure 2: ACC under each loss by schedule, at the same number of iterations."""
    book.metrics = ("acc",)
    return _schedules(book)


def figure3(book: Book) -> Drawing:
    """Figure 3: the same in mIoU."""
    book.metrics = ("miou",)
    return _schedules(book)


def figure4(book: Book) -> Drawing:
    """Figure 4: the same on a clean model, in both metrics."""
    return _schedules(book)


def figure5(book: Book) -> Drawing:
    """Figure 5: ACC (left) and mIoU (right) under SEA by number of iterations."""
    import matplotlib.pyplot as plt

    model = _only_model(book)
    radii = book.radii(model)
    record_budgets(book)
    numbers = book.frame()
    numbers["iterations"] = numbers["attack"].str.removeprefix("sea_").astype(int)
    figure, axes = plt.subplots(1, 2, figsize=(7.2, 2.9), layout="constrained")
    for axis, metric in zip(axes, METRIC_LABELS, strict=True):
        for index, eps_255 in enumerate(radii):
            points = numbers[(numbers["eps_255"] == eps_255) & (numbers["metric"] == metric)]
            points = points.sort_values("iterations")
            _points(axis, points["iterations"], points, index, radius(eps_255))
        axis.set(xlabel="iterations for each loss", ylabel=METRIC_LABELS[metric])
        axis.set_xticks(sorted(numbers["iterations"].unique()))
        axis.set_ylim(bottom=0)
    handles, labels = axes[0].get_legend_handles_labels()
    said = [f"ε = {label}" for label in labels]
    figure.legend(handles, said, loc="outside lower center", ncols=len(said))
    return Drawing(
        figure,
        "Influence of the number of iterations in SEA",
        f"SEA on {book.title(model)}. Bars: 95 % bootstrap interval over images. {book.about()}",
        "ACC and mIoU under SEA against the iterations for each loss. " + _spoken(numbers),
    )


def figure6(book: Book) -> Drawing:
    """Figure 6: images that no perturbation of a norm brings to 99 % wrong pixels, by attack."""
    import matplotlib.pyplot as plt

    numbers = record_robust_images(book)
    models = [model for model in book.read_models() if (numbers["model"] == model).any()]
    figure, axes = plt.subplots(
        1, len(models), figsize=(3.6 * len(models), 3.1), layout="constrained", squeeze=False
    )
    for axis, model in zip(axes[0], models, strict=True):
        _robust_images(axis, numbers[numbers["model"] == model])
        axis.set_title(f"{book.data_set(model)}{book.training(model)}")
    axes[0][0].set_ylabel("robust images (%)")
    figure.legend(
        *axes[0][0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=len(FLIPPED_LABELS),
    )
    alma = book.evidence.find(optimizer="alma_prox")
    sea = book.evidence.find(loss=SEA_LOSSES, schedule="reduced")
    threshold = "/".join(f"{percent(value):g}" for value in sorted(set(map(threshold_of, alma))))
    images = "/".join(str(count) for count in sorted(set(numbers["images"])))
    return Drawing(
        figure,
        "Comparison to ALMA prox",
        f"Share of images of which the attack cannot bring {threshold} % of the pixels to be "
        "misclassified with an ℓ∞ norm of at most ε; lower is a stronger attack. ALMA prox "
        f"({iterations(alma)} iterations) minimises the norm; Mask-CE and SEA are run at each ε "
        f"({iterations(sea)} iterations for each loss), and an image flipped at a smaller ε counts "
        "as flipped. Markers stand a little beside their ε, so that equal values can be told "
        "apart. Bars: 95 % bootstrap interval over images. "
        f"{images} images of {alma[0].dataset}.",
        "Share of robust images against the radius. " + _spoken(numbers),
    )


def _robust_images(axis: Axes, numbers: pd.DataFrame) -> None:
    """Draw one line an attack over the radii, evenly spaced; lines beside each other if equal."""
    radii = sorted(numbers["eps_255"].unique())
    for index, (attack, label) in enumerate(FLIPPED_LABELS.items()):
        points = numbers[numbers["attack"] == attack].sort_values("eps_255")
        beside = 0.09 * (index - (len(FLIPPED_LABELS) - 1) / 2)
        _points(axis, np.arange(len(radii)) + beside, points, index, label)
    axis.set_xticks(range(len(radii)), [f"{eps:g}" for eps in radii])
    axis.set(xlabel="ε (1/255)", ylim=(0, 100))


def _schedules(book: Book) -> Drawing:
    """Draw bars by loss and schedule, one panel a metric and radius."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch

    model = _only_model(book)
    radii = book.radii(model)
    used = record_schedules(book)
    numbers = book.frame()
    numbers[["loss", "schedule"]] = numbers["attack"].str.split("/", expand=True)
    panels = [(eps, metric) for eps in radii for metric in book.metrics]
    figure, axes = plt.subplots(
        1,
        len(panels),
        figsize=(4.2 * len(panels), 3.1),
        layout="constrained",
        squeeze=False,
        sharey=True,
    )
    for axis, (eps_255, metric) in zip(axes[0], panels, strict=True):
        chosen = (numbers["eps_255"] == eps_255) & (numbers["metric"] == metric)
        _bars(axis, numbers[chosen], METRIC_LABELS[metric])
        axis.set_title(f"ε = {radius(eps_255)}")
    names = [METRIC_LABELS[metric].removesuffix(" (%)") for metric in book.metrics]
    handles = [Patch(color=SCHEDULE_COLOURS[s], label=SCHEDULE_LABELS[s]) for s in SCHEDULES]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(SCHEDULES))
    return Drawing(
        figure,
        f"Constant against reduced radius: {' and '.join(names)} of "
        f"{a_model_of(SCHEME_LABELS[book.models[model]['scheme']])}",
        f"APGD with {iterations(used)} iterations in all on {book.title(model)}, for each "
        "loss of SEA and for their image-wise worst case; lower is a stronger attack. Lines: 95 % "
        f"bootstrap interval over images. {book.about()}",
        f"Bars of {' and '.join(names)} by loss and schedule. " + _spoken(numbers),
    )


def record_schedules(book: Book) -> list[Run]:
    """Record each loss and the worst case under each schedule and radius; return the runs."""
    model = _only_model(book)
    used: list[Run] = []
    for eps_255 in book.radii(model):
        for schedule in SCHEDULES:
            at = {"model": model, "eps_255": eps_255, "optimizer": "apgd", "schedule": schedule}
            runs = [book.evidence.one(loss=loss, **at) for loss in SEA_LOSSES]
            for run in runs:
                book.cells(f"{run.loss}/{schedule}", [run])
            book.cells(f"{WORST}/{schedule}", runs)
            used += runs
    return used


def record_budgets(book: Book) -> None:
    """Record SEA at each number of iterations and radius."""
    model = _only_model(book)
    for eps_255 in book.radii(model):
        for budget in _budgets(book, model, eps_255):
            book.cells(f"sea_{budget}", book.sea(model=model, eps_255=eps_255, iterations=budget))


def _bars(axis: Axes, numbers: pd.DataFrame, label: str) -> None:
    """Draw grouped bars with intervals, and write each value on its bar."""
    import seaborn as sns

    labels = {**{loss: LOSS_LABELS[loss] for loss in SEA_LOSSES}, WORST: "worst case"}
    sns.barplot(
        numbers.assign(loss=numbers["loss"].map(labels)),
        x="loss",
        y="value",
        hue="schedule",
        order=list(labels.values()),
        hue_order=list(SCHEDULES),
        palette=SCHEDULE_COLOURS,
        saturation=1,
        errorbar=None,
        legend=False,
        ax=axis,
    )
    for container, schedule in zip(axis.containers, SCHEDULES, strict=True):
        drawn = numbers[numbers["schedule"] == schedule].set_index("loss").loc[list(labels)]
        centres = [bar.get_x() + bar.get_width() / 2 for bar in container]
        axis.vlines(centres, drawn["low"], drawn["high"], color=INK, linewidth=0.9)
        for centre, value, high in zip(centres, drawn["value"], drawn["high"], strict=True):
            _write_value(axis, centre, value, high, ON_SCHEDULE[schedule])
    axis.axvline(len(SEA_LOSSES) - 0.5, color=GRID, linewidth=0.8)
    axis.set(xlabel="", ylabel=label)
    axis.yaxis.label.set_visible(True)  # seaborn hides those of panels that share a scale
    axis.tick_params(axis="x", length=0, labelsize=8)
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
        fontsize=7,
        color=on_bar if inside else INK,
    )


def _points(axis: Axes, places: Any, points: pd.DataFrame, index: int, label: str) -> None:
    """Draw a line through values with their intervals; `index` chooses colour and marker."""
    axis.errorbar(
        places,
        points["value"],
        yerr=[points["value"] - points["low"], points["high"] - points["value"]],
        color=LINE_COLOURS[index % len(LINE_COLOURS)],
        marker=LINE_MARKERS[index % len(LINE_MARKERS)],
        markersize=5,
        linewidth=1.6,
        elinewidth=0.9,
        capsize=2,
        label=label,
        clip_on=False,
    )


def _spoken(numbers: pd.DataFrame) -> str:
    """Return all values drawn, for alternative texts."""
    values = (
        f"{radius(row['eps_255'])} {re.sub('[/_]', ' ', row['attack'])}: "
        f"{SPOKEN_METRICS[row['metric']]} {printed(row['value'])} %"
        for row in numbers.to_dict("records")
    )
    return f"{'; '.join(values)}."


def _only_model(book: Book) -> str:
    models = book.read_models()
    if len(models) != 1:
        raise RobustsegError(
            f"{book.name} draws one model and reads {', '.join(models)}; name one of them"
        )
    return models[0]


def _budgets(book: Book, model: str, eps_255: float) -> list[int]:
    found = book.evidence.find(model=model, eps_255=eps_255, schedule="reduced")
    return sorted({run.iterations for run in found})


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


def _save(drawing: Drawing, kind: str, path: Path) -> None:
    """Save without a date or a version, so that the same numbers give the same bytes."""
    drawing.figure.savefig(path, format=kind, metadata=SILENT[kind], transparent=kind == "svg")
    if kind == "svg":
        path.write_text(_described(path.read_text(encoding="utf-8"), drawing), encoding="utf-8")


def _described(svg: str, drawing: Drawing) -> str:
    """Return the SVG with title, caption and alternative text, which the page takes from there."""
    said = (
        f"<title>{escape(drawing.title)}</title>\n<desc>{escape(drawing.alt)}</desc>\n"
        f'<metadata id="caption">{escape(drawing.caption)}</metadata>\n'
    )
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, count=1, flags=re.DOTALL)
    return re.sub(r"(<svg\b[^>]*>\s*)", lambda match: match[1] + said, svg, count=1)


def _close(figure: Figure) -> None:
    import matplotlib.pyplot as plt

    plt.close(figure)


FIGURES: dict[str, Callable[[Book], Drawing]] = {
    "figure2": figure2,
    "figure3": figure3,
    "figure4": figure4,
    "figure5": figure5,
    "figure6": figure6,
}
"""Builders by the name that the configuration uses."""

RECORDERS: dict[str, Callable[[Book], object]] = {
    **dict.fromkeys(("figure2", "figure3", "figure4"), record_schedules),
    "figure5": record_budgets,
    "figure6": record_robust_images,
}
"""What records the numbers of each figure in its book, without drawing them."""
