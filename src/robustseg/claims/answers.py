"""What the page says first: of each question a sentence of measured figures, and a verdict."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from robustseg.claims.language import RADIUS, SLOT, Answer, Cells, Headline, Place, figures_in
from robustseg.claims.verdicts import NOT_EVALUATED
from robustseg.evidence.wording import mean_and_spread, printed, radius

if TYPE_CHECKING:
    import pandas as pd

DECIMALS = 2
"""What differs by less is as much."""
UNJUDGED = {"verdict": NOT_EVALUATED, "holding": 0, "comparisons": 0}
BySeed: TypeAlias = Mapping[float, float]
"""A figure in each training seed that has it, in percent."""


class Answered(NamedTuple):
    """The answer to a question at one place.

    Attributes:
        question: as it is written.
        place: where; empty if the question can be answered nowhere.
        sentence: with figures; if it can be answered nowhere, why not.
        verdict: on `claim`.
        claim: its id.
        holding, comparisons: how many of the claim's comparisons hold, and how many it has.
        bars: the two figures that the sentence compares, by name, in percent.
    """

    question: str
    place: str
    sentence: str
    verdict: str
    claim: str
    holding: int = 0
    comparisons: int = 0
    bars: Mapping[str, float] = {}


def answer_headlines(
    headlines: Iterable[Headline],
    places: Sequence[Place],
    numbers: pd.DataFrame,
    results: pd.DataFrame,
) -> list[Answered]:
    """Answer each question at each place that has the numbers, or say once why none has.

    Args:
        headlines, places: from `language.read_headlines`.
        numbers: as for `verdicts.evaluate_claims`, which has made `results` of them.
        results: the verdicts.
    """
    at_places = [(place, here) for place in places if len(here := _numbers_at(place, numbers))]
    answered: list[Answered] = []
    for headline in headlines:
        found = [
            one
            for place, here in at_places
            if (one := _first_answer(headline, place, here, results))
        ]
        answered += found or [_unanswered(headline, results)]
    return answered


def _numbers_at(place: Place, numbers: pd.DataFrame) -> pd.DataFrame:
    """Return the numbers of a place's models, with their `role`."""
    role_of = {model: role for role, model in place.roles.items()}
    here = numbers[numbers["dataset"] == place.dataset]
    return here.assign(role=here["model"].map(role_of)).dropna(subset=["role", "value"])


def _first_answer(
    headline: Headline, place: Place, numbers: pd.DataFrame, results: pd.DataFrame
) -> Answered | None:
    """Return the first answer with a verdict at a place, or else the first with its figures."""
    found = list(_answers(headline, place, numbers, results))
    judged = (one for one in found if one.verdict != NOT_EVALUATED)
    return next(judged, found[0] if found else None)


def _answers(
    headline: Headline, place: Place, numbers: pd.DataFrame, results: pd.DataFrame
) -> Iterator[Answered]:
    """Yield the answers that can be given at a place: with a verdict, with figures, or both."""
    for answer in headline.answers:
        judged = results[(results["claim"] == answer.claim) & (results["place"] == place.title)]
        eps_255, figures = _figures_of(answer, numbers)
        if not len(judged) and not figures:
            continue
        result: dict[Any, Any] = judged.iloc[0].to_dict() if len(judged) else UNJUDGED
        yield Answered(
            headline.question,
            place.title,
            _sentence(answer, eps_255, figures) if figures else f"Decided by {result['detail']}.",
            result["verdict"],
            answer.claim,
            result["holding"],
            result["comparisons"],
            {name: fmean(values.values()) for name, values in list(figures.items())[:2]},
        )


def _unanswered(headline: Headline, results: pd.DataFrame) -> Answered:
    claim = headline.answers[0].claim
    reasons = results["detail"][results["claim"] == claim]
    reason = reasons.iloc[0] if len(reasons) else "the claim has not been checked"
    sentence = f"These numbers do not tell: {reason}."
    return Answered(headline.question, "", sentence, NOT_EVALUATED, claim)


def _figures_of(answer: Answer, numbers: pd.DataFrame) -> tuple[float, dict[str, BySeed]]:
    """Return the radius of an answer and its figures there; no figures where one is missing."""
    found = {name: _by_radius(cells, numbers) for name, cells in answer.cells.items()}
    named = {name: cells.radius for name, cells in answer.cells.items()}
    free = [set(found[name]) for name in found if named[name] is None]
    shared = sorted(set.intersection(*free)) if free else []
    largest = max((eps for eps in named.values() if eps is not None), default=0.0)
    shown = shared[(len(shared) - 1) // 2] if shared else largest
    at = {name: shown if eps_255 is None else eps_255 for name, eps_255 in named.items()}
    figures = {name: found[name].get(at[name], {}) for name in found}
    seeds = sorted(set.intersection(*({*by_seed} for by_seed in figures.values())))
    if not seeds:
        return shown, {}
    return shown, {name: {seed: one[seed] for seed in seeds} for name, one in figures.items()}


def _by_radius(cells: Cells, numbers: pd.DataFrame) -> dict[float, BySeed]:
    """Return a figure at each radius that has it, in each training seed.

    Of several cells it is the one that is lowest or highest in the mean over training seeds, as in
    claims.
    """
    rows = numbers[numbers["table"] == cells.table]
    for name, words in cells.words.items():
        rows = rows[rows[name].isin(words)]
    rows = rows.assign(training_seed=rows["training_seed"].fillna(0.0))  # of numbers without one
    listed = math.prod(len(words) for name, words in cells.words.items() if name != "eps_255")
    found: dict[Any, Any] = {}
    for eps_255, here in rows.groupby("eps_255"):
        by_seed = here.pivot(
            index="training_seed", columns=["role", "attack", "metric"], values=cells.column
        ).dropna()
        if len(by_seed) and by_seed.shape[1] == listed:  # the best of three is not that of two
            means = by_seed.mean()
            taken = means.idxmax() if cells.take == "highest" else means.idxmin()
            found[eps_255] = by_seed[taken].to_dict()
    return found


def _sentence(answer: Answer, eps_255: float, figures: Mapping[str, BySeed]) -> str:
    """Return the sentence with its figures filled in."""

    def fill(slot: str) -> str:
        if slot == RADIUS:
            return radius(eps_255)
        left, *right = ([*figures[name].values()] for name in figures_in(slot))
        return _compared(left, right[0]) if right else f"{_with_spread(left)} %"

    return SLOT.sub(lambda slot: fill(slot[1]), answer.sentence)


def _compared(left: Sequence[float], right: Sequence[float]) -> str:
    """Return for example "2.8 points less than", whichever way the two differ."""
    gaps = [one - other for one, other in zip(left, right, strict=True)]
    mean = round(fmean(gaps), DECIMALS)
    if not mean:
        return "as much as"
    less_or_more = "less" if mean < 0 else "more"
    return (
        f"{_with_spread([math.copysign(1, mean) * gap for gap in gaps])} points {less_or_more} than"
    )


def _with_spread(values: Sequence[float]) -> str:
    """Return a figure in print; over several training seeds "9.8 ± 3.2"."""
    if len(values) == 1:
        return _printed(values[0])
    return " ± ".join(map(_printed, mean_and_spread(values)))


def _printed(value: float) -> str:
    """Return a figure with one decimal, or with two where it would be 0."""
    return printed(value) if round(value, 1) or not round(value, 2) else f"{value:.2f}"
