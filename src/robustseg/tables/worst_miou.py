"""The table `worst_miou`: what mIoU is in the worst case, searched in three ways; not in the paper.

Greedy search: the ECCV-2024 version (arXiv 2306.12941v2); image-wise mIoU: arXiv 2407.09150.
"""

from robustseg.evidence.numbers import (
    Number,
    Sources,
    evidence_in,
    mean_number,
    number,
    outcome_numbers,
)
from robustseg.evidence.runs import Selection, clean_and_worst
from robustseg.evidence.wording import percent, radius
from robustseg.exhibits import HOW_ROBUST
from robustseg.numbers_shown import Numbers
from robustseg.tables.layout import Group, Layout, Row
from robustseg.tables.table import Table, cell

HEADS = {
    "miou": "mIoU, worst by ACC",
    "greedy_miou": "mIoU, greedy",
    "miou_bound": "lower bound",
    "miou_gap": "gap",
    "image_miou": "image-wise mIoU",
}
"""Metrics, and what they are called in print."""


def measure(sources: Sources, selection: Selection) -> list[Number]:
    """Return each of HEADS; of the clean images, where there is no choice, two of them."""
    from robustseg.evidence.queries import worst_case_by_miou, worst_image_miou

    evidence = evidence_in(sources)
    attacks = evidence.candidates(selection.runs)
    found = outcome_numbers(evidence, selection, evidence.worst(selection.runs), ["miou"])
    images = len(attacks[0].image_ids)
    if len(attacks) > 1:
        greedy = worst_case_by_miou(attacks)
        values = {
            "greedy_miou": greedy.miou,
            "miou_bound": greedy.lower_bound,
            "miou_gap": greedy.miou - greedy.lower_bound,
        }
        found += [
            number(evidence, selection, metric, percent(value), images=images)
            for metric, value in values.items()
        ]
    by_image = worst_image_miou(attacks)[attacks[0].pixels > 0]
    return [*found, mean_number(evidence, selection, "image_miou", by_image)]


def layout(numbers: Numbers) -> Layout:
    """Lay out a line a radius for each model."""
    groups = []
    for model in numbers.models:
        rows = []
        for eps_255 in (0.0, *numbers.radii(model)):
            attack = "worst" if eps_255 else "clean"
            some = (numbers.get(model, attack, eps_255, metric) for metric in HEADS)
            rows.append(Row((radius(eps_255),), tuple(cell(numbers, one) for one in some)))
        groups.append(Group(numbers.title(model), tuple(rows)))
    return Layout(
        "mIoU in the worst case",
        "Without an attack (0) and in the worst case over all attacks that are read and the clean "
        "image. By ACC: each image after the attack that leaves it least accuracy, as in the "
        "paper. Greedy: image by image, another attack where that lowers the mIoU of all. No "
        "choice of attacks has a mIoU below the lower bound; the gap is greedy minus bound, in "
        "points. Image-wise mIoU: the mean over images of the IoU of the classes labelled or "
        f"predicted in each, after the attack that leaves it least of that. {numbers.about()}",
        ("ε∞",),
        tuple((head,) for head in HEADS.values()),
        tuple(groups),
        numbers.notes(),
    )


TABLE = Table(
    id="worst_miou",
    label="Worst-case mIoU",
    question=HOW_ROBUST,
    shows="mIoU in the worst case over attacks: image by image by ACC as in the paper, by greedy "
    "search with a bound on what it misses, and image-wise.",
    metrics=tuple(HEADS),
    select=clean_and_worst,
    measure=measure,
    layout=layout,
    in_paper=False,
)
