"""What goes through the network, pass by pass, the same whenever and wherever it is run."""

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from robustseg.data.interface import AugmentedDataset, Dataset
from robustseg.errors import RobustsegError
from robustseg.names import amount
from robustseg.seeds import derive_seed

AHEAD = 2
"""Passes that are loaded in advance."""


def batches_per_epoch(dataset: Dataset, batch_size: int) -> int:
    """Return the number of whole batches.

    # ASSUME: the images that do not fill a batch sit out the epoch, as is usual with BatchNorm.

    Raises:
        RobustsegError: there is not even one.
    """
    if len(dataset) < batch_size:
        raise RobustsegError(
            f"the training split has {amount(len(dataset), 'image')}, fewer than the batch_size "
            f"{batch_size}; lower it"
        )
    return len(dataset) // batch_size


@dataclass(frozen=True)
class Pass:
    """Some images of a batch that go through the network together.

    Attributes:
        epoch: from 0.
        number: of the pass within its epoch, from 0, over all processes.
        indices: of the images.
        flipped: which of them are mirrored.
    """

    epoch: int
    number: int
    indices: list[int]
    flipped: Tensor


def epoch_passes(
    dataset: Dataset,
    batch_size: int,
    images_per_pass: int,
    training_seed: int,
    epoch: int,
    first: int = 0,
    rank: int = 0,
    group: int = 1,
) -> Iterator[Pass]:
    """Yield one process's passes of an epoch's batches, from batch `first` on.

    Order and flips follow from (training_seed, epoch). The first process gets the first passes of
    each batch, and so on; which images share a pass depends on no number of processes.

    Args:
        dataset: training split.
        batch_size: images in a batch.
        images_per_pass: divides the batch size.
        training_seed: of order and flips.
        epoch: from 0.
        first: batch to begin with.
        rank: of this process.
        group: number of processes; divides the passes of a batch.
    """
    source = torch.Generator().manual_seed(derive_seed("order", training_seed, epoch))
    order = torch.randperm(len(dataset), generator=source)
    flipped = torch.randint(2, (len(dataset),), generator=source).bool()
    passes = batch_size // images_per_pass
    own = passes // group
    for batch in range(first, batches_per_epoch(dataset, batch_size)):
        for number in range(batch * passes + rank * own, batch * passes + (rank + 1) * own):
            chosen = order[number * images_per_pass : (number + 1) * images_per_pass]
            yield Pass(epoch, number, chosen.tolist(), flipped[chosen])


class Loader:
    """Loads passes in threads of its own while the network computes.

    Args:
        dataset: training split.
        training_seed: of its augmentation.
        threads: that share the images of a pass.
    """

    def __init__(self, dataset: Dataset, training_seed: int, threads: int = 1) -> None:
        self.dataset, self.training_seed, self.threads = dataset, training_seed, threads
        self.waited_s = 0.0

    def load(self, passes: Iterator[Pass]) -> Iterator[tuple[Pass, Tensor, Tensor]]:
        """Yield each pass with its images float32 (B, 3, H, W) and labels int64, in order."""
        waiting: deque[tuple[Pass, list[Future[tuple[Tensor, Tensor]]]]] = deque()
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="loader")
        try:
            for one in passes:
                waiting.append((one, [pool.submit(self._read, one, p) for p in self._parts(one)]))
                if len(waiting) > AHEAD:
                    yield self._collect(*waiting.popleft())
            while waiting:
                yield self._collect(*waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def view_size_px(self) -> tuple[int, int]:
        """Return height and width of an image that is trained on; all have the same."""
        first = Pass(epoch=0, number=0, indices=[0], flipped=torch.tensor([False]))
        images, _ = self._read(first, slice(1))
        return images.shape[-2], images.shape[-1]

    def waited(self) -> float:
        """Return the seconds that the network has waited for images since the last question."""
        waited_s, self.waited_s = self.waited_s, 0.0
        return waited_s

    def _collect(
        self, one: Pass, parts: list[Future[tuple[Tensor, Tensor]]]
    ) -> tuple[Pass, Tensor, Tensor]:
        start = time.monotonic()
        images, labels = zip(*(part.result() for part in parts), strict=True)
        self.waited_s += time.monotonic() - start
        return one, torch.cat(images), torch.cat(labels)

    def _parts(self, one: Pass) -> list[slice]:
        """Cut a pass into as many parts as there are threads, or images."""
        size = -(-len(one.indices) // self.threads)
        return [slice(at, at + size) for at in range(0, len(one.indices), size)]

    def _read(self, one: Pass, part: slice) -> tuple[Tensor, Tensor]:
        """Read and augment a part of a pass.

        Horizontal flips with probability 1/2 are Table 5's; its random crops and blur are for
        photographs, which know themselves how they are augmented, not for the generated scenes.
        """
        if isinstance(self.dataset, AugmentedDataset):
            return self.dataset.training_batch(one.indices[part], self.training_seed, one.epoch)
        images, labels, _ = self.dataset.batch(one.indices[part])
        return flip(images, one.flipped[part]), flip(labels, one.flipped[part])


def flip(values: Tensor, flipped: Tensor) -> Tensor:
    """Mirror some of the images (B, 3, H, W) or label maps (B, H, W); labels (B,) stay."""
    if values.ndim == 1:
        return values
    mask = flipped.view(-1, *[1] * (values.ndim - 1))
    return torch.where(mask, values.flip(-1), values)
