"""Which images of a data set go through a network together, and which of them have labels."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from robustseg.data.interface import IGNORE_LABEL, Dataset
from robustseg.errors import RobustsegError


def batches_of(dataset: Dataset, indices: Sequence[int], batch_size: int) -> list[list[int]]:
    """Cut images into batches of neighbours of one size, in their order.

    Args:
        dataset: without `sizes_px` all its images count as of one size.
        indices: of the images.
        batch_size: the most images in a batch.

    Raises:
        RobustsegError: it is no whole number of at least 1.
    """
    if type(batch_size) is not int or batch_size < 1:
        raise RobustsegError(
            f"batch_size is {batch_size!r}; it must be a whole number of at least 1 "
            "(attacks.batch_size of a configuration, or --set-resources RULE:batch_size=N)"
        )
    sizes = getattr(dataset, "sizes_px", None)
    batches = []
    for _, group in groupby(indices, lambda index: sizes[index] if sizes else None):
        alike = list(group)
        batches += [alike[at : at + batch_size] for at in range(0, len(alike), batch_size)]
    return batches


def labelled_images(dataset: Dataset) -> Iterator[int]:
    """Yield the places of the images that have a label, in their order; each is read for it."""
    for index in range(len(dataset)):
        _, labels, _ = dataset.batch([index])
        if bool((labels != IGNORE_LABEL).any()):
            yield index
