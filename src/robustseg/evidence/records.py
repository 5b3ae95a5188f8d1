"""Evidence: one row for each (image, attack), in Parquet, from which every table is a query.

Files carry their provenance in the Parquet metadata and no wall clock: the same rows and the same
provenance give the same bytes.
"""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from robustseg import __version__
from robustseg.errors import RobustsegError
from robustseg.files import atomic_path

if TYPE_CHECKING:
    import pandas as pd

EPS_TOLERANCE_255 = 1e-3
"""Slack on a measured norm, in 1/255: float32 rounding of image plus perturbation."""


def _field(name: str, kind: pa.DataType, unit: str, description: str) -> pa.Field:
    """Return a column that is never empty and says what it holds."""
    documentation = {"unit": unit, "description": description}
    return pa.field(name, kind, nullable=False, metadata=documentation)


_COUNTS = pa.list_(pa.field("item", pa.int32(), nullable=False))

SCHEMA: pa.Schema = pa.schema(
    [
        _field("dataset", pa.string(), "name", "data set of the image, as in the configuration"),
        _field("model", pa.string(), "name", "attacked model, as in the configuration"),
        _field("training_seed", pa.int32(), "seed", "seed the model was trained with"),
        _field("suite", pa.string(), "name", "set of attacks the row belongs to; `clean` for none"),
        _field("attack", pa.string(), "name", "one loss, optimizer, schedule and iterations"),
        _field("loss", pa.string(), "name", "attacked loss, one of names.LOSSES, or `none`"),
        _field("optimizer", pa.string(), "name", "one of names.OPTIMIZERS, or `none`"),
        _field("schedule", pa.string(), "name", "one of names.SCHEDULES, or `none`"),
        _field("iterations", pa.int32(), "iterations", "budget of the attack; 0 without one"),
        _field("eps_255", pa.float64(), "1/255", "radius of the l_inf ball; 0 without an attack"),
        _field("seed", pa.int32(), "seed", "seed of the attack's random draws"),
        _field("image_id", pa.string(), "name", "the image's id in its data set, never a position"),
        _field("pixels", pa.int64(), "pixels", "labelled pixels, that is, all but the ignored"),
        _field("pixels_correct", pa.int64(), "pixels", "labelled pixels predicted as labelled"),
        _field("intersection", _COUNTS, "pixels", "for each class: predicted and labelled as it"),
        _field("union", _COUNTS, "pixels", "for each class: predicted or labelled as it"),
        _field("linf_255", pa.float64(), "1/255", "measured l_inf norm of the perturbation"),
        _field("forward_passes", pa.int32(), "passes", "forward passes this image cost"),
        _field("backward_passes", pa.int32(), "passes", "backward passes this image cost"),
        _field(
            "inherited",
            pa.bool_(),
            "flag",
            "true: not run, since an earlier attack of the suite had brought the image to 0 %; "
            "the counts are that attack's",
        ),
    ]
)

_AS_READ = pa.schema(
    [
        pa.field(f.name, pa.dictionary(pa.int32(), pa.string()), nullable=False)
        if f.type == pa.string()
        else f
        for f in SCHEMA
    ]
)

KEY = ("dataset", "model", "training_seed", "suite", "attack", "eps_255", "seed", "image_id")
"""What tells one row from all others."""

COUNTED = ("intersection", "union")
"""Columns of counts by class."""

PLACE = ("file", "row")
"""Columns that say where the counts of a row lie, in evidence that was read without them."""

_WORDS = tuple(field.name for field in SCHEMA if field.type == pa.string())


def write_evidence(
    path: str | Path, rows: Sequence[Mapping[str, Any]], provenance: Mapping[str, str]
) -> None:
    """Check `rows` and write them as one Parquet file, whole or not at all.

    Args:
        path: the file; its folder is made.
        rows: one mapping an (image, attack) with just the columns of SCHEMA; `intersection` and
            `union` are sequences or arrays of K integers, the same K in all rows.
        provenance: what made them, see `provenance`; stored in the file's metadata.

    Raises:
        RobustsegError: a row breaks the schema, leaves its radius, contradicts itself or is there
            twice, or the file cannot be written.
    """
    table = _as_table(path, rows)
    _check_counts(path, table)
    _check_values(path, table)
    _check_unique(path, table)
    with atomic_path(path) as temporary:
        pq.write_table(
            table.replace_schema_metadata(dict(sorted(provenance.items()))),
            temporary,
            compression="zstd",
        )


def read_evidence(paths: Iterable[str | Path], counts: bool = True) -> pd.DataFrame:
    """Read evidence files into one frame, sorted by KEY, whatever their order and sharding.

    Columns are those of SCHEMA: names are categoricals, `intersection` and `union` hold one int32
    array of K values a row. Without `counts` these two, nearly all of the volume, are not read;
    instead the columns PLACE say where they lie, see `Counts`.

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


class Counts:
    """The counts by class of rows that were read without them; keeps the files read last.

    Memory is that of the counts of `KEPT_FILES` files.
    """

    KEPT_FILES = 8

    def __init__(self) -> None:
        self._read = lru_cache(self.KEPT_FILES)(_read_counts)
        self._classes: dict[str, int] = {}

    def of(self, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Return intersections and unions (N, K) of N rows of one data set.

        Raises:
            RobustsegError: a file is gone or damaged by now, or has another number of classes
                than an earlier one of the data set.
        """
        file, row = PLACE
        files, places = rows[file].cat, rows[row].to_numpy()
        found: list[np.ndarray] = []
        for code in np.unique(files.codes):
            of_file = np.flatnonzero(files.codes == code)
            read = self._read(Path(files.categories[code]))
            _check_classes(self._classes, rows["dataset"].iloc[0], read[0].shape[1])
            if not found:
                found = [np.empty((len(rows), part.shape[1]), dtype=np.int32) for part in read]
            for matrix, part in zip(found, read, strict=True):
                matrix[of_file] = part[places[of_file]]
        intersection, union = found
        return intersection, union


def read_provenance(path: str | Path) -> dict[str, str]:
    """Return what made an evidence file: code, configuration, library versions, device."""
    stored = _open(Path(path)).schema_arrow.metadata or {}
    return {key.decode(): value.decode() for key, value in sorted(stored.items())}


def merged_provenance(paths: Iterable[str | Path]) -> dict[str, list[str]]:
    """Return each provenance key with the different values that the files give it, sorted."""
    merged: dict[str, set[str]] = {}
    for path in paths:
        for key, value in read_provenance(path).items():
            merged.setdefault(key, set()).add(value)
    return {key: sorted(values) for key, values in sorted(merged.items())}


def provenance(config_hash: str, device: str, precision: str) -> dict[str, str]:
    """Return what evidence made now, by this code, has to say about its making.

    Args:
        config_hash: hash of the settings that the evidence depends on.
        device: where it ran, for example "cpu" or the GPU's name.
        precision: of the attack's passes, for example "float32".
    """
    versions = {name: _version(name) for name in ("torch", "timm", "numpy")}
    made_by = {"robustseg": __version__, "git_commit": _git_commit(), "config_hash": config_hash}
    return made_by | versions | {"device": device, "precision": precision}


def _version(package: str) -> str:
    """Return an installed package's version without importing it."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _git_commit() -> str:
    """Return this code's commit, "-dirty" if edited since; "unknown" outside its repository."""
    here = Path(__file__)
    tracked = ["git", "ls-files", "--error-unmatch", here.name]
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        for command in (tracked, describe):
            answer = subprocess.run(command, cwd=here.parent, capture_output=True, text=True)
            if answer.returncode:
                return "unknown"
    except OSError:
        return "unknown"
    return answer.stdout.strip()


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
    lengths = {
        n for name in COUNTED for n in pc.unique(pc.list_value_length(table[name])).to_pylist()
    }
    if len(lengths) != 1 or lengths == {0}:
        raise RobustsegError(
            f"rows for {path} count different numbers of classes: {sorted(lengths)}"
        )
    pixels, correct = (table[name].to_numpy() for name in ("pixels", "pixels_correct"))
    intersection, union = (_matrix(table, name) for name in COUNTED)
    agree = {
        "intersections below 0 or above the unions": (
            (intersection >= 0) & (intersection <= union)
        ).all(axis=1),
        "more correct than labelled pixels": correct <= pixels,
        "pixels_correct unlike the sum of intersections": intersection.sum(axis=1) == correct,
        "unions that do not add up to 2 pixels - pixels_correct": (
            union.sum(axis=1) == 2 * pixels - correct
        ),
    }
    _refuse(path, table, agree)


def _check_values(path: str | Path, table: pa.Table) -> None:
    """Refuse radii, norms and costs that cannot be."""
    radius, norm = (table[name].to_numpy() for name in ("eps_255", "linf_255"))
    costs = ("training_seed", "seed", "iterations", "forward_passes", "backward_passes")
    agree = {f"negative {name}": table[name].to_numpy() >= 0 for name in costs} | {
        "eps_255 outside 0..255": np.isfinite(radius) & (radius >= 0) & (radius <= 255),
        "a perturbation that is not finite": np.isfinite(norm) & (norm >= 0),
        "a perturbation outside its radius": norm <= radius + EPS_TOLERANCE_255,
    }
    _refuse(path, table, agree)


def _refuse(path: str | Path, table: pa.Table, agree: Mapping[str, np.ndarray]) -> None:
    for problem, good in agree.items():
        if not good.all():
            row = table.slice(int(np.argmin(good)), 1).to_pylist()[0]
            raise RobustsegError(
                f"{path} was not written: image {row['image_id']} under {row['attack']} has "
                f"{problem} (eps_255 {row['eps_255']:g}, measured {row['linf_255']:g}, "
                f"{row['pixels_correct']} of {row['pixels']} pixels correct); this is a defect "
                "of the code that made it"
            )


def _check_unique(path: str | Path, table: pa.Table) -> None:
    """Refuse to write two rows with one key."""
    keys = list(zip(*(table[name].to_pylist() for name in KEY), strict=True))
    if len(set(keys)) < len(keys):
        raise _twice(str(path), Counter(keys).most_common(1)[0][0])


def _check_unique_rows(where: str, frame: pd.DataFrame) -> None:
    """Refuse two rows with one key in a frame that is sorted by key."""
    columns = [frame[name] for name in KEY]
    codes = [column.cat.codes if _is_named(column) else column for column in columns]
    same = np.logical_and.reduce([(c.to_numpy()[1:] == c.to_numpy()[:-1]) for c in codes])
    if same.any():
        raise _twice(where, [column.iloc[int(np.argmax(same))] for column in columns])


def _twice(where: str, key: Sequence[Any]) -> RobustsegError:
    what = ", ".join(f"{name} {value}" for name, value in zip(KEY, key, strict=True))
    return RobustsegError(f"{where}: a row is there twice ({what}); list each evidence file once")


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
        return pq.ParquetFile(path, read_dictionary=_WORDS)
    except FileNotFoundError as error:
        raise RobustsegError(f"evidence file {path} is missing; run its job again") from error
    except KeyError as error:
        raise _foreign(path) from error
    except (pa.ArrowException, OSError) as error:
        raise _broken(path, error) from error


def _read_rows(path: Path) -> pa.Table:
    """Read all columns but the counts."""
    with _open(path) as file:
        if not file.schema_arrow.equals(_AS_READ, check_metadata=False):
            raise _foreign(path)
        return _read_columns(path, file, [name for name in SCHEMA.names if name not in COUNTED])


def _read_counts(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read intersections and unions, each (rows, K) int32."""
    with _open(path) as file:
        table = _read_columns(path, file, list(COUNTED))
    # Copied, since Arrow's own buffers are up to twice as large as what they hold.
    intersection, union = (_matrix(table, name).copy() for name in COUNTED)
    return intersection, union


def _read_columns(path: Path, file: pq.ParquetFile, columns: list[str]) -> pa.Table:
    try:
        return file.read(columns, use_threads=False).replace_schema_metadata(None)
    except (pa.ArrowException, OSError) as error:
        raise _broken(path, error) from error


def _foreign(path: Path) -> RobustsegError:
    return RobustsegError(f"{path} is not an evidence file of this version; make it again")


def _broken(path: Path, error: Exception) -> RobustsegError:
    return RobustsegError(
        f"evidence file {path} is truncated or damaged ({error}); delete it and run its job again"
    )


def _matrix(table: pa.Table, name: str) -> np.ndarray:
    """Return a count column as (rows, K) int32, without a copy when it is one chunk."""
    column = table.column(name)
    values = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return cast(np.ndarray, values.flatten().to_numpy().reshape(len(column), -1))


def _as_frame(tables: Sequence[pa.Table]) -> pd.DataFrame:
    """Return one frame whose strings are categoricals in alphabetical order."""
    frame = pa.concat_tables(tables).unify_dictionaries().to_pandas()
    for name in _WORDS:
        frame[name] = frame[name].cat.reorder_categories(sorted(frame[name].cat.categories))
    return cast("pd.DataFrame", frame)


def _add_counts(
    frame: pd.DataFrame,
    tables: Sequence[pa.Table],
    counts: Sequence[tuple[np.ndarray, np.ndarray]],
) -> None:
    """Add counts, one array a row, to a frame in the order of its files."""
    classes: dict[str, int] = {}
    for table, (intersection, _) in zip(tables, counts, strict=True):
        for dataset in table["dataset"].unique().to_pylist():
            _check_classes(classes, dataset, intersection.shape[1])
    for place, name in enumerate(COUNTED):
        vectors = (vector for of_file in counts for vector in of_file[place])
        column = np.fromiter(vectors, dtype=object, count=len(frame))
        frame.insert(SCHEMA.get_field_index(name), name, column)


def _add_places(frame: pd.DataFrame, tables: Sequence[pa.Table], files: Sequence[Path]) -> None:
    """Add where each row lies, to a frame in the order of its files."""
    import pandas as pd

    lengths = [len(table) for table in tables]
    codes = np.repeat(np.arange(len(files), dtype=np.int32), lengths)
    file, row = PLACE
    frame[file] = pd.Categorical.from_codes(codes, categories=pd.Index(map(str, files)))
    frame[row] = np.concatenate([np.arange(length, dtype=np.int32) for length in lengths])


def _is_named(column: pd.Series) -> bool:
    return hasattr(column, "cat")


def _some(paths: Sequence[Path]) -> str:
    return str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
