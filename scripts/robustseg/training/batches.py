"""Batches of a training epoch, the same whenever and wherever the epoch is run."""

from collections.abc import Iterator

import torch
from torch import Tensor

from robustseg.data.datasets import Dataset
from robustseg.errors import RobustsegError
from robustseg.seeds import derive_seed


def batches_per_epoch(dataset: Dataset, batch_size: int) -> int:
    """Return the number of whole batches.

    # ASSUME: the images that do not fill a batch sit out the epoch, as is usual with BatchNorm.

    Raises:
        RobustsegError: there is not even one.
    """
    if len(dataset) < batch_size:
        raise RobustsegError(
            f"the training split has {len(dataset)} images, fewer than the batch_size {batch_size}"
        )
    return len(dataset) // batch_size


def epoch_batches(
    dataset: Dataset, batch_size: int, training_seed: int, epoch: int, first: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield an epoch's shuffled and randomly flipped images and labels, from batch `first` on.

    Order and flips follow from (training_seed, epoch). Horizontal flips with probability 1/2 are
    Table 5's; its random crops and blur are for photographs, not for the embedded scenes.
    """
    source = torch.Generator().manual_seed(derive_seed("order", training_seed, epoch))
    order = torch.randperm(len(dataset), generator=source)
    flipped = torch.randint(2, (len(dataset),), generator=source).bool()
    for batch in range(first, batches_per_epoch(dataset, batch_size)):
        chosen = order[batch * batch_size : (batch + 1) * batch_size]
        images, labels, _ = dataset.batch(chosen.tolist())
        yield flip(images, flipped[chosen]), flip(labels, flipped[chosen])


def flip(values: Tensor, flipped: Tensor) -> Tensor:
    """Mirror some of the images (B, 3, H, W) or label maps (B, H, W); labels (B,) stay."""
    if values.ndim == 1:
        return values
    mask = flipped.view(-1, *[1] * (values.ndim - 1))
    return torch.where(mask, values.flip(-1), values)
