"""Tests are left out for want of a tool only where that is said, and nowhere in CI."""

import pytest

from tests import needs
from tests.needs import LATEX, SLURM, TOOLS, Tool, left_out, refuse_or_skip

ABSENT = Tool("a loom", ("shuttle-of-no-machine",), "loom-utils")


def test_a_tool_that_is_not_there_skips_a_test_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(needs, "EVERYTHING", False)
    with pytest.raises(pytest.skip.Exception, match=r"a loom is not installed here .*loom-utils"):
        refuse_or_skip(ABSENT)


def test_where_everything_is_asked_for_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "EVERYTHING", True)
    with pytest.raises(pytest.fail.Exception, match="ROBUSTSEG_TEST_ALL asks for all tests"):
        refuse_or_skip(ABSENT)


def test_a_tool_that_is_there_does_neither() -> None:
    refuse_or_skip(Tool("a shell", ("sh",), "dash"))


def test_one_line_says_what_was_left_out_and_what_brings_it() -> None:
    reasons = ["Skipped: SLURM is not installed here (munged)"] * 6
    reasons += ["Skipped: LaTeX is not installed here (pdflatex)", "Skipped: no file system"]
    line = left_out(reasons)
    assert line is not None
    assert line.startswith("7 tests were left out for want of SLURM, LaTeX; ")
    assert f"install --no-install-recommends {SLURM.packages} {LATEX.packages}`" in line
    assert left_out(["Skipped: no file system"]) is None


def test_continuous_integration_installs_every_tool_and_asks_for_all_tests() -> None:
    from tests.workflow.running import ROOT

    text = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "ROBUSTSEG_TEST_ALL=1" in text
    for tool in TOOLS:
        assert tool.packages in text
    assert "run: .ci/run" in (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
