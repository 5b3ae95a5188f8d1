"""Count the pixels of each class of a data set's training split."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from robustseg.workflow_job import job
from robustseg.data.interface import IGNORE_LABEL
from robustseg.data.opening import load_split
from robustseg.files import write_text
from robustseg.progress import Progress

if TYPE_CHECKING:
    from robustseg.workflow_job import snakemake


def count_classes(splits: Sequence[str], pixels: str, progress: Progress) -> None:
    """Write how many pixels each class has, a JSON list.

    Args:
        splits: the training split first; the next ones count where it has no images.
        pixels: the output.
        progress: says how far it is.
    """
    opened = zip(splits, map(load_split, splits), strict=True)
    split, dataset = next(one for one in opened if len(one[1]))
    progress.say(f"counting {split}" + ("" if split == splits[0] else ": no images to train on"))
    total = torch.zeros(dataset.num_classes, dtype=torch.int64)
    for index in progress.track(range(len(dataset)), len(dataset), "images"):
        _, labels, _ = dataset.batch([index])
        total += labels[labels != IGNORE_LABEL].bincount(minlength=dataset.num_classes)
    write_text(pixels, json.dumps(total.tolist()) + "\n")


if __name__ == "__main__":
    what = f"count the classes of {snakemake.wildcards.dataset}"
    with job(what, snakemake.log[0]) as progress:
        count_classes(snakemake.input.splits, snakemake.output.pixels, progress)
