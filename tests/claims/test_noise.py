"""Verdicts and noise: simulated evidence whose truth is known, what has no noise, and few seeds."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, binomtest, t

from robustseg import metrics
from robustseg.claims.comparisons import NumberKey
from robustseg.claims.gaps import Gap, band, joint_quantile
from robustseg.claims.noise import Scores
from robustseg.claims.verdicts import evaluate_claims
from robustseg.intervals import student_quantile
from tests.claims.simulated import BORDER, CLEAR, Setting, evaluate, rates
from tests.claims.test_verdicts import parse, sides

CLAIMS, STATED = 200, 0.05


@pytest.mark.parametrize("setting", BORDER, ids=[setting.about for setting in BORDER])
def test_verdicts_are_false_at_most_as_often_as_stated(setting: Setting) -> None:
    found = rates(setting, CLAIMS)
    assert found.get(setting.false_verdict, 0) * CLAIMS <= binom.ppf(0.999, CLAIMS, STATED)


@pytest.mark.parametrize("setting", CLEAR, ids=[setting.about for setting in CLEAR])
def test_what_is_clear_is_found(setting: Setting) -> None:
    found = rates(setting, 60)
    assert found.get("supported" if setting.truth else "contradicted", 0) > 0.6
    assert setting.false_verdict not in found


def judged(
    left: Any, right: Any, left_runs: Any = (), right_runs: Any = (), **words: Any
) -> pd.Series:
    """Return the result of "sea is lower than js" on scores of images; `right` may be a number."""
    scores, rows = {}, []
    sided = {"sea": (left, left_runs), "js": (right, right_runs)}
    for attack, (values, runs) in sided.items():
        if np.ndim(values):
            key = NumberKey("table3", "toy", "m0", 0, attack, 4.0, "acc")
            ids = np.array([f"i{n}" for n in range(len(values))], dtype=object)
            scores[key] = Scores(ids, np.asarray(values, dtype=float), frozenset(runs))
            rows.append({**key._asdict(), "value": np.mean(values), "std": np.nan})
    other = {"attack": "js"} if np.ndim(right) else right
    verb = "close" if "within" in words else "lower"
    predicate = sides(verb, {"attack": "sea"}, other, **words)
    results = evaluate_claims(*parse(predicate), pd.DataFrame(rows), scores.get)
    return results.iloc[0]


ZERO, ONE_BELOW = np.zeros(32), np.eye(32)[0]


@pytest.mark.parametrize(
    ("result", "verdict"),
    [
        # equal on every image
        (judged(ZERO, ZERO, by_at_least=0), "supported"),
        (judged(ZERO, ZERO), "contradicted"),
        (judged(ZERO + 30, ZERO + 31), "supported"),
        (judged(ZERO, ZERO, within=0), "supported"),
        # the worst case over more runs can never be above that over fewer
        (judged(ZERO, ONE_BELOW, "ab", "a", by_at_least=0), "supported"),
        (judged(ZERO, ONE_BELOW, "ab", "a"), "supported"),
        (judged(ZERO, ONE_BELOW, "ab", "a", by_at_least=0.01), "undecided"),
        (judged(ONE_BELOW, ZERO, "a", "ab", by_at_least=0), "contradicted"),
        # of images that were not seen some may be worse, if anything is left of them
        (judged(ZERO, ZERO, "ab", "a"), "contradicted"),
        (judged(ONE_BELOW, ONE_BELOW, "ab", "a"), "undecided"),
        (judged(ZERO + 60, ZERO + 60, "ab", "a", by_at_least=0), "supported"),
        (judged(ZERO + 60, ZERO + 60, "ab", "a", by_at_least=1), "undecided"),
        (judged(ZERO + 60, ZERO + 60, "ab", "a", by_at_least=10), "contradicted"),
        (judged(ZERO + 60, ZERO + 60, "a", "ab", by_at_least=-10), "supported"),
        (judged(ZERO + 60, ZERO + 60, "ab", "a", within=0.1), "undecided"),
        (judged(ZERO + 60, ZERO + 60, "ab", "ab", within=0.1), "supported"),
        (judged(ZERO, ONE_BELOW, "b", "a", by_at_least=0), "undecided"),
        (judged(ZERO, ONE_BELOW), "undecided"),
        # a share of images: none of 32 is not none of all
        (judged(ZERO, 1), "undecided"),
        (judged(ZERO, 15), "supported"),
        (judged(np.zeros(400), 1), "supported"),
        (judged(100 - ZERO, 99), "undecided"),
        # a single image says nothing of others
        (judged([10.0], [60.0]), "undecided"),
        (judged([10.0], 60), "undecided"),
        (judged([10.0], [60.0], within=100), "supported"),
        (judged([10.0], [60.0], "ab", "a", by_at_least=0), "supported"),
        (judged([10.0], [10.0], "a", "a", by_at_least=0), "supported"),
    ],
)
def test_what_has_little_noise_or_none(result: pd.Series, verdict: str) -> None:
    assert result.verdict == verdict
    assert result.low <= result.margin <= result.high


@pytest.mark.parametrize(
    ("gain", "here", "verdict"),
    [(2, 0, "contradicted"), (20, 0, "undecided"), (20, 7, "undecided"), (20, 8, "contradicted")],
)
def test_few_images_do_not_tell_how_much_others_gain(gain: float, here: int, verdict: str) -> None:
    """One more run finds next to nothing where another finds something in one image of 32."""
    left = np.full(32, 60.0)
    next_to_nothing = left + 0.01 * (np.arange(32) < here)
    images = {
        ("sea", 4.0): [left],
        ("js", 4.0): [next_to_nothing],
        ("ce", 4.0): [left + gain * ONE_BELOW],
    }
    both = sides("lower", {"attack": "sea"}, {"attack": ["js", "ce"]}, by_at_least=0.75)
    assert evaluate(both, [images], nested=True)["verdict"].tolist() == [verdict]


def test_the_interval_of_a_share_is_wilsons() -> None:
    held = np.repeat([100.0, 0.0], [3, 397])
    result = judged(held, 1)
    wilson = binomtest(3, 400).proportion_ci(method="wilson")
    assert (1 - result.high, 1 - result.low) == pytest.approx(
        (100 * wilson.low, 100 * wilson.high), abs=0.01
    )


def test_a_claim_without_evidence_goes_by_its_numbers() -> None:
    predicate = sides("lower", {"attack": "sea", "column": "std"}, 0.5)
    rows = [{"table": "table3", "dataset": "toy", "model": "m0", "attack": "sea", "eps_255": 4.0}]
    numbers = pd.DataFrame(rows).assign(training_seed=0, metric="acc", value=50.0, std=0.4)
    (result,) = evaluate_claims(*parse(predicate), numbers).itertuples()
    assert (result.verdict, np.isnan(result.low), np.isnan(result.high)) == ("supported", 1, 1)


def test_a_claim_with_a_comparison_without_images_has_no_interval() -> None:
    ids = np.array([f"i{n}" for n in range(9)], dtype=object)
    keys = [
        NumberKey("table3", "toy", "m0", 0, attack, eps_255, "acc")
        for attack in ("sea", "js")
        for eps_255 in (4.0, 8.0)
    ]
    scores = {key: Scores(ids, np.arange(9.0)) for key in keys if key.eps_255 == 4}
    rows = [{**key._asdict(), "value": len(key.attack), "std": np.nan} for key in keys]
    predicate = sides("higher", {"attack": "sea"}, {"attack": "js"})
    (result,) = evaluate_claims(*parse(predicate), pd.DataFrame(rows), scores.get).itertuples()
    assert (result.comparisons, result.verdict, result.margin) == (2, "supported", 1)
    assert np.isnan([result.low, result.high]).all()


def test_of_two_numbers_the_one_of_fewer_images_decides() -> None:
    result = judged([10.0, 20.0, 30.0], np.full(300, 60.0))
    half = t.isf(0.025, 2) * 10 / np.sqrt(3)
    assert (result.low, result.high) == pytest.approx((40 - half, 40 + half))


def judged_deviations(stds: np.ndarray) -> pd.DataFrame:
    """Return the results of "each std is at most 0.5" on stds (claims, attacks) of three seeds."""
    runs = [{"seed": seed} for seed in range(3)]
    rows = [
        {"table": "table3", "dataset": "toy", "model": f"m{claim}", "attack": f"a{attack}"}
        | {"training_seed": 0, "eps_255": 4.0, "metric": "acc", "value": 50.0}
        | {"std": std, "runs": runs}
        for (claim, attack), std in np.ndenumerate(stds)
    ]
    places = [
        {"title": f"p{claim}", "dataset": "toy", "roles": {"one": f"m{claim}"}}
        for claim in range(len(stds))
    ]
    predicate = sides("lower", {"column": "std"}, 0.5, by_at_least=0)
    return evaluate_claims(*parse(predicate, places), pd.DataFrame(rows), lambda key: None)


@pytest.mark.parametrize("attacks", [1, 4])
@pytest.mark.parametrize(("truth", "false"), [(0.5, "contradicted"), (0.501, "supported")])
def test_deviations_of_three_seeds_are_judged_by_their_own_noise(
    attacks: int, truth: float, false: str
) -> None:
    """As they are, three draws are below their true deviation two times in three."""
    drawn = np.random.default_rng(0).normal(0, truth, (CLAIMS, attacks, 3))
    verdicts = judged_deviations(drawn.std(axis=2, ddof=1))["verdict"]
    assert (verdicts == false).sum() <= binom.ppf(0.999, CLAIMS, STATED)
    assert judged_deviations(np.full((1, attacks), 0.05))["verdict"].item() == "supported"
    assert judged_deviations(np.full((1, attacks), 9.0))["verdict"].item() == "contradicted"


@pytest.mark.parametrize("degrees", [1, 2, 5, 31, 2000])
@pytest.mark.parametrize("tail", [0.025, 0.025 / 36])
def test_quantiles_are_students(degrees: int, tail: float) -> None:
    assert student_quantile(degrees, tail) == pytest.approx(t.isf(tail, degrees), rel=1e-6)


def test_the_joint_quantile_knows_what_goes_together() -> None:
    pulls = np.random.default_rng(0).normal(size=(1, 400))
    alone = student_quantile(399, 0.025)
    assert joint_quantile(np.repeat(pulls, 20, axis=0), 399) == pytest.approx(alone, rel=0.05)
    apart = joint_quantile(np.random.default_rng(1).normal(size=(20, 400)), 399)
    assert apart == pytest.approx(student_quantile(399, 0.025 / 20), rel=0.05)
    one_is_noisy = np.concatenate([pulls, np.zeros((2, 400))])
    assert joint_quantile(one_is_noisy, 399) == alone
    assert joint_quantile(np.zeros((3, 400)), 399) == alone


@pytest.mark.parametrize("unseen", [0.0, 1e-3])
def test_errors_that_go_together_are_allowed_for_once(unseen: float) -> None:
    """An image that neither number is about, with a pull of 0, changes nothing in that."""
    pulls = np.append(np.random.default_rng(0).choice([-1.0, 1.0], 400), 0)
    gap = Gap(np.array([5.0]), pulls, images=400, most=6.0, unseen=unseen)
    ends = band({"one": gap, "same": gap}, 2)
    half = student_quantile(399, 0.025) * np.sqrt(400)
    assert 5 - ends["one"][0] == pytest.approx(half, rel=0.05)


def test_the_error_of_miou_is_that_of_many_samples() -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(1, 200, (4000, 3))
    part = random.binomial(pixels, 0.3 + 0.6 * random.random((4000, 1)))
    samples = [random.choice(4000, 60, replace=False) for _ in range(800)]
    mious = [metrics.miou(part[some], pixels[some]) for some in samples]
    errors = [
        metrics.miou_pseudo_values(part[some], pixels[some]).std(ddof=1) / np.sqrt(60)
        for some in samples[:100]
    ]
    assert np.mean(errors) == pytest.approx(np.std(mious), rel=0.1)


def test_pseudo_values_of_acc_would_be_its_scores() -> None:
    part, whole = np.array([[3], [1], [4]]), np.full((3, 1), 5)
    assert metrics.miou_pseudo_values(part, whole) == pytest.approx([0.6, 0.2, 0.8])
    assert metrics.miou_pseudo_values(part[:1], whole[:1]) == pytest.approx([0.6])
    one_pixel_each = np.array([[1], [0]]), np.ones((2, 1), dtype=int)
    assert metrics.miou_pseudo_values(*one_pixel_each) == pytest.approx([1, 0])
