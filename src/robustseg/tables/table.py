"""What a table is, and what their layouts share: cells made from numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from robustseg.attacks.losses import LOSSES
from robustseg.evidence.wording import METRIC_LABELS, MISSING, printed, signed
from robustseg.exhibits import Exhibit
from robustseg.tables.layout import Cell, Layout

if TYPE_CHECKING:
    from robustseg.evidence.numbers import Number, Sources
    from robustseg.numbers_shown import Numbers


@dataclass(frozen=True, kw_only=True)
class Table(Exhibit):
    """A table: see `Exhibit`, and how it is laid out.

    Attributes:
        layout: what is printed, made from the numbers alone.
        own_numbers: its numbers where it reads no evidence.
    """

    layout: Callable[[Numbers], Layout]
    own_numbers: Callable[[Table, Sources], Numbers] | None = None


def cell(numbers: Numbers, one: Number | None) -> Cell:
    """Return a number in print, with its interval and the evidence behind it as a note."""
    from robustseg.evidence.numbers import behind

    if one is None:
        return Cell(MISSING)
    note = []
    if one.by_seed:
        note.append(_by_seed(one))
    elif one.low is not None and one.high is not None:
        note.append(f"95 % interval over images: {printed(one.low)} to {printed(one.high)}")
    spread = f" ± {printed(one.std)}" if one.std is not None else ""
    return Cell(
        printed(one.value) + spread,
        note="\n".join([*note, *behind(one)]),
        reported=numbers.reported.get(
            (one.dataset, one.model, one.attack, one.eps_255, one.metric)
        ),
    )


def difference_cell(one: Number) -> Cell:
    """Return a difference in points in print, with its spread over seeds or its interval."""
    shown = signed(one.value, 2)
    if one.std is not None:
        return Cell(f"{shown} ± {one.std:.2f}", note=_by_seed(one))
    if one.low is None or one.high is None:
        return Cell(shown)
    return Cell(f"{shown} ({signed(one.low, 2)} to {signed(one.high, 2)})")


def _by_seed(one: Number) -> str:
    return f"by seed: {', '.join(map(printed, one.by_seed))}"


def loss_label(name: str) -> str:
    """Return a loss in print; attacks of their own keep their name."""
    return LOSSES[name].label if name in LOSSES else name


def cells(numbers: Numbers, model: str, attack: str, eps_255: float) -> list[Cell]:
    """Return the cells of an attack, one for each metric; a dash where there is no number."""
    return [
        cell(numbers, numbers.get(model, attack, eps_255, metric))
        for metric in numbers.exhibit.metrics
    ]


def clean_scores(numbers: Numbers, model: str) -> str:
    """Return what a model gets right without an attack, in print."""
    acc, miou = (cell(numbers, numbers.get(model, "clean", 0.0, m)).text for m in ("acc", "miou"))
    return f"(clean: ACC {acc}, mIoU {miou})"


def columns(numbers: Numbers, heads: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """Return below each head a column for each metric."""
    metrics = [METRIC_LABELS[metric] for metric in numbers.exhibit.metrics]
    return tuple((*head, metric) for head in heads for metric in metrics)


def best(some: Sequence[Cell], metrics: int = 1) -> list[Cell]:
    """Return cells with the lowest printed value of each metric in bold, ties included.

    Args:
        some: the cells, those of one attack beside each other.
        metrics: cells of one attack.
    """
    # ASSUME: bold as the captions of Tables 2 and 9 suggest; the text version carries no bold.
    lowest = [min(one.number for one in some[place::metrics]) for place in range(metrics)]
    return [
        replace(one, bold=one.number == lowest[place % metrics]) for place, one in enumerate(some)
    ]
