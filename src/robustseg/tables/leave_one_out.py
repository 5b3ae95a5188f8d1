"""The table `leave_one_out`: the worst case without each loss in turn; not in the paper."""

from __future__ import annotations

from collections.abc import Iterator

from robustseg.evidence.numbers import Number, Sources, bounds, evidence_in, number, outcome_numbers
from robustseg.evidence.runs import Runs, Selection
from robustseg.evidence.wording import percent, radius
from robustseg.exhibits import LOSSES_NEEDED
from robustseg.numbers_shown import Numbers
from robustseg.tables.layout import Cell, Group, Layout, Row
from robustseg.tables.table import Table, cells, difference_cell, loss_label

ADDED = {"acc": "acc_added", "miou": "miou_added"}
"""By metric, what it rises by where a loss is left out."""


def select(runs: Runs) -> Iterator[Selection]:
    """Yield at each radius the worst case over all attacks, then over those of all losses but one.

    The clean image is a candidate, the last of equals, also where one loss is left.
    """
    for model in runs.models():
        if not runs.radii(model):
            raise runs.refusal(f"reads no attack on {model}; name a suite that attacks it")
        for eps_255 in runs.radii(model):
            clean, found = runs.clean(model), runs.find(model=model, eps_255=eps_255)
            losses = list(dict.fromkeys(run.loss for run in found))
            if len(losses) < 2:
                raise runs.refusal(
                    f"needs attacks of at least two losses on {model} at {radius(eps_255)} and "
                    f"reads {losses[0]} alone; name a suite of several"
                )
            yield Selection("all", (*found, clean), eps_255)
            for loss in losses:
                others = (run for run in found if run.loss != loss)
                yield Selection(f"without_{loss}", (*others, clean), eps_255)


def measure(sources: Sources, selection: Selection) -> list[Number]:
    """Return ACC and mIoU, and what both are above the worst case over all attacks."""
    from robustseg.evidence.queries import difference_interval, score

    evidence = evidence_in(sources)
    attacked = evidence.worst(selection.runs)
    found = outcome_numbers(evidence, selection, attacked, TABLE.metrics)
    if selection.attack == "all":
        return found
    first = selection.runs[0]
    runs = evidence.runs(first.training_seed)
    every = runs.find(model=first.model, eps_255=first.eps_255)
    worst = evidence.worst((*every, runs.clean(first.model)))
    for metric, name in ADDED.items():
        added = getattr(score(attacked), metric) - getattr(score(worst), metric)
        ends = bounds(difference_interval(attacked, worst, metric))
        images = len(worst.image_ids)
        found.append(number(evidence, selection, name, percent(added), images=images, **ends))
    return found


def layout(numbers: Numbers) -> Layout:
    """Lay out a line a loss for each model and radius."""
    groups = []
    for model in numbers.models:
        for eps_255 in numbers.radii(model):
            at = numbers.find(model=model, eps_255=eps_255)
            rows = []
            for attack in dict.fromkeys(one.attack for one in at):
                loss = attack.removeprefix("without_")
                scores = [numbers.get(model, attack, eps_255, name) for name in ADDED.values()]
                rows.append(
                    Row(
                        ("none",) if attack == "all" else (loss_label(loss),),
                        (
                            *cells(numbers, model, attack, eps_255)[: len(ADDED)],
                            *(difference_cell(one) if one else Cell("") for one in scores),
                        ),
                    )
                )
            groups.append(Group(f"{numbers.title(model)}, {radius(eps_255)}", tuple(rows)))
    return Layout(
        "Leaving out one loss",
        "Image-wise worst case by ACC over all attacks that the configuration names here, and over "
        "those of all losses but one; what that leaves more, in points"
        f"{numbers.of_intervals(', in brackets its paired 95 % interval over images')}. "
        "ACC can only rise. mIoU is that of the images which "
        f"ACC chooses, so it can fall. {numbers.about()}",
        ("Left out",),
        (("left", "ACC"), ("left", "mIoU"), ("gap to all", "ACC"), ("gap to all", "mIoU")),
        tuple(groups),
        numbers.notes(),
    )


TABLE = Table(
    id="leave_one_out",
    label="Leave one out",
    question=LOSSES_NEEDED,
    shows="The worst case over all losses, and without each of them in turn: what a loss adds that "
    "no other one finds.",
    metrics=("acc", "miou", *ADDED.values()),
    select=select,
    measure=measure,
    layout=layout,
    in_paper=False,
)
