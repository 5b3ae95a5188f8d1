"""Table 4: AT against PIR-AT by attack steps and epochs."""

from robustseg.evidence.runs import clean_and_sea
from robustseg.evidence.wording import Settings, architecture, radius, scheme
from robustseg.exhibits import ROBUST_BACKBONES
from robustseg.numbers_shown import Numbers
from robustseg.tables.layout import Layout
from robustseg.tables.lines import clean_and_sea_groups, initialisation, steps
from robustseg.tables.table import Table, columns


def layout(numbers: Numbers) -> Layout:
    """Lay out a line a model, by data set and architecture."""
    radii = [0.0, *numbers.radii()]
    return Layout(
        "Ablation study of AT and PIR-AT",
        "Attack steps and epochs of training; ACC and mIoU without an attack (0) and under SEA "
        f"({numbers.iterations('sea')} iterations for each loss). {numbers.about()}",
        ("Training Scheme", "Init.", "Steps", "Ep."),
        columns(numbers, [(radius(eps_255),) for eps_255 in radii]),
        clean_and_sea_groups(numbers, _title, _stub, radii),
        numbers.notes(),
    )


def _title(model: Settings) -> str:
    return f"{model['dataset']}, {architecture(model)}"


def _stub(model: Settings) -> tuple[str, ...]:
    return scheme(model), initialisation(model), steps(model), str(model["epochs"])


TABLE = Table(
    id="table4",
    label="Table 4",
    question=ROBUST_BACKBONES,
    shows="AT from a clean backbone against PIR-AT from a robust one, at equal and at longer "
    "training.",
    select=clean_and_sea,
    layout=layout,
)
