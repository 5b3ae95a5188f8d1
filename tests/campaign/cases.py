"""What a case is, how it can end, and what all classes share."""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustseg.errors import RobustsegError

SENTENCE = "one clear sentence"
RIGHT = "accepted rightly"
TRACEBACK = "traceback"
WRONG = "accepted wrongly/silently"
HUNG = "hung"
DAMAGED = "damaged"
COLUMNS = (SENTENCE, RIGHT, TRACEBACK, WRONG, HUNG, DAMAGED)
"""How a case can end, in the order of the table; the last four are faults."""
FAULTS = COLUMNS[2:]
LONGEST_SENTENCE = 1200
"""Characters. ASSUME: a sentence names several paths of a few hundred characters at most."""


@dataclass(frozen=True)
class Verdict:
    """How a case ended, and what is to be said of it."""

    column: str
    said: str = ""

    @property
    def is_fault(self) -> bool:
        """Whether the project is at fault."""
        return self.column in FAULTS


@dataclass(frozen=True)
class CaseClass:
    """A class of cases, each of which follows from (class, seed, number) alone.

    Either it has a source of choices, or it is one of the few that there are, each tried once.

    Attributes:
        name: in the table and in commands.
        family: kills, inputs or disks.
        prepare: makes what all cases share, in a folder, and returns it.
        attempt: tries one case in a folder of its own, with a source of its own or one of `cases`.
        limit_s: longest that a case may take.
        weight: of its share of the time.
        cases: all that there are, if they are few.
    """

    name: str
    family: str
    prepare: Callable[[Path], Any]
    attempt: Callable[[Any, Path, Any], Verdict]
    limit_s: float = 60.0
    weight: float = 1.0
    cases: Sequence[Any] = ()

    def case(self, seed: int, number: int) -> Any:
        """Return the source of a case's choices, or the case itself; a seed has its own order."""
        if not self.cases:
            return random.Random(f"{self.name}-{seed}-{number}")
        order = random.Random(f"{self.name}-{seed}").sample(range(len(self.cases)), len(self.cases))
        return self.cases[order[number]]


def judged(read: Callable[[], Any], names: str, accept: Callable[[Any], str | None]) -> Verdict:
    """Read bad input and return how that ended.

    Args:
        read: raises a RobustsegError, or returns what was accepted.
        names: a regular expression that the sentence must contain: the file, key or image.
        accept: returns None for what was rightly accepted, else why not.
    """
    try:
        found = read()
    except RobustsegError as error:
        return sentence(str(error), names)
    except Exception as error:
        return Verdict(TRACEBACK, f"{type(error).__name__}: {error}"[:500])
    why = accept(found)
    return Verdict(WRONG, why) if why else Verdict(RIGHT)


def sentence(said: str, names: str) -> Verdict:
    """Return whether what is said is one clear sentence."""
    if "\n" in said or not 10 < len(said) < LONGEST_SENTENCE:
        return Verdict(TRACEBACK, f"no single sentence: {said[:500]}")
    if not re.search(names, said):
        return Verdict(TRACEBACK, f"a sentence that does not name {names}: {said[:500]}")
    return Verdict(SENTENCE, said)
