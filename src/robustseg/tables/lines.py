"""What tables with a line for each model, or for each radius, share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from robustseg.evidence.wording import MISSING, Settings, alike, radius
from robustseg.names import ROBUST_START
from robustseg.tables.layout import Cell, Group, Row
from robustseg.tables.table import cells

if TYPE_CHECKING:
    from robustseg.numbers_shown import Numbers


def _grouped(numbers: Numbers, title: Callable[[Settings], str]) -> dict[str, list[str]]:
    """Return the models below each title, in their order."""
    groups: dict[str, list[str]] = {}
    for model, settings in numbers.models.items():
        groups.setdefault(title(settings), []).append(model)
    return groups


def groups_by_radius(numbers: Numbers, words: Sequence[str]) -> tuple[Group, ...]:
    """Return a line a radius for each model, with the cells of these attacks."""
    return tuple(
        Group(
            numbers.title(model),
            tuple(
                Row(
                    (radius(eps_255),),
                    tuple(c for word in words for c in cells(numbers, model, word, eps_255)),
                )
                for eps_255 in numbers.radii(model)
            ),
        )
        for model in numbers.models
    )


def clean_and_sea_groups(
    numbers: Numbers,
    title: Callable[[Settings], str],
    stub: Callable[[Settings], tuple[str, ...]],
    radii: Sequence[float],
) -> tuple[Group, ...]:
    """Return a line a model, without an attack (radius 0) and under SEA at each radius."""
    stubs = {model: (title(one), *stub(one)) for model, one in numbers.models.items()}
    unnamed = alike(stubs)

    def row(model: str) -> Row:
        _, first, *others = stubs[model]
        said = f"{first}, {model}" if model in unnamed else first
        return Row((said, *others), clean_and_sea_cells(numbers, model, radii))

    return tuple(
        Group(heading, tuple(map(row, models)))
        for heading, models in _grouped(numbers, title).items()
    )


def clean_and_sea_cells(numbers: Numbers, model: str, radii: Sequence[float]) -> tuple[Cell, ...]:
    """Return a model's cells without an attack (radius 0) and under SEA at each radius."""
    return tuple(
        c
        for eps_255 in radii
        for c in cells(numbers, model, "sea" if eps_255 else "clean", eps_255)
    )


def initialisation(settings: Settings) -> str:
    """Return which backbone a model starts from."""
    return "robust" if settings["scheme"] in ROBUST_START else "clean"


def steps(settings: Settings) -> str:
    """Return the attack steps of a model's training."""
    return str(settings.get("steps") or MISSING)
