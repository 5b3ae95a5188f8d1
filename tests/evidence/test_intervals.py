"""Intervals over images: against scipy's, slow loops, and made-up images whose truth is known."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from robustseg import intervals, metrics
from robustseg.claims.gaps import Gap, band

RANDOM = np.random.default_rng(0)


def test_symmetric_images_have_students_interval() -> None:
    values = np.array([0.2, 0.4, 0.5, 0.6, 0.8])
    error = values.std(ddof=1) / np.sqrt(5)
    assert intervals.of_mean(values) == pytest.approx(stats.t.interval(0.95, 4, 0.5, error))
    low, high = intervals.of_difference(values - 0.7) or (0, 0)
    assert (low, high) == pytest.approx(stats.t.interval(0.95, 4, -0.2, error))


def test_two_images_have_one_too() -> None:
    error = 0.01 / 2  # their distance over two
    two = intervals.of_mean(np.array([0.5, 0.51]))
    assert two == pytest.approx(stats.t.interval(0.95, 1, 0.505, error))


def test_it_is_longer_on_the_side_of_few_images_far_off() -> None:
    values = np.array([0.1] * 30 + [0.9] * 2)
    low, high = intervals.of_mean(values) or (0, 0)
    assert high - values.mean() > 1.5 * (values.mean() - low)
    mirrored = intervals.of_mean(1 - values)
    assert mirrored == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize("holding", [0, 3, 1000])
def test_shares_of_images_have_wilsons_interval(holding: int) -> None:
    values = np.arange(1000) < holding
    wilson = stats.binomtest(holding, 1000).proportion_ci(0.95, method="wilson")
    assert intervals.of_mean(values) == pytest.approx((wilson.low, wilson.high), abs=1e-4)


def test_images_that_are_all_at_0_do_not_say_that_all_others_are() -> None:
    low, high = intervals.of_mean(np.zeros(8)) or (1, 1)
    assert low == 0
    assert 0.2 < high < 0.6
    assert intervals.of_difference(np.zeros(8)) == (0, 0)


def test_a_single_image_has_none() -> None:
    one = np.array([[3, 4]])
    assert intervals.of_mean(np.array([0.5])) is None
    assert intervals.of_difference(np.array([0.5])) is None
    assert intervals.of_miou([(one, one)]) is None
    assert intervals.of_share(np.array([3, 0]), np.array([4, 0])) is None


def test_those_of_miou_and_shares_come_of_leaving_each_image_out() -> None:
    whole = RANDOM.integers(1, 90, (12, 3))
    part = RANDOM.integers(0, 60, (12, 3)).clip(max=whole)
    other_whole, other_part = whole + 9, part // 2

    def slow(score: Callable[[list[int]], float]) -> tuple[float, float]:
        every = list(range(12))
        without = np.array([score([i for i in every if i != out]) for out in every])
        error = np.sqrt(11 / 12 * ((without - without.mean()) ** 2).sum())
        return score(every), error

    def miou(chosen: list[int]) -> float:
        return float(np.mean([part[chosen, k].sum() / whole[chosen, k].sum() for k in range(3)]))

    def gain(chosen: list[int]) -> float:
        shares = other_part[chosen].sum(axis=0) / other_whole[chosen].sum(axis=0)
        return miou(chosen) - float(shares.mean())

    q = stats.t.isf(0.025, 11)
    for found, (value, error) in (
        (intervals.of_miou([(part, whole)]), slow(miou)),
        (
            intervals.of_miou_difference((part, whole), (other_part, other_whole)),
            slow(gain),
        ),
        (
            intervals.of_share(part[:, 0], whole[:, 0]),
            slow(lambda chosen: float(part[chosen, 0].sum() / whole[chosen, 0].sum())),
        ),
    ):
        low, high = found or (0, 0)
        assert min(high - value, value - low) == pytest.approx(q * error)  # the side of no skew
        assert low < value < high


DRAWS: dict[str, tuple[Callable[[int], np.ndarray], float]] = {
    "even": (lambda n: RANDOM.beta(2, 2, n), 1 / 2),
    "low": (lambda n: RANDOM.beta(0.5, 5, n), 1 / 11),
    "high": (lambda n: RANDOM.beta(5, 0.5, n), 10 / 11),
}


@pytest.mark.parametrize("images", [8, 16, 96])
@pytest.mark.parametrize("draw", DRAWS)
def test_they_cover_the_truth_as_often_as_they_say(draw: str, images: int) -> None:
    """The percentile bootstrap covers 82 % of the time with 8 images and low accuracies."""
    values, truth = DRAWS[draw]
    ends = [intervals.of_mean(values(images)) or (1, 0) for _ in range(1000)]
    assert np.mean([low <= truth <= high for low, high in ends]) > 0.92
    width = np.mean([high - low for low, high in ends])
    normal = 2 * 1.96 * np.mean([values(images).std(ddof=1) for _ in range(200)]) / images**0.5
    assert width < 2 * normal  # not by being endless


def test_those_of_miou_cover_the_truth_too() -> None:
    """Three classes, one of them rare; the truth is that of many images."""

    def counts(images: int) -> tuple[np.ndarray, np.ndarray]:
        pixels = RANDOM.multinomial(1, [0.6, 0.3, 0.1], (images, 6)).sum(axis=1) * 400
        right = np.clip(RANDOM.beta(6, 3, (images, 1)) + RANDOM.normal(0, 0.1, (images, 3)), 0, 1)
        return np.round(pixels * right).astype(np.int64), pixels

    truth = metrics.miou(*counts(100_000))
    ends = [intervals.of_miou([counts(16)]) or (1, 0) for _ in range(500)]
    assert np.mean([low <= truth <= high for low, high in ends]) > 0.91


@pytest.mark.parametrize("count", [2, 3, 5])
def test_deviations_of_few_draws_have_the_interval_of_chi_squared(count: int) -> None:
    low, high = intervals.of_deviation(2.0, count)
    degrees = count - 1
    assert low == pytest.approx(2 * np.sqrt(degrees / stats.chi2.ppf(0.975, degrees)))
    assert high == pytest.approx(2 * np.sqrt(degrees / stats.chi2.ppf(0.025, degrees)))


def test_a_deviation_beside_a_constant_is_the_gap_to_it() -> None:
    gap = Gap(np.array([0.1 - 0.07]), np.zeros(0), images=None, deviation=(0.07, 3))
    low, high = intervals.of_deviation(0.07, 3)
    assert band({"one": gap}, 1)["one"] == pytest.approx((0.1 - high, 0.1 - low))
    joint = band({"one": gap}, 4)["one"]
    assert joint[0] < 0.1 - high
    assert joint[1] > 0.1 - low
