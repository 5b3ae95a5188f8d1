"""The table `strength`: what sets of attacks leave, and what they cost; not in the paper."""

from collections.abc import Iterator
from statistics import fmean

from robustseg.evidence.attack_sets import acc_and_passes, sets_at
from robustseg.evidence.numbers import Number, Sources, bounds, evidence_in, number
from robustseg.evidence.runs import Runs, Selection
from robustseg.evidence.wording import percent, radius
from robustseg.exhibits import ITERATIONS_SPENT
from robustseg.numbers_shown import Numbers
from robustseg.tables.layout import Cell, Group, Layout, Row
from robustseg.tables.table import Table, cell, difference_cell

ALL = "all"


def select(runs: Runs) -> Iterator[Selection]:
    """Yield at each radius each set of attacks, then all of them together."""
    for model in runs.models():
        for eps_255 in runs.bounded_radii(model):
            yield from sets_at(runs, model, eps_255)
            every = runs.at_radius(model, eps_255)
            yield Selection(ALL, (*every, runs.clean(model)), eps_255)


def measure(sources: Sources, selection: Selection) -> list[Number]:
    """Return what `acc_and_passes` does, and mIoU, likewise the mean over attack seeds."""
    from robustseg.evidence.queries import miou_interval, score

    evidence = evidence_in(sources)
    attacked = evidence.worst_by_seed(selection.runs)
    miou = percent(fmean(score(one).miou for one in attacked))
    images = len(attacked[0].image_ids)
    return [
        *acc_and_passes(evidence, selection),
        number(evidence, selection, "miou", miou, images=images, **bounds(miou_interval(attacked))),
    ]


def layout(numbers: Numbers) -> Layout:
    """Lay out a line a set for each model and radius."""
    groups = []
    for model in numbers.models:
        for eps_255 in numbers.radii(model):
            at = numbers.find(model=model, eps_255=eps_255)
            rows = [
                _row(numbers, model, attack, eps_255)
                for attack in dict.fromkeys(one.attack for one in at)
            ]
            groups.append(Group(f"{numbers.title(model)}, {radius(eps_255)}", tuple(rows)))
    return Layout(
        "What sets of attacks leave, and what they cost",
        "A set is a suite at one number of iterations for each attack; its scores are those of the "
        "image-wise worst case by ACC over its attacks and the clean image, its cost all forward "
        "and backward passes that were counted. Difference: ACC minus that of the reference, which "
        "is the first suite at its largest number of iterations, in points"
        f"{numbers.of_intervals(', in brackets its paired 95 % interval over images')}. "
        f"Means over attack seeds. {numbers.about()}",
        ("Set", "iterations"),
        (("passes an image",), ("ACC",), ("mIoU",), ("difference in ACC",)),
        tuple(groups),
        numbers.notes(),
    )


def _row(numbers: Numbers, model: str, attack: str, eps_255: float) -> Row:
    passes, acc, miou, difference = (
        numbers.get(model, attack, eps_255, metric)
        for metric in ("passes", "acc", "miou", "acc_difference")
    )
    assert passes is not None
    spread = f" ± {passes.std:,.0f}" if passes.std is not None else ""
    suite, _, budget = attack.partition("/")
    cells = (
        Cell(f"{passes.value:,.0f}{spread}"),
        cell(numbers, acc),
        cell(numbers, miou),
        Cell("reference") if difference is None else difference_cell(difference),
    )
    return Row(("all together", "") if attack == ALL else (suite, budget), cells)


TABLE = Table(
    id="strength",
    label="Strength and cost",
    question=ITERATIONS_SPENT,
    shows="What each set of attacks leaves and what it costs, against the first set that the "
    "configuration lists, and what all leave together.",
    metrics=("acc", "miou", "acc_difference", "passes"),
    select=select,
    measure=measure,
    layout=layout,
    in_paper=False,
)
