"""Writing evidence: checked, whole or not at all."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from robustseg.errors import RobustsegError
from robustseg.evidence.checks import (
    Agreement,
    classes_of,
    counts_agree,
    first_problem,
    unknown_words,
    values_agree,
)
from robustseg.evidence.schema import (
    CLASSES_KEY,
    COUNTED,
    HASH_KEY,
    KEY,
    SCHEMA,
    SCHEMA_VERSION,
    VERSION_KEY,
    WORDS,
    matrix,
    metadata_hash,
    twice,
)
from robustseg.files import atomic_path

STORED: dict[str, Any] = {
    "compression": {
        **dict.fromkeys(SCHEMA.names, "none"),
        **{f"{name}.list.element": "zstd" for name in COUNTED},
    },
    "write_page_checksum": True,
}
"""How files are stored. Compressed are the counts alone, which are nearly all of a file: to prepare
for decompressing the many short columns took two fifths of the time that small files are read in.
"""


def write_evidence(
    path: str | Path,
    rows: Sequence[Mapping[str, Any]],
    provenance: Mapping[str, str],
    class_names: Sequence[str] | None = None,
) -> None:
    """Check `rows` and write them as one Parquet file, whole or not at all.

    Args:
        path: the file; its folder is made.
        rows: one mapping an (image, attack) with just the columns of SCHEMA; those of COUNTED are
            sequences or arrays of K integers, the same K in all rows.
        provenance: what made them, see `schema.provenance`; stored in the file's metadata.
        class_names: K names, in the order of the counts; stored there too.

    Raises:
        RobustsegError: a row breaks the schema, leaves its radius, contradicts itself or is there
            twice, or the file cannot be written.
    """
    table = _as_table(path, rows)
    _check_counts(path, table)
    _check_words(path, table)
    _check_unique(path, table)
    about = {**provenance, VERSION_KEY: SCHEMA_VERSION}
    if class_names is not None:
        classes = len(rows[0]["union"])
        if len(class_names) != classes:
            raise RobustsegError(
                f"{path}: there are {len(class_names)} class names for counts of {classes} classes"
            )
        about[CLASSES_KEY] = json.dumps(list(class_names), ensure_ascii=False)
    about[HASH_KEY] = metadata_hash(about)
    with atomic_path(path) as temporary:
        pq.write_table(
            table.replace_schema_metadata(dict(sorted(about.items()))),
            temporary,
            **STORED,
        )


def _as_table(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    if not rows:
        raise RobustsegError(f"no rows to write to {path}; check that the data set has images")
    for row in rows:
        if set(row) != set(SCHEMA.names):
            wrong = sorted(set(row) ^ set(SCHEMA.names))
            raise RobustsegError(f"a row for {path} misses or has unknown columns: {wrong}")
    try:
        columns = [pa.array([row[f.name] for row in rows], type=f.type) for f in SCHEMA]
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise RobustsegError(f"a row for {path} has a value of the wrong type: {error}") from error
    for field, column in zip(SCHEMA, columns, strict=True):
        if column.null_count:
            raise RobustsegError(f"a row for {path} has no value in column {field.name}")
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def _check_counts(path: str | Path, table: pa.Table) -> None:
    """Refuse counts that cannot come from one confusion matrix an image."""
    if classes_of(table) is None:
        raise RobustsegError(f"rows for {path} count different numbers of classes, or none")
    pixels, correct = (table[name].to_numpy() for name in ("pixels", "pixels_correct"))
    counted = tuple(matrix(table, name) for name in COUNTED)
    _refuse(path, table, values_agree(table))
    _refuse(path, table, counts_agree(pixels, correct, counted))


def _check_words(path: str | Path, table: pa.Table) -> None:
    """Refuse words that the schema does not explain."""
    for column, word in unknown_words(table):
        raise RobustsegError(
            f"{path} was not written: {column} is {word!r}, which is none of the words that "
            f"evidence knows ({', '.join(WORDS[column])}); explain it in evidence.schema"
        )


def _refuse(path: str | Path, table: pa.Table, agree: Agreement) -> None:
    problem = first_problem(table, agree)
    if problem:
        raise RobustsegError(
            f"{path} was not written: {problem}; this is a defect of the code that made it"
        )


def _check_unique(path: str | Path, table: pa.Table) -> None:
    """Refuse to write two rows with one key."""
    keys = list(zip(*(table[name].to_pylist() for name in KEY), strict=True))
    if len(set(keys)) < len(keys):
        raise twice(str(path), Counter(keys).most_common(1)[0][0])
