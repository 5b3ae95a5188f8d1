"""What some tests need of the machine, and what becomes of them where it is not there.

They are skipped, and the run ends in one line that says what was left out and how to install it.
With ROBUSTSEG_TEST_ALL=1, as in continuous integration, they fail instead.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

EVERYTHING = bool(os.environ.get("ROBUSTSEG_TEST_ALL"))


@dataclass(frozen=True)
class Tool:
    """Programs that tests start.

    Attributes:
        name: what they are together.
        programs: all that must be there; daemons are often not on a user's PATH.
        packages: that bring them, on Debian and Ubuntu.
    """

    name: str
    programs: tuple[str, ...]
    packages: str

    @property
    def missing(self) -> list[str]:
        """Its programs that are not there."""
        places = f"{os.environ['PATH']}:/usr/sbin:/sbin"
        return [name for name in self.programs if shutil.which(name, path=places) is None]


SLURM = Tool(
    "SLURM",
    ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "sinfo", "scontrol"),
    "slurm-wlm munge",
)
BROWSER = Tool("a browser", ("chromium", "chromedriver"), "chromium chromium-driver")
LATEX = Tool("LaTeX", ("pdflatex",), "texlive-latex-recommended")
TOOLS = (SLURM, BROWSER, LATEX)


def needs(tool: Tool) -> pytest.MarkDecorator:
    """Return a mark for tests that cannot do without a tool."""
    return pytest.mark.needs(tool)


def left_out(reasons: Sequence[str]) -> str | None:
    """Return in one line what skipped tests were left out for, None if it was for no tool.

    Args:
        reasons: why each test was skipped.
    """
    absent = [tool for tool in TOOLS if any(_reason(tool) in reason for reason in reasons)]
    if not absent:
        return None
    count = sum(any(_reason(tool) in reason for tool in absent) for reason in reasons)
    names = ", ".join(tool.name for tool in absent)
    packages = " ".join(tool.packages for tool in absent)
    return (
        f"{count} tests were left out for want of {names}; on Debian and Ubuntu "
        f"`sudo apt-get install --no-install-recommends {packages}` brings what they need"
    )


def refuse_or_skip(tool: Tool) -> None:
    """Skip the test that is about to run if a tool is not there, or fail it."""
    if not tool.missing:
        return
    reason = f"{_reason(tool)} ({', '.join(tool.missing)}): apt-get install {tool.packages}"
    if EVERYTHING:
        pytest.fail(f"{reason}; ROBUSTSEG_TEST_ALL asks for all tests")
    pytest.skip(reason)


def _reason(tool: Tool) -> str:
    return f"{tool.name} is not installed here"
