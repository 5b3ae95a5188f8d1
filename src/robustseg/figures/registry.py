"""All figures by id: those of numbers, and those of attacked images."""

from importlib import import_module
from pkgutil import iter_modules

import robustseg.figures
from robustseg.exhibits import Exhibit
from robustseg.figures import figure1
from robustseg.figures.by_radius import PICTURES_BY_RADIUS
from robustseg.figures.figure import Figure
from robustseg.figures.picture import Picture
from robustseg.tables.registry import TABLES


def _defined() -> list[Figure]:
    folder = robustseg.figures.__path__
    modules = [f"robustseg.figures.{file.name}" for file in iter_modules(folder)]
    others = [import_module(name) for name in modules if name != __name__]
    figures = (getattr(module, "FIGURE", None) for module in others)
    return [figure for figure in figures if isinstance(figure, Figure)]


FIGURES: dict[str, Figure] = {figure.id: figure for figure in _defined()}
"""Of numbers: every file of this folder that defines a `FIGURE`."""

EXHIBITS: dict[str, Exhibit] = {**TABLES, **FIGURES}
"""Tables and figures of numbers."""

PICTURES: dict[str, Picture] = {one.id: one for one in (figure1.PICTURE, *PICTURES_BY_RADIUS)}
"""Of attacked images."""
