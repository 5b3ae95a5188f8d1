"""The table `robustness`: clean and worst-case scores by radius; not in the paper."""

from collections.abc import Iterator

from robustseg.attacks.losses import LOSSES
from robustseg.attacks.spec import UNBOUNDED_255
from robustseg.evidence.numbers import Number
from robustseg.evidence.runs import Runs, Selection
from robustseg.evidence.wording import MISSING, printed, radius
from robustseg.exhibits import HOW_ROBUST
from robustseg.numbers_shown import Numbers
from robustseg.tables.layout import Cell, Group, Layout, Row
from robustseg.tables.table import Table, cell


def select(runs: Runs) -> Iterator[Selection]:
    """Yield each model without an attack, then at each radius each attack and the worst of all.

    The clean image is a candidate of the worst case, the last of equals. Attacks without a radius
    have none to stand at.
    """
    for model in runs.models():
        clean = runs.clean(model)
        yield Selection("clean", (clean,))
        for eps_255 in runs.radii(model):
            if eps_255 == UNBOUNDED_255:
                continue
            found = runs.find(model=model, eps_255=eps_255)
            for run in found:
                yield Selection(f"{run.suite}: {run.attack}", (run,))
            yield Selection("worst", (*found, clean), eps_255)


def layout(numbers: Numbers) -> Layout:
    """Lay out a line a radius for each model."""
    groups = []
    for model in dict.fromkeys(one.model for one in numbers.entries):
        clean = [_with_interval(numbers, numbers.get(model, "clean", 0.0, m)) for m in METRICS]
        rows = []
        if not numbers.radii(model):
            rows.append(Row((MISSING,), (*clean, *[Cell(MISSING)] * 4)))
        for eps_255 in numbers.radii(model):
            worst = [numbers.get(model, "worst", eps_255, metric) for metric in METRICS]
            alone = [
                one
                for one in numbers.find(model=model)
                if one.eps_255 == eps_255 and one.attack != "worst" and one.metric == "acc"
            ]
            strongest = min(alone, key=lambda one: one.value)
            cells = [
                *clean,
                *(_with_interval(numbers, one) for one in worst),
                Cell(f"{_loss(strongest)} ({printed(strongest.value)})"),
                Cell(_cost(worst[0])),
            ]
            rows.append(Row((radius(eps_255),), tuple(cells)))
        groups.append(Group(numbers.title(model), tuple(rows)))
    return Layout(
        "Clean and worst case",
        "Scores without an attack, and in the worst case, image by image, over all attacks inside "
        "the radius and the clean image; in brackets 95 % bootstrap intervals over images. "
        f"Strongest: the attack that leaves least accuracy by itself. {numbers.about()}",
        ("ε∞",),
        (
            ("clean", "ACC"),
            ("clean", "mIoU"),
            ("worst case", "ACC"),
            ("worst case", "mIoU"),
            ("strongest", "loss (ACC)"),
            ("cost", "passes an image"),
        ),
        tuple(groups),
        numbers.notes(),
    )


METRICS = ("acc", "miou")


def _with_interval(numbers: Numbers, one: Number | None) -> Cell:
    """Return a number with its interval in print."""
    plain = cell(numbers, one)
    if one is None or one.low is None or one.high is None or one.by_seed:
        return plain
    return Cell(f"{plain.text} ({printed(one.low)} to {printed(one.high)})", note=plain.note)


def _loss(one: Number) -> str:
    name = one.runs[0].loss
    return LOSSES[name].label if name in LOSSES else name


def _cost(one: Number | None) -> str:
    """Return the forward and backward passes that an image took."""
    if one is None or not one.images:
        return ""
    return f"{sum(one.passes) / one.images:,.0f}"


TABLE = Table(
    id="robustness",
    label="Robustness",
    question=HOW_ROBUST,
    shows="Clean and worst-case scores of each model by radius, with intervals, the strongest "
    "attack and the cost: the table of models of one's own.",
    select=select,
    layout=layout,
    in_paper=False,
)
