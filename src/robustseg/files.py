"""Files that are either whole or absent."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from robustseg.errors import RobustsegError

ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip file can hold: the same bytes whenever an archive is written."""


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its name once the block has succeeded.

    Whatever goes wrong inside (an exception, a full disk), `path` is left as it was and
    the temporary file is removed.

    Raises:
        RobustsegError: the operating system refused the write, for example a full disk.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise RobustsegError(
            f"could not write {path}: {error.strerror or error}; "
            "free some space or check the permissions, then run again"
        ) from error
    finally:
        with suppress(OSError):  # also where the folder itself could not be made
            temporary.unlink()


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
