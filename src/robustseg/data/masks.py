"""From anybody's masks to labels: of values or of colours, of any number of classes."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustseg.data.classes import OTHERS, Classes
from robustseg.data.image_files import Colour, read_any_mask
from robustseg.data.interface import IGNORE_BYTE, IGNORE_LABEL
from robustseg.errors import RobustsegError, in_one_line

UNKNOWN = -2
"""Marks values that no mask may hold."""
RED_GREEN_BLUE = np.array([1 << 16, 1 << 8, 1])


@dataclass(frozen=True)
class MaskLabels:
    """What the masks of a data set mean.

    A mask of whole numbers holds each class as its value. In one of colours a pixel's value is the
    place of its colour among those of the classes.

    Attributes:
        classes: names, values and colours.
        ignore: values whose pixels are ignored, or OTHERS: all that are no class.
    """

    classes: Classes
    ignore: list[int] | str
    _palette: dict[int, Colour] = field(default_factory=dict, repr=False, compare=False)
    """Colours of the classes in the palettes of the masks that were read."""

    def read(self, path: Path) -> NDArray[Any]:
        """Return labels (H, W): bytes, 255 where ignored; of more than 255 classes int32 and -1.

        Raises:
            RobustsegError: as `read_any_mask`; palettes of two orders; colours, but the classes
                have none; or a value or colour that is no class and not ignored.
        """
        pixels = read_any_mask(path, self._colour_at)
        values = pixels if pixels.ndim == 2 else self._places(path, pixels)
        labels = self._table[np.clip(values.astype(np.int64), -1, len(self._table) - 1)]
        unknown = labels == UNKNOWN
        if unknown.any():
            raise RobustsegError(
                f"{in_one_line(path)} holds the value {values[unknown][0]}, which is none of the "
                f"{len(self.classes.names)} classes and not ignored; correct the mask, `classes`, "
                "`values` or `ignore`"
            )
        return self._stored(labels)

    def _colour_at(self, place: int, found: Colour) -> Colour:
        """Return the colour of a class in palettes, as `classes` or else the first mask has it.

        Programs that draw order palettes anew, after which a place is another class.
        """
        colours = self.classes.colours
        if colours is not None:
            return colours[place] if place < len(colours) else found
        return self._palette.setdefault(place, found) if place in self.classes.in_masks else found

    @property
    def ignored(self) -> int:
        """What `read` returns of pixels that are ignored."""
        return int(self._stored(np.array(IGNORE_LABEL)))

    @property
    def background(self) -> int:
        """What `read` returns of the value 0."""
        return int(self._stored(self._table[0]))

    def _stored(self, labels: NDArray[Any]) -> NDArray[Any]:
        if len(self.classes.names) > IGNORE_BYTE:
            return labels.astype(np.int32)
        return np.where(labels == IGNORE_LABEL, IGNORE_BYTE, labels).astype(np.uint8)

    @cached_property
    def _table(self) -> NDArray[np.int32]:
        """Label by value; the last entry is for all values below and beyond."""
        values = list(self.classes.in_masks)
        named = [] if isinstance(self.ignore, str) else self.ignore
        rest = IGNORE_LABEL if self.ignore == OTHERS else UNKNOWN
        table = np.full(max(*values, *named) + 2, rest, np.int32)
        table[values] = np.arange(len(values))
        table[named] = IGNORE_LABEL
        return table

    def _places(self, path: Path, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Return for each pixel (H, W) the place of its colour among those of the classes."""
        if self.classes.colours is None and (pixels == pixels[..., :1]).all():
            raise RobustsegError(
                f"{in_one_line(path)} holds three times the same values, as red, green and blue; "
                "save it with one channel, or give the classes colours, one class a line: "
                "`name R G B`"
            )
        if self.classes.colours is None:
            raise RobustsegError(
                f"{in_one_line(path)} is a mask of colours, but the classes have none; give them "
                "colours in `classes`, one class a line: `name R G B`, or name the folder of "
                "images first and that of masks second"
            )
        known = np.array(self.classes.colours) @ RED_GREEN_BLUE
        wanted = pixels @ RED_GREEN_BLUE
        order = np.argsort(known)
        places: NDArray[Any] = order[np.searchsorted(known[order], wanted).clip(max=len(known) - 1)]
        unknown = known[places] != wanted
        if self.ignore == OTHERS:
            return np.where(unknown, len(known), places)
        if unknown.any():
            colour = tuple(pixels[unknown][0].tolist())
            raise RobustsegError(
                f"{in_one_line(path)} holds the colour {colour}, which is none of the {len(known)} "
                "classes; give it a line in `classes`, whose number (from 0) may stand in "
                "`ignore`, or correct the mask"
            )
        return places
