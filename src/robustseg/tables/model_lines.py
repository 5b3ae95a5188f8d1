"""What tables with a line for each model share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from robustseg.evidence.wording import MISSING, Settings
from robustseg.tables.layout import Cell
from robustseg.tables.table import cells

if TYPE_CHECKING:
    from robustseg.numbers_shown import Numbers


def grouped(numbers: Numbers, title: Callable[[Settings], str]) -> dict[str, list[str]]:
    """Return the models below each title, in their order."""
    groups: dict[str, list[str]] = {}
    for model, settings in numbers.models.items():
        groups.setdefault(title(settings), []).append(model)
    return groups


def clean_and_sea_cells(numbers: Numbers, model: str, radii: Sequence[float]) -> tuple[Cell, ...]:
    """Return a model's cells without an attack (radius 0) and under SEA at each radius."""
    return tuple(
        c
        for eps_255 in radii
        for c in cells(numbers, model, "sea" if eps_255 else "clean", eps_255)
    )


def initialisation(settings: Settings) -> str:
    """Return which backbone a model starts from."""
    return "robust" if settings["scheme"] == "pir_at" else "clean"


def steps(settings: Settings) -> str:
    """Return the attack steps of a model's training."""
    return str(settings.get("steps") or MISSING)
