"""Table 9: each loss of SEA, three of four, and all; ACC."""

from collections.abc import Iterator

from robustseg.attacks.losses import SEA_LOSSES
from robustseg.evidence.runs import Runs, Selection
from robustseg.evidence.wording import radius
from robustseg.exhibits import LOSSES_NEEDED
from robustseg.numbers_shown import Numbers
from robustseg.tables.layout import Group, Layout, Row
from robustseg.tables.sea_parts import COLUMNS, NOTES, SUBSETS, parts_of
from robustseg.tables.table import Table, best, cells


def select(runs: Runs) -> Iterator[Selection]:
    """Yield the parts of SEA of each model and radius."""
    for model, eps_255 in runs.attacked():
        for word, part in parts_of(runs.sea(model=model, eps_255=eps_255)).items():
            yield Selection(word, part)


def layout(numbers: Numbers) -> Layout:
    """Lay out a line a radius, the best single loss and the best subset in bold."""
    groups = []
    for model in numbers.models:
        lines = []
        for eps_255 in numbers.radii(model):
            single, subsets, sea = (
                [c for word in words for c in cells(numbers, model, word, eps_255)]
                for words in (SEA_LOSSES, SUBSETS, ["sea"])
            )
            lines.append(Row((radius(eps_255),), (*best(single), *best(subsets), *sea)))
        groups.append(Group(numbers.title(model), tuple(lines)))
    return Layout(
        "Component analysis for SEA",
        f"ACC under red-ε APGD with each loss of SEA ({numbers.iterations('sea')} iterations for "
        "each loss) and under the image-wise worst case over three of them and over all. Bold: "
        f"the best single loss and the best subset. {numbers.about()}",
        ("ε∞",),
        COLUMNS,
        tuple(groups),
        (*NOTES, *numbers.notes()),
    )


TABLE = Table(
    id="table9",
    label="Table 9",
    question=LOSSES_NEEDED,
    shows="Each loss of SEA, any three of them and all: what each adds to the worst case.",
    metrics=("acc",),
    select=select,
    layout=layout,
)
