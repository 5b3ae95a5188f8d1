"""Progress of a long step as lines of text: on the terminal and in the job's log."""

import math
import sys
import time
from collections.abc import Iterable, Iterator
from typing import IO, Any, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


class Progress:
    """Says what a step does, how far it is and how long it will take.

    Lines, not a bar, since several jobs share one terminal and a log file is read later.

    Args:
        what: the step, for example "attack pir_at_5, sea at 8/255".
        log: a file for the same lines; the terminal gets them in any case.
        every_s: seconds between two lines.
    """

    def __init__(self, what: str, log: IO[str] | None = None, every_s: float = 5.0) -> None:
        self.what, self.log, self.every_s = what, log, every_s

    def say(self, text: str) -> None:
        """Print one line to the terminal and to the log."""
        line = f"[{self.what}] {text}"
        for stream in filter(None, (sys.stderr, self.log)):
            print(line, file=stream, flush=True)

    def note(self, line: str) -> None:
        """Print one line to the log alone."""
        if self.log:
            print(line, file=self.log, flush=True)

    def track(
        self, items: Iterable[Item], total: int | None, unit: str, before: int = 0
    ) -> Iterator[Item]:
        """Yield `items`, saying at most once in `every_s` how far along `total` they are.

        Args:
            items: what is still to be done.
            total: how many there are in all; None: unknown, and so is the time that is left.
            unit: what they are.
            before: how many of `total` were done in an earlier run; the time that is left is
                reckoned without them, from the speed of this one.
        """
        start = last = time.monotonic()
        for done, item in enumerate(items, start=before + 1):
            yield item
            now = time.monotonic()
            if now - last >= self.every_s or done == total:
                last = now
                seconds = now - start
                meter: Any = tqdm.format_meter  # whose types know no total that is unknown
                self.say(meter(done, total, seconds, unit=f" {unit}", ncols=79, initial=before))


class Silence(Progress):
    """Says nothing: for the second and later of several processes that do the same."""

    def __init__(self) -> None:
        super().__init__("", every_s=math.inf)

    def say(self, text: str) -> None:
        """Print nothing."""
