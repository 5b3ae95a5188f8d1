"""Table 3: all models under SEA, by data set."""

from robustseg.evidence.runs import clean_and_sea
from robustseg.evidence.wording import Settings, architecture, radius, scheme
from robustseg.exhibits import ROBUST_BACKBONES
from robustseg.numbers_shown import Numbers
from robustseg.tables.layout import Layout
from robustseg.tables.lines import clean_and_sea_groups, initialisation, steps
from robustseg.tables.table import Table, columns


def layout(numbers: Numbers) -> Layout:
    """Lay out a line a model, by data set."""
    radii = [0.0, *numbers.radii()]
    return Layout(
        "Evaluation of models with SEA",
        "Training scheme, initialization of the backbone, attack steps in training, architecture; "
        "ACC and mIoU without an attack (0) and under SEA "
        f"({numbers.iterations('sea')} iterations for each loss). {numbers.about()}",
        ("Training", "Init.", "Steps", "Architecture"),
        columns(numbers, [(radius(eps_255),) for eps_255 in radii]),
        clean_and_sea_groups(numbers, _title, _stub, radii),
        numbers.notes(),
    )


def _title(model: Settings) -> str:
    return f"{model['dataset']}: {model['epochs']} epochs"


def _stub(model: Settings) -> tuple[str, ...]:
    return scheme(model), initialisation(model), steps(model), architecture(model)


TABLE = Table(
    id="table3",
    label="Table 3",
    question=ROBUST_BACKBONES,
    shows="All models without an attack and under SEA, by data set.",
    select=clean_and_sea,
    layout=layout,
)
