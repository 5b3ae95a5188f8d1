"""Numbers in print."""

import pytest

from robustseg.evidence.findings import shown
from robustseg.evidence.wording import printed, signed


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.04, "0.0"), (-0.04, "0.0"), (-0.0, "0.0"), (0.06, "+0.1"), (-0.06, "−0.1")],
)
def test_what_rounds_to_zero_has_no_sign(value, words):
    assert signed(value) == words
    assert signed(value / 10, 2) == words.replace("0.", "0.0")
    assert printed(value) == words.replace("+", "").replace("−", "-")


def test_a_figure_that_is_zero_has_no_sign():
    assert (shown(-0.0), shown(-0.5)) == ("0", "-0.5")
