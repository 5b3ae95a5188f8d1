"""Which of the paper's claims hold on a set of tables, with the numbers and the margin."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from robustseg.claims.predicates import DIMENSIONS, Claim, Place, Predicate, Selection
from robustseg.errors import RobustsegError
from robustseg.evidence.queries import RESAMPLES

if TYPE_CHECKING:
    import pandas as pd

Cells: TypeAlias = "dict[str, pd.DataFrame]"
Scores: TypeAlias = dict[tuple[Any, ...], tuple[NDArray[np.object_], NDArray[np.float64]]]
"""By cell (see CELL): image ids (N,), and the score (N,) of each in percent."""

SUPPORTED, CONTRADICTED, NOT_EVALUATED = "supported", "contradicted", "not evaluated"

RESULT_COLUMNS = (
    *("claim", "sentence", "source", "place", "verdict", "comparisons", "holding"),
    *("left", "right", "margin", "low", "high", "detail"),
)
CELL = ("table", "dataset", "model", "attack", "eps_255", "metric")
_DECIMALS = 9  # 88.7 - 88.6 is 0.1, not 0.10000000000000853


def evaluate_claims(
    claims: Iterable[Claim],
    places: Iterable[Place],
    tables: "pd.DataFrame",
    images: Scores | None = None,
) -> "pd.DataFrame":
    """Check every claim at every place that the tables have numbers of.

    Args:
        claims, places: from `predicates.read_claims`.
        tables: long form: table, dataset, model, attack, eps_255 (1/255), metric, value (for acc
            and miou in percent), std; further columns are ignored.
        images: the images behind cells, whose mean the cell is. They give the intervals; cells
            without have none.

    Returns:
        One row for each claim and place where it can be checked, or one row "not evaluated" for a
        claim that can be checked nowhere. `comparisons` and `holding` count compared cells;
        `left`, `right` and `margin` are of the comparison that decides the verdict: a margin below
        0 contradicts, above 0 supports, and 0 does what the predicate says of equality. `low` and
        `high` bound the margin's paired 95 % bootstrap interval over images, NaN where images do
        not tell (mIoU, standard deviations, no `images`). Points of a percent throughout.

    Raises:
        RobustsegError: `tables` lacks a column or has a cell twice.
    """
    import pandas as pd

    _check_tables(tables)
    at_places = [(place, _cells(tables, place)) for place in places]
    rows = []
    for claim in claims:
        evaluated, reasons = [], []
        for place, cells in at_places:
            if claim.datasets and place.dataset not in claim.datasets:
                continue
            compared = [_compare(predicate, cells) for predicate in claim.predicates]
            missing = [reason for reason in compared if isinstance(reason, str)]
            if missing:
                reasons += missing[:1] if len(cells) else []
            else:
                pairs = [pair for pair in compared if not isinstance(pair, str)]
                evaluated.append(_judge(claim, place, pairs, images or {}))
        rows += evaluated or [_not_evaluated(claim, reasons)]
    return pd.DataFrame(rows, columns=list(RESULT_COLUMNS))


def overall_verdicts(results: "pd.DataFrame") -> dict[str, str]:
    """Return {claim: verdict}: contradicted as soon as one place contradicts."""
    verdicts: dict[str, str] = {}
    for claim, verdict in zip(results["claim"], results["verdict"], strict=True):
        if verdicts.get(claim) != CONTRADICTED:
            verdicts[claim] = verdict
    return verdicts


def _check_tables(tables: "pd.DataFrame") -> None:
    for column in (*CELL, "value", "std"):
        if column not in tables.columns:
            raise RobustsegError(f"the tables have no column {column!r}, which claims need")
    twice = tables[tables.duplicated(list(CELL))]
    if len(twice):
        cell = ", ".join(str(word) for word in twice.iloc[0][list(CELL)])
        raise RobustsegError(f"the tables have a cell twice: {cell}; give each table once")


def _cells(tables: "pd.DataFrame", place: Place) -> Cells:
    """Return, by table, the cells of a place's models, each with its role in the column `role`."""
    cells = tables[tables["dataset"] == place.dataset]
    role_of = {model: role for role, model in place.roles.items()}
    cells = cells.assign(role=cells["model"].map(role_of)).dropna(subset=["role"])
    return {str(table): rows for table, rows in cells.groupby("table", observed=True)}


def _compare(predicate: Predicate, cells: Cells) -> "pd.DataFrame | str":
    """Return one row for each pair of cells compared, or why none can be.

    The two sides meet in cells that agree in every dimension that neither side names itself.
    """
    left, right = predicate.left, predicate.right
    own = left.own if isinstance(right, float) else left.own | right.own
    shared = [name for name in DIMENSIONS if name not in own]
    left_cells = _select(left, cells, shared)
    right_cells = right if isinstance(right, float) else _select(right, cells, shared)
    for side in (left_cells, right_cells):
        if isinstance(side, str):
            return side
    pairs = _pair(left_cells, right_cells, shared)  # type: ignore[arg-type]
    if pairs.empty:
        return f"no cell of {left.table} has its counterpart"
    return _with_margins(pairs, predicate, shared)


def _select(selection: Selection, cells: Cells, shared: list[str]) -> "pd.DataFrame | str":
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
    return rows[[*CELL, "role", "number", "is_score"]]


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


def _with_margins(pairs: "pd.DataFrame", predicate: Predicate, shared: list[str]) -> "pd.DataFrame":
    """Add the margin of each pair, whether it holds, and a label of what is compared where."""
    by = predicate.by or 0.0
    gap = pairs["number_right"] - pairs["number_left"]
    margin = _margin(predicate.verb, gap.to_numpy(), by).round(_DECIMALS) + 0.0  # no -0.0
    holds = margin > 0 if predicate.by is None else margin >= 0
    ranked = pairs.assign(margin=margin, holds=holds, verb=predicate.verb, by=by)
    ranked["needed"] = _needed(predicate.quantifier, len(ranked))
    ranked["label"] = [_label(pair, shared) for _, pair in ranked.iterrows()]
    return ranked.sort_values("margin", ascending=False, kind="stable", ignore_index=True)


def _margin(verb: str, gap: NDArray[np.float64], by: float) -> NDArray[np.float64]:
    """Return how far beyond the threshold pairs are, for gap = right - left, in points."""
    side = {"lower": gap, "higher": -gap, "close": -np.abs(gap)}[verb]
    return side + by if verb == "close" else side - by


def _needed(quantifier: str, count: int) -> int:
    """Return how many of `count` comparisons must hold."""
    return {"every": count, "most": count // 2 + 1, "some": 1}[quantifier]


def _label(pair: "pd.Series[Any]", shared: list[str]) -> str:
    """Return what a pair compares: "sea 27.4 against B 27.5 (pir_at_5, 12/255, acc)"."""
    left, right = (f"{round(pair['number' + side], 2):g}" for side in ("_left", "_right"))

    def words(names: Iterable[str], side: str) -> str:
        return ", ".join(_print(name, pair[name + side]) for name in names)

    if "metric_right" not in pair.index:
        return f"{words(DIMENSIONS, '_left')} {left} against {right}"
    own = [name for name in DIMENSIONS if name not in shared]
    where = words(shared, "_left")
    return f"{words(own, '_left')} {left} against {words(own, '_right')} {right} ({where})"


def _print(name: str, word: Any) -> str:
    return f"{word:g}/255" if name == "eps_255" else str(word)


def _judge(
    claim: Claim,
    place: Place,
    compared: "list[pd.DataFrame]",
    images: Scores,
) -> dict[str, Any]:
    """Return the result row of a claim at a place; the weakest predicate decides."""
    # Margins fall, so the comparison that makes the needed number complete is at needed - 1.
    deciding = [pairs.iloc[int(pairs["needed"].iloc[0]) - 1] for pairs in compared]
    weakest = min(deciding, key=lambda pair: (bool(pair["holds"]), pair["margin"]))
    low, high = _interval(weakest, images)
    return _result(
        claim,
        place=place.title,
        verdict=SUPPORTED if weakest["holds"] else CONTRADICTED,
        comparisons=sum(len(pairs) for pairs in compared),
        holding=sum(int(pairs["holds"].sum()) for pairs in compared),
        left=weakest["number_left"],
        right=weakest["number_right"],
        margin=weakest["margin"],
        low=low,
        high=high,
        detail=weakest["label"],
    )


def _not_evaluated(claim: Claim, reasons: list[str]) -> dict[str, Any]:
    where = " or ".join(claim.datasets) or "any place"
    detail = "; ".join(dict.fromkeys(reasons)) or f"no table has numbers of {where}"
    return _result(claim, place="", verdict=NOT_EVALUATED, comparisons=0, holding=0, detail=detail)


def _result(claim: Claim, **fields: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("left", "right", "margin", "low", "high"), np.nan)
    about = {"claim": claim.id, "sentence": claim.sentence, "source": claim.source}
    return {**empty, **about, **fields}


def _interval(pair: "pd.Series[Any]", images: Scores) -> tuple[float, float]:
    """Return the 95 % interval of a pair's margin, resampling the images that both cells share."""
    import pandas as pd

    sides = []
    for side in ("_left", "_right"):
        if side == "_right" and "metric_right" not in pair.index:
            continue
        cell = tuple(pair[name + side] for name in CELL)
        if not pair["is_score" + side] or cell not in images:
            return np.nan, np.nan
        image_ids, scores = images[cell]
        sides.append(pd.Series(scores, index=image_ids))
    left, right = sides if len(sides) == 2 else (sides[0], sides[0] * 0 + pair["number_right"])
    gap = (right - left).dropna().to_numpy()  # aligned by image_id
    if not len(gap):
        return np.nan, np.nan
    draws = np.random.default_rng(0).integers(0, len(gap), (RESAMPLES, len(gap)))
    margins = _margin(str(pair["verb"]), gap[draws].mean(axis=1), float(pair["by"]))
    low, high = np.percentile(margins, (2.5, 97.5))
    return float(low), float(high)
