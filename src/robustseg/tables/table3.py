"""Table 3: all models under SEA, by data set."""

from robustseg.evidence.runs import clean_and_sea
from robustseg.evidence.wording import architecture, radius, scheme
from robustseg.exhibits import ROBUST_BACKBONES
from robustseg.numbers_shown import Numbers
from robustseg.tables.layout import Group, Layout, Row
from robustseg.tables.model_lines import clean_and_sea_cells, grouped, initialisation, steps
from robustseg.tables.table import Table, columns


def layout(numbers: Numbers) -> Layout:
    """Lay out a line a model, by data set."""
    by_dataset = grouped(numbers, lambda model: f"{model['dataset']}: {model['epochs']} epochs")
    radii = [0.0, *numbers.radii()]
    groups = [
        Group(
            title,
            tuple(
                Row(
                    (
                        scheme(numbers.models[model]),
                        initialisation(numbers.models[model]),
                        steps(numbers.models[model]),
                        architecture(numbers.models[model]),
                    ),
                    clean_and_sea_cells(numbers, model, radii),
                )
                for model in models
            ),
        )
        for title, models in by_dataset.items()
    ]
    return Layout(
        "Evaluation of models with SEA",
        "Training scheme, initialization of the backbone, attack steps in training, architecture; "
        "ACC and mIoU without an attack (0) and under SEA "
        f"({numbers.iterations('sea')} iterations for each loss). {numbers.about()}",
        ("Training", "Init.", "Steps", "Architecture"),
        columns(numbers, [(radius(eps_255),) for eps_255 in radii]),
        tuple(groups),
        numbers.notes(),
    )


TABLE = Table(
    id="table3",
    label="Table 3",
    question=ROBUST_BACKBONES,
    shows="All models without an attack and under SEA, by data set.",
    select=clean_and_sea,
    layout=layout,
)
