"""Reading evidence: several files as one frame, counts by class only where they are needed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from robustseg.errors import RobustsegError
from robustseg.evidence.checks import (
    classes_of,
    counts_agree,
    first_problem,
    unknown_words,
    values_agree,
)
from robustseg.evidence.enumerator import EvidenceJob, in_words, jobs_of_file
from robustseg.evidence.findings import FINDINGS_KEY, Opinion, from_text
from robustseg.evidence.schema import (
    CLASSES_KEY,
    COUNTED,
    KEY,
    SCHEMA,
    SCHEMA_VERSION,
    VERSION_KEY,
    matrix,
    twice,
)

if TYPE_CHECKING:
    import pandas as pd

_AS_READ = pa.schema(
    [
        pa.field(f.name, pa.dictionary(pa.int32(), pa.string()), nullable=False)
        if f.type == pa.string()
        else f
        for f in SCHEMA
    ]
)

LOCATION = ("file", "row")
"""Columns that say where the counts of a row lie, in evidence that was read without them."""

_NAMES = tuple(field.name for field in SCHEMA if field.type == pa.string())


def read_evidence(paths: Iterable[str | Path], counts: bool = True) -> pd.DataFrame:
    """Read evidence files into one frame, sorted by KEY, whatever their order and sharding.

    Columns are those of SCHEMA: names are categoricals, those of COUNTED hold one int32
    array of K values a row. Without `counts` these, nearly all of the volume, are not read;
    instead the columns LOCATION say where they lie, see `CountsReader`.

    Raises:
        RobustsegError: no file, a file missing, truncated or not evidence, a row there twice, or
            data sets with different numbers of classes under one name.
    """
    files = sorted(map(Path, paths))
    if not files:
        raise RobustsegError("no evidence file was given; run the attacks first")
    with ThreadPoolExecutor() as pool:
        tables = list(pool.map(_read_rows, files))
        frame = _as_frame(tables)
        if counts:
            _add_counts(frame, tables, list(pool.map(_read_counts, files)))
        else:
            _add_places(frame, tables, files)
    frame = frame.sort_values(list(KEY), ignore_index=True)
    _check_unique_rows(_some(files), frame)
    return frame


class CountsReader:
    """The counts by class of rows that were read without them; keeps the files read last.

    Memory is that of the counts of `KEPT_FILES` files.
    """

    KEPT_FILES = 8

    def __init__(self) -> None:
        self._read = lru_cache(self.KEPT_FILES)(_read_counts)
        self._classes: dict[str, int] = {}

    def of(self, rows: pd.DataFrame) -> tuple[np.ndarray, ...]:
        """Return the counts of COUNTED, each (N, K), of N rows of one data set.

        Raises:
            RobustsegError: a file is gone or damaged by now, or has another number of classes
                than an earlier one of the data set.
        """
        file, row = LOCATION
        files, places = rows[file].cat, rows[row].to_numpy()
        found: list[np.ndarray] = []
        for code in np.unique(files.codes):
            of_file = np.flatnonzero(files.codes == code)
            read = self._read(Path(files.categories[code]))
            _check_classes(self._classes, rows["dataset"].iloc[0], read[0].shape[1])
            if not found:
                found = [np.empty((len(rows), part.shape[1]), dtype=np.int32) for part in read]
            for kept, part in zip(found, read, strict=True):
                kept[of_file] = part[places[of_file]]
        return tuple(found)


def read_provenance(path: str | Path) -> dict[str, str]:
    """Return what made an evidence file: code, configuration, library versions, device."""
    others = (CLASSES_KEY, FINDINGS_KEY)
    return {key: value for key, value in _metadata(Path(path)).items() if key not in others}


def read_class_names(path: str | Path) -> list[str] | None:
    """Return the names of the classes that a file counts, None where it does not say."""
    text = _metadata(Path(path)).get(CLASSES_KEY)
    if text is None:
        return None
    try:
        names = json.loads(text)
    except ValueError as error:
        raise _broken(Path(path), error) from error
    if not isinstance(names, list):
        raise _broken(Path(path), "its class names are no list")
    return [str(name) for name in names]


def read_opinions(path: str | Path) -> list[Opinion]:
    """Return the second opinions that a file holds, one for each radius; most files hold none.

    Raises:
        RobustsegError: they are damaged, or this code does not know their checks.
    """
    try:
        text = _metadata(Path(path)).get(FINDINGS_KEY)
        return [] if text is None else from_text(text)
    except (ValueError, KeyError, TypeError) as error:
        raise RobustsegError(
            f"the second opinion in {path} is damaged, or of another version of this code; delete "
            "it and run its job again"
        ) from error


def _metadata(path: Path) -> dict[str, str]:
    with _open(path) as file:
        stored = file.schema_arrow.metadata or {}
    try:
        return {key.decode(): value.decode() for key, value in sorted(stored.items())}
    except UnicodeDecodeError as error:
        raise _broken(path, error) from error


def merged_provenance(paths: Iterable[str | Path]) -> dict[str, list[str]]:
    """Return each provenance key with the different values that the files give it, sorted."""
    merged: dict[str, set[str]] = {}
    for path in paths:
        for key, value in read_provenance(path).items():
            merged.setdefault(key, set()).add(value)
    return {key: sorted(values) for key, values in sorted(merged.items())}


def _check_unique_rows(where: str, frame: pd.DataFrame) -> None:
    """Refuse two rows with one key in a frame that is sorted by key."""
    columns = [frame[name] for name in KEY]
    codes = [column.cat.codes if _is_named(column) else column for column in columns]
    same = np.logical_and.reduce([(c.to_numpy()[1:] == c.to_numpy()[:-1]) for c in codes])
    if same.any():
        raise twice(where, [column.iloc[int(np.argmax(same))] for column in columns])


def _check_classes(known: dict[str, int], dataset: str, classes: int) -> None:
    """Refuse one data set name with two numbers of classes; `known` keeps those seen so far."""
    if known.setdefault(dataset, classes) != classes:
        found = sorted((known[dataset], classes))
        raise RobustsegError(
            f"evidence of data set {dataset} counts {found} classes; "
            "rows of different label sets cannot be read together"
        )


def _open(path: Path) -> pq.ParquetFile:
    """Open a file so that its names are read as dictionaries."""
    try:
        return pq.ParquetFile(path, read_dictionary=_NAMES)
    except FileNotFoundError as error:
        raise RobustsegError(f"evidence file {path} is missing; run its job again") from error
    except KeyError as error:
        raise _foreign(path) from error
    except (pa.ArrowException, OSError) as error:
        raise _broken(path, error) from error


def _read_rows(path: Path) -> pa.Table:
    """Read all columns but the counts."""
    with _open(path) as file:
        _check_schema(path, file)
        columns = [name for name in SCHEMA.names if name not in COUNTED]
        table = _read_columns(path, file, columns)
    _check_rows(path, table)
    return table


def _check_rows(path: Path, table: pa.Table) -> None:
    """Refuse rows that no code of this version has written, or that belong elsewhere."""
    if not len(table):
        raise _impossible(path, "it has no rows")
    for name in table.column_names:
        if table[name].null_count:
            raise _impossible(path, f"a row has no value in the column {name}")
    for column, word in unknown_words(table):
        raise _impossible(path, f"{column} is {word!r}, which evidence does not know")
    problem = first_problem(table, values_agree(table))
    if problem:
        raise _impossible(path, problem)
    wanted = {job._replace(shard=None).path for job in jobs_of_file(path)}
    if wanted:
        fields = [table[name].unique() for name in EvidenceJob._fields if name != "shard"]
        if all(len(values) == 1 for values in fields):
            found = {EvidenceJob(*(values[0].as_py() for values in fields))}
        else:
            columns = (table[name].to_pylist() for name in EvidenceJob._fields if name != "shard")
            found = {EvidenceJob(*values) for values in zip(*columns, strict=True)}
        foreign = sorted(job for job in found if job.path not in wanted)
        if foreign:
            raise _impossible(path, f"it holds evidence of {in_words(foreign)[0]}")


def _read_counts(path: Path) -> tuple[np.ndarray, ...]:
    """Read the counts of COUNTED, each (rows, K) int32."""
    with _open(path) as file:
        table = _read_columns(path, file, ["pixels", "pixels_correct", *COUNTED])
    if any(table[name].null_count for name in COUNTED) or classes_of(table) is None:
        raise _impossible(path, "its rows count different numbers of classes, or none")
    # Copied, since Arrow's own buffers are up to twice as large as what they hold.
    counted = tuple(matrix(table, name).copy() for name in COUNTED)
    pixels, correct = (table[name].to_numpy() for name in ("pixels", "pixels_correct"))
    for problem, good in counts_agree(pixels, correct, counted).items():
        if not good.all():
            raise _impossible(path, f"row {int(np.argmin(good))} has {problem}")
    return counted


def _read_columns(path: Path, file: pq.ParquetFile, columns: list[str]) -> pa.Table:
    try:
        return file.read(columns, use_threads=False).replace_schema_metadata(None)
    except (pa.ArrowException, OSError) as error:
        raise _broken(path, error) from error


def _check_schema(path: Path, file: pq.ParquetFile) -> None:
    """Refuse what is no evidence, or evidence of another schema."""
    version = (file.schema_arrow.metadata or {}).get(VERSION_KEY.encode())
    if version is None and {"image_id", "inherited"} <= set(file.schema_arrow.names):
        version = b"1"
    if version is not None and version.decode() != SCHEMA_VERSION:
        raise RobustsegError(
            f"{path} is evidence of schema version {version.decode()}, and this code reads version "
            f"{SCHEMA_VERSION}; delete the file and run its job again, or use the code that made it"
        )
    if not file.schema_arrow.equals(_AS_READ, check_metadata=False):
        raise _foreign(path)


def _foreign(path: Path) -> RobustsegError:
    return RobustsegError(f"{path} is not an evidence file of this version; make it again")


def _impossible(path: Path, problem: str) -> RobustsegError:
    return RobustsegError(
        f"evidence file {path} was changed or is another's: {problem}; delete it and run its job "
        "again"
    )


def _broken(path: Path, error: Exception | str) -> RobustsegError:
    said = (str(error).splitlines() or ["no reason"])[0].strip()
    return RobustsegError(
        f"evidence file {path} is truncated or damaged ({said}); delete it and run its job again"
    )


def _as_frame(tables: Sequence[pa.Table]) -> pd.DataFrame:
    """Return one frame whose strings are categoricals in alphabetical order."""
    frame = pa.concat_tables(tables).unify_dictionaries().to_pandas()
    for name in _NAMES:
        frame[name] = frame[name].cat.reorder_categories(sorted(frame[name].cat.categories))
    return cast("pd.DataFrame", frame)


def _add_counts(
    frame: pd.DataFrame,
    tables: Sequence[pa.Table],
    counts: Sequence[tuple[np.ndarray, ...]],
) -> None:
    """Add counts, one array a row, to a frame in the order of its files."""
    classes: dict[str, int] = {}
    for table, (labelled, *_) in zip(tables, counts, strict=True):
        for dataset in table["dataset"].unique().to_pylist():
            _check_classes(classes, dataset, labelled.shape[1])
    for place, name in enumerate(COUNTED):
        vectors = (vector for of_file in counts for vector in of_file[place])
        column = np.fromiter(vectors, dtype=object, count=len(frame))
        frame.insert(SCHEMA.get_field_index(name), name, column)


def _add_places(frame: pd.DataFrame, tables: Sequence[pa.Table], files: Sequence[Path]) -> None:
    """Add where each row lies, to a frame in the order of its files."""
    import pandas as pd

    lengths = [len(table) for table in tables]
    codes = np.repeat(np.arange(len(files), dtype=np.int32), lengths)
    file, row = LOCATION
    frame[file] = pd.Categorical.from_codes(codes, categories=pd.Index(map(str, files)))
    frame[row] = np.concatenate([np.arange(length, dtype=np.int32) for length in lengths])


def _is_named(column: pd.Series) -> bool:
    return hasattr(column, "cat")


def _some(paths: Sequence[Path]) -> str:
    return str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
