"""Cases run in forked processes, which are watched: one that crashes or hangs costs one case."""

import os
import pickle
import resource
import shutil
import signal
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path

from tests.campaign.cases import DAMAGED, HUNG, TRACEBACK, CaseClass, Verdict

MEMORY_BYTES = 4 * 2**30
"""What a case may take beyond what the campaign has loaded."""
PREPARATION_S = 3600.0
"""Longest that the inputs of a class may take to be made."""


@dataclass
class Share:
    """What one process of a class is to do.

    Attributes:
        of: the class.
        seconds: after which no further case begins.
        first: number of the first case.
        most: cases, at most.
    """

    of: CaseClass
    seconds: float
    first: int = 0
    most: int = 10**9


@dataclass
class _Worker:
    share: Share
    process: int
    pipe: Connection
    deadline: float
    folder: Path
    number: int | None = None
    tried: int = 0
    began: float = field(default_factory=time.monotonic)


def run_shares(
    shares: Sequence[Share], seed: int, lanes: int
) -> Iterator[tuple[CaseClass, int, Verdict]]:
    """Run classes, `lanes` of them at a time; yield each case's class, number and verdict.

    A process that crashes or hangs is replaced by one that goes on with the next case.
    """
    waiting, working = deque(shares), list[_Worker]()
    try:
        while waiting or working:
            while waiting and len(working) < lanes:
                working.append(_start(waiting.popleft(), seed))
            timeout = max(0.0, min(one.deadline for one in working) - time.monotonic())
            ready = wait([one.pipe for one in working], timeout)
            for one in list(working):
                if one.pipe in ready:
                    verdict, ended = _receive(one)
                elif time.monotonic() > one.deadline:
                    verdict, ended = Verdict(HUNG, "it took longer than it may"), True
                else:
                    continue
                number = one.number
                if verdict is not None:
                    if number is None:  # it has not even begun
                        yield one.share.of, one.share.first, verdict
                        one.share.seconds = 0
                    else:
                        yield one.share.of, number, verdict
                    one.number, one.tried = None, one.tried + 1
                if ended:
                    working.remove(one)
                    _stop(one)
                    rest = _rest(one)
                    if verdict is not None and rest.seconds > 0 and rest.most > 0:
                        waiting.appendleft(rest)
    finally:
        for one in working:
            _stop(one)


def _rest(one: _Worker) -> Share:
    """Return what a process that has ended too early has left to do."""
    share = one.share
    left_s = share.seconds - (time.monotonic() - one.began)
    return Share(share.of, left_s, share.first + one.tried, share.most - one.tried)


def _start(share: Share, seed: int) -> _Worker:
    ours, theirs = Pipe()
    folder = Path(tempfile.mkdtemp(prefix="campaign-"))
    process = os.fork()
    if not process:
        ours.close()
        os.setpgid(0, 0)
        _work(share, seed, theirs, folder)
    theirs.close()
    with suppress(OSError):
        os.setpgid(process, process)
    return _Worker(share, process, ours, time.monotonic() + PREPARATION_S, folder)


def _work(share: Share, seed: int, pipe: Connection, folder: Path) -> None:
    """Try one case after another, and never return."""
    try:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        _limit_memory()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        state = share.of.prepare(folder / "prepared")
        began, number = time.monotonic(), share.first
        while number < share.first + share.most:
            if time.monotonic() - began > share.seconds and number > share.first:
                break
            pipe.send(("begin", number))
            pipe.send(("end", _attempt(share.of, state, seed, number, folder)))
            number += 1
        pipe.send(("done", None))
    except BaseException:
        with suppress(Exception):
            pipe.send(("broken", traceback.format_exc()[-1500:]))
    finally:
        os._exit(0)


def _attempt(of: CaseClass, state: object, seed: int, number: int, folder: Path) -> Verdict:
    place = folder / f"case{number}"
    place.mkdir(parents=True)
    try:
        return of.attempt(state, place, of.case(seed, number))
    except AssertionError as error:
        return Verdict(DAMAGED, f"{error}"[:500])
    except Exception:
        return Verdict(TRACEBACK, traceback.format_exc()[-1000:])
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[5])
    limit = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _receive(one: _Worker) -> tuple[Verdict | None, bool]:
    """Return a case's verdict if one has ended, and whether the process has."""
    try:
        kind, what = one.pipe.recv()
    except (EOFError, OSError, pickle.UnpicklingError):
        return Verdict(TRACEBACK, "the process died"), True
    if kind == "begin":
        if not one.tried:
            one.began = time.monotonic()
        one.number, one.deadline = what, time.monotonic() + one.share.of.limit_s
        return None, False
    if kind == "end":
        one.deadline = time.monotonic() + 60
        return what, False
    if kind == "broken":
        return Verdict(TRACEBACK, what), True
    return None, True


def _stop(one: _Worker) -> None:
    """End a process and all that it has started in its group."""
    with suppress(ProcessLookupError):
        os.killpg(one.process, signal.SIGKILL)
    os.waitpid(one.process, 0)
    one.pipe.close()
    shutil.rmtree(one.folder, ignore_errors=True)
