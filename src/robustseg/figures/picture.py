"""What a figure of attacked images is, and how images and maps of classes are shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robustseg.data.interface import IGNORE_BYTE
from robustseg.errors import RobustsegError
from robustseg.evidence.attacked_images import IGNORE_COLOUR
from robustseg.evidence.runs import Models
from robustseg.exhibits import Shown
from robustseg.figures.figure import Drawing, style, write_drawing

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

PANEL_INCHES = 1.15
LEGEND_INCHES = 1.3
"""Sizes on paper: width of a panel and of an entry of the legend."""
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
    table = np.full((256, 3), IGNORE_COLOUR, dtype=np.uint8)
    table[: len(palette)] = palette
    return np.asarray(table[classes])


def grid(rows: int, columns: int) -> tuple[Canvas, Any]:
    """Return a canvas and its axes, (rows, columns)."""
    import matplotlib.pyplot as plt

    size = (PANEL_INCHES * columns, (PANEL_INCHES - 0.04) * rows + 0.7)
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
        axis.set_title(title, fontsize=7.5, pad=3)


def name_lines(picture: Axes, classes: Axes) -> None:
    """Write beside two lines what they show."""
    for axis, name in ((picture, "image"), (classes, "segmentation")):
        axis.set_ylabel(name, fontsize=7.5)


def legend(canvas: Canvas, kept: Any, seen: Sequence[NDArray[np.uint8]]) -> None:
    """Name the colours of the classes that cover most of the figure, and count the others."""
    from matplotlib.patches import Patch

    arrays = kept if isinstance(kept, Mapping) else kept._asdict()
    names, palette = arrays["class_names"], arrays["palette"]
    pixels = np.sum([np.bincount(maps.ravel(), minlength=256) for maps in seen], axis=0)
    present = np.flatnonzero(pixels)
    shown = sorted(sorted(present, key=lambda label: -pixels[label])[:LEGEND_CLASSES])
    handles = [
        Patch(color=tuple(palette[label] / 255), label=str(names[label]))
        if label != IGNORE_BYTE
        else Patch(color=tuple(np.array(IGNORE_COLOUR) / 255), label="not labelled")
        for label in shown
    ]
    if len(present) > len(shown):
        handles.append(Patch(alpha=0, label=f"and {len(present) - len(shown)} more"))
    columns = max(1, int(canvas.get_figwidth() / LEGEND_INCHES))
    canvas.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=7.5)
