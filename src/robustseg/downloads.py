"""Files from the network: resumable, from several mirrors, and never taken for whole unchecked."""

import errno
import fcntl
import hashlib
import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pooch
import requests

from robustseg.errors import RobustsegError
from robustseg.files import atomic_path
from robustseg.files import sha256 as file_sha256
from robustseg.progress import Progress

CHUNK_BYTES = 2**20
TIMEOUT_S = 60.0
"""Silence of a server after which the connection is given up."""
TRIES = 3
"""Broken connections in a row that bring no new byte, after which a server is given up."""
PAUSE_S = 1.0
"""Wait before a broken connection is continued."""

pooch.get_logger().setLevel(logging.WARNING)  # what it would say is said by `Progress`


@dataclass(frozen=True)
class Expected:
    """What is known of a file: hexadecimal hashes, of which the strongest is compared, and size."""

    sha256: str | None = None
    sha1: str | None = None
    md5: str | None = None
    size_bytes: int | None = None

    @property
    def strongest(self) -> str | None:
        """The strongest hash as pooch writes it, for example "md5:0123"."""
        for algorithm in ("sha256", "sha1", "md5"):
            if value := getattr(self, algorithm):
                return f"{algorithm}:{value.lower()}"
        return None


def fetch(
    path: str | Path,
    urls: Sequence[str],
    expected: Expected = Expected(),
    *,
    record: str | Path | None = None,
    progress: Progress,
) -> Path:
    """Return `path` once it holds the wanted file, downloaded if it is not there yet.

    What a broken download has left is continued by the next call. The file takes its name
    only when it is whole and its hash is the expected one.

    Args:
        path: where the file is to be.
        urls: addresses of the same file (http, https or file), tried in this order.
        expected: what is known of it.
        record: JSON file of hashes by file name, for a file whose hash is not known: its SHA-256
            is written there at first use and expected from then on.
        progress: says how far it is.

    Raises:
        RobustsegError: no address gave the right file, another process is downloading it, or it
            cannot be written.
    """
    path = Path(path)
    recorded = _recorded_hash(path, record)
    known = expected.strongest or recorded
    problems: list[str] = []
    for url in urls:
        partial = _partial(path, url)
        try:
            with _alone(partial):
                if expected.size_bytes is not None and _size(path) != expected.size_bytes:
                    path.unlink(missing_ok=True)
                download = _Download(partial, expected.size_bytes, progress)
                pooch.retrieve(url, known, path.name, path.parent, downloader=download)
        except (_UnusableError, requests.RequestException, ValueError) as error:
            problems.append(f"{url} {_reason(error)}")
            progress.say(problems[-1])
        except OSError as error:
            raise RobustsegError(
                f"could not write {path}: {error.strerror or error}; free some space or check the "
                "permissions, then run again: the download is continued"
            ) from error
        else:
            _remove_partials(path)
            if known is None and record is not None:
                _note(path, Path(record), progress)
            return path
    kept = f" ({record} has the expected hash)" if recorded else ""
    raise RobustsegError(
        f"could not download {path.name}: {'; '.join(problems) or 'it has no address'}{kept}; "
        f"run again to continue, name another mirror, or put the file at {path} yourself"
    )


def verify(
    path: str | Path,
    expected: Expected = Expected(),
    *,
    record: str | Path | None = None,
    progress: Progress,
) -> str:
    """Return the SHA-256 of a file that is there, however it came there.

    Arguments as for `fetch`.

    Raises:
        RobustsegError: it is missing, or has another size or hash.
    """
    path = Path(path)
    if not path.is_file():
        raise RobustsegError(f"{path} does not exist; fetch it first")
    if expected.size_bytes is not None and _size(path) != expected.size_bytes:
        raise RobustsegError(
            f"{path} has {_size(path):,} bytes, but {expected.size_bytes:,} are expected; "
            "delete it and fetch it again"
        )
    if known := expected.strongest or _recorded_hash(path, record):
        algorithm, _, wanted = known.partition(":")
        found = pooch.file_hash(str(path), algorithm)
        if found != wanted:
            whose = "" if expected.strongest else f" by {record}"
            raise RobustsegError(
                f"{path} has {algorithm} {found}, but {wanted} is expected{whose}; "
                "delete it and fetch it again"
            )
    elif record is not None:
        _note(path, Path(record), progress)
    return file_sha256(path)


def _recorded_hash(path: Path, record: str | Path | None) -> str | None:
    """Return the hash that a file of this name had when it was first used, as pooch writes it."""
    return Expected(_read_record(Path(record)).get(path.name)).strongest if record else None


def _read_record(record: Path) -> dict[str, str]:
    """Return the recorded hashes by file name."""
    if not record.exists():
        return {}
    try:
        hashes = json.loads(record.read_text(encoding="utf-8"))
        return {str(name): str(value) for name, value in hashes.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise RobustsegError(
            f"{record} is no record of hashes ({error}); restore it, or delete it to record anew"
        ) from error


def _note(path: Path, record: Path, progress: Progress) -> None:
    """Record the hash of a file that was fetched for the first time."""
    digest = pooch.file_hash(str(path))
    with _alone(record.with_name(f".{record.name}.lock"), wait=True):
        hashes = _read_record(record) | {path.name: digest}
        with atomic_path(record) as temporary:
            temporary.write_text(
                json.dumps(hashes, indent=2, sort_keys=True) + "\n", encoding="utf-8"
            )
    progress.say(f"{path.name} has sha256 {digest}, which {record} now expects")


def _partial(path: Path, url: str) -> Path:
    """Return where an unfinished download is kept; one for each address, never mixed."""
    return path.with_name(f".{path.name}.{hashlib.sha256(url.encode()).hexdigest()[:8]}.partial")


def _remove_partials(path: Path) -> None:
    for partial in path.parent.glob(f".{path.name}.*.partial"):
        with suppress(OSError):
            partial.unlink()


@contextmanager
def _alone(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Keep other processes from the same file, on file systems that have locks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise RobustsegError(
                f"another process is downloading to {path}; wait for it, then run again"
            ) from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP):
                raise
        yield


class _UnusableError(Exception):
    """What an address gave is not the wanted file; why, as a predicate."""


class _Download:
    """Continues `partial` from an address and hands it over when whole; a downloader of pooch."""

    def __init__(self, partial: Path, size_bytes: int | None, progress: Progress) -> None:
        self.partial, self.size_bytes, self.progress = partial, size_bytes, progress

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        """Download `url` to the path `output_file`."""
        self.progress.say(f"download {url}")
        if urlsplit(url).scheme == "file":
            self._copy(Path(url2pathname(urlsplit(url).path)))
        else:
            self._receive_patiently(url)
        self._check_size(_size(self.partial))
        os.replace(self.partial, output_file)

    def _copy(self, source: Path) -> None:
        if not source.is_file():
            raise _UnusableError("does not exist")
        with source.open("rb") as file:
            chunks = iter(lambda: file.read(CHUNK_BYTES), b"")
            self._write(chunks, 0, source.stat().st_size)

    def _receive_patiently(self, url: str) -> None:
        """Receive the file, over several connections if they break."""
        fruitless = 0
        while True:
            before = _size(self.partial)
            try:
                return self._receive(url, before)
            except (
                requests.ConnectionError,
                requests.Timeout,
                requests.exceptions.ChunkedEncodingError,
            ) as error:
                fruitless = 0 if _size(self.partial) > before else fruitless + 1
                if fruitless == TRIES:
                    raise
                at = f"{_size(self.partial):,} bytes"
                self.progress.say(f"{url} {_reason(error)} at {at}: try to continue")
                time.sleep(PAUSE_S)

    def _receive(self, url: str, start: int) -> None:
        """Receive what follows the first `start` bytes, or all if the server cannot continue."""
        headers = {"Range": f"bytes={start}-"} if start else {}
        # Bytes as they lie on the server: a compressed answer could not be continued.
        headers["Accept-Encoding"] = "identity"
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                # Whole already, or longer than the file: `_receive_patiently` asks once more.
                if response.headers.get("Content-Range") != f"bytes */{start}":
                    os.truncate(self.partial, 0)
                    raise requests.ConnectionError("has less than was received before")
                return
            response.raise_for_status()
            if response.headers.get("Content-Type", "").startswith("text/html"):
                raise _UnusableError("answers with a web page instead of the file")
            if response.status_code != requests.codes.partial_content:
                start = 0
            elif not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                raise _UnusableError("answers with another part of the file than was asked for")
            length = response.headers.get("Content-Length")
            total = start + int(length) if length else self.size_bytes
            self._write(response.iter_content(CHUNK_BYTES), start, total)

    def _write(self, chunks: Iterable[bytes], start: int, total: int | None) -> None:
        """Write chunks to the partial file from byte `start` on.

        Raises:
            requests.ConnectionError: they end before `total`.
        """
        if total is not None:
            self._check_size(total)
        count = -(-(total - start) // CHUNK_BYTES) if total is not None else 0
        with self.partial.open("r+b") as file:
            file.truncate(start)
            file.seek(start)
            for chunk in self.progress.track(chunks, count, "MiB"):
                file.write(chunk)
        if total is not None and _size(self.partial) < total:
            raise requests.ConnectionError("ended too early")

    def _check_size(self, found: int) -> None:
        if self.size_bytes is not None and found != self.size_bytes:
            self.partial.unlink()
            raise _UnusableError(f"has {found:,} bytes instead of {self.size_bytes:,}")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _reason(error: Exception) -> str:
    """Return what is wrong with an address, as the predicate of a sentence about it."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"answers {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return f"was silent for {TIMEOUT_S:g} s"
    if isinstance(error, requests.ConnectionError | requests.exceptions.ChunkedEncodingError):
        return "could not be reached or broke the connection"
    if isinstance(error, _UnusableError):
        return str(error)
    # pooch says which hash was expected and which was found, and that it has deleted the file.
    return f"gave a wrong file: {str(error).split(' Deleted')[0].rstrip('.')}"
