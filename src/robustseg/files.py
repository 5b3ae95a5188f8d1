"""Files that are either whole or absent, and of one process while they are written."""

import errno
import fcntl
import hashlib
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from robustseg.errors import RobustsegError, UnwritableError

ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip file can hold: the same bytes whenever an archive is written."""


CLOCKS_APART_S = 60.0
"""ASSUME: seconds by which the clocks of machines that share a folder may differ."""


class UnfitFileError(ValueError):
    """A file that is whole, but not what it should be: the predicate of a sentence about it."""


@contextmanager
def open_regular(path: str | Path, most_bytes: int) -> Iterator[IO[bytes]]:
    """Open a file to read it, if it is one: to open a pipe would wait, and a device never ends.

    Raises:
        OSError: it is missing or may not be read.
        UnfitFileError: a folder, a pipe or a device, or of more bytes.
    """
    about = Path(path).stat()
    if not stat.S_ISREG(about.st_mode):
        what = "a folder" if stat.S_ISDIR(about.st_mode) else "a pipe or device"
        raise UnfitFileError(f"is {what}; put a file in its place")
    if about.st_size > most_bytes:
        raise UnfitFileError(
            f"has {about.st_size:,} bytes, where at most {most_bytes:,} are read; make it smaller"
        )
    with Path(path).open("rb") as file:
        yield file


def refuse_unwritable(paths: Iterable[str | Path]) -> None:
    """Refuse files that could not be made where they are to lie.

    Raises:
        UnwritableError: a folder, or where it is not there yet the one above it, may not be written
            to, is a file, or a link to what is not there, such as a disk that is not mounted.
    """
    first = {Path(path).parent: path for path in paths}
    for folder, path in first.items():
        there = next(above for above in (folder, *folder.parents) if os.path.lexists(above))
        where, problem = there.absolute(), ""
        if there.is_symlink() and not os.access(there, os.F_OK):
            aim = os.path.realpath(there)
            problem = f"{where} is a link to {aim}, which is not there; mount its disk, or make it"
        elif not there.is_dir():
            problem = f"{where} is no folder; rename it, or choose another place"
        elif not os.access(there, os.W_OK | os.X_OK):
            problem = (
                f"nothing can be written to {where}; correct its permissions, or choose another "
                "place"
            )
        if problem:
            raise UnwritableError(f"{path} is to be made, but {problem}")


def refuse_from_the_future(paths: Iterable[str | Path]) -> None:
    """Refuse files that are younger than now: whatever is made from them would seem out of date.

    Snakemake says so after a job has run, and removes what it made.

    Raises:
        RobustsegError: one is, by more than clocks of one network differ.
    """
    now = time.time()
    for path in dict.fromkeys(map(Path, paths)):
        with suppress(OSError):
            ahead_s = path.stat().st_mtime - now
            if ahead_s > CLOCKS_APART_S:
                raise RobustsegError(
                    f"{path} was changed {ahead_s / 60:,.0f} minutes ahead of this machine's "
                    "clock, and what jobs make from it would be thrown away as older; correct the "
                    f"clock, or `touch {path}`, which makes nothing out of date"
                )


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary file beside `path` that takes its name once the block has succeeded.

    Whatever goes wrong inside (an exception, a full disk), `path` is left as it was and the
    temporary file is removed. A process that is killed leaves its temporary file, which the next
    one that writes `path` removes, on file systems that have locks.

    Raises:
        UnwritableError: the operating system refused the write, for example a full disk.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_left(path)
        descriptor = _open_locked(temporary, os.O_EXCL, wait=True)
        try:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            os.replace(temporary, path)
        finally:
            with suppress(OSError):
                temporary.unlink()
            os.close(descriptor)
    except OSError as error:
        raise UnwritableError(
            f"could not write {path}: {error.strerror or error}; "
            "free some space or check the permissions, then run again"
        ) from error


def write_text(path: str | Path, text: str) -> None:
    """Write a text in UTF-8, whole or not at all, as `atomic_path` does."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def alone(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Keep other processes from making `path` while the block runs, where there are locks.

    Args:
        path: its folder is made.
        say: is told if another process is making it, which is waited for.
    """
    lock = path.with_name(f".{path.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = _open_locked(lock, 0, wait=False)
    except BlockingIOError:
        say(f"waits for another process that is making {path}")
        descriptor = _open_locked(lock, 0, wait=True)
    try:
        yield
    finally:
        with suppress(OSError):
            lock.unlink()
        os.close(descriptor)


def _remove_left(path: Path) -> None:
    """Remove the temporary files of `path` that no process has any more."""
    beginning, end = f".{path.name}.", f".part{path.suffix}"
    with os.scandir(path.parent) as entries:
        found = [e.path for e in entries if e.name.startswith(beginning) and e.name.endswith(end)]
    for left in found:
        with suppress(OSError):  # another process writes it, or has just removed it
            descriptor = os.open(left, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if _lock(descriptor, wait=False):
                    Path(left).unlink()
            finally:
                os.close(descriptor)


def _open_locked(path: Path, flags: int, *, wait: bool) -> int:
    """Return a descriptor of the file `path`, made if need be, that holds its lock.

    A link of this name is not followed.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | flags, 0o666)
        try:
            _lock(descriptor, wait=wait)
            # Whoever had the lock before may have removed the file.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.lstat()):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int, *, wait: bool) -> bool:
    """Lock a file; return False if its file system has no locks.

    Raises:
        BlockingIOError: another process has locked it, without `wait`.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
        return False
    return True


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    return file_hash(path, "sha256")


def file_hash(path: str | Path, algorithm: str) -> str:
    """Return a file's hash by an algorithm of `hashlib`, as hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
