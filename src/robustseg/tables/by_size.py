"""The table `by_size`: accuracy by size of the object; not in the paper.

That small objects fall first, which means over classes and images hide: arXiv 2407.09150.
"""

from itertools import pairwise

import numpy as np

from robustseg.evidence.numbers import Number, Sources, bounds, evidence_in, number
from robustseg.evidence.runs import Selection, clean_and_worst
from robustseg.evidence.wording import percent, radius
from robustseg.exhibits import CLASSES
from robustseg.metrics import SIZES
from robustseg.numbers_shown import Numbers
from robustseg.tables.layout import Group, Layout, Row
from robustseg.tables.table import Table, cell

_ENDS = [f"{percent(size):g}" for size in SIZES]
SIZE_NAMES = (
    f"below {_ENDS[0]} %",
    *(f"{low} to {high} %" for low, high in pairwise(_ENDS)),
    f"{_ENDS[-1]} % or more",
)


def measure(sources: Sources, selection: Selection) -> list[Number]:
    """Return the accuracy of each size; of the clean images also its share of the objects."""
    from robustseg import intervals, metrics

    evidence = evidence_in(sources)
    attacked = evidence.worst(selection.runs)
    labelled = attacked.labelled
    part, whole = (metrics.sums_by_size(c, labelled) for c in (attacked.intersection, labelled))
    objects = metrics.sums_by_size(np.sign(labelled), labelled).sum(axis=0)
    shares = metrics.class_shares(part, whole)
    found, images = [], len(attacked.image_ids)
    for size, name in enumerate(SIZE_NAMES):
        if len(selection.runs) == 1:
            value = percent(objects[size] / objects.sum())
            found.append(number(evidence, selection, f"objects:{name}", value, images=images))
        if objects[size]:
            value, ends = percent(shares[size]), intervals.of_share(part[:, size], whole[:, size])
            rest = {"images": images, **bounds(ends)}
            found.append(number(evidence, selection, f"size_acc:{name}", value, **rest))
    return found


def layout(numbers: Numbers) -> Layout:
    """Lay out a line a size for each model."""
    radii = numbers.radii()
    groups = []
    for model in numbers.models:
        rows = []
        for name in SIZE_NAMES:
            some = [
                numbers.get(model, "clean", 0.0, f"objects:{name}"),
                numbers.get(model, "clean", 0.0, f"size_acc:{name}"),
                *(numbers.get(model, "worst", eps, f"size_acc:{name}") for eps in radii),
            ]
            rows.append(Row((name,), tuple(cell(numbers, one) for one in some)))
        groups.append(Group(numbers.title(model), tuple(rows)))
    return Layout(
        "Accuracy by size",
        "Share of the pixels of objects of each size that are predicted as labelled, in percent, "
        "without an attack (0) and in the image-wise worst case by ACC over all attacks that are "
        "read and the clean image. An object is all pixels of one class in one image, "
        "background included; its size is its share of the image's labelled pixels. "
        f"{numbers.about()}",
        ("Size",),
        (("share of objects",), *((radius(eps_255),) for eps_255 in (0.0, *radii))),
        tuple(groups),
        numbers.notes(),
    )


TABLE = Table(
    id="by_size",
    label="By size",
    question=CLASSES,
    shows="Accuracy by size of the object, without an attack and in the worst case: whether small "
    "objects fall first.",
    metrics=("size_acc", "objects"),
    select=clean_and_worst,
    measure=measure,
    layout=layout,
    in_paper=False,
)
