"""How a budget of iterations is spent on radii: const-eps, its restarts, red-eps (Sec. 2.3)."""

from dataclasses import dataclass
from itertools import accumulate

from robustseg.attacks.spec import SCHEDULES


@dataclass(frozen=True)
class Slot:
    """Iterations at one radius.

    Attributes:
        scale: the radius over the attack's own.
        iterations: of this slot.
        restart: which independent run of the schedule the slot belongs to.
        before: iterations of the same run that came before; 0 means a random start.
        budget: of the run.
        final: whether the slot is at the attack's own radius, so that what it finds counts.
    """

    scale: float
    iterations: int
    restart: int
    before: int
    budget: int
    final: bool


def slots(schedule: str, iterations: int) -> list[Slot]:
    """Return the slots of a schedule in order; their iterations add up to `iterations`.

    ASSUME: a budget that the shares do not divide is cut at the running totals, rounded down, so
    that a rest goes to the smaller radii; each slot has at least one iteration.
    """
    shares, independent = SCHEDULES[schedule].shares, SCHEDULES[schedule].restarts
    totals = enumerate(accumulate(shares), start=1)
    ends = [max(slot, iterations * total // sum(shares)) for slot, total in totals]
    starts = [0, *ends[:-1]]
    parts = zip(SCHEDULES[schedule].radii, starts, ends, strict=True)
    return [
        Slot(
            scale=scale,
            iterations=end - start,
            restart=part if independent else 0,
            before=0 if independent else start,
            budget=end - start if independent else iterations,
            final=scale == 1.0,
        )
        for part, (scale, start, end) in enumerate(parts)
    ]
