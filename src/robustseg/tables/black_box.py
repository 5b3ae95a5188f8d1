"""The table `black_box`: an attack without gradients beside SEA; not in the paper."""

from collections.abc import Iterator

from robustseg.attacks.losses import SEA_LOSSES
from robustseg.attacks.spec import SQUARE
from robustseg.evidence.numbers import Number
from robustseg.evidence.runs import Runs, Selection
from robustseg.evidence.wording import MISSING, radius
from robustseg.exhibits import WITHOUT_GRADIENTS
from robustseg.numbers_shown import Numbers
from robustseg.tables.layout import Cell, Group, Layout, Row
from robustseg.tables.table import Table, cells, columns


def select(runs: Runs) -> Iterator[Selection]:
    """Yield each model without an attack, then under Square and SEA at each radius."""
    for model in runs.models():
        yield Selection("clean", (runs.clean(model),))
        for eps_255 in runs.radii(model):
            at = {"model": model, "eps_255": eps_255}
            yield Selection("square", (runs.one(optimizer=SQUARE, **at),))
            yield Selection("sea", runs.sea(**at))


def layout(numbers: Numbers) -> Layout:
    """Lay out a line a radius, for each model."""
    groups = []
    for model in numbers.models:
        lines = []
        for eps_255 in numbers.radii(model):
            shown = [
                *cells(numbers, model, "clean", 0.0),
                *(c for word in WORDS for c in cells(numbers, model, word, eps_255)),
                *(Cell(_passes(numbers.get(model, word, eps_255, "acc"))) for word in WORDS),
            ]
            lines.append(Row((radius(eps_255),), tuple(shown)))
        groups.append(Group(numbers.title(model), tuple(lines)))
    heads = [
        "without an attack",
        f"Square ({numbers.iterations('square')} queries)",
        f"SEA ({len(SEA_LOSSES)} × {numbers.iterations('sea')} iter.)",
    ]
    return Layout(
        "An attack without gradients beside SEA",
        "The Square attack sees predicted classes alone and searches at random for the fewest "
        "right pixels; SEA is the image-wise worst case over four losses and follows gradients. "
        f"Passes: of an image, forward and backward, in the mean. {numbers.about()}",
        ("ε∞",),
        (
            *columns(numbers, [(head,) for head in heads]),
            ("passes an image", "Square"),
            ("passes an image", "SEA"),
        ),
        tuple(groups),
        numbers.notes(),
    )


WORDS = ("square", "sea")


def _passes(one: Number | None) -> str:
    """Return the forward and the backward passes that an image took."""
    if one is None or not one.images:
        return MISSING
    return " + ".join(f"{passes / one.images:,.0f}" for passes in one.passes)


TABLE = Table(
    id="black_box",
    label="Black box",
    question=WITHOUT_GRADIENTS,
    shows="The Square attack, which sees predicted classes alone, beside SEA, with the passes that "
    "both take.",
    select=select,
    layout=layout,
    in_paper=False,
)
