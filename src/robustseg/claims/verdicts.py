"""Which of the paper's claims hold on a set of tables, with the numbers and the margin."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from robustseg.claims.language import DIMENSIONS, Cells, Claim, Place, Predicate
from robustseg.errors import RobustsegError
from robustseg.evidence.queries import RESAMPLES

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


Scores: TypeAlias = tuple[NDArray[np.object_], NDArray[np.float64]]
"""Image ids (N,), and the score (N,) of each in percent."""
ImageScores: TypeAlias = Callable[[NumberKey], Scores | None]
"""Gives the images whose mean score a number is; None where it is no such mean."""
_ByTable: TypeAlias = "dict[str, pd.DataFrame]"
"""By table, the numbers of a place in one training seed, with the column `role`."""

SUPPORTED, CONTRADICTED, NOT_EVALUATED = "supported", "contradicted", "not evaluated"
UNDECIDED = "undecided"

RESULT_COLUMNS = (
    *("claim", "sentence", "source", "place", "verdict", "comparisons", "holding"),
    *("left", "right", "margin", "low", "high", "detail"),
    *("seeds", "seeds_holding", "std"),
)
_DECIMALS = 9  # 88.7 - 88.6 is 0.1, not 0.10000000000000853


def evaluate_claims(
    claims: Iterable[Claim],
    places: Iterable[Place],
    numbers: "pd.DataFrame",
    image_scores: ImageScores | None = None,
) -> "pd.DataFrame":
    """Check every claim at every place that there are numbers of.

    Args:
        claims, places: from `language.read_claims`.
        numbers: long form: table, dataset, model, attack, eps_255 (1/255), metric, value (for acc
            and miou in percent), std; and training_seed, where there are several. A number without
            a training seed stands beside those of each. Further columns are ignored.
        image_scores: gives the images behind a number, for intervals; asked only for the numbers
            that decide a verdict.

    Returns:
        One row for each claim and place where it can be checked, or one row "not evaluated" for a
        claim that can be checked nowhere. `comparisons` and `holding` count compared cells; a
        comparison holds if it does in every training seed that has it. The rest is of the
        comparison that decides the verdict: `left`, `right` and `margin`, means over its training
        seeds; `seeds`, how many these are, `seeds_holding`, in how many it holds, and `std`, the
        margin's sample standard deviation over them. A margin below 0 contradicts, above 0
        supports (with several seeds: if it is in each), and 0 does what the predicate says of
        equality. `low` and `high` bound the margin's paired 95 % bootstrap interval over images.
        NaN: `low` and `high` where images do not tell (mIoU, standard deviations, no
        `image_scores`), `std` of one seed. Points of a percent throughout.

    Raises:
        RobustsegError: `numbers` lacks a column or has a cell twice.
    """
    import pandas as pd

    at_places = [(place, _by_seed(_checked(numbers), place)) for place in places]
    rows = []
    for claim in claims:
        evaluated, reasons = [], []
        for place, by_seed in at_places:
            if not by_seed or (claim.only_on and place.dataset not in claim.only_on):
                continue
            compared = _compare_all(claim, by_seed)
            if isinstance(compared, str):
                reasons.append(compared)
            else:
                evaluated.append(_judge(claim, place, compared, tuple(by_seed), image_scores))
        rows += evaluated or [_not_evaluated(claim, reasons)]
    return pd.DataFrame(rows, columns=list(RESULT_COLUMNS))


def overall_verdicts(results: "pd.DataFrame") -> dict[str, str]:
    """Return {claim: verdict}: contradicted as soon as one place contradicts."""
    verdicts: dict[str, str] = {}
    for claim, verdict in zip(results["claim"], results["verdict"], strict=True):
        if verdicts.get(claim) != CONTRADICTED:
            verdicts[claim] = verdict
    return verdicts


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


def _by_seed(numbers: "pd.DataFrame", place: Place) -> dict[float, _ByTable]:
    """Return the numbers of a place's models."""
    role_of = {model: role for role, model in place.roles.items()}
    here = numbers[numbers["dataset"] == place.dataset]
    here = here.assign(role=here["model"].map(role_of)).dropna(subset=["role"])
    seeds = sorted(here["training_seed"].dropna().unique()) or [np.nan] * bool(len(here))
    of_seed = {
        seed: here[here["training_seed"].isna() | (here["training_seed"] == seed)] for seed in seeds
    }
    return {
        seed: {str(table): rows for table, rows in cells.groupby("table", observed=True)}
        for seed, cells in of_seed.items()
    }


@dataclass(frozen=True)
class _Comparison:
    """Two cells, or a cell and a number, compared in each training seed that has both.

    `pairs` has one row a seed: the columns of both cells with the suffixes _left and _right,
    `margin`, how far beyond the threshold they are, in points, whether this `holds`, and `seed`.
    """

    predicate: Predicate
    pairs: "pd.DataFrame"

    @property
    def margin(self) -> float:
        return float(np.round(self.pairs["margin"].mean(), _DECIMALS)) + 0.0  # no -0.0

    @property
    def std(self) -> float:
        """Sample standard deviation over seeds; NaN with one."""
        return float(self.pairs["margin"].std())

    @property
    def within_spread(self) -> bool:
        """Whether the predicate asks for a difference beyond the seeds' spread and this is none."""
        if not self.predicate.must_exceed_spread or len(self.pairs) == 1:
            return False
        return self.margin + (self.predicate.by or 0.0) <= self.std

    @property
    def holds(self) -> bool:
        return bool(self.pairs["holds"].all()) and not self.within_spread

    @property
    def rank(self) -> tuple[bool, float]:
        """Orders comparisons: what holds is above what does not, then the margin decides."""
        return self.holds, self.margin


def _compare_all(claim: Claim, by_seed: dict[float, _ByTable]) -> list[list[_Comparison]] | str:
    """Return the comparisons of each predicate, or why one of them has none.

    A training seed counts if all predicates can be checked in it.
    """
    import pandas as pd

    in_seeds = [
        [_compare(predicate, cells, seed) for predicate in claim.predicates]
        for seed, cells in by_seed.items()
    ]
    reasons = [[one for one in compared if isinstance(one, str)] for compared in in_seeds]
    complete = [
        compared for compared, missing in zip(in_seeds, reasons, strict=True) if not missing
    ]
    if not complete:
        return reasons[0][0]
    return [
        [
            _Comparison(predicate, pairs)
            for _, pairs in pd.concat(frames, ignore_index=True).groupby(
                _same_in_all_seeds(predicate), sort=False, observed=True
            )
        ]
        for predicate, frames in zip(claim.predicates, zip(*complete, strict=True), strict=True)
    ]


def _shared(predicate: Predicate) -> list[str]:
    """Return the dimensions in which the cells of both sides agree."""
    return [name for name in DIMENSIONS if name not in predicate.own]


def _same_in_all_seeds(predicate: Predicate) -> list[str]:
    """Return the columns by which a comparison is recognised in another training seed.

    What a side takes, such as the lowest of several attacks, may be another cell in each.
    """
    shared = _shared(predicate)
    columns = ["table_left"]
    for side, cells in (("_left", predicate.left), ("_right", predicate.right)):
        if isinstance(cells, Cells):
            names = shared if cells.take else DIMENSIONS
            columns += [name + side for name in names]
    return columns


def _compare(predicate: Predicate, cells: _ByTable, seed: float) -> "pd.DataFrame | str":
    """Return one row for each pair of cells compared in one training seed, or why none can be.

    The two sides meet in cells that agree in every dimension that neither side names itself.
    """
    left, right, shared = predicate.left, predicate.right, _shared(predicate)
    left_cells = _select(left, cells, shared)
    right_cells = right if isinstance(right, float) else _select(right, cells, shared)
    for side in (left_cells, right_cells):
        if isinstance(side, str):
            return side
    pairs = _pair(left_cells, right_cells, shared)  # type: ignore[arg-type]
    if pairs.empty:
        return f"no cell of {left.table} has its counterpart"
    gap = (pairs["number_right"] - pairs["number_left"]).to_numpy()
    margin = _margin(predicate, gap).round(_DECIMALS) + 0.0  # no -0.0
    holds = margin > 0 if predicate.by is None else margin >= 0
    return pairs.assign(margin=margin, holds=holds, seed=seed)


def _select(selection: Cells, cells: _ByTable, shared: list[str]) -> "pd.DataFrame | str":
    """Return the selected cells with their `number`, or why there are none.

    A word that the claim lists must be there: a claim about four losses is not checked on three.
    """
    if selection.table not in cells:
        return f"there are no numbers of {selection.table}"
    rows = cells[selection.table].dropna(subset=[selection.column])
    for name, words in selection.words.items():
        rows = rows[rows[name].isin(words)]
        if missing := [word for word in words if not rows[name].eq(word).any()]:
            listed = ", ".join(_print(name, word) for word in missing)
            return f"{selection.table} has no {name} {listed}"
    rows = rows.assign(number=rows[selection.column], is_score=selection.column == "value")
    if selection.take:
        rows = rows.sort_values("number", ascending=selection.take == "lowest", kind="stable")
        rows = rows.drop_duplicates(shared) if shared else rows.head(1)
    return rows[[*NumberKey._fields, "role", "number", "is_score"]]


def _pair(left: "pd.DataFrame", right: "pd.DataFrame | float", shared: list[str]) -> "pd.DataFrame":
    """Return each cell of the left beside the number, or each cell of the right that meets it."""
    pairs = left.add_suffix("_left")
    if isinstance(right, float):
        return pairs.assign(number_right=right)
    others = right.add_suffix("_right")
    if not shared:
        return pairs.merge(others, how="cross")
    lefts, rights = ([name + side for name in shared] for side in ("_left", "_right"))
    return pairs.merge(others, left_on=lefts, right_on=rights)


def _margin(predicate: Predicate, gap: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far beyond the threshold pairs are, for gap = right - left, in points."""
    by = predicate.by or 0.0
    side = {"lower": gap, "higher": -gap, "close": -np.abs(gap)}[predicate.verb]
    return side + by if predicate.verb == "close" else side - by


def _needed(quantifier: str, count: int) -> int:
    """Return how many of `count` comparisons must hold."""
    return {"every": count, "most": count // 2 + 1, "some": 1}[quantifier]


def _label(comparison: _Comparison, seeds: tuple[float, ...]) -> str:
    """Return what is compared: "sea 27.4 against B 27.5 (pir_at_5, 12/255, acc)".

    `seeds` are those of the place; if the comparison has fewer, it is said.
    """
    pairs, shared = comparison.pairs, _shared(comparison.predicate)
    left, right = (f"{round(pairs['number' + side].mean(), 2):g}" for side in ("_left", "_right"))

    def words(names: Iterable[str], side: str) -> str:
        found = [[_print(name, word) for word in pairs[name + side].unique()] for name in names]
        return ", ".join(map(" or ".join, found))

    if "metric_right" in pairs.columns:
        own = [name for name in DIMENSIONS if name not in shared]
        sides = f"{words(own, '_left')} {left} against {words(own, '_right')} {right}"
        label = f"{sides} ({words(shared, '_left')})"
    else:
        label = f"{words(DIMENSIONS, '_left')} {left} against {right}"
    if len(pairs) < len(seeds):
        label += f" in training seed {', '.join(map('{:g}'.format, pairs['seed']))} alone"
    if comparison.within_spread:
        label += ", within the spread over seeds"
    return label


def _print(name: str, word: Any) -> str:
    return f"{word:g}/255" if name == "eps_255" else str(word)


def _judge(
    claim: Claim,
    place: Place,
    compared: list[list[_Comparison]],
    seeds: tuple[float, ...],
    image_scores: ImageScores | None,
) -> dict[str, Any]:
    """Return the result row of a claim at a place; the weakest predicate decides."""
    deciding = []
    for comparisons in compared:
        ranked = sorted(comparisons, key=lambda one: one.rank, reverse=True)
        needed = _needed(comparisons[0].predicate.quantifier, len(ranked))
        deciding.append(ranked[needed - 1])  # makes the needed number complete
    weakest = min(deciding, key=lambda one: one.rank)
    low, high = _interval(weakest, image_scores) if image_scores else (np.nan, np.nan)
    return _result(
        claim,
        place=place.title,
        verdict=SUPPORTED if weakest.holds else CONTRADICTED,
        comparisons=sum(map(len, compared)),
        holding=sum(one.holds for comparisons in compared for one in comparisons),
        left=weakest.pairs["number_left"].mean(),
        right=weakest.pairs["number_right"].mean(),
        margin=weakest.margin,
        low=low,
        high=high,
        detail=_label(weakest, seeds),
        seeds=len(weakest.pairs),
        seeds_holding=int(weakest.pairs["holds"].sum()),
        std=weakest.std,
    )


def _not_evaluated(claim: Claim, reasons: list[str]) -> dict[str, Any]:
    where = " or ".join(claim.only_on) or "any place"
    detail = "; ".join(dict.fromkeys(reasons)) or f"no table has numbers of {where}"
    return _result(claim, place="", verdict=NOT_EVALUATED, detail=detail)


def _result(claim: Claim, **fields: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("left", "right", "margin", "low", "high", "std"), np.nan)
    none = dict.fromkeys(("comparisons", "holding", "seeds", "seeds_holding"), 0)
    about = {"claim": claim.id, "sentence": claim.sentence, "source": claim.source}
    return {**empty, **none, **about, **fields}


def _interval(comparison: _Comparison, image_scores: ImageScores) -> tuple[float, float]:
    """Return the 95 % interval of a margin, resampling the images that all its cells share."""
    import pandas as pd

    gaps = []
    for _, pair in comparison.pairs.iterrows():
        left = _scores_of(pair, "_left", image_scores)
        if "metric_right" in pair.index:
            right = _scores_of(pair, "_right", image_scores)
        else:
            right = None if left is None else left * 0 + pair["number_right"]
        if left is None or right is None:
            return np.nan, np.nan
        gaps.append(right - left)  # aligned by image_id
    gap = pd.concat(gaps, axis="columns", join="inner").dropna().to_numpy()
    if not len(gap):
        return np.nan, np.nan
    draws = np.random.default_rng(0).integers(0, len(gap), (RESAMPLES, len(gap)))
    in_seeds = [_margin(comparison.predicate, one[draws].mean(axis=1)) for one in gap.T]
    low, high = np.percentile(np.mean(in_seeds, axis=0), (2.5, 97.5))
    return float(low), float(high)


def _scores_of(
    pair: "pd.Series[Any]", side: str, image_scores: ImageScores
) -> "pd.Series[float] | None":
    """Return the scores behind one side of a pair by image id, or None if it is no mean of any."""
    import pandas as pd

    cell = NumberKey(*(pair[name + side] for name in NumberKey._fields))
    found = image_scores(cell) if pair["is_score" + side] else None
    return None if found is None else pd.Series(found[1], index=found[0])
