"""Table 6: the backbones with their accuracy as classifiers, clean and under attack."""

from collections.abc import Iterator

from robustseg.attacks.losses import LOSSES
from robustseg.evidence.runs import Runs, Selection
from robustseg.evidence.wording import ARCHITECTURE_LABELS, radius
from robustseg.exhibits import ROBUST_BACKBONES
from robustseg.names import amount
from robustseg.numbers_shown import Numbers
from robustseg.tables.layout import Cell, Group, Layout, Row
from robustseg.tables.table import Table, cell


def select(runs: Runs) -> Iterator[Selection]:
    """Yield each backbone without an attack and under all attacks at each radius."""
    for backbone in runs.models():
        yield Selection("clean", (runs.clean(backbone),))
        for eps_255 in runs.radii(backbone):
            yield Selection("linf", tuple(runs.find(model=backbone, eps_255=eps_255)))


def layout(numbers: Numbers) -> Layout:
    """Lay out a line a backbone."""
    radii = numbers.radii()
    lines = []
    for backbone, settings in numbers.models.items():
        shown = [cell(numbers, numbers.get(backbone, "clean", 0.0, "acc"))]
        for eps_255 in radii:
            one = numbers.get(backbone, "linf", eps_255, "acc")
            shown.append(cell(numbers, one) if one else Cell(""))
        architecture = str(settings["architecture"])
        stub = (
            ARCHITECTURE_LABELS.get(architecture, architecture),
            "yes" if settings.get("eps_255") else "no",
            settings.get("publisher") or f"trained here on {settings['dataset']}",
        )
        lines.append(Row(stub, tuple(shown)))
    attacks = [run for one in numbers.find("linf") for run in one.runs]
    losses = " and ".join(LOSSES[loss].label for loss in dict.fromkeys(r.loss for r in attacks))
    images, *_ = numbers.images.values()
    seed, *_ = numbers.training_seeds
    return Layout(
        "Backbones",
        "Accuracy in percent of the classifiers that models start from, clean and under the ℓ∞ "
        f"attack: APGD on {losses}, {numbers.iterations('linf')} iterations, one image right or "
        f"wrong. {amount(images, 'image')}; training seed {seed}.",
        ("Backbone", "Robust", "Source"),
        tuple(("accuracy", head) for head in ("clean", *map(radius, radii))),
        (Group("", tuple(lines)),),
        ("The paper does not say which attack its ℓ∞ accuracies come from.",),
    )


TABLE = Table(
    id="table6",
    label="Table 6",
    question=ROBUST_BACKBONES,
    shows="The backbones that models start from, as classifiers, without an attack and under APGD.",
    metrics=("acc",),
    select=select,
    layout=layout,
    of_backbones=True,
)
