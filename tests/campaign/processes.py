"""Work in a forked process that is ended by a signal, at a time or at a step of its own."""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STEPS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link"}
"""What Python does to files, as its audit events call it: a process may end before each."""


@dataclass(frozen=True)
class Moment:
    """When a process gets a signal: after so many seconds, or before a step on files (from 1)."""

    number: int
    seconds: float | None = None
    step: int | None = None

    def __str__(self) -> str:
        name = signal.Signals(self.number).name
        if self.step:
            return f"{name} before step {self.step} on files"
        return f"{name} after {self.seconds:.3f} s"


@dataclass(frozen=True)
class Ended:
    """How a process ended: its status (negative for a signal), words, steps and seconds."""

    status: int
    said: str
    steps: int
    seconds: float

    @property
    def hung(self) -> bool:
        """Whether it was ended since it took too long."""
        return self.status == -signal.SIGALRM


def run_forked(
    work: Callable[[], Any],
    folder: Path,
    moment: Moment | None = None,
    limit_s: float = 180.0,
    notes: Path | None = None,
) -> Ended:
    """Run some work in a process of its own, until it ends or a moment comes.

    Args:
        work: ends as scripts do, by returning or by SystemExit.
        folder: steps on files in it are counted.
        moment: when it gets a signal, if at all.
        limit_s: after which it is ended.
        notes: folder in which what it says is kept; the one around `folder` by default.
    """
    place = notes or folder.parent
    said, counted = (place / f"{folder.name}.{what}" for what in ("said", "steps"))
    counted.unlink(missing_ok=True)
    began = time.monotonic()
    # A signal that comes before the work has begun waits until it has.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    process = os.fork()
    if not process:
        _be(work, folder, moment, said, counted, limit_s)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    if moment and moment.seconds is not None:
        _wait(process, moment.seconds)
        with suppress(ProcessLookupError):
            os.kill(process, moment.number)
    _, ended = os.waitpid(process, 0)
    steps = int(counted.read_text() or 0) if counted.exists() else 0
    words = said.read_text(errors="replace") if said.exists() else ""
    return Ended(os.waitstatus_to_exitcode(ended), words, steps, time.monotonic() - began)


def lives(group: int) -> bool:
    """Return whether any process of a group lives."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _wait(process: int, seconds: float) -> None:
    """Wait, at most until a child has ended, and leave it to be waited for."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return
        time.sleep(min(0.002, max(0.0, until - time.monotonic())))


def _be(
    work: Callable[[], Any],
    folder: Path,
    moment: Moment | None,
    said: Path,
    counted: Path,
    limit_s: float,
) -> None:
    """Do the work as a process of its own, and never return."""
    status, steps = 0, 0
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    descriptor = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    beginning = (f"{folder}/", f"{folder.name}/")

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal steps
        if event in STEPS and str(arguments[0]).startswith(beginning):
            steps += 1
            if moment and moment.step == steps:
                os.kill(os.getpid(), moment.number)

    try:
        sys.addaudithook(count)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        work()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    except SystemExit as error:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        status = error.code if isinstance(error.code, int) else 1
    except KeyboardInterrupt:
        status = 130
    except BaseException:
        traceback.print_exc()
        status = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        with suppress(OSError):
            counted.write_text(str(steps))
        os._exit(status)
