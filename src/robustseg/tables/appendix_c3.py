"""Appendix C.3: clean scores on the objects, of models trained with and without background."""

from collections.abc import Iterator

from robustseg.evidence.enumerator import CLEAN_OBJECTS
from robustseg.evidence.runs import Runs, Selection
from robustseg.exhibits import ROBUST_BACKBONES
from robustseg.numbers_shown import Numbers
from robustseg.tables.layout import Group, Layout, Row
from robustseg.tables.table import Table, cells, columns


def select(runs: Runs) -> Iterator[Selection]:
    """Yield each model's score on the objects alone, then on all pixels."""
    for model in runs.models():
        yield Selection("clean", (runs.one(model=model, attack=CLEAN_OBJECTS),))
        yield Selection("clean_all", (runs.clean(model),))


def layout(numbers: Numbers) -> Layout:
    """Lay out a line a model, those of one architecture and training together."""
    titles = {model: numbers.title_alone(model) for model in numbers.models}
    groups = {
        title: [
            Row(
                ("yes" if numbers.models[model].get("background", True) else "no",),
                (*cells(numbers, model, "clean", 0.0), *cells(numbers, model, "clean_all", 0.0)),
            )
            for model, its in titles.items()
            if its == title
        ]
        for title in titles.values()
    }
    return Layout(
        "Training and scoring with and without the background class",
        "Clean scores on the pixels of objects, with the background's logit left out, and on all "
        "pixels. A model that was trained without the background ignored its pixels and is not "
        f"meant for the second. {numbers.about()}",
        ("Trained with background",),
        columns(numbers, [("objects alone",), ("all pixels",)]),
        tuple(Group(title, tuple(rows)) for title, rows in groups.items()),
        numbers.notes(),
    )


TABLE = Table(
    id="appendix_c3",
    label="Appendix C.3",
    question=ROBUST_BACKBONES,
    shows="Models trained with and without the background class, scored on the objects alone and "
    "on all pixels.",
    select=select,
    layout=layout,
)
