"""The table `by_class`: IoU and accuracy of each class, and their means; not in the paper."""

from robustseg.evidence.numbers import Number, Sources, bounds, evidence_in, number
from robustseg.evidence.runs import Selection, clean_and_sea
from robustseg.evidence.wording import percent, radius
from robustseg.exhibits import CLASSES
from robustseg.numbers_shown import Numbers
from robustseg.tables.layout import Cell, Group, Layout, Row
from robustseg.tables.table import Table, cell

SHARES = {"iou": ("IoU", "miou"), "class_acc": ("accuracy", "macc")}
"""Metric of one class, which is followed by its name; how it is printed; metric of the mean."""


def measure(sources: Sources, selection: Selection) -> list[Number]:
    """Return the shares of each class that occurs, then their mean, each with its interval."""
    from robustseg import intervals, metrics

    evidence = evidence_in(sources)
    names = evidence.class_names(selection.runs[0])
    attacked = evidence.worst(selection.runs)
    chosen = attacked.pixels > 0
    found = []
    for metric, whole in (("iou", attacked.union), ("class_acc", attacked.labelled)):
        part, whole = attacked.intersection[chosen], whole[chosen]
        shares = metrics.class_shares(part, whole)
        values = {
            f"{metric}:{name}": (shares[k], intervals.of_share(part[:, k], whole[:, k]))
            for k, name in enumerate(names)
            if whole[:, k].any()
        }
        mean = metrics.mean_over_classes(shares)
        values[SHARES[metric][1]] = (mean, intervals.of_miou([(part, whole)]))
        for name, (value, ends) in values.items():
            rest = {"images": len(attacked.image_ids), **bounds(ends)}
            found.append(number(evidence, selection, name, percent(value), **rest))
    return found


def layout(numbers: Numbers) -> Layout:
    """Lay out a line a class, for each model, below it their mean."""
    radii = [0.0, *numbers.radii()]
    groups = []
    for model in numbers.models:
        names = dict.fromkeys(
            one.metric.partition(":")[2] for one in numbers.find(model=model) if ":" in one.metric
        )
        lines = [(name, [f"{metric}:{name}" for metric in SHARES]) for name in names]
        lines.append(("mean", [mean for _, mean in SHARES.values()]))
        rows = [
            Row(
                (name,),
                tuple(
                    _cell(numbers, model, eps_255, metric) for eps_255 in radii for metric in line
                ),
            )
            for name, line in lines
        ]
        groups.append(Group(numbers.title(model), tuple(rows)))
    return Layout(
        "Scores by class",
        "Without an attack (0) and under SEA, image-wise worst case by ACC "
        f"({numbers.iterations('sea')} iterations for each loss). IoU: intersection over union of "
        "the pixels of all images; accuracy: share of a class's pixels that are predicted as it; "
        f"means: mIoU and mAcc, over the classes that occur. {numbers.about()}",
        ("Class",),
        tuple((radius(eps_255), head) for eps_255 in radii for head, _ in SHARES.values()),
        tuple(groups),
        numbers.notes(),
    )


def _cell(numbers: Numbers, model: str, eps_255: float, metric: str) -> Cell:
    return cell(numbers, numbers.get(model, "sea" if eps_255 else "clean", eps_255, metric))


TABLE = Table(
    id="by_class",
    label="By class",
    question=CLASSES,
    shows="IoU and accuracy of each class, and their means over classes, without an attack and "
    "under SEA.",
    metrics=("iou", "class_acc", "miou", "macc"),
    select=clean_and_sea,
    measure=measure,
    layout=layout,
    in_paper=False,
)
