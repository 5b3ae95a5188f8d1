"""Which of the paper's claims hold on a set of tables, as far as their noise lets one say."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from robustseg.claims.comparisons import (
    Cell,
    Comparison,
    Pair,
    Tables,
    by_place,
    compare,
    holds,
    in_print,
    margins,
    number_of,
    shared_by,
)
from robustseg.claims.gaps import band
from robustseg.claims.language import DIMENSIONS, Cells, Claim, Place, Predicate
from robustseg.claims.noise import ImageScores, gaps_of
from robustseg.intervals import Ends

if TYPE_CHECKING:
    import pandas as pd


SUPPORTED, CONTRADICTED, UNDECIDED = "supported", "contradicted", "undecided"
NOT_EVALUATED = "not evaluated"

RESULT_COLUMNS = (
    *("claim", "sentence", "source", "place", "verdict", "comparisons", "holding"),
    *("left", "right", "margin", "low", "high", "detail"),
    *("seeds", "seeds_holding", "std"),
)


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
        image_scores: gives the images behind a number, for intervals.

    Returns:
        One row for each claim and place where it can be checked, or one row "not evaluated" for a
        claim that can be checked nowhere. A claim is of the means over training seeds.
        `comparisons` counts what is compared, `holding` what holds on the numbers as they are.
        `left`, `right` and `margin` are of the comparison that decides on these; `seeds`, how many
        training seeds these are means over, `seeds_holding`, in how many it holds, and `std`, the
        margin's sample standard deviation over them. `low` and `high` bound, each with a
        probability of 97.5 %, the margin of the comparison that truly decides: below 0 contradicts,
        above 0 supports, 0 does what the predicate says of equality, and an interval on both sides
        is undecided. They are NaN where neither images nor several training seeds tell, and the
        verdict is that of `margin`. Points of a percent throughout.

    Raises:
        RobustsegError: `numbers` lacks a column or has a cell twice.
    """
    import pandas as pd

    at_places = by_place(numbers, places)
    rows = []
    for claim in claims:
        evaluated, reasons = [], {}
        for place, by_seed in _places_of(claim, at_places):
            compared = compare(claim, by_seed)
            if isinstance(compared, str):
                reasons[place.title] = compared
            else:
                evaluated.append(_judge(claim, place, compared, tuple(by_seed), image_scores))
        rows += evaluated or [_not_evaluated(claim, reasons)]
    return pd.DataFrame(rows, columns=list(RESULT_COLUMNS))


def _places_of(
    claim: Claim, at_places: Sequence[tuple[Place, dict[float, Tables]]]
) -> list[tuple[Place, dict[float, Tables]]]:
    """Return the places that a claim is about: those with all its tables, if there are such."""
    wanted = {
        side.table
        for predicate in claim.predicates
        for side in (predicate.left, predicate.right)
        if isinstance(side, Cells)
    }
    open_to = [
        (place, by_seed)
        for place, by_seed in at_places
        if by_seed and (not claim.only_on or place.dataset in claim.only_on)
    ]
    complete = [
        (place, by_seed)
        for place, by_seed in open_to
        if any(wanted <= tables.keys() for tables in by_seed.values())
    ]
    return complete or open_to


def overall_verdicts(results: "pd.DataFrame") -> dict[str, str]:
    """Return {claim: verdict}: contradicted or undecided as soon as one place is, in this order."""
    weakest = (CONTRADICTED, UNDECIDED, SUPPORTED, NOT_EVALUATED)
    verdicts: dict[str, str] = {}
    for claim, verdict in zip(results["claim"], results["verdict"], strict=True):
        verdicts[claim] = min(verdicts.get(claim, verdict), verdict, key=weakest.index)
    return verdicts


def _judge(
    claim: Claim,
    place: Place,
    compared: list[list[Comparison]],
    seeds: tuple[float, ...],
    image_scores: ImageScores | None,
) -> dict[str, Any]:
    """Return the result row of a claim at a place; the weakest predicate decides."""
    weakest = min((_deciding(comparisons) for comparisons in compared), key=_rank)
    pair, predicate = weakest.deciding, weakest.predicate
    left, right = _numbers(weakest)
    in_seeds = margins(predicate, pair.gaps)
    noisy = _bounds(compared, image_scores)
    bounds = noisy or [(c.predicate, c.margin, c.margin) for c in map(_deciding, compared)]
    return _result(
        claim,
        place=place.title,
        verdict=_verdict(bounds),
        comparisons=sum(map(len, compared)),
        holding=sum(one.holds for comparisons in compared for one in comparisons),
        left=left,
        right=right,
        margin=weakest.margin,
        low=min(low for _, low, _ in bounds) if noisy else np.nan,
        high=min(high for _, _, high in bounds) if noisy else np.nan,
        detail=_label(weakest, seeds),
        seeds=len(pair.gaps),
        seeds_holding=sum(holds(predicate, margin) for margin in in_seeds),
        std=float(in_seeds.std(ddof=1)) if len(pair.gaps) > 1 else np.nan,
    )


def _verdict(bounds: Iterable[tuple[Predicate, float, float]]) -> str:
    """Return the verdict on predicates, of each the ends of its margin's interval."""
    if any(not holds(predicate, high) for predicate, _, high in bounds):
        return CONTRADICTED
    if all(holds(predicate, low) for predicate, low, _ in bounds):
        return SUPPORTED
    return UNDECIDED


def _rank(comparison: Comparison) -> tuple[bool, float]:
    """Order comparisons: what holds is above what does not, then the margin decides."""
    return comparison.holds, comparison.margin


def _deciding(comparisons: Sequence[Comparison]) -> Comparison:
    """Return the comparison of a predicate that makes the number complete that must hold."""
    return sorted(comparisons, key=_rank)[-_needed(comparisons)]


def _needed(comparisons: Sequence[Comparison]) -> int:
    """Return how many comparisons of a predicate must hold."""
    count = len(comparisons)
    return {"every": count, "most": count // 2 + 1, "some": 1}[comparisons[0].predicate.quantifier]


def _bounds(
    compared: Sequence[Sequence[Comparison]], image_scores: ImageScores | None
) -> list[tuple[Predicate, float, float]] | None:
    """Return each predicate with the ends of its margin's interval; None if there is none.

    Of M comparisons of which K must hold, the Kth largest margin decides. It is below the Kth
    largest of all lower ends if one of the M - K + 1 lowest margins is below its own lower end, and
    above the Kth largest upper end if one of the K highest is above its own: so many errors count,
    and of several predicates, any of which contradicts, the upper ones add up.
    """
    everything = [pair for comparisons in compared for one in comparisons for pair in one.pairs]
    found = gaps_of(everything, image_scores)
    if found is None:
        return None
    chances = sum(_needed(comparisons) * _chances(comparisons, 1) for comparisons in compared)
    of_highs = band(found, chances)
    bounds = []
    for comparisons in compared:
        needed = _needed(comparisons)
        pairs = [pair for one in comparisons for pair in one.pairs]
        chances = (len(comparisons) - needed + 1) * _chances(comparisons, 0)
        of_lows = band({pair: found[pair] for pair in pairs}, chances)
        low, high = (
            sorted(_margin_end(one, ends, end) for one in comparisons)[-needed]
            for end, ends in enumerate((of_lows, of_highs))
        )
        bounds.append((comparisons[0].predicate, low, high))
    return bounds


def _chances(comparisons: Sequence[Comparison], end: int) -> int:
    """Return how many errors can put the lower (0) or upper (1) end of a margin beyond the margin.

    That of the smallest of several margins is too high by its own error alone, and too low by that
    of any; that of the largest the other way round.
    """
    predicate = comparisons[0].predicate
    right_take = predicate.right.take if isinstance(predicate.right, Cells) else None
    of_smallest = [
        (take == smallest) == (predicate.verb == "lower")
        for take, smallest in ((predicate.left.take, "highest"), (right_take, "lowest"))
        if take
    ]
    if not of_smallest:
        return 1
    own = predicate.verb != "close" and all(one == (end == 0) for one in of_smallest)
    return 1 if own else max(len(one.pairs) for one in comparisons)


def _margin_end(comparison: Comparison, ends: Mapping[Pair, Ends], end: int) -> float:
    """Return the lower (0) or upper (1) end of a margin, by the ends of its gaps."""
    predicate = comparison.predicate
    low, high = (
        ends[comparison.taken(lambda pair, of=of: ends[pair][of])][of]  # type: ignore[misc]
        for of in (0, 1)
    )
    gaps = [low, high, 0.0] if low < 0 < high else [low, high]
    margin = margins(predicate, np.array(gaps if predicate.verb == "close" else [low, high]))
    return float(margin.max() if end else margin.min())


def _label(comparison: Comparison, seeds: tuple[float, ...]) -> str:
    """Return what is compared: "sea 27.4 against B 27.5 (pir_at_5, 12/255, acc)".

    `seeds` are those of the place; if the comparison has fewer, it is said.
    """
    predicate, pair = comparison.predicate, comparison.deciding
    left, right = pair.lefts[0], pair.rights[0]
    of_left, of_right = (f"{round(number, 2):zg}" for number in _numbers(comparison))
    if isinstance(right, Cell):
        shared = shared_by(predicate)
        own = [name for name in DIMENSIONS if name not in shared]
        sides = f"{_words(left, own)} {of_left} against {_words(right, own)} {of_right}"
        label = f"{sides} ({_words(left, shared)})"
    else:
        label = f"{_words(left, DIMENSIONS)} {of_left} against {of_right}"
    if len(pair.gaps) < len(seeds):
        alone = ", ".join(f"{seed:g}" for seed in pair.seeds)
        label += f" in training seed {alone} alone"
    return label


def _numbers(comparison: Comparison) -> tuple[float, float]:
    """Return both sides of what decides, means over training seeds."""
    predicate, pair = comparison.predicate, comparison.deciding
    left, right = (
        float(np.mean([number_of(side, selection) for side in sides]))
        for sides, selection in ((pair.lefts, predicate.left), (pair.rights, predicate.right))
    )
    return left, right


def _words(cell: Cell, names: Sequence[str]) -> str:
    return ", ".join(map(in_print, names, cell.words(names)))


def _not_evaluated(claim: Claim, reasons: Mapping[str, str]) -> dict[str, Any]:
    """Return the result row of a claim that can be checked nowhere, by the reason at each place."""
    where = " or ".join(claim.only_on) or "any place"
    said = list(dict.fromkeys(reasons.values())) or [f"no table has numbers of {where}"]
    several = [f"{place}: {reason}" for place, reason in reasons.items()]
    detail = "; ".join(said if len(said) == 1 else several)
    return _result(claim, place="", verdict=NOT_EVALUATED, detail=detail)


def _result(claim: Claim, **fields: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("left", "right", "margin", "low", "high", "std"), np.nan)
    none = dict.fromkeys(("comparisons", "holding", "seeds", "seeds_holding"), 0)
    about = {"claim": claim.id, "sentence": claim.sentence, "source": claim.source}
    return {**empty, **none, **about, **fields}
