"""Learning rate and radius over a training, at hand-computed points."""

import pytest

from robustseg.training.ramps import learning_rate_factor, radius_factor


@pytest.mark.parametrize(
    ("step", "power", "expected"),
    [
        (0, 1.0, 0.1),
        (4, 1.0, 0.5),
        (9, 1.0, 1.0),
        (10, 1.0, 1.0),
        (55, 1.0, 0.5),
        (99, 1.0, 1 / 90),
        (55, 0.9, 0.5**0.9),
    ],
)
def test_linear_warmup_then_polynomial_decay(step, power, expected):
    assert learning_rate_factor(step, 100, warmup=0.1, power=power) == pytest.approx(expected)


def test_without_warmup_it_starts_at_the_top():
    assert learning_rate_factor(0, 10, warmup=0.0, power=1.0) == 1.0


def test_radius_grows_from_zero_to_full():
    factors = [radius_factor(step, 100, ramp=0.5) for step in (0, 25, 50, 99)]
    assert factors == [0.0, 0.5, 1.0, 1.0]
    assert radius_factor(0, 100, ramp=0.0) == 1.0
