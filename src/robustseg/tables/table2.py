"""Table 2: the six losses with APGD at constant radius, and their worst case."""

from collections.abc import Iterator

from robustseg.attacks.losses import LOSSES
from robustseg.evidence.runs import Runs, Selection
from robustseg.evidence.wording import radius
from robustseg.exhibits import LOSSES_NEEDED
from robustseg.numbers_shown import Numbers
from robustseg.tables.layout import Group, Layout, Row
from robustseg.tables.table import Table, best, cells, clean_scores, columns

PRIOR, PROPOSED = ("ce", "bal_ce", "cossim_ce"), ("js", "mask_ce", "mask_sph")


def select(runs: Runs) -> Iterator[Selection]:
    """Yield each model without an attack, under each loss and under the worst of them."""
    for model in runs.models():
        yield Selection("clean", (runs.clean(model),))
        for eps_255 in runs.radii(model):
            at = {"model": model, "eps_255": eps_255, "schedule": "constant"}
            found = [runs.one(loss=loss, optimizer="apgd", **at) for loss in PRIOR + PROPOSED]
            for run in found:
                yield Selection(run.loss, (run,))
            yield Selection("worst", tuple(found))


def layout(numbers: Numbers) -> Layout:
    """Lay out a line a radius, the best single loss in bold."""
    metrics = len(numbers.exhibit.metrics)
    groups = []
    for model in numbers.models:
        lines = []
        for eps_255 in numbers.radii(model):
            losses = [c for w in PRIOR + PROPOSED for c in cells(numbers, model, w, eps_255)]
            worst = cells(numbers, model, "worst", eps_255)
            lines.append(Row((radius(eps_255),), (*best(losses, metrics), *worst)))
        title = f"{numbers.title(model)} {clean_scores(numbers, model)}"
        groups.append(Group(title, tuple(lines)))
    return Layout(
        "Attack performance of different losses",
        "Each loss is optimized with APGD at constant radius for "
        f"{numbers.iterations('worst')} iterations. "
        "The worst case over losses is taken image by image; bold: the best single loss. "
        f"{numbers.about()}",
        ("ε∞",),
        columns(
            numbers,
            [
                *(("losses used in prior works", LOSSES[loss].label) for loss in PRIOR),
                *(("proposed losses", LOSSES[loss].label) for loss in PROPOSED),
                ("image-wise", "worst case over losses"),
            ],
        ),
        tuple(groups),
        numbers.notes(),
    )


TABLE = Table(
    id="table2",
    label="Table 2",
    question=LOSSES_NEEDED,
    shows="Each of six losses with APGD at constant radius, and their image-wise worst case.",
    select=select,
    layout=layout,
)
