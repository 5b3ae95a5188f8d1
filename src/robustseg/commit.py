"""Which commit of this code runs, for what it leaves to say so."""

import subprocess
from functools import cache
from pathlib import Path

UNKNOWN = "unknown"
"""In place of a commit, where there is none."""


@cache
def git_commit() -> str:
    """Return this code's commit, "-dirty" if edited since; `UNKNOWN` outside its repository.

    It is that of the first call: a process goes on with the code that it has loaded.
    """
    here = Path(__file__)
    # Git refuses repositories of other people, whose hooks it could run; this one's code runs here.
    git = ["git", "-c", "safe.directory=*"]
    tracked = [*git, "ls-files", "--error-unmatch", here.name]
    describe = [*git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        for command in (tracked, describe):
            answer = subprocess.run(command, cwd=here.parent, capture_output=True, text=True)
            if answer.returncode:
                return UNKNOWN
    except OSError:
        return UNKNOWN
    return answer.stdout.strip()


def other_code(left_by: object) -> str:
    """Return which commit left something, in words, if it is known to be another than this one."""
    own = git_commit()
    if not isinstance(left_by, str) or UNKNOWN in (left_by, own) or left_by == own:
        return ""
    return f"which commit {left_by} left, and this code is {own}"
