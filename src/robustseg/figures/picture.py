"""What a figure of attacked images is, and how images and maps of classes are shown."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robustseg.data.interface import IGNORE_BYTE
from robustseg.errors import RobustsegError
from robustseg.evidence.attacked_images import IGNORE_COLOUR, colour_table
from robustseg.evidence.runs import Models
from robustseg.exhibits import Shown
from robustseg.figures.figure import (
    WIDTH_INCHES,
    Drawing,
    columns_beside,
    legend_outside,
    style,
    write_drawing,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

LEAST_PANEL_INCHES = 0.62
"""Room for an accuracy; a figure whose panels would be narrower is wider than others."""
HEAD_INCHES = 0.17
"""Height of a line above or below a panel, a part of them having two."""
LETTERS_PT, LETTERS_AN_INCH = 6.5, 18
"""Of what stands beside a panel: how large, and how many take an inch."""
PANEL_PX = 300
"""Pixels that a panel has room for; more would only make files larger."""
LEGEND_CLASSES = 24
"""Classes that a legend names; under attack, models of ADE20K predict many."""


@dataclass(frozen=True, kw_only=True)
class Picture(Shown):
    """A figure of attacked images.

    Attributes:
        targeted: whether it shows targeted attacks, of some models; else the gallery of one model.
        draw: the drawing and the numbers printed in it, from files of attacked images by model.
    """

    targeted: bool
    draw: Callable[[Mapping[str, str | Path], Models], tuple[Drawing, pd.DataFrame]]


def make_picture(
    picture: Picture,
    shots: Mapping[str, str | Path],
    models: Models,
    out_paths: Mapping[str, str | Path],
) -> None:
    """Draw one figure of attacked images and write it in every format asked for.

    Args:
        picture: which.
        shots: files of attacked images by model.
        models: the configuration's models.
        out_paths: files by format: any of pdf, png, svg, csv (the numbers printed), json (title,
            caption and alternative text).

    Raises:
        RobustsegError: no file, or one is missing or damaged; the sentence names it.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    if not shots:
        raise RobustsegError(f"{picture.id} was given no attacked images; name a model to show")
    with mpl.rc_context(style(picture.id)):
        drawing, numbers = picture.draw(shots, models)
        write_drawing(drawing, numbers, out_paths)


def colours(classes: NDArray[np.uint8], palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a map of classes (H, W) in colours (H, W, 3)."""
    return np.asarray(colour_table(palette)[classes])


def grid(rows: int, columns: int, shape: Sequence[int]) -> tuple[Canvas, Any]:
    """Return a canvas and its axes, (rows, columns), for pictures of a shape (height, width)."""
    import matplotlib.pyplot as plt

    width = max(WIDTH_INCHES, LEAST_PANEL_INCHES * columns)
    panel = (width - HEAD_INCHES) / columns * shape[0] / shape[1]
    size = (width, (panel + HEAD_INCHES) * rows + 0.55)
    return plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)


def show(axis: Axes, picture: NDArray[np.uint8], title: str = "") -> None:
    """Show a picture pixel by pixel, or of a large one every so many pixels, without ticks."""
    step = -(-max(picture.shape[:2]) // PANEL_PX)
    axis.imshow(picture[::step, ::step], interpolation="nearest")
    axis.set_xticks([])
    axis.set_yticks([])
    axis.grid(False)
    axis.spines[:].set_visible(False)
    if title:
        axis.set_title(on_lines(axis, title), fontsize=LETTERS_PT, pad=3)


def on_lines(axis: Axes, text: str) -> str:
    """Return what stands above or below a panel on lines no wider than it."""
    inches = axis.figure.get_figwidth() / columns_beside(axis)  # type: ignore[union-attr]
    most = int(inches * LETTERS_AN_INCH)
    return "\n".join(textwrap.fill(line, most) for line in text.split("\n"))


def name_lines(picture: Axes, classes: Axes) -> None:
    """Write beside two lines what they show."""
    for axis, name in ((picture, "image"), (classes, "segmentation")):
        axis.set_ylabel(name, fontsize=LETTERS_PT)


def legend(canvas: Canvas, kept: Any, seen: Sequence[NDArray[np.uint8]]) -> None:
    """Name the colours of the classes that cover most of the figure, and count the others."""
    from matplotlib.patches import Patch

    arrays = kept if isinstance(kept, Mapping) else kept._asdict()
    names, palette = arrays["class_names"], arrays["palette"]
    pixels = np.sum([np.bincount(maps.ravel(), minlength=256) for maps in seen], axis=0)
    present = np.flatnonzero(pixels)
    shown = sorted(sorted(present, key=lambda label: -pixels[label])[:LEGEND_CLASSES])
    inks = [IGNORE_COLOUR if label == IGNORE_BYTE else palette[label] for label in shown]
    handles = [Patch(color=tuple(np.array(ink) / 255)) for ink in inks]
    labels = ["not labelled" if label == IGNORE_BYTE else str(names[label]) for label in shown]
    if len(present) > len(shown):
        handles.append(Patch(alpha=0))
        labels.append(f"and {len(present) - len(shown)} more")
    legend_outside(canvas, False, handles, labels)
