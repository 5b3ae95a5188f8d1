"""Named arrays in one file (.npz): written byte for byte the same, read without trust.

A file's own account of what it holds is compared with its bytes before memory is asked for, and
nothing in it is ever executed.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from robustseg.files import ZIP_EPOCH, atomic_path, open_regular

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_BYTES = 2**33
"""Of a file, and of the arrays that are read of one."""
PIECE_BYTES = 2**20
HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
"""What reads the description of an array, by the version of its format."""


def write_arrays(
    path: str | Path, arrays: Mapping[str, NDArray[Any]], *, compressed: bool = False
) -> None:
    """Write arrays as .npz; the same arrays give the same bytes.

    Raises:
        RobustsegError: the file cannot be written.
    """
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", ZIP_EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
            with archive.open(entry, "w") as file:
                np.lib.format.write_array(file, array, version=(1, 0), allow_pickle=False)


def read_npz(path: Path, names: Collection[str] | None = None) -> dict[str, NDArray[Any]]:
    """Read some arrays of a file, all if `names` is None.

    Raises:
        KeyError: it has no array of a name, which is the error's only argument.
        Exception: of many kinds, as of reading whatever a file may be: it is missing or damaged,
            or larger than MOST_BYTES.
    """
    with open_regular(path, MOST_BYTES) as file, zipfile.ZipFile(file) as archive:
        members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
        if len(members) != len(archive.infolist()):
            raise ValueError("it has two arrays of one name")
        wanted = list(members) if names is None else list(names)
        for name in wanted:
            if name not in members:
                raise KeyError(name)
        if sum(members[name].file_size for name in wanted) > MOST_BYTES:
            raise ValueError(f"its arrays have more than {MOST_BYTES:,} bytes")
        arrays = {}
        for name in wanted:
            with archive.open(members[name]) as member:
                arrays[name] = _read_array(member, members[name].file_size)
        return arrays


def _read_array(file: IO[bytes], size: int) -> NDArray[Any]:
    """Return the array that a file of some bytes holds, and nothing else.

    Raises:
        ValueError: so it is not.
    """
    version = np.lib.format.read_magic(file)
    if version not in HEADERS:
        raise ValueError(f"it has an array in the format {version}")
    shape, by_columns, dtype = HEADERS[version](file)
    if dtype.hasobject or not dtype.itemsize:
        raise ValueError("it has an array of Python's objects, or of nothing")
    left = size - file.tell()
    if any(side < 0 for side in shape) or math.prod(shape) * dtype.itemsize != left:
        raise ValueError(f"it has an array {dtype} {shape} in {left:,} bytes")
    content, at = np.empty(left, np.uint8), 0
    while at < left:
        piece = file.read(min(PIECE_BYTES, left - at))
        if not piece:
            raise ValueError(f"it has an array that ends {left - at:,} bytes early")
        content[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
        at += len(piece)
    return content.view(dtype).reshape(shape, order="F" if by_columns else "C")
