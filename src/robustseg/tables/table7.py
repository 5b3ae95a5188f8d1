"""Table 7: PGD against APGD on the losses of SegPGD and CosPGD."""

from collections.abc import Iterator

from robustseg.attacks.losses import LOSSES
from robustseg.evidence.runs import Runs, Selection
from robustseg.exhibits import EXISTING_ATTACKS
from robustseg.numbers_shown import Numbers
from robustseg.tables.layout import Layout
from robustseg.tables.lines import groups_by_radius
from robustseg.tables.table import Table, columns

ATTACKS = {"bal_ce": "seg", "cossim_ce": "cos"}
"""By loss, how the names of attacks on it begin."""


def select(runs: Runs) -> Iterator[Selection]:
    """Yield each loss with PGD and with APGD, of as many iterations."""
    for model, eps_255 in runs.attacked():
        for loss, name in ATTACKS.items():
            at = {"model": model, "eps_255": eps_255, "loss": loss}
            pgd = runs.one(optimizer="pgd", **at)
            apgd = runs.one(optimizer="apgd", schedule="constant", **at)
            if pgd.iterations != apgd.iterations:
                raise runs.refusal(
                    f"compares {pgd.attack} ({pgd.iterations} iterations) with {apgd.attack} "
                    f"({apgd.iterations}); give both suites the same iterations"
                )
            yield Selection(f"{name}pgd", (pgd,))
            yield Selection(f"{name}apgd", (apgd,))


def layout(numbers: Numbers) -> Layout:
    """Lay out a line a radius, for each model."""
    words = [f"{name}{optimizer}" for name in ATTACKS.values() for optimizer in ("pgd", "apgd")]
    heads = [
        (LOSSES[loss].label, f"{name.capitalize()}{optimizer}")
        for loss, name in ATTACKS.items()
        for optimizer in ("PGD", "APGD")
    ]
    return Layout(
        "APGD and PGD on the losses of two existing attacks",
        f"PGD returns the iterate of highest loss; {numbers.iterations()} iterations each. "
        f"{numbers.about()}",
        ("ε∞",),
        columns(numbers, heads),
        groups_by_radius(numbers, words),
        numbers.notes(),
    )


TABLE = Table(
    id="table7",
    label="Table 7",
    question=EXISTING_ATTACKS,
    shows="PGD against APGD on the losses of SegPGD and CosPGD, with the same number of "
    "iterations.",
    select=select,
    layout=layout,
)
