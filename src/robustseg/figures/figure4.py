"""Figure 4: ACC and mIoU of a clean model under each loss by schedule."""

from robustseg.exhibits import ITERATIONS_SPENT
from robustseg.figures.by_schedule import draw, select
from robustseg.figures.figure import Figure

FIGURE = Figure(
    id="figure4",
    label="Figure 4",
    question=ITERATIONS_SPENT,
    shows="ACC and mIoU of a cleanly trained model under each loss and schedule.",
    select=select,
    draw=draw,
)
