"""The table `leak`: scores on the validation images inside and outside the training split.

SBD's training list, which the paper trains on, contains images of VOC's validation list.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robustseg.errors import RobustsegError
from robustseg.evidence.numbers import Number, Sources, evidence_in, outcome_numbers
from robustseg.evidence.runs import Runs, Selection
from robustseg.evidence.wording import radius
from robustseg.exhibits import SEEN_IMAGES
from robustseg.numbers_shown import Numbers
from robustseg.tables.layout import Group, Layout, Row
from robustseg.tables.table import Table, cells, columns

if TYPE_CHECKING:
    from robustseg.evidence.queries import Outcomes

PARTS = {"outside": "val_outside_training", "inside": "val_in_training", "all": "val"}
"""Word of each part, and the split of the manifest that it is."""


def select(runs: Runs) -> Iterator[Selection]:
    """Yield the worst case over all attacks at each radius, for each part of the images."""
    radii = {model: runs.radii(model) for model in runs.models()}
    if len(set(map(tuple, radii.values()))) > 1:
        raise runs.refusal(
            f"compares models at the same radii, and reads {radii}; name the same eps_255"
        )
    for model, its_radii in radii.items():
        for part in PARTS:
            yield Selection(f"clean_{part}", (runs.clean(model),))
            for eps_255 in its_radii:
                found = runs.find(model=model, eps_255=eps_255)
                yield Selection(f"worst_{part}", tuple(found))


def measure(sources: Sources, selection: Selection) -> list[Number]:
    """Return ACC and mIoU over the images of one part.

    Raises:
        RobustsegError: not all of them were attacked.
    """
    evidence = evidence_in(sources)
    manifest = Path(sources.manifests[selection.runs[0].dataset])
    part = selection.attack.split("_")[1]
    attacked = _of_images(evidence.worst(selection.runs), _image_ids(manifest, part), manifest)
    return outcome_numbers(evidence, selection, attacked, TABLE.metrics)


def _image_ids(manifest: Path, part: str) -> NDArray[np.object_]:
    """Return the image ids of a part of the validation split."""
    import pyarrow.parquet as pq

    rows = pq.read_table(manifest, columns=["image_id", "splits"]).to_pylist()
    chosen = [row["image_id"] for row in rows if PARTS[part] in row["splits"]]
    return np.array(chosen, dtype=object)


def _of_images(attacked: Outcomes, ids: NDArray[np.object_], manifest: Path) -> Outcomes:
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


def layout(numbers: Numbers) -> Layout:
    """Lay out a line a part, for each model."""
    radii = [0.0, *numbers.radii()]
    groups = []
    for model in numbers.models:
        lines = []
        for part in PARTS:
            images = numbers.find(f"clean_{part}", model=model)[0].images
            shown = [
                c
                for eps_255 in radii
                for c in cells(numbers, model, f"{'worst' if eps_255 else 'clean'}_{part}", eps_255)
            ]
            lines.append(Row((f"{part} ({images})",), tuple(shown)))
        groups.append(Group(numbers.title(model), tuple(lines)))
    return Layout(
        "Validation images inside and outside training",
        "SBD's training images contain images of VOC's validation split. Image-wise worst case "
        f"over the attacks. {numbers.about()}",
        ("Images",),
        columns(numbers, [(radius(eps_255),) for eps_255 in radii]),
        tuple(groups),
        numbers.notes(),
    )


TABLE = Table(
    id="leak",
    label="Images seen in training",
    question=SEEN_IMAGES,
    shows="Validation images inside and outside the training split, each part by itself.",
    select=select,
    measure=measure,
    layout=layout,
    on_request=True,
    of_splits=True,
    in_paper=False,
)
