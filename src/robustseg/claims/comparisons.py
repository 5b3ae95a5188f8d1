"""Which cells of the tables a predicate compares, in each training seed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from robustseg.claims.language import DIMENSIONS, Cells, Claim, Place, Predicate
from robustseg.errors import RobustsegError

if TYPE_CHECKING:
    import pandas as pd


class NumberKey(NamedTuple):
    """Tells a number of a table or figure from all others."""

    table: str
    dataset: str
    model: str
    training_seed: int
    attack: str
    eps_255: float
    metric: str

    @staticmethod
    def of(row: Mapping[Any, Any]) -> "NumberKey":
        """Return the key of a line of `numbers`."""
        return NumberKey(*(row[name] for name in NumberKey._fields))


class Cell(NamedTuple):
    """A number of a table or figure, by the role that its model plays.

    Attributes:
        value: the number.
        std: its standard deviation over attack seeds, NaN without.
        attack_seeds: how many these are; 0 if that is not known.
    """

    key: NumberKey
    role: str
    value: float
    std: float
    attack_seeds: int = 0

    def words(self, names: Iterable[str]) -> tuple[Any, ...]:
        """Return what the cell is in some dimensions."""
        return tuple(self.role if name == "role" else getattr(self.key, name) for name in names)


Tables: TypeAlias = dict[str, list[Cell]]
"""By table, the cells of a place in one training seed."""
Side: TypeAlias = Cell | float


class Meeting(NamedTuple):
    """What is compared in one training seed."""

    seed: float
    left: Cell
    right: Side


_DECIMALS = 9  # 88.7 - 88.6 is 0.1, not 0.10000000000000853
SMALLEST = 10.0**-_DECIMALS
"""The smallest difference that counts, in points."""
_OF_RIGHT: Mapping[str | None, Callable[..., "Pair"]] = {"lowest": min, "highest": max, None: min}
_OF_LEFT: Mapping[str | None, Callable[..., "Pair"]] = {"lowest": max, "highest": min, None: min}
"""Which gap is that of what a side takes: the lower the left side, the larger the gap."""


@dataclass(frozen=True, eq=False)
class Pair:
    """A cell beside another or a number, in each training seed that has both.

    Attributes:
        seeds: these training seeds.
        lefts, rights: what is compared, by training seed.
        gaps: (S,), right minus left.
        are_scores: whether these are of the numbers themselves, not of standard deviations.
    """

    seeds: tuple[float, ...]
    lefts: tuple[Cell, ...]
    rights: tuple[Side, ...]
    gaps: NDArray[np.float64]
    are_scores: bool

    @property
    def gap(self) -> float:
        """The mean over training seeds."""
        return float(self.gaps.mean())


@dataclass(frozen=True)
class Comparison:
    """What a predicate asks of one cell: a pair, or the lowest or highest of several.

    Attributes:
        predicate: what asks.
        by_left: all pairs, those of one left cell together.
    """

    predicate: Predicate
    by_left: tuple[tuple[Pair, ...], ...]

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """All pairs, one if no side takes the lowest or highest of several."""
        return tuple(pair for pairs in self.by_left for pair in pairs)

    def taken(self, gap: Callable[[Pair], float]) -> Pair:
        """Return the pair of the lowest or highest cells, where `gap` gives the gaps."""
        right = self.predicate.right
        of_right = _OF_RIGHT[right.take if isinstance(right, Cells) else None]
        of_left = _OF_LEFT[self.predicate.left.take]
        return of_left((of_right(pairs, key=gap) for pairs in self.by_left), key=gap)

    @property
    def deciding(self) -> Pair:
        """The pair of the lowest or highest cells, by their means over training seeds."""
        return self.taken(lambda pair: pair.gap)

    @property
    def margin(self) -> float:
        """How far beyond the threshold it is, in points."""
        return float(margins(self.predicate, np.array(self.deciding.gap)))

    @property
    def holds(self) -> bool:
        """Whether it holds on the numbers as they are."""
        return holds(self.predicate, self.margin)


def margins(predicate: Predicate, gap: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far beyond the threshold gaps are, in points."""
    by = predicate.by or 0.0
    side = {"lower": gap, "higher": -gap, "close": -np.abs(gap)}[predicate.verb]
    margin = side + by if predicate.verb == "close" else side - by
    rounded: NDArray[np.float64] = np.round(margin, _DECIMALS) + 0.0  # no -0.0
    return rounded


def holds(predicate: Predicate, margin: float) -> bool:
    """Return whether a margin is on the side that the predicate asks for."""
    return margin > 0 if predicate.by is None else margin >= 0


def by_place(
    numbers: "pd.DataFrame", places: Iterable[Place]
) -> list[tuple[Place, dict[float, Tables]]]:
    """Return the cells of each place by training seed; no seed where it has none.

    Args:
        numbers: long form, see `verdicts.evaluate_claims`.
        places: from `language.read_claims`.

    Raises:
        RobustsegError: `numbers` lacks a column or has a cell twice.
    """
    numbers = _checked(numbers)
    of_model: dict[tuple[str, str], list[Mapping[Any, Any]]] = {}
    columns = [*NumberKey._fields, "value", "std", *(["runs"] if "runs" in numbers else [])]
    for row in numbers[columns].to_dict("records"):
        of_model.setdefault((row["dataset"], row["model"]), []).append(row)
    found = []
    for place in places:
        cells = [
            Cell(NumberKey.of(row), role, row["value"], row["std"], _attack_seeds(row))
            for role, model in place.roles.items()
            for row in of_model.get((place.dataset, model), [])
        ]
        found.append((place, _by_seed(cells)))
    return found


def _attack_seeds(row: Mapping[Any, Any]) -> int:
    runs = row.get("runs")
    return 0 if runs is None else len({run["seed"] for run in runs})


def _checked(numbers: "pd.DataFrame") -> "pd.DataFrame":
    """Return the numbers with a column `training_seed`, NaN where they have none."""
    if "training_seed" not in numbers.columns:
        numbers = numbers.assign(training_seed=np.nan)
    for column in (*NumberKey._fields, "value", "std"):
        if column not in numbers.columns:
            raise RobustsegError(f"the tables have no column {column!r}, which claims need")
    twice = numbers[numbers.duplicated(list(NumberKey._fields))]
    if len(twice):
        words = twice.iloc[0][[name for name in NumberKey._fields if name != "training_seed"]]
        cell = ", ".join(map(str, words))
        raise RobustsegError(f"the tables have a cell twice: {cell}; give each table once")
    return numbers


def _by_seed(cells: Sequence[Cell]) -> dict[float, Tables]:
    """Return cells by training seed and table; those without a seed stand in each."""
    own = {cell.key.training_seed for cell in cells}
    seeds: list[float] = sorted(seed for seed in own if seed == seed)
    seeds = seeds or [np.nan] * bool(cells)
    by_seed: dict[float, Tables] = {seed: {} for seed in seeds}
    for cell in cells:
        has_seed = cell.key.training_seed == cell.key.training_seed  # NaN is unlike itself
        for seed in (cell.key.training_seed,) if has_seed else seeds:
            by_seed[seed].setdefault(cell.key.table, []).append(cell)
    return by_seed


def compare(claim: Claim, by_seed: Mapping[float, Tables]) -> list[list[Comparison]] | str:
    """Return the comparisons of each predicate, or why one of them has none.

    A training seed counts if all predicates can be checked in it.
    """
    complete, reasons = [], []
    for seed, tables in by_seed.items():
        met = [_meetings(predicate, tables, seed) for predicate in claim.predicates]
        missing = [one for one in met if isinstance(one, str)]
        if missing:
            reasons.append(missing[0])
        else:
            complete.append(met)
    if not complete:
        return reasons[0]
    return [
        _comparisons(predicate, [pair for met in in_seeds for pair in met])
        for predicate, in_seeds in zip(claim.predicates, zip(*complete, strict=True), strict=True)
    ]


def _meetings(predicate: Predicate, tables: Tables, seed: float) -> list[Meeting] | str:
    """Return what is compared in one training seed, or why nothing can be.

    The two sides meet in cells that agree in every dimension that neither side names itself.
    """
    shared = shared_by(predicate)
    left = _select(predicate.left, tables)
    if isinstance(left, str):
        return left
    if not isinstance(predicate.right, Cells):
        return [Meeting(seed, cell, predicate.right) for cell in left]
    right = _select(predicate.right, tables)
    if isinstance(right, str):
        return right
    meets: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in right:
        meets.setdefault(cell.words(shared), []).append(cell)
    met = [
        Meeting(seed, cell, other) for cell in left for other in meets.get(cell.words(shared), [])
    ]
    return met or f"no cell of {predicate.left.table} has its counterpart"


def _select(selection: Cells, tables: Tables) -> list[Cell] | str:
    """Return the selected cells, or why there are none.

    A word that the claim lists must be there: a claim about four losses is not checked on three.
    """
    if selection.table not in tables:
        return f"there are no numbers of {selection.table}"
    cells = [
        cell
        for cell in tables[selection.table]
        if getattr(cell, selection.column) == getattr(cell, selection.column)
    ]
    for name, words in selection.words.items():
        chosen = [(cell.words([name])[0], cell) for cell in cells]
        cells = [cell for word, cell in chosen if word in words]
        there = {word for word, _ in chosen}
        if missing := [word for word in words if word not in there]:
            listed = ", ".join(in_print(name, word) for word in missing)
            return f"{selection.table} has no {name} {listed}"
    return cells or f"{selection.table} has no number with a {selection.column}"


def shared_by(predicate: Predicate) -> list[str]:
    """Return the dimensions in which the cells of both sides agree."""
    return [name for name in DIMENSIONS if name not in predicate.own]


def _comparisons(predicate: Predicate, met: Iterable[Meeting]) -> list[Comparison]:
    """Return what was met in several training seeds as comparisons, in the order of the first."""
    shared = shared_by(predicate)
    of_left, of_right = (
        shared if isinstance(side, Cells) and side.take else DIMENSIONS
        for side in (predicate.left, predicate.right)
    )
    found: dict[Any, dict[Any, dict[Any, list[Meeting]]]] = {}
    for one in met:
        compared = _words(one.left, of_left), _words(one.right, of_right)
        by_left = found.setdefault(compared, {})
        by_right = by_left.setdefault(_words(one.left, DIMENSIONS), {})
        by_right.setdefault(_words(one.right, DIMENSIONS), []).append(one)
    return [
        Comparison(
            predicate,
            tuple(
                tuple(_pair(predicate, in_seeds) for in_seeds in by_right.values())
                for by_right in by_left.values()
            ),
        )
        for by_left in found.values()
    ]


def _words(side: Side, names: Iterable[str]) -> tuple[Any, ...]:
    return side.words(names) if isinstance(side, Cell) else ()


def _pair(predicate: Predicate, in_seeds: Iterable[Meeting]) -> Pair:
    seeds, lefts, rights = zip(*in_seeds, strict=True)
    of_left, of_right = (
        np.array([number_of(side, selection) for side in sides])
        for sides, selection in ((lefts, predicate.left), (rights, predicate.right))
    )
    sides = [side for side in (predicate.left, predicate.right) if isinstance(side, Cells)]
    are_scores = all(side.column == "value" for side in sides)
    return Pair(seeds, lefts, rights, of_right - of_left, are_scores)


def number_of(side: Side, selection: Cells | float) -> float:
    """Return the number that a side is compared by."""
    if isinstance(side, Cell) and isinstance(selection, Cells):
        return float(getattr(side, selection.column))
    return float(side)  # type: ignore[arg-type]


def in_print(name: str, word: Any) -> str:
    """Return a word of a dimension as it is printed: a radius as "4/255"."""
    return f"{word:g}/255" if name == "eps_255" else str(word)
