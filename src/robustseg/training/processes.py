"""The processes that train one model together, one a GPU, started by torchrun or alone."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed
from torch.distributed.rendezvous import rendezvous

from robustseg.errors import RobustsegError, first_line

PATIENCE = timedelta(hours=1)
"""How long a process waits for the others, for example while the first one validates."""
TOLD = ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE")
"""Environment variables by which torchrun tells a process of the others."""
JOINING = timedelta(minutes=10)
"""How long it waits for them to start. ASSUME: a node of a cluster loads torch in minutes."""


@dataclass(frozen=True)
class ProcessGroup:
    """This process among those that train together.

    Attributes:
        rank: its number, from 0; the first one writes files and speaks.
        size: number of processes.
        device: of torch, its own.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes, in one message a type."""
        if self.size == 1:
            return
        by_dtype: dict[torch.dtype, list[Tensor]] = {}
        for tensor in tensors:
            by_dtype.setdefault(tensor.dtype, []).append(tensor)
        for group in by_dtype.values():
            flat = torch.cat([tensor.flatten() for tensor in group])
            distributed.all_reduce(flat)
            sizes = [tensor.numel() for tensor in group]
            for tensor, total in zip(group, torch.split(flat, sizes), strict=True):
                tensor.copy_(total.view_as(tensor))


@contextmanager
def join_processes(device: str) -> Iterator[ProcessGroup]:
    """Join the processes that torchrun has started with this one, if it has.

    Args:
        device: "cpu" or "cuda"; of several GPUs each process takes the one of its local rank.

    Raises:
        RobustsegError: more processes than GPUs, none is seen, or the others cannot be reached.
    """
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise RobustsegError(
            f"the training is to compute on {device}, but torch sees no GPU here; run it where "
            "there is one, or with the device cpu"
        )
    if os.environ.get("WORLD_SIZE", "1") == "1":
        yield ProcessGroup(0, 1, torch.device(device))
        return
    own = torch.device(device)
    if own.type == "cuda":
        own = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        if own.index >= torch.cuda.device_count():
            raise RobustsegError(
                f"{torch.cuda.device_count()} GPUs are visible here, but "
                f"{os.environ['LOCAL_WORLD_SIZE']} processes were started, one a GPU; "
                "ask for as many GPUs as the job gets"
            )
        torch.cuda.set_device(own)
    try:
        store, rank, size = next(rendezvous("env://", timeout=JOINING))
        store.set_timeout(PATIENCE)
        backend = "nccl" if own.type == "cuda" else "gloo"
        distributed.init_process_group(
            backend, store=store, rank=rank, world_size=size, timeout=PATIENCE
        )
    except (RuntimeError, ValueError) as error:  # of torch's own kinds, or a word for a number
        told = (f"{name}={os.environ.get(name, '')}" for name in TOLD)
        raise RobustsegError(
            f"could not join the other processes of this training ({first_line(error)}; "
            f"{', '.join(told)}); let torchrun start all of them, on machines that reach each "
            "other, and see that none of them has ended"
        ) from error
    yield ProcessGroup(distributed.get_rank(), size, own)
    # Not after an error: NCCL would wait for the other processes, which wait in turn for this one's
    # part of an update, until their patience ends. torchrun ends them once this one has.
    distributed.destroy_process_group()
