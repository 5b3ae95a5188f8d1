"""The table `leak`: scores on the validation images inside and outside the training split.

SBD's training list, which the paper trains on, contains images of VOC's validation list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustseg.errors import RobustsegError
from robustseg.evidence.book import Book, percent, printed, radius
from robustseg.evidence.queries import Outcomes, Run, interval, score
from robustseg.tables.layout import Cell, Group, Layout, Row

PARTS = {"outside": "val_outside_training", "inside": "val_in_training", "all": "val"}
"""Word of each part, and the split of the manifest that it is."""
METRICS = ("acc", "miou")


def leak_table(book: Book, manifests: Mapping[str, str | Path]) -> Layout:
    """Lay out ACC and mIoU of each model by part of the validation split and radius.

    Args:
        book: the evidence; at each radius the image-wise worst case over all attacks counts.
        manifests: manifest of each data set, Parquet, see `data.manifest.MANIFEST_SCHEMA`.

    Raises:
        RobustsegError: models were attacked at different radii, or the manifest is of other images.
    """
    models = book.read_models()
    radii = {model: tuple(book.radii(model)) for model in models}
    if len(set(radii.values())) > 1:
        raise RobustsegError(
            f"leak compares models at the same radii, and reads {radii}; name the same eps_255"
        )
    shown = [0.0, *radii[models[0]]]
    groups = tuple(_group(book, model, shown, manifests) for model in models)
    return Layout(
        "Validation images inside and outside training",
        "SBD's training images contain images of VOC's validation split. Image-wise worst case "
        f"over the attacks. {book.about()}",
        ("Images",),
        tuple((radius(eps_255), metric) for eps_255 in shown for metric in ("ACC", "mIoU")),
        groups,
        notes=book.notes(),
    )


def _group(
    book: Book, model: str, radii: list[float], manifests: Mapping[str, str | Path]
) -> Group:
    """Return one model's lines: outside, inside, all."""
    clean = book.evidence.clean(model, book.training_seed)
    parts = _parts(Path(manifests[clean.dataset]))
    rows = []
    for word, ids in parts.items():
        cells: list[Cell] = []
        count = 0
        for eps_255 in radii:
            runs = book.evidence.find(model=model, eps_255=eps_255) if eps_255 else [clean]
            chosen = _subset(book.worst(runs), ids, Path(manifests[clean.dataset]))
            count = len(chosen.image_ids)
            cells += _cells(book, word, runs, chosen) if count else [Cell("–"), Cell("–")]
        rows.append(Row((f"{word} ({count})",), tuple(cells)))
    return Group(book.title(model), tuple(rows))


def _parts(manifest: Path) -> dict[str, NDArray[np.object_]]:
    """Return the image ids of each part of the validation split."""
    import pyarrow.parquet as pq

    rows = pq.read_table(manifest, columns=["image_id", "splits"]).to_pylist()
    return {
        word: np.array([row["image_id"] for row in rows if split in row["splits"]], dtype=object)
        for word, split in PARTS.items()
    }


def _subset(attacked: Outcomes, ids: NDArray[np.object_], manifest: Path) -> Outcomes:
    """Return the outcomes of some images.

    Raises:
        RobustsegError: not all of them were attacked.
    """
    chosen = np.isin(attacked.image_ids, ids)
    if chosen.sum() != len(ids):
        raise RobustsegError(
            f"leak needs evidence of all {len(ids)} images of a part in {manifest} and found "
            f"{chosen.sum()}; attack all of `val_split: val`"
        )
    picked: dict[str, Any] = {
        field.name: getattr(attacked, field.name)[chosen] for field in fields(attacked)
    }
    return replace(attacked, **picked)


def _cells(book: Book, word: str, runs: list[Run], chosen: Outcomes) -> list[Cell]:
    """Record ACC and mIoU of one part, and return their cells."""
    low, high = interval(chosen)
    cells = []
    for metric in METRICS:
        value, *ends = (percent(getattr(one, metric)) for one in (score(chosen), low, high))
        attack = f"{'worst' if runs[0].eps_255 else 'clean'}_{word}"
        images = len(chosen.image_ids)
        book.record(attack, runs, metric, value, images=images, low=ends[0], high=ends[1])
        note = f"95 % interval over images: {printed(ends[0])} to {printed(ends[1])}"
        cells.append(Cell(printed(value), note="\n".join([note, *book.behind(runs)])))
    return cells
