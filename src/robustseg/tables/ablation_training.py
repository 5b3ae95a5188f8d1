"""What the paper leaves open about training, or does otherwise in its released code, tried out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from robustseg.evidence.book import METRICS, Book, iterations, radius
from robustseg.names import LOSS_LABELS, SCHEME_LABELS
from robustseg.tables.layout import Cell, Group, Layout, Row

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
    "attack_loss": lambda loss: f"PGD on {LOSS_LABELS[loss]}",
    "precision": str,
    "drop_path": "stochastic depth {:g}".format,
    "images_per_pass": "{} images in a pass".format,
}
"""Settings that an ablation may change, and how a value is printed."""


def ablation_training(book: Book) -> Layout:
    """Lay out models that differ from the first one in how they are trained."""
    models = book.read_models()
    reference = book.models[models[0]]
    radii = sorted({run.eps_255 for run in book.evidence.runs})
    rows, used = [], []
    for model in models:
        cells: list[Cell] = [*book.clean(model)]
        for eps_255 in radii[1:]:
            sea = book.sea(model=model, eps_255=eps_255)
            used += sea
            cells += book.cells("sea", sea)
        rows.append(Row((_difference(reference, book.models[model]),), tuple(cells)))
    return Layout(
        "Choices that the paper leaves open",
        f"Models that differ from the reference ({book.training(models[0])}) in what their row "
        "names; ACC and mIoU without an attack (0) and under SEA "
        f"({iterations(used)} iterations for each loss). {book.about()}",
        ("Training",),
        tuple((radius(eps_255), metric) for eps_255 in radii for metric in METRICS),
        (Group(book.architecture(models[0]), tuple(rows)),),
    )


def _difference(reference: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Return in words where the settings of a model are not the reference's."""
    words = [
        text(settings[key]) for key, text in DIFFERENCES.items() if settings[key] != reference[key]
    ]
    return ", ".join(words) or REFERENCE
