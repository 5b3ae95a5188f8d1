"""Evidence that is edited as no code of the project would."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from robustseg.evidence.reading import CountsReader, read_class_names, read_evidence

PLACE = "attacks/losses/clean/seed0/eps4/seed0-shard0.parquet"


def edit(path: Path, column: str, value: Any, at: int = 1) -> None:
    """Write a value into a row, as no code of the project would."""
    table = pq.read_table(path)
    values = table[column].to_pylist()
    values[at] = value
    place = table.schema.get_field_index(column)
    field = table.schema.field(place).with_nullable(True)
    array = pa.array(values, type=field.type)
    pq.write_table(table.set_column(place, field.with_nullable(value is None), array), path)


def everything(path: Path) -> Any:
    """Read all that tables read, first without the counts."""
    frame = read_evidence([path], counts=False)
    return frame, CountsReader().of(frame), read_evidence([path]), read_class_names(path)


EDITED = {
    "pixels_correct": [-1, 11, 2**40],
    "pixels": [0, -10, 9, 10**9],
    "linf_255": [200.0, -1.0, float("nan"), float("inf"), 4.1],
    "eps_255": [-4.0, 256.0, float("nan"), 8.0],
    "iterations": [-1],
    "seed": [-1, 3],
    "training_seed": [-1, 1],
    "forward_passes": [-5],
    "backward_passes": [-5],
    "logit_margin": [-1.0, float("nan")],
    "loss": ["unheard_of", ""],
    "optimizer": ["adam"],
    "schedule": ["never"],
    "choice": ["mine"],
    "model": ["another"],
    "suite": ["another"],
    "image_id": ["a"],
    "labelled": [[6, 3], [6, 3, 2], [-1, 10, 1], []],
    "intersection": [[4, 2, 1], [7, -1, 0], [4], [5, 0, 0]],
    "union": [[7, 4], [0, 0, 0], [100, 4, 3], [3, 4, 3]],
}
