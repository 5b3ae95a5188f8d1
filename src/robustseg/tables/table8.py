"""Table 8: worst case over all six losses and over SEA's four."""

from collections.abc import Iterator

from robustseg.attacks.losses import PAPER_LOSSES, SEA_LOSSES
from robustseg.evidence.runs import Runs, Selection
from robustseg.evidence.wording import radius
from robustseg.exhibits import LOSSES_NEEDED
from robustseg.numbers_shown import Numbers
from robustseg.tables.layout import Cell, Group, Layout, Row
from robustseg.tables.table import Table, cells, columns

SUBSETS = {"all_losses": PAPER_LOSSES, "four_losses": SEA_LOSSES}


def select(runs: Runs) -> Iterator[Selection]:
    """Yield the worst case over each subset, subset by subset."""
    for model in runs.models():
        for word, losses in SUBSETS.items():
            for eps_255 in runs.radii(model):
                at = {"model": model, "eps_255": eps_255, "schedule": "constant"}
                found = (runs.one(loss=loss, optimizer="apgd", **at) for loss in losses)
                yield Selection(word, tuple(found))


def layout(numbers: Numbers) -> Layout:
    """Lay out a line a subset, for each model below heads of its own radii."""
    metrics = numbers.exhibit.metrics
    places = max(len(numbers.radii(model)) for model in numbers.models)
    groups = []
    for model in numbers.models:
        radii = numbers.radii(model)
        empty = len(metrics) * (places - len(radii))
        lines = []
        for word in SUBSETS:
            shown = [c for eps_255 in radii for c in cells(numbers, model, word, eps_255)]
            lines.append(Row((word.replace("_", " "),), (*shown, *[Cell("")] * empty)))
        heads = [*(radius(eps_255) for eps_255 in radii for _ in metrics), *[""] * empty]
        title = f"model: {numbers.trained(model)}"
        groups.append(Group(title, tuple(lines), tuple(heads)))
    return Layout(
        "Loss selection for SEA",
        "Image-wise worst case over all six losses, APGD at constant radius for "
        f"{numbers.iterations()} iterations, and over the four losses of SEA alone. "
        f"{numbers.about()}",
        ("Subset",),
        columns(numbers, [()] * places),
        tuple(groups),
        numbers.notes(),
    )


TABLE = Table(
    id="table8",
    label="Table 8",
    question=LOSSES_NEEDED,
    shows="The worst case over all six losses beside that over the four of SEA: what the two left "
    "out would add.",
    select=select,
    layout=layout,
)
