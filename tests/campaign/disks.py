"""Disks that are full, of a random size: one sentence, and once there is room the same bytes."""

import os
import random
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

from tests.campaign.cases import DAMAGED, HUNG, RIGHT, SENTENCE, TRACEBACK, CaseClass, Verdict
from tests.campaign.jobs import JOBS, Ready
from tests.campaign.kills import again, finished, ready
from tests.campaign.processes import Ended, run_forked
from tests.campaign.trees import half_written

PAGE_BYTES = 4096


@cache
def can_mount() -> bool:
    """Return whether this process may mount a file system."""
    return (
        os.geteuid() == 0
        and not subprocess.run(
            ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"],
            check=False,
            capture_output=True,
        ).returncode
    )


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[None]:
    """Mount a disk of so many bytes on a folder while the block runs."""
    folder.mkdir()
    options = f"size={size_bytes}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def attempt(one: Ready, folder: Path, source: random.Random) -> Verdict:
    """Run a job on a disk that is too small, maybe, and again on the same disk made larger."""
    disk = folder / "disk"
    whole = sum((one.inputs.parent / "out" / name).stat().st_size for name in one.tree)
    pages = source.randint(1, 2 + 2 * whole // PAGE_BYTES)
    size_bytes = one.job.spare_bytes + pages * PAGE_BYTES
    if not can_mount():
        return _with_small_files(one, folder, size_bytes)
    with small_disk(disk, size_bytes):
        one_said = f"a disk of {size_bytes:,} bytes"
        out = disk / "out"
        begun = run_forked(lambda: one.job.begin(one.inputs, out), disk / "begin", notes=folder)
        if begun.status:
            return Verdict(RIGHT, f"{one_said}, too small to begin with")
        first = again(one, out, notes=folder)
        subprocess.run(["mount", "-o", "remount,size=1g", disk], check=True)
        return _verdict(one, out, first, one_said)


def _with_small_files(one: Ready, folder: Path, size_bytes: int) -> Verdict:
    """As `attempt`, where nothing can be mounted: with a limit on the size of each file."""
    out = folder / "out"
    one.job.begin(one.inputs, out)

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))
        one.job.run(one.inputs, out)

    return _verdict(one, out, run_forked(limited, out), f"files of {size_bytes:,} bytes at most")


def _verdict(one: Ready, out: Path, first: Ended, said: str) -> Verdict:
    """Return how a job ended that had too little room, and then enough."""
    if first.hung:
        return Verdict(HUNG, said)
    if "Traceback" in first.said or first.status not in (0, 1):
        return Verdict(TRACEBACK, f"{said}: status {first.status}, {first.said[-500:]}")
    words = [line for line in first.said.splitlines() if "error: " in line]
    if first.status and (len(words) != 1 or "space" not in words[0]):
        return Verdict(TRACEBACK, f"{said}: no sentence about the disk: {first.said[-500:]}")
    before = half_written(one.tree, out)
    if before:
        return Verdict(DAMAGED, f"{said}: {before}")
    problem = finished(one, out, again(one, out, notes=out.parent.parent))
    if problem:
        return Verdict(problem.column, f"{said}: {problem.said}")
    return Verdict(SENTENCE, words[0]) if words else Verdict(RIGHT, said)


CLASSES = [
    CaseClass(f"disk_{name}", "disks", partial(ready, job), attempt, limit_s=900)
    for name, job in JOBS.items()
]
