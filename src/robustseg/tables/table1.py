"""Table 1: SegPGD and CosPGD against Mask-CE and the ensemble SEA."""

from collections.abc import Iterator

from robustseg.attacks.losses import SEA_LOSSES
from robustseg.evidence.runs import Runs, Selection
from robustseg.exhibits import EXISTING_ATTACKS
from robustseg.numbers_shown import Numbers
from robustseg.tables.layout import Layout
from robustseg.tables.lines import groups_by_radius
from robustseg.tables.table import Table, columns

WORDS = ("cospgd", "segpgd", "mask_ce", "sea")


def select(runs: Runs) -> Iterator[Selection]:
    """Yield CosPGD, SegPGD, Mask-CE and SEA of each model and radius."""
    for model, eps_255 in runs.attacked():
        at = {"model": model, "eps_255": eps_255}
        sea = runs.sea(**at)
        yield Selection("cospgd", (runs.one(loss="cossim_ce", optimizer="pgd", **at),))
        yield Selection("segpgd", (runs.one(loss="bal_ce", optimizer="pgd", **at),))
        yield Selection("mask_ce", tuple(run for run in sea if run.loss == "mask_ce"))
        yield Selection("sea", sea)


def layout(numbers: Numbers) -> Layout:
    """Lay out a line a radius, for each model."""
    heads = [
        f"CosPGD ({numbers.iterations('cospgd')} iter.)",
        f"SegPGD ({numbers.iterations('segpgd')} iter.)",
        f"Mask-CE ({numbers.iterations('mask_ce')} iter.)",
        f"SEA ({len(SEA_LOSSES)} × {numbers.iterations('sea')} iter.)",
    ]
    works = ["Previous SOTA attacks"] * 2 + ["SEA and its parts"] * 2
    return Layout(
        "Comparison of existing attacks to the ensemble attack SEA",
        "SegPGD and CosPGD are PGD on the Bal-CE and CosSim-CE loss; Mask-CE and SEA are red-ε "
        f"APGD on one and on four losses, SEA their image-wise worst case. {numbers.about()}",
        ("ε∞",),
        columns(numbers, list(zip(works, heads, strict=True))),
        groups_by_radius(numbers, WORDS),
        numbers.notes(),
    )


TABLE = Table(
    id="table1",
    label="Table 1",
    question=EXISTING_ATTACKS,
    shows="SegPGD and CosPGD against Mask-CE alone and against SEA. Lower is a stronger attack, "
    "and closer to the truth.",
    select=select,
    layout=layout,
)
