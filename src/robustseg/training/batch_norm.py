"""BatchNorm's running statistics when a batch is several passes."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from robustseg.training.processes import ProcessGroup


class RunningStatistics:
    """Moves the running statistics once an update: to the mean of where its passes move them.

    # RELEASED CODE: each GPU has statistics of its own, and those of the first are kept. The mean
    # over the passes has the same expectation and depends on no number of GPUs.

    Args:
        model: whose BatchNorm layers these are.
    """

    def __init__(self, model: nn.Module) -> None:
        layers = [module for module in model.modules() if isinstance(module, _BatchNorm)]
        buffers = [buffer for layer in layers for buffer in layer.buffers()]
        self.buffers = [buffer for buffer in buffers if buffer.is_floating_point()]
        self.counters = [buffer for buffer in buffers if not buffer.is_floating_point()]
        self.before: list[Tensor] = []
        self.sums: list[Tensor] = []
        self.passes = torch.zeros(())

    def begin(self) -> None:
        """Remember where an update starts."""
        self.before = [buffer.clone() for buffer in [*self.buffers, *self.counters]]
        self.sums = [torch.zeros_like(buffer) for buffer in self.buffers]
        self.passes = torch.zeros(())

    def end_pass(self) -> None:
        """Take what a pass has done to the statistics, and undo it."""
        for total, buffer in zip(self.sums, self.buffers, strict=True):
            total += buffer
        self.passes += 1
        self._restore()

    def finish(self, group: ProcessGroup) -> None:
        """Move the statistics to the mean over the passes of all processes."""
        passes = self.passes.to(group.device)
        group.add([*self.sums, passes])
        for total, buffer in zip(self.sums, self.buffers, strict=True):
            buffer.copy_(total / passes)
        for counter in self.counters:
            counter += 1

    def _restore(self) -> None:
        for buffer, value in zip([*self.buffers, *self.counters], self.before, strict=True):
            buffer.copy_(value)
