"""SEA and its parts, which Tables 9 and 10 share: single losses, three of four, all."""

from collections.abc import Sequence

from robustseg.attacks.losses import LOSSES, SEA_LOSSES
from robustseg.evidence.runs import Run

SUBSETS = {
    "A": ("mask_ce", "bal_ce", "js"),
    "B": ("mask_ce", "bal_ce", "mask_sph"),
    "C": ("mask_ce", "js", "mask_sph"),
}
"""Three of SEA's four losses."""

COLUMNS = (
    *(("individual losses", LOSSES[loss].label) for loss in SEA_LOSSES),
    *(("subsets of three losses", name) for name in SUBSETS),
    ("all", "SEA"),
)
WORDS = (*SEA_LOSSES, *SUBSETS, "sea")
"""The parts, in the order of the columns."""

NOTES = tuple(
    f"{name}: {' ∪ '.join(LOSSES[loss].label for loss in losses)}"
    for name, losses in SUBSETS.items()
)


def parts_of(sea: Sequence[Run]) -> dict[str, tuple[Run, ...]]:
    """Return the runs of each part, given those of SEA."""
    singles = {run.loss: (run,) for run in sea}
    subsets = {
        name: tuple(run for run in sea if run.loss in losses) for name, losses in SUBSETS.items()
    }
    return singles | subsets | {"sea": tuple(sea)}
