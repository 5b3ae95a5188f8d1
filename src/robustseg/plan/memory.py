"""Peak memory of an attack's iteration and of a training's update, by image."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from robustseg.errors import RobustsegError

RESERVE = 0.1
"""Share of a device's memory that is left to the driver, workspaces and fragmentation."""


@dataclass(frozen=True)
class Peak:
    """Peak memory as a line over the batch size, in MB (10^6 bytes).

    Attributes:
        fixed_mb: what does not grow with the batch: weights, and in training their gradients and
            what the optimizer keeps.
        image_mb: for each image.
    """

    fixed_mb: float
    image_mb: float

    def largest_batch(self, memory_gb: float) -> int:
        """Return the most images that fit a device's memory (10^9 bytes), or 0."""
        room_mb = memory_gb * 1000 * (1 - RESERVE) - self.fixed_mb
        return max(0, int(room_mb / self.image_mb))


class LiveMemory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the storages of tensors that are alive after each operation.

    Workspaces inside an operation are not seen.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.sizes: dict[StorageWeakRef, int] = {}
        self.peak_bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and look at what is alive."""
        result = func(*args, **(kwargs or {}))
        self.watch(result)
        expired = [ref for ref in self.sizes if ref.expired()]  # type: ignore[no-untyped-call]
        for ref in expired:
            del self.sizes[ref]
        self.peak_bytes = max(self.peak_bytes, sum(self.sizes.values()))
        return result

    def watch(self, values: Any) -> None:
        """Count the tensors in a nested structure, each storage once."""
        for tensor in tree_leaves(values):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                ref = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
                self.sizes[ref] = storage.nbytes()


@contextmanager
def peak_of(model: nn.Module, device: torch.device) -> Iterator[Callable[[], float]]:
    """Measure the block; afterwards the function that it gets returns the peak in MB.

    On a GPU it is what torch's allocator had given out, on a CPU what tensors held.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        yield lambda: torch.cuda.max_memory_allocated(device) / 1e6
        return
    with LiveMemory() as live:
        live.watch(list(model.parameters()) + list(model.buffers()))
        yield lambda: live.peak_bytes / 1e6


def line(small: tuple[int, float], large: tuple[int, float]) -> Peak:
    """Return the line through two measurements of (batch size, MB).

    Raises:
        RobustsegError: it does not rise.
    """
    slope = (large[1] - small[1]) / (large[0] - small[0])
    if slope <= 0:
        raise RobustsegError(
            f"the peak does not grow with the batch: {small[1]:.1f} MB of {small[0]} images, "
            f"{large[1]:.1f} MB of {large[0]}"
        )
    return Peak(fixed_mb=small[1] - slope * small[0], image_mb=slope)
