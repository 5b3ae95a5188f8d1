"""Figure 3: mIoU under each loss by schedule, at the same number of iterations."""

from robustseg.exhibits import ITERATIONS_SPENT
from robustseg.figures.by_schedule import draw, select
from robustseg.figures.figure import Figure

FIGURE = Figure(
    id="figure3",
    label="Figure 3",
    question=ITERATIONS_SPENT,
    shows="mIoU under each loss of SEA and their worst case, by schedule of the radius, at the "
    "same number of iterations. Lower is a stronger attack.",
    metrics=("miou",),
    select=select,
    draw=draw,
)
