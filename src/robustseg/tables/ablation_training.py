"""What the paper leaves open about training, or does otherwise in its released code, tried out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from robustseg.attacks.losses import LOSSES
from robustseg.evidence.runs import clean_and_sea
from robustseg.evidence.wording import architecture, radius, training
from robustseg.exhibits import OPEN_CHOICES
from robustseg.names import SCHEME_LABELS
from robustseg.numbers_shown import Numbers
from robustseg.tables.layout import Group, Layout, Row
from robustseg.tables.lines import clean_and_sea_cells
from robustseg.tables.table import Table, columns

REFERENCE = "reference"

DIFFERENCES: dict[str, Callable[[Any], str]] = {
    "scheme": lambda scheme: SCHEME_LABELS[scheme],
    "steps": "{} steps".format,
    "epochs": "{} epochs".format,
    "gradient_contamination": lambda is_so: (
        f"PGD's gradients {'' if is_so else 'not '}in the update"
    ),
    "attack_start": lambda start: f"PGD from {'the' if start == 'image' else 'a'} {start} start",
    "attack_mode": "network in {} mode during PGD".format,
    "attack_loss": lambda loss: f"PGD on {LOSSES[loss].label}",
    "weight_decay_of": "weight decay of {}".format,
    "precision": str,
    "drop_path": "stochastic depth {:g}".format,
    "images_per_pass": "{} images in a pass".format,
}
"""Settings that an ablation may change, and how a value is printed."""


def layout(numbers: Numbers) -> Layout:
    """Lay out models that differ from the first one in how they are trained."""
    first, *_ = numbers.models
    reference = numbers.models[first]
    radii = [0.0, *numbers.radii()]
    rows = [
        Row((_difference(reference, settings),), clean_and_sea_cells(numbers, model, radii))
        for model, settings in numbers.models.items()
    ]
    return Layout(
        "Choices that the paper leaves open",
        f"Models that differ from the reference ({training(reference)}) in what their row "
        "names; ACC and mIoU without an attack (0) and under SEA "
        f"({numbers.iterations('sea')} iterations for each loss). {numbers.about()}",
        ("Training",),
        columns(numbers, [(radius(eps_255),) for eps_255 in radii]),
        (Group(architecture(reference), tuple(rows)),),
    )


def _difference(reference: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Return in words where the settings of a model are not the reference's."""
    words = [
        text(settings[key]) for key, text in DIFFERENCES.items() if settings[key] != reference[key]
    ]
    return ", ".join(words) or REFERENCE


TABLE = Table(
    id="ablation_training",
    label="Ablation of training",
    question=OPEN_CHOICES,
    shows="What the paper leaves open about training, and what its released code does otherwise: "
    "models that differ from the first in one setting.",
    select=clean_and_sea,
    layout=layout,
    of_settings=True,
    in_paper=False,
)
