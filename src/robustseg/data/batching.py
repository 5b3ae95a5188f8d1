"""Which images of a data set go through a network together."""

from collections.abc import Sequence
from itertools import groupby

from robustseg.data.interface import Dataset


def batches_of(dataset: Dataset, indices: Sequence[int], batch_size: int) -> list[list[int]]:
    """Cut images into batches of neighbours of one size, in their order.

    Args:
        dataset: without `sizes_px` all its images count as of one size.
        indices: of the images.
        batch_size: the most images in a batch.
    """
    sizes = getattr(dataset, "sizes_px", None)
    batches = []
    for _, group in groupby(indices, lambda index: sizes[index] if sizes else None):
        alike = list(group)
        batches += [alike[at : at + batch_size] for at in range(0, len(alike), batch_size)]
    return batches
