"""GPUs of jobs: side by side on one machine each takes its own; on a cluster each must get them.

There the scheduler hands them out, and a job that gets none, or one that it will not use, is wrong.
"""

import fcntl
import os
import socket
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from robustseg.errors import RobustsegError
from robustseg.names import amount
from robustseg.progress import Progress

SLOTS = "ROBUSTSEG_GPU_SLOTS"
"""Environment variable: how many GPUs the jobs on this machine take together."""
CLUSTER = "ROBUSTSEG_CLUSTER"
"""Environment variable: set in a job that was sent to a cluster."""
ALLOW_CPU = "ROBUSTSEG_ALLOW_CPU"
"""Environment variable: set, if jobs on a cluster may compute on CPUs all the same."""
GIVEN = ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS", "SLURM_GPUS_ON_NODE")
"""What SLURM sets in a job that was given GPUs, however it asked for them."""
DRIVERS = ("/proc/driver/nvidia/gpus", "/dev/kfd")
"""One of which is there where a GPU is."""
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


def check_cluster(count: int, visible: bool) -> None:
    """Refuse a job on a cluster that would compute elsewhere than its allocation is for.

    Args:
        count: GPUs that the job has asked for by its resource `gpu`.
        visible: whether torch sees one.

    Raises:
        RobustsegError: it asked for GPUs and sees none, or got some that it would not use.
    """
    if not os.environ.get(CLUSTER) or os.environ.get(ALLOW_CPU):
        return
    given = next((name for name in GIVEN if os.environ.get(name)), None)
    if count and not visible:
        listed = os.environ.get("CUDA_VISIBLE_DEVICES", "not set")
        raise RobustsegError(
            f"this job asked for {amount(count, 'GPU')} and torch sees none on "
            f"{socket.gethostname()} (CUDA_VISIBLE_DEVICES is {listed or 'empty'}), so nothing was "
            "computed; choose a partition whose nodes have GPUs that this torch supports, or, to "
            f"compute on CPUs on purpose, give the rule `gpu: 0` or set {ALLOW_CPU}=1"
        )
    if not count and given:
        raise RobustsegError(
            f"this job was given a GPU ({given}={os.environ[given]}) that it did not ask for by "
            "its resource `gpu`, and would compute on the CPU; give the rule `gpu: 1`, with "
            "`gpu_model` or beside `gres`, or ask for no GPU at all"
        )


def check_shares(count: int, batch_size: int, images_per_pass: int) -> None:
    """Refuse a training on GPUs among which the passes of a batch cannot be divided.

    Args:
        count: GPUs, or processes on a CPU.
        batch_size: images of an update.
        images_per_pass: images that go through the network together; it divides the batch.

    Raises:
        RobustsegError: they cannot.
    """
    passes = batch_size // images_per_pass
    if passes % count == 0:
        return
    smaller = [n for n in range(1, images_per_pass) if batch_size % (n * count) == 0]
    advice = [
        f"give the training 1 GPU{f' or a number that divides {passes}' if passes > 1 else ''}",
        *(f"lower images_per_pass to {n}" for n in smaller[-1:]),
    ]
    raise RobustsegError(
        f"{count} GPUs cannot share a batch of {amount(passes, 'pass', 'passes')} of "
        f"{images_per_pass} images; {', or '.join(advice)}"
    )


def seem_there() -> bool:
    """Return whether this machine seems to have a GPU that may be used, without loading torch."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    return not hidden and any(Path(one).exists() for one in DRIVERS)


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
            name = device.replace("/", "-")  # of a part of a GPU (MIG) it may have some
            lock = None if device in taken else _lock(folder / f"{name}-{turn}.lock")
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
