"""The manifest of a data set on the disk: every image, checked, and the splits it belongs to."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from robustseg.data.image_files import content_of, read_image, read_mask, refuse_other_size
from robustseg.data.labels import LabelPolicy
from robustseg.errors import RobustsegError, in_one_line, reason_of
from robustseg.files import atomic_path
from robustseg.progress import Progress
from robustseg.text_files import LONGEST_LIST_BYTES, text_of

Loaded = TypeVar("Loaded")
Checked = TypeVar("Checked")
Columns = Mapping[str, list[Any]]
Shared = Mapping[str, Any]

ID = re.compile(r"[A-Za-z0-9_.-]+")
METADATA_KEY = b"robustseg"
MANIFEST_SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("image", pa.string(), nullable=False),
        pa.field("mask", pa.string()),
        pa.field("sbd_mask", pa.string()),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("lists", pa.list_(pa.string()), nullable=False),
        pa.field("splits", pa.list_(pa.string()), nullable=False),
    ]
)
"""One row an image. Paths are relative to the `root` in the file's metadata. `mask` is the data
set's own, `sbd_mask` SBD's. `lists` are those of the archives that name the image (for example
sbd_train and voc_val), `splits` the named splits that follow from them."""
CONTENT = "content"
SPLIT_SCHEMA = pa.schema(
    [
        *(MANIFEST_SCHEMA.field(name) for name in ("image_id", "image", "mask", "height", "width")),
        pa.field(CONTENT, pa.string()),
    ]
)
"""The images of one split, each with the mask that the split uses, and the `content` of both files,
see `image_files.content_of`. Splits of earlier versions do not have it."""


@dataclass(frozen=True)
class Entry:
    """An image and its masks; paths relative to a common root."""

    image_id: str
    image: Path
    mask: Path | None = None
    sbd_mask: Path | None = None


def read_list(path: Path) -> list[str]:
    """Return the image ids that a text file lists, one a line.

    Raises:
        RobustsegError: missing, empty, or something else.
    """
    try:
        names = text_of(path, LONGEST_LIST_BYTES).split()
    except (OSError, ValueError) as error:
        raise RobustsegError(
            f"the list {path} is missing or damaged ({reason_of(error)}); restore it, unpack its "
            "archive again, or correct `root`"
        ) from error
    wrong = [name for name in names if not ID.fullmatch(name)]
    twice = len(names) - len(set(names))
    if wrong or twice or not names:
        problem = (
            f"{wrong[0][:100]!r} in it is none" if wrong else f"{twice} of them are there twice"
        )
        raise RobustsegError(
            f"{path} is not a list of image ids: {problem if names else 'it is empty'}; restore it"
        )
    return names


def check_each(
    check: Callable[[Checked], tuple[int, int]],
    entries: Sequence[Checked],
    threads: int,
    progress: Progress,
) -> list[tuple[int, int]]:
    """Return what `check` returns of each entry, heights and widths; stop at the first refusal.

    Raises:
        RobustsegError: as `check` does.
    """
    with ThreadPoolExecutor(threads) as pool:
        sizes = pool.map(check, entries)
        try:
            return list(progress.track(sizes, len(entries), "images"))
        except RobustsegError:
            pool.shutdown(cancel_futures=True)
            raise


def check_entry(root: Path, policy: LabelPolicy, entry: Entry) -> tuple[int, int]:
    """Read an image and its masks below `root`, and return height and width.

    Raises:
        RobustsegError: a file is missing or damaged, the image and a mask differ in size, or a
            mask holds a value that is no class.
    """
    image = read_image(root / entry.image)
    for path in filter(None, (entry.mask, entry.sbd_mask)):
        values = read_known_mask(policy, root / path)
        refuse_other_size(root / entry.image, image, root / path, values)
    return image.height, image.width


def read_known_mask(policy: LabelPolicy, path: Path) -> NDArray[np.uint8]:
    """Return the values (H, W) of a mask, see `read_mask`.

    Raises:
        RobustsegError: as `read_mask`, or it holds a value that is no class.
    """
    values = read_mask(path)
    if unknown := policy.unknown(values):
        raise RobustsegError(
            f"{in_one_line(path)} holds the value {unknown[0]}, which is none of the "
            f"{len(policy.class_names)} classes; restore it from the archive"
        )
    return values


def write_rows(
    path: str | Path,
    rows: Sequence[Mapping[str, Any]],
    schema: pa.Schema,
    metadata: Shared,
) -> None:
    """Write rows as Parquet with what they share as metadata; the same input, the same bytes.

    Raises:
        RobustsegError: the file cannot be written.
    """
    described = schema.with_metadata({METADATA_KEY: json.dumps(metadata, sort_keys=True)})
    with atomic_path(path) as temporary:
        pq.write_table(pa.Table.from_pylist(list(rows), described), temporary)


def write_split(
    path: str | Path, rows: Sequence[Mapping[str, Any]], shared: Shared, root: Path, threads: int
) -> None:
    """Write the rows of a split, each with the content of its files below `root`.

    Raises:
        RobustsegError: a file is gone, or the split cannot be written.
    """

    def with_content(row: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**row, CONTENT: content_of(root / row["image"], root / row["mask"])}

    with ThreadPoolExecutor(threads) as pool:
        write_rows(path, list(pool.map(with_content, rows)), SPLIT_SCHEMA, shared)


def open_rows(
    path: Path, schema: pa.Schema, load: Callable[[Columns, Shared], Loaded], what: str, make: str
) -> Loaded:
    """Return what `load` makes of the columns and the metadata of a file of `write_rows`.

    `what` such a file is, and how to `make` it, is said of one that cannot be read.

    Raises:
        RobustsegError: missing or damaged file.
    """
    if not path.exists():
        raise RobustsegError(f"{path} does not exist; {make} first")
    try:
        table = pq.read_table(path)
        if CONTENT in schema.names and CONTENT not in table.column_names:
            table = table.append_column(schema.field(CONTENT), pa.nulls(len(table), pa.string()))
        table = table.select(schema.names)
        if table.schema.types != schema.types:
            raise TypeError("its columns are of other types")
        shared = json.loads((table.schema.metadata or {})[METADATA_KEY])
        return load(table.to_pydict(), shared)
    except Exception as error:  # of many kinds, from libraries in C too
        raise RobustsegError(
            f"{path} is truncated or no {what} ({reason_of(error)}); delete it and {make} again"
        ) from error
