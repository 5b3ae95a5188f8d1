"""Small files that people or other jobs write: whatever is wrong with one ends in a sentence."""

import csv
import io
import json
from os import PathLike
from pathlib import Path
from typing import Any

from robustseg.errors import RobustsegError, in_one_line
from robustseg.files import UnfitFileError, open_regular

LARGEST_BYTES = 5_000_000
"""ASSUME: of what people write: config/claims.yaml has 30 kB. YAML takes seconds a megabyte."""
LONGEST_LIST_BYTES = 2**26
"""Of a list of images, and of a drawing, which holds pictures."""
MEND = "correct it or make it again"


def text_of(path: str | PathLike[str], most_bytes: int) -> str:
    """Return the text of a file, without a byte order mark; what fails is for the caller to say.

    Raises:
        OSError: it is missing or may not be read.
        ValueError: it is no regular file, too large, or no text.
    """
    with open_regular(Path(path), most_bytes) as file:
        text = file.read().decode("utf-8-sig")
    if "\0" in text:
        raise ValueError("it holds zeros")
    return text


def read_text(
    path: str | PathLike[str], most_bytes: int = LARGEST_BYTES, advice: str = MEND
) -> str:
    """Return the text of a file, without a byte order mark; `advice` is for one that is no text.

    Raises:
        RobustsegError: missing, no regular file, too large, or no text.
    """
    name = in_one_line(path)
    if "\0" in str(path):
        raise RobustsegError(f"{name} is not a file name; correct it")
    try:
        return text_of(path, most_bytes)
    except UnfitFileError as error:
        raise RobustsegError(f"{name} {error}") from error
    except UnicodeDecodeError as error:
        raise RobustsegError(f"{name} is not UTF-8 text; save it as UTF-8") from error
    except OSError as error:
        raise RobustsegError(
            f"{name} cannot be read: {error.strerror}; fix that, or name another file"
        ) from error
    except ValueError as error:
        raise RobustsegError(f"{name} is not text ({error}); {advice}") from error


def read_json(path: str | Path) -> Any:
    """Return the content of a JSON file; NaN and infinity, which JSON has not, are refused.

    Raises:
        RobustsegError: it cannot be read, is not UTF-8, or not JSON.
    """
    return parse_json(read_text(path), str(path))


def parse_json(text: str, name: str, advice: str = MEND) -> Any:
    """Return what a JSON text means; `name` says in messages where it stands.

    Raises:
        RobustsegError: it is not JSON.
    """
    try:
        return json.loads(text, parse_constant=_refuse, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else error
        raise RobustsegError(f"{name} is not JSON ({reason}); {advice}") from error


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not a JSON number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice} is there twice")
    return content


def read_csv(path: str | Path, delimiter: str = ",") -> list[tuple[int, list[str]]]:
    """Return the rows of a CSV file that are not empty, each with its line number, from 1.

    Raises:
        RobustsegError: it cannot be read, is not UTF-8, or not CSV.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""), delimiter=delimiter)
    try:
        return [(reader.line_num, fields) for fields in reader if fields]
    except csv.Error as error:
        line = f"{path}, line {reader.line_num}"
        raise RobustsegError(f"{line} is not CSV ({error}); correct it") from error
