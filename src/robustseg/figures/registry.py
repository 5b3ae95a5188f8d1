"""All figures by id: those of numbers, and those of attacked images."""

from robustseg.figures import figure1, figure2, figure3, figure4, figure5, figure6
from robustseg.figures.by_radius import PICTURES_BY_RADIUS
from robustseg.figures.figure import Figure
from robustseg.figures.picture import Picture

FIGURES: dict[str, Figure] = {
    module.FIGURE.id: module.FIGURE for module in (figure2, figure3, figure4, figure5, figure6)
}
"""Of numbers."""

PICTURES: dict[str, Picture] = {one.id: one for one in (figure1.PICTURE, *PICTURES_BY_RADIUS)}
"""Of attacked images."""
