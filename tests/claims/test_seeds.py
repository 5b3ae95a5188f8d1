"""Claims over several training seeds: simulated numbers whose truth is known."""

from collections.abc import Mapping
from itertools import product
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from robustseg.claims.comparisons import NumberKey
from robustseg.claims.noise import Scores
from robustseg.claims.report import MEASURED, claims_html, claims_layout
from robustseg.claims.verdicts import evaluate_claims
from robustseg.tables.layout import to_markdown
from tests.claims.test_verdicts import parse, sides

Numbers = Mapping[tuple[str, float], list[float]]
"""By attack and radius, ACC in percent for each training seed; NaN where it is not there."""

SEA, JS, BOTH = {"attack": "sea"}, {"attack": "js"}, {"attack": ["js", "ce"]}
LOWEST = BOTH | {"take": "lowest"}


def long_form(numbers: Numbers, seeds: tuple[int, ...] = (0, 1, 2)) -> pd.DataFrame:
    rows = [
        {"table": "table3", "dataset": "toy", "model": "m0", "training_seed": seed, "std": np.nan}
        | {"attack": attack, "eps_255": eps_255, "metric": "acc", "value": value}
        for (attack, eps_255), values in numbers.items()
        for seed, value in zip(seeds, values, strict=True)
        if value == value
    ]
    return pd.DataFrame(rows)


def evaluate(predicate: Any, numbers: Numbers | pd.DataFrame, images: Any = None) -> pd.Series:
    frame = numbers if isinstance(numbers, pd.DataFrame) else long_form(numbers)
    results = evaluate_claims(*parse(predicate), frame, images)
    assert len(results) == 1
    return results.iloc[0]


def test_the_margin_is_a_mean_with_its_standard_deviation() -> None:
    result = evaluate(
        sides("lower", SEA, JS, by_at_least=1),
        {("sea", 4.0): [30, 40, 53], ("js", 4.0): [32, 44, 55]},
    )
    assert (result.comparisons, result.holding) == (1, 1)
    assert (result.seeds, result.seeds_holding) == (3, 3)
    assert (result.left, result.right) == pytest.approx((41, 131 / 3))
    assert result.margin == pytest.approx(fmean([1, 3, 1]))
    assert result["std"] == pytest.approx(stdev([1, 3, 1]))
    assert result.detail == "sea 41 against js 43.67 (weak, 4/255, acc)"


@pytest.mark.parametrize(
    ("gaps", "verdict"),
    [
        ([4, 5, 6], "supported"),
        ([4.9, 5.1], "supported"),
        ([4, 6], "undecided"),
        ([1, 2, 9], "undecided"),
        ([-1, 9, 9], "undecided"),
        ([-5, -4, -6], "contradicted"),
    ],
)
def test_the_interval_without_images_is_students(gaps: list[float], verdict: str) -> None:
    seeds = len(gaps)
    of_both = {("sea", 4.0): [30.0] * seeds, ("js", 4.0): [30.5 + gap for gap in gaps]}
    numbers = long_form(of_both, tuple(range(seeds)))
    for predicate in (
        sides("lower", SEA, JS, by_at_least=0.5),
        sides("higher", JS, SEA, by_at_least=0.5),
    ):
        result = evaluate(predicate, numbers)
        half = t.isf(0.025, seeds - 1) * stdev(gaps) / np.sqrt(seeds)
        assert result.verdict == verdict
        assert (result.low, result.high) == pytest.approx((fmean(gaps) - half, fmean(gaps) + half))


def test_one_seed_that_fails_does_not_decide_alone() -> None:
    numbers = {("sea", 4.0): [30, 40, 50], ("js", 4.0): [39, 49, 49]}
    result = evaluate(sides("lower", SEA, JS), numbers)
    assert (result.verdict, result.seeds_holding, result.seeds) == ("undecided", 2, 3)


def test_the_lowest_is_that_of_the_means() -> None:
    numbers = {("sea", 4.0): [30, 30, 30], ("js", 4.0): [31, 40, 33], ("ce", 4.0): [40, 32, 40]}
    result = evaluate(sides("lower", SEA, LOWEST), numbers)
    assert (result.comparisons, result.seeds) == (1, 3)
    assert result.right == pytest.approx(fmean([31, 40, 33]))
    assert result.detail == "sea 30 against js 34.67 (weak, 4/255, acc)"
    # It is above a margin by its own error alone, and below it by that of either.
    gaps = np.array([[1, 10, 3], [10, 2, 10]])
    means, errors = gaps.mean(axis=1), gaps.std(axis=1, ddof=1) / np.sqrt(3)
    assert result.low == pytest.approx((means - t.isf(0.025, 2) * errors).min())
    assert result.high == pytest.approx((means + t.isf(0.025 / 2, 2) * errors).min())


def test_seeds_that_not_all_sides_have_are_left_out_and_it_is_said() -> None:
    nan = float("nan")
    numbers = {("sea", 4.0): [30, 40, 50], ("js", 4.0): [31, nan, 54], ("ce", 4.0): [39, 49, 59]}
    result = evaluate(sides("lower", SEA, JS), numbers)
    assert (result.seeds, result.seeds_holding, result.margin) == (2, 2, 2.5)
    assert result.detail == "sea 40 against js 42.5 (weak, 4/255, acc) in training seed 0, 2 alone"
    # all predicates of a claim are checked in the same seeds
    both = [sides("lower", SEA, JS, by_at_least=-50), sides("lower", SEA, {"attack": "ce"})]
    assert evaluate(both, numbers).seeds == 2
    # a radius of one seed alone is compared in it, which decides nothing about other seeds
    result = evaluate(
        sides("lower", SEA, JS), {**numbers, ("sea", 8.0): [9, nan, nan], ("js", 8.0): [8, 8, nan]}
    )
    assert (result.comparisons, result.seeds) == (2, 1)
    assert result.detail.endswith("(weak, 8/255, acc) in training seed 0 alone")
    assert np.isnan(result["std"])
    assert (result.verdict, result.low) == ("undecided", -100)


def test_no_seed_with_all_sides_is_not_evaluated() -> None:
    nan = float("nan")
    numbers = {("sea", 4.0): [30, 30, nan], ("js", 4.0): [nan, nan, 31]}
    result = evaluate(sides("lower", SEA, JS), numbers)
    assert (result.verdict, result.seeds, result.seeds_holding) == ("not evaluated", 0, 0)
    assert result.detail == "table3 has no attack js"


def test_a_number_of_no_training_stands_beside_those_of_each_seed() -> None:
    numbers = long_form({("sea", 4.0): [30, 40, 50], ("js", 4.0): [45, 45, 45]})
    fixed = numbers.query("attack != 'js' or training_seed == 0")
    fixed = fixed.assign(training_seed=fixed["training_seed"].where(fixed["attack"] != "js"))
    predicate = sides("lower", SEA, JS)
    pd.testing.assert_series_equal(evaluate(predicate, fixed), evaluate(predicate, numbers))


def test_without_training_seeds_there_is_one() -> None:
    numbers = long_form({("sea", 4.0): [30], ("js", 4.0): [45]}, (7,))
    predicate = sides("lower", SEA, JS)
    alone = evaluate(predicate, numbers.drop(columns="training_seed"))
    pd.testing.assert_series_equal(alone, evaluate(predicate, numbers))
    assert (alone.seeds, alone.seeds_holding) == (1, 1)
    assert np.isnan(alone["std"])


def slow_verdict(
    numbers: Numbers, take: bool, by: float | None, quantifier: str
) -> tuple[bool, int, set[float]]:
    """Return the verdict on "sea is lower than js and ce", how many hold, and possible margins."""
    held, margins = [], []
    for eps_255, other in product((4.0, 8.0), ("both",) if take else ("js", "ce")):
        others = [fmean(numbers[name, eps_255]) for name in ("js", "ce")]
        right = min(others) if take else fmean(numbers[other, eps_255])
        margins.append(round(right - fmean(numbers["sea", eps_255]) - (by or 0), 6))
        held.append(margins[-1] > 0 if by is None else margins[-1] >= 0)
    needed = {"every": len(held), "most": len(held) // 2 + 1, "some": 1}[quantifier]
    verdict = sum(held) >= needed
    return verdict, sum(held), {m for m, h in zip(margins, held, strict=True) if h == verdict}


@pytest.mark.parametrize("draw", range(60))
def test_verdicts_on_means_are_those_of_a_slow_loop(draw: int) -> None:
    random = np.random.default_rng(draw)
    cells = product(("sea", "js", "ce"), (4.0, 8.0))
    lower = {"sea": 0, "js": 2, "ce": 2}
    numbers = {
        (name, eps): [float(n) + lower[name] for n in random.integers(40, 45, 3)]
        for name, eps in cells
    }
    take, by = bool(draw % 2), (None, 0, 1, -2)[draw % 4]
    quantifier = ("every", "most", "some")[draw % 3]
    threshold = {} if by is None else {"by_at_least": by}
    predicate = sides("lower", SEA, LOWEST if take else BOTH, **threshold, **{"in": quantifier})
    result = evaluate(predicate, numbers)
    supported, held, margins = slow_verdict(numbers, take, by, quantifier)
    assert result.holding == held
    assert round(result.margin, 6) in margins
    assert result.verdict in ("undecided", "supported" if supported else "contradicted")
    without_noise = {cell: [fmean(values)] for cell, values in numbers.items()}
    alone = evaluate(predicate, long_form(without_noise, (0,)))
    assert alone.verdict == ("supported" if supported else "contradicted")


def images_of(gaps: Mapping[int, np.ndarray]) -> dict[NumberKey, Scores]:
    """Return scores of images on which js is above sea by `gaps`, in each training seed."""
    scores = {}
    for seed, gap in gaps.items():
        noise = np.random.default_rng(seed).uniform(0, 60, len(gap))
        ids = np.array([f"i{n}" for n in range(len(gap))], dtype=object)
        ids_js, js = ids[::-1], (noise + gap)[::-1]  # matched by id, not by position
        scores[NumberKey("table3", "toy", "m0", seed, "sea", 4.0, "acc")] = Scores(ids, noise)
        scores[NumberKey("table3", "toy", "m0", seed, "js", 4.0, "acc")] = Scores(ids_js, js)
    return scores


def numbers_of(scores: Mapping[NumberKey, Scores]) -> pd.DataFrame:
    rows = [
        {**key._asdict(), "value": s.mean(), "std": np.nan} for key, (_, s, _) in scores.items()
    ]
    return pd.DataFrame(rows)


def test_the_interval_allows_for_other_images_and_other_seeds() -> None:
    random = np.random.default_rng(5)
    common = random.normal(3, 6, 400)  # what makes an image hard in all seeds
    scores = images_of({seed: common + random.normal(seed, 2, 400) for seed in range(3)})
    by_seed = [
        scores[key._replace(attack="js")].values[::-1] - scores[key].values
        for key in scores
        if key.attack == "sea"
    ]
    of_image = np.mean(by_seed, axis=0)
    over_images = t.isf(0.025, 399) * of_image.std(ddof=1) / np.sqrt(400)
    over_seeds = t.isf(0.025, 2) * np.std(np.mean(by_seed, axis=1), ddof=1) / np.sqrt(3)
    result = evaluate(sides("lower", SEA, JS, by_at_least=1), numbers_of(scores), scores.get)
    assert result.margin == pytest.approx(of_image.mean() - 1)
    half = np.hypot(over_images, over_seeds)
    assert result.low == pytest.approx(result.margin - half, rel=0.02)
    assert result.high == pytest.approx(result.margin + half, rel=0.02)


def test_close_is_about_the_mean_over_seeds() -> None:
    random = np.random.default_rng(6)
    shifts = {0: 9.0, 1: -9.0, 2: 0.0}  # apart in each seed, equal on average
    scores = images_of({seed: random.normal(shift, 1, 200) for seed, shift in shifts.items()})
    result = evaluate(sides("close", SEA, JS, within=10), numbers_of(scores), scores.get)
    assert result.margin == pytest.approx(10, abs=0.3)
    assert result.verdict == "undecided"
    assert result.low < 0 < result.high == 10


def test_one_number_without_images_leaves_the_seeds_alone() -> None:
    scores = images_of({seed: np.arange(20.0) + seed for seed in range(3)})
    one_missing = {key: value for key, value in scores.items() if key.training_seed != 2}
    predicate = sides("lower", SEA, JS)
    result = evaluate(predicate, numbers_of(scores), one_missing.get)
    pd.testing.assert_series_equal(result, evaluate(predicate, numbers_of(scores)))


def test_reports_say_mean_spread_and_seeds() -> None:
    numbers = {("sea", 4.0): [30, 40, 53], ("js", 4.0): [32, 44, 52]}
    claims, places = parse(sides("lower", SEA, JS))
    for frame, several in ((long_form(numbers), True), (long_form(numbers)[::3], False)):
        results = evaluate_claims(claims, places, frame).assign(numbers=MEASURED)
        html, text = claims_html(results), to_markdown(claims_layout(results))
        assert ("+1.7 ± 2.5" in html, "+1.7 ± 2.5" in text) == (several, several)
        assert ("which holds in 2 of 3 training seeds" in html) == several
        assert ("| 1 of 1 | 2 of 3 |" in text) == several
        assert ("training seeds" in text, "raining seeds" in html) == (several, several)
