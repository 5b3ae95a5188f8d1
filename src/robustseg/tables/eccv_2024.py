"""The table `eccv_2024`: SEA as the paper has it, beside the version of ECCV 2024.

Croce, Singh, Hein, ECCV 2024 (arXiv 2306.12941v2): Mask-CE, class-balanced Mask-CE and JS, with the
mIoU of a greedy search.
"""

from collections.abc import Iterator

from robustseg.attacks.losses import ECCV_LOSSES, SEA_LOSSES
from robustseg.evidence.numbers import Number, Sources, evidence_in, number, outcome_numbers
from robustseg.evidence.runs import Runs, Selection
from robustseg.evidence.wording import percent, radius
from robustseg.exhibits import HOW_ROBUST
from robustseg.numbers_shown import Numbers
from robustseg.tables.layout import Group, Layout, Row
from robustseg.tables.table import Table, cell, clean_scores

ECCV = "eccv"


def select(runs: Runs) -> Iterator[Selection]:
    """Yield each model without an attack; at each radius both versions, SEA where it was run."""
    for model in runs.models():
        yield Selection("clean", (runs.clean(model),))
        for eps_255 in runs.radii(model):
            at = {"model": model, "eps_255": eps_255}
            if {run.loss for run in runs.find(**at)} >= set(SEA_LOSSES):
                yield Selection("sea", runs.sea(**at))
            yield Selection(ECCV, runs.reduced(ECCV_LOSSES, **at))


def measure(sources: Sources, selection: Selection) -> list[Number]:
    """Return ACC and mIoU; of the version of ECCV that of the greedy search, and its bound."""
    from robustseg.evidence.queries import worst_case_by_miou

    evidence = evidence_in(sources)
    worst = evidence.worst(selection.runs)
    if selection.attack != ECCV:
        return outcome_numbers(evidence, selection, worst, ["acc", "miou"])
    attacks = evidence.candidates(selection.runs)
    greedy = worst_case_by_miou(attacks)
    values = {"greedy_miou": greedy.miou, "miou_bound": greedy.lower_bound}
    images = len(attacks[0].image_ids)
    return [
        *outcome_numbers(evidence, selection, worst, ["acc"]),
        *(
            number(evidence, selection, metric, percent(value), images=images)
            for metric, value in values.items()
        ),
    ]


def layout(numbers: Numbers) -> Layout:
    """Lay out a line a radius for each model."""
    shown = [("sea", "acc"), ("sea", "miou")]
    shown += [(ECCV, metric) for metric in ("acc", "greedy_miou", "miou_bound")]
    groups = []
    for model in numbers.models:
        rows = [
            Row(
                (radius(eps_255),),
                tuple(cell(numbers, numbers.get(model, one[0], eps_255, one[1])) for one in shown),
            )
            for eps_255 in numbers.radii(model)
        ]
        title = f"{numbers.title(model)} {clean_scores(numbers, model)}"
        groups.append(Group(title, tuple(rows)))
    return Layout(
        "SEA and its version of ECCV 2024",
        "The paper's SEA, four losses and image-wise worst case by ACC, and the version of ECCV "
        "2024: three losses (Mask-CE, class-balanced Mask-CE, JS), ACC in the image-wise worst "
        "case, and mIoU by a greedy search over the same images. No choice of the three attacks "
        f"has a mIoU below the bound. {numbers.about()}",
        ("ε∞",),
        (
            ("SEA", "ACC"),
            ("SEA", "mIoU"),
            ("ECCV 2024", "ACC"),
            ("ECCV 2024", "mIoU, greedy"),
            ("ECCV 2024", "lower bound"),
        ),
        tuple(groups),
        numbers.notes(),
    )


TABLE = Table(
    id="eccv_2024",
    label="ECCV 2024",
    question=HOW_ROBUST,
    shows="SEA beside its version of ECCV 2024: three losses, and mIoU by a greedy search.",
    metrics=("acc", "miou", "greedy_miou", "miou_bound"),
    select=select,
    measure=measure,
    layout=layout,
    in_paper=False,
)
