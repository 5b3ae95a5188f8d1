"""Verdicts and words of a second opinion."""

import math
from pathlib import Path

import pytest

from robustseg.evidence.findings import (
    CHECKS,
    FAILED,
    NOT_RUN,
    NOTED,
    PASSED,
    POINTS,
    Finding,
    Opinion,
    from_text,
    judged,
    not_run,
    to_text,
)


def opinion(*findings: Finding, acc: float = 50.0, found: float = 50.0) -> Opinion:
    return Opinion(eps_255=8.0, images=4, acc=acc, found=found, findings=findings)


@pytest.mark.parametrize("check", CHECKS)
def test_a_figure_at_its_threshold_passes_and_one_beyond_fails(check: str) -> None:
    about = CHECKS[check]
    beyond = about.threshold + (-0.01 if about.fails_below else 0.01)
    assert judged(check, about.threshold).status == PASSED
    assert judged(check, beyond).status == (FAILED if about.misleads else NOTED)
    assert about.asks.endswith("?")
    assert about.advice


def test_a_figure_that_is_no_number_fails_and_can_be_kept() -> None:
    found = judged("zero_gradients", math.nan, "why")
    assert (found.status, found.figure) == (FAILED, None)
    assert from_text(to_text([opinion(found)])) == [opinion(found)]


def test_verdicts() -> None:
    good = judged("zero_gradients", 0.0)
    bad = judged("zero_gradients", 100.0, "hidden by round")
    less = judged("straight_through", 30.0)
    rounded = judged("rounded_to_8_bits", 9.0)
    waits = not_run("transfer", "no other model was given")
    assert opinion(good, rounded, waits).verdict == "no sign of overestimation"
    assert opinion(good, found=49.5).verdict == "no sign of overestimation"
    assert opinion(bad, less, found=20.0).verdict == "overestimated by at least 30.0 points"
    amount = "may be overestimated, by an amount that no attack here could tell"
    assert opinion(bad, found=50 - POINTS).verdict == amount
    assert opinion(bad, found=51.0).points == 0
    many = "overestimated by at least 2.5 points"
    assert opinion(good, found=47.5).verdict == many, "small gains of several checks add up"
    assert opinion(bad, acc=0, found=0).verdict == "no sign of overestimation"


def test_who_could_not_follow_gradients_is_told_what_may_help() -> None:
    bad, less = judged("zero_gradients", 100.0), judged("random_corners", 3.0)
    assert "--source" in str(opinion(bad, less, found=47.0))
    assert "--source" not in str(opinion(bad, judged("straight_through", 40.0), found=10.0))
    assert "--source" not in str(opinion(judged("saturated", 99.0)))


def test_it_prints_each_check_with_figure_limit_and_advice() -> None:
    bad = judged("zero_gradients", 100.0, "hidden by round")
    text = str(opinion(bad, not_run("transfer", "no other model was given")))
    assert "at 8/255: may be overestimated" in text
    line = next(line for line in text.splitlines() if " zero_gradients" in line)
    assert "failed" in line
    assert "100 % of the gradient's values are 0 (at most 5), hidden by round" in line
    assert CHECKS["zero_gradients"].advice in text
    assert f"{NOT_RUN:8} transfer            no other model was given" in text


def test_every_check_is_documented() -> None:
    text = Path(__file__).parents[2].joinpath("docs", "doubt.md").read_text(encoding="utf-8")
    for name, about in CHECKS.items():
        side = "at least" if about.fails_below else "at most"
        limit = f"{side} {about.threshold:g}"
        assert f"| `{name}` | {about.asks} | {about.unit} | {limit} | {about.advice} |" in text
