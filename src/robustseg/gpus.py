"""Jobs side by side on one machine: each takes GPUs that no other job has.

On a cluster the scheduler hands them out, and nothing here is used.
"""

import fcntl
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from robustseg.progress import Progress

SLOTS = "ROBUSTSEG_GPU_SLOTS"
"""Environment variable: how many GPUs the jobs on this machine take together."""
POLL_S = 0.5
_HELD: list[IO[str]] = []
"""Locks of this process, which the system takes back when it ends, however it ends."""


def take_gpus(count: int, progress: Progress) -> None:
    """Let this process see just the GPUs that it takes, if jobs here are to have their own.

    Call it before CUDA is used.

    Args:
        count: how many the job was given.
        progress: says which.
    """
    slots, devices = int(os.environ.get(SLOTS, 0)), visible_gpus()
    if not slots or not devices:
        return
    folder = Path(tempfile.gettempdir()) / f"robustseg-gpus-{os.getuid()}"
    taken = claim(devices, count, slots, folder, progress)
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(taken)
    progress.say(f"takes GPU {', '.join(taken)}")


def visible_gpus() -> list[str]:
    """Return the names of this machine's GPUs that may be used."""
    import torch

    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return [str(index) for index in range(torch.cuda.device_count())]
    return [name for name in listed.split(",") if name]


def claim(
    devices: Sequence[str], count: int, slots: int, folder: Path, progress: Progress
) -> list[str]:
    """Wait until different devices are free, lock them until this process ends, and return them.

    Args:
        devices: of the machine; with more slots than devices, several jobs share each.
        count: how many to take, at most all that there are slots for.
        slots: how many all jobs together may take.
        folder: for the locks, the same for all jobs of a user.
        progress: says if it has to wait.
    """
    folder.mkdir(exist_ok=True, mode=0o700)
    places = [(devices[slot % len(devices)], slot // len(devices)) for slot in range(slots)]
    wanted, waiting = min(count, len(devices), slots), False
    while True:
        taken: dict[str, IO[str]] = {}
        for device, turn in places:
            lock = None if device in taken else _lock(folder / f"{device}-{turn}.lock")
            if lock:
                taken[device] = lock
            if len(taken) == wanted:
                _HELD.extend(taken.values())
                return list(taken)
        for lock in taken.values():
            lock.close()
        if not waiting:
            progress.say("waits until a GPU is free that other jobs of yours have taken")
        waiting = True
        time.sleep(POLL_S)


def _lock(path: Path) -> IO[str] | None:
    """Return the locked file, or None if another process has it."""
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
