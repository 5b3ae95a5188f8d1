"""The tutorial's commands, in its order, print what it shows; its run answers the other pages.

With fewer iterations than a reader takes, so figures are others; everything but numbers must agree.
"""

import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from robustseg.cli import main
from tests.docs.pages import blocks, lines_of, python
from tests.docs.test_commands import How, decision
from tests.workflow.running import ROOT

pytestmark = pytest.mark.timeout(900)
ITERATIONS = "50"
VARIES = re.compile(
    r"-?\d[\d.,]*(e-?\d+)?|\b(JS|Bal-CE|Mask-CE|Mask-Sph\.)|\b(s|min)\b|[█▏▎▍▌▋▊▉]+"
)
"""Numbers, losses and units: they depend on the machine or the iterations."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder that looks like a checkout."""
    folder = tmp_path_factory.mktemp("tutorial")
    for name in ("examples", "results"):
        (folder / name).symlink_to(ROOT / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def printed(folder: Path) -> dict[str, str]:
    """Return what each command of the tutorial prints, run one after the other."""
    said: dict[str, str] = {}
    for block in blocks("docs/tutorial.md"):
        for command in lines_of(block.text) if block.language == "bash" else ():
            if decision(command) == How.TUTORIAL:
                said[command] = run(command)
    return said


def run(command: str) -> str:
    """Return what a command prints, in this process."""
    program, *words = shlex.split(command)
    out = StringIO()
    with redirect_stdout(out), pytest.MonkeyPatch.context() as patch:
        if program == "python":
            patch.setattr(sys, "argv", words)
            runpy.run_path(words[0], run_name="__main__")
        elif words == ["--version"]:
            with pytest.raises(SystemExit):
                main(words)
        else:
            if "--iterations" in words:
                words[words.index("--iterations") + 1] = ITERATIONS
            assert main(words) == 0
    return out.getvalue()


def shown() -> list[tuple[str, str]]:
    """Return the commands of the tutorial that it shows the output of, each with it."""
    found = []
    command = ""
    for block in blocks("docs/tutorial.md"):
        if block.language == "text" and decision(command) == How.TUTORIAL:
            found.append((command, block.text))
        elif block.language == "bash":
            *_, command = lines_of(block.text)
    return found


@pytest.mark.parametrize(("command", "output"), shown())
def test_the_tutorial_shows_what_is_printed(
    printed: dict[str, str], command: str, output: str
) -> None:
    said = iter(looks(printed[command]))
    for line in looks(output):
        assert line == "..." or line in said, f"{line!r} is not in\n{printed[command]}"


def looks(text: str) -> list[str]:
    """Return the lines of an output without what varies."""
    return [" ".join(VARIES.sub("#", line).split()) for line in text.splitlines()]


def test_every_command_of_the_tutorial_shows_something() -> None:
    assert len(shown()) == 9


def test_the_tutorial_s_story_holds(printed: dict[str, str]) -> None:
    """The rounding hides the gradient: far more seems to be left, and the doubt finds it again."""
    attacks = [said for command, said in printed.items() if " attack " in command]
    first, rounding = (
        float(re.findall(r"\| 8/255 (?:\|[^|]*){2}\| (\S+) ", one)[0]) for one in attacks
    )
    assert rounding > first + 15
    (opinion,) = (said for command, said in printed.items() if command.endswith("--eps 8"))
    assert float(re.findall(r"overestimated by at least (\S+) points", opinion)[0]) > 15
    (honest,) = (
        said for command, said in printed.items() if command == "robustseg doubt runs/first"
    )
    assert honest.count("no sign of overestimation") == 2
    assert Path("runs/first/report/index.html").exists()


def test_the_leaderboard_is_of_the_tutorial_s_runs(printed: dict[str, str]) -> None:
    assert printed  # the runs are there
    said = ""
    for block in blocks("docs/leaderboard.md"):
        if block.language == "bash":
            said = "".join(run(command) for command in lines_of(block.text))
        elif block.language == "text":
            assert looks(block.text) == looks(said)
    table = Path("runs/first_leaderboard.md").read_text()
    assert "| 2. model (runs/first)" in table
    assert "| 1. (✗) ! model (runs/rounding) |" in table
    assert "✗ ! model (runs/rounding) | ≤ " in table


@pytest.mark.parametrize("page", ["docs/evidence.md", "docs/doubt.md"])
def test_queries_run_on_the_tutorial_s_evidence(printed: dict[str, str], page: str) -> None:
    found: dict[str, object] = {}
    examples = [one.text for one in python(page) if "runs/first" in one.text or found]
    assert examples
    for code in examples:
        exec(code, found)
