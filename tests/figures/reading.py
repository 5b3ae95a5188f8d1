"""Whether a figure can be read where it will be printed."""

from collections.abc import Iterator
from itertools import combinations

from matplotlib.figure import Figure
from matplotlib.text import Text

TEXT_WIDTH_INCHES, LEAST_PT = 5.5, 6


def readable(canvas: Figure, width_inches: float = TEXT_WIDTH_INCHES) -> None:
    """Check that a canvas has this width, large letters, and no text cut off or over another."""
    assert canvas.get_figwidth() == width_inches
    canvas.draw_without_rendering()
    hidden = {*_hidden(canvas)}
    texts = [one for one in canvas.findobj(Text) if one.get_text() and one.get_visible()]
    texts = [one for one in texts if one not in hidden]
    assert min(one.get_fontsize() for one in texts) >= LEAST_PT
    boxes = {one: one.get_window_extent() for one in texts}
    inside = canvas.bbox.padded(1)
    for one, box in boxes.items():
        assert all(inside.contains(*corner) for corner in box.corners()), one
    for (one, box), (other, beside) in combinations(boxes.items(), 2):
        assert not box.padded(-1).overlaps(beside.padded(-1)), (one, other)


def _hidden(canvas: Figure) -> Iterator[Text]:
    """Yield texts that are not drawn: those of hidden axes, and of ticks beyond an axis."""
    for axes in canvas.axes:
        if not axes.get_visible():
            yield from axes.findobj(Text)
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks():
                if not low <= tick.get_loc() <= high:
                    yield tick.label1
