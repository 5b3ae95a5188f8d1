"""Reading evidence: several files as one frame, counts by class only where they are needed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise, repeat
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from robustseg.errors import RobustsegError, first_line, shown
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
    HASH_KEY,
    KEY,
    PROVENANCE_KEYS,
    SCHEMA,
    SCHEMA_VERSION,
    VERSION_KEY,
    matrix,
    metadata_hash,
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

KEPT_FILES, KEPT_BYTES = 8, 300_000_000
"""Counts that are kept: of the files read last, and of those that were read with their rows."""

BYTES_AT_ONCE = 4_000_000
"""Size on disk of the files that are checked as one table: many small ones, or one or two large."""

_NAMES = tuple(field.name for field in SCHEMA if field.type == pa.string())
_METADATA = {*PROVENANCE_KEYS, VERSION_KEY, CLASSES_KEY, FINDINGS_KEY, HASH_KEY}
_UNCOUNTED = [name for name in SCHEMA.names if name not in COUNTED]

Counts = tuple[np.ndarray, ...]
"""The columns COUNTED of some rows, each (rows, K) int32."""


def read_evidence(paths: Iterable[str | Path], counts: bool | CountsReader = True) -> pd.DataFrame:
    """Read evidence files into one frame, sorted by KEY, whatever their order and sharding.

    Columns are those of SCHEMA: names are categoricals, those of COUNTED hold one int32
    array of K values a row. But for `counts=True` these, nearly all of the volume, are not in the
    frame; instead the columns LOCATION say where they lie, see `CountsReader`.

    Args:
        paths: the files.
        counts: whether the frame has the counts by class; or what keeps them instead, read together
            with the rows, as long as it has room.

    Raises:
        RobustsegError: no file, a file missing, truncated or not evidence, a row there twice, or
            data sets with different numbers of classes under one name.
    """
    files = sorted(map(Path, paths))
    if not files:
        raise RobustsegError("no evidence file was given; run the attacks first")
    for path, following in pairwise(files):
        if path == following:
            raise RobustsegError(f"{path} was given twice; list each evidence file once")
    reader = CountsReader(sys.maxsize) if counts is True else counts or None
    tables: list[pa.Table] = []
    lengths: list[int] = []
    # With more threads than processors they wait for Python's lock: a fifth more time.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for some, counted, rows in _read_ahead(pool, files, reader):
            parts = list(rows)
            tables.append(_checked(some, parts))
            lengths += map(len, parts)
            if counted:
                counted.keep(some, parts)
    frame = _as_frame(tables)
    _add_places(frame, lengths, files)
    if counts is True:
        assert reader is not None
        frame = _with_counts(frame, reader)
    frame = frame.sort_values(list(KEY), ignore_index=True)
    _check_unique_rows(_some(files), frame)
    return frame


class CountsReader:
    """The counts by class of rows that were read without them.

    Args:
        room: bytes of counts to keep of files that are read with their rows.
    """

    def __init__(self, room: int = KEPT_BYTES) -> None:
        self._room = room
        self._kept: dict[str, Counts] = {}
        self._read = lru_cache(KEPT_FILES)(_read_counts)
        self._classes: dict[str, int] = {}

    @property
    def has_room(self) -> bool:
        """Whether counts of more files are to be kept."""
        return self._room > 0

    def keep(self, files: Sequence[Path], parts: Sequence[pa.Table]) -> None:
        """Keep the counts of files that were read with them.

        Raises:
            RobustsegError: counts that cannot be.
        """
        for path, counts in zip(files, _counts_of(files, parts), strict=True):
            self._kept[str(path)] = counts
            self._room -= sum(one.nbytes for one in counts)

    def of_file(self, path: str) -> Counts:
        """Return the counts of all rows of a file.

        Raises:
            RobustsegError: it is gone or damaged by now.
        """
        return self._kept.get(path) or self._read(path)

    def of(self, rows: pd.DataFrame) -> Counts:
        """Return the counts of COUNTED, each (N, K), of N rows of one data set.

        Raises:
            RobustsegError: a file is gone or damaged by now, or has another number of classes
                than an earlier one of the data set.
        """
        file, row = LOCATION
        files, places = rows[file].array, rows[row].to_numpy()
        dataset, codes = rows["dataset"].iloc[0], files.codes
        found: list[np.ndarray] = []
        for code in np.unique(codes):
            of_file = np.flatnonzero(codes == code)
            read = self.of_file(files.categories[code])
            _check_classes(self._classes, dataset, read[0].shape[1])
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
        about = {key.decode(): value.decode() for key, value in sorted(stored.items())}
    except UnicodeDecodeError as error:
        raise _broken(path, error) from error
    unknown = about.keys() - _METADATA
    if unknown:
        raise _broken(path, f"its metadata has the key {shown(min(unknown))}")
    kept = about.pop(HASH_KEY, None)  # which files had none of at first
    if kept is not None and kept != metadata_hash(about):
        raise _broken(path, "its metadata is not what was written")
    return about


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
    codes = [column.cat.codes if hasattr(column, "cat") else column for column in columns]
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
        return pq.ParquetFile(path, read_dictionary=_NAMES, page_checksum_verification=True)
    except FileNotFoundError as error:
        raise RobustsegError(f"evidence file {path} is missing; run its job again") from error
    except KeyError as error:
        _check_version(path, pq.read_schema(path))  # an earlier one lacks columns
        raise _foreign(path) from error
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _broken(path, error) from error


def _read_rows(path: Path, columns: list[str]) -> pa.Table:
    """Read some columns of all rows of a file that is evidence of this version."""
    with _open(path) as file:
        _check_schema(path, file)
        return _read_columns(path, file, columns)


def _read_ahead(
    pool: Executor, files: Sequence[Path], reader: CountsReader | None
) -> Iterator[tuple[list[Path], CountsReader | None, Iterator[pa.Table]]]:
    """Yield files, what keeps their counts, if anything does, and their rows in `pool`.

    Those that come next are read while somebody checks these.
    """
    waiting = None
    for some in _together(files):
        counted = reader if reader is not None and reader.has_room else None
        columns = SCHEMA.names if counted else _UNCOUNTED
        begun = some, counted, pool.map(_read_rows, some, repeat(columns))
        if waiting:
            yield waiting
        waiting = begun
    if waiting:
        yield waiting


def _together(files: Iterable[Path]) -> Iterator[list[Path]]:
    """Yield files in their order, as many at once as are small together."""
    some: list[Path] = []
    size = 0
    for path in files:
        try:
            more = path.stat().st_size
        except OSError:  # is said by `_open`
            more = 0
        if some and size + more > BYTES_AT_ONCE:
            yield some
            some, size = [], 0
        some.append(path)
        size += more
    yield some


def _checked(files: Sequence[Path], parts: Sequence[pa.Table]) -> pa.Table:
    """Return files as one table without counts.

    Raises:
        RobustsegError: rows that no code of this version has written, or that belong elsewhere.
    """
    for path, part in zip(files, parts, strict=True):
        if not len(part):
            raise _impossible(path, "it has no rows")
    together = pa.concat_tables(parts).unify_dictionaries()
    if _problem(together):
        for path, part in zip(files, parts, strict=True):
            if problem := _problem(part):
                raise _impossible(path, problem)
    _check_places(files, np.repeat(np.arange(len(parts)), [len(part) for part in parts]), together)
    return together.select(_UNCOUNTED)


def _problem(table: pa.Table) -> str | None:
    """Return the first thing wrong with rows, but for their counts; None if nothing is."""
    for name in _UNCOUNTED:
        if table[name].null_count:
            return f"a row has no value in the column {name}"
    for column, word in unknown_words(table):
        return f"{column} is {word!r}, which evidence does not know"
    return first_problem(table, values_agree(table))


def _check_places(files: Sequence[Path], places: np.ndarray, table: pa.Table) -> None:
    """Refuse rows of another job than the path of their file names.

    Args:
        files: the files; any job may lie in one whose path has another form.
        places: (rows,) the file of each row.
        table: the rows.
    """
    wanted = [{job._replace(shard=None).path for job in jobs_of_file(path)} for path in files]
    columns = [table[name].combine_chunks() for name in EvidenceJob._fields if name != "shard"]
    codes = [c.indices if pa.types.is_dictionary(c.type) else c for c in columns]
    changes = np.logical_or.reduce([np.diff(code) != 0 for code in (places, *codes)])
    firsts = np.flatnonzero(np.concatenate([[True], changes]))
    found = zip(
        places[firsts], *(c.take(pa.array(firsts)).to_pylist() for c in columns), strict=True
    )
    foreign: dict[int, set[EvidenceJob]] = {}
    for file, *job in set(found):
        if wanted[file] and EvidenceJob(*job).path not in wanted[file]:
            foreign.setdefault(file, set()).add(EvidenceJob(*job))
    if foreign:
        first = min(foreign)
        said = in_words(foreign[first])[0]
        raise _impossible(files[first], f"it holds evidence of {said}")


def _read_counts(path: str) -> Counts:
    """Read the counts of a file."""
    with _open(Path(path)) as file:
        table = _read_columns(Path(path), file, ["pixels", "pixels_correct", *COUNTED])
    return _counts_of([Path(path)], [table])[0]


def _counts_of(files: Sequence[Path], parts: Sequence[pa.Table]) -> list[Counts]:
    """Return the counts of each file, those of as many classes checked together.

    Raises:
        RobustsegError: numbers of classes that differ in a file, or counts that cannot be.
    """
    by_classes: dict[int, list[int]] = {}
    for index, part in enumerate(parts):
        by_classes.setdefault(len(part[COUNTED[0]][0].as_py() or ()), []).append(index)
    counts: dict[int, Counts] = {}
    for indices in by_classes.values():
        together = pa.concat_tables([parts[index] for index in indices])
        counted = _matrices(together)
        if _problem_of_counts(together, counted):
            for index in indices:
                if problem := _problem_of_counts(parts[index], _matrices(parts[index])):
                    raise _impossible(files[index], problem)
        # Copied, since Arrow's own buffers are up to twice as large as what they hold.
        whole = [one.copy() for one in counted]
        ends = np.cumsum([len(parts[index]) for index in indices])[:-1]
        split = zip(*(np.split(one, ends) for one in whole), strict=True)
        counts |= dict(zip(indices, split, strict=True))
    return [counts[index] for index in range(len(parts))]


def _matrices(table: pa.Table) -> Counts:
    """Return the counts of rows, each (rows, K); nothing if their numbers of classes differ."""
    if any(table[name].null_count for name in COUNTED) or classes_of(table) is None:
        return ()
    return tuple(matrix(table, name) for name in COUNTED)


def _problem_of_counts(table: pa.Table, counted: Counts) -> str | None:
    """Return the first thing wrong with the counts of rows, `_matrices`; None if nothing is."""
    if not counted:
        return "its rows count different numbers of classes, or none"
    pixels, correct = (table[name].to_numpy() for name in ("pixels", "pixels_correct"))
    for problem, good in counts_agree(pixels, correct, counted).items():
        if not good.all():
            return f"row {int(np.argmin(good))} has {problem}"
    return None


def _read_columns(path: Path, file: pq.ParquetFile, columns: list[str]) -> pa.Table:
    try:
        table = file.read(columns, use_threads=False).replace_schema_metadata(None)
        table.validate(full=True)  # names that no dictionary has end in an error much later
        return table
    except (pa.ArrowException, OSError) as error:
        raise _broken(path, error) from error


def _check_schema(path: Path, file: pq.ParquetFile) -> None:
    """Refuse what is no evidence, or evidence of another schema."""
    schema = file.schema_arrow  # made anew at each call
    _check_version(path, schema)
    if not schema.equals(_AS_READ, check_metadata=False):
        raise _foreign(path)


def _check_version(path: Path, schema: pa.Schema) -> None:
    """Refuse evidence of another version than this code's."""
    version = (schema.metadata or {}).get(VERSION_KEY.encode())
    if version is None and {"image_id", "inherited"} <= set(schema.names):
        version = b"1"
    if version is not None and version.decode() != SCHEMA_VERSION:
        raise RobustsegError(
            f"{path} is evidence of schema version {version.decode()}, and this code reads version "
            f"{SCHEMA_VERSION}; delete the file and run its job again, or use the code that made it"
        )


def _foreign(path: Path) -> RobustsegError:
    return RobustsegError(f"{path} is not an evidence file of this version; make it again")


def _impossible(path: Path, problem: str) -> RobustsegError:
    return RobustsegError(
        f"evidence file {path} was changed or is another's: {problem}; delete it and run its job "
        "again"
    )


def _broken(path: Path, error: Exception | str) -> RobustsegError:
    return RobustsegError(
        f"evidence file {path} is truncated or damaged ({first_line(error)}); "
        "delete it and run its job again"
    )


def _as_frame(tables: Sequence[pa.Table]) -> pd.DataFrame:
    """Return one frame whose strings are categoricals in alphabetical order."""
    frame = pa.concat_tables(tables).unify_dictionaries().to_pandas()
    for name in _NAMES:
        frame[name] = frame[name].cat.reorder_categories(sorted(frame[name].cat.categories))
    return cast("pd.DataFrame", frame)


def _with_counts(frame: pd.DataFrame, reader: CountsReader) -> pd.DataFrame:
    """Return a frame in the order of its files, with one array a row instead of its place."""
    file = frame[LOCATION[0]].array
    counts = [reader.of_file(path) for path in file.categories]
    known: dict[str, int] = {}
    pairs = frame[[LOCATION[0], "dataset"]].drop_duplicates()
    for path, dataset in pairs.itertuples(index=False):
        _check_classes(known, dataset, reader.of_file(path)[0].shape[1])
    for place, name in enumerate(COUNTED):
        vectors = (vector for of_file in counts for vector in of_file[place])
        column = np.fromiter(vectors, dtype=object, count=len(frame))
        frame.insert(SCHEMA.get_field_index(name), name, column)
    return frame.drop(columns=list(LOCATION))


def _add_places(frame: pd.DataFrame, lengths: Sequence[int], files: Sequence[Path]) -> None:
    """Add where each row lies, to a frame in the order of its files."""
    import pandas as pd

    codes = np.repeat(np.arange(len(files), dtype=np.int32), lengths)
    file, row = LOCATION
    frame[file] = pd.Categorical.from_codes(codes, categories=pd.Index(map(str, files)))
    frame[row] = np.concatenate([np.arange(length, dtype=np.int32) for length in lengths])


def _some(paths: Sequence[Path]) -> str:
    return str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
