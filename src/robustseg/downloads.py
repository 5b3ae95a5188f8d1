"""Files from the network: resumable, from several mirrors, and never taken for whole unchecked."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from robustseg.errors import RobustsegError, shown
from robustseg.files import alone, write_text
from robustseg.files import sha256 as file_sha256
from robustseg.progress import Progress
from robustseg.receiving import PATIENT, Download, Patience, UnusableError, Wanted, remove_partials
from robustseg.text_files import parse_json, read_text

LIMIT_BYTES = 8 * 10**9
"""Of a file of which nothing is known. ASSUME: several times the largest published one (2 GB)."""


@dataclass(frozen=True)
class Expected:
    """What is known of a file: hexadecimal hashes, of which the strongest is compared, and size."""

    sha256: str | None = None
    sha1: str | None = None
    md5: str | None = None
    size_bytes: int | None = None

    @property
    def strongest(self) -> tuple[str, str] | None:
        """Algorithm and value of the strongest hash."""
        for algorithm in ("sha256", "sha1", "md5"):
            if value := getattr(self, algorithm):
                return algorithm, value.lower()
        return None


def fetch(
    path: str | Path,
    urls: Sequence[str],
    expected: Expected = Expected(),
    *,
    limit_bytes: int = LIMIT_BYTES,
    record: str | Path | None = None,
    progress: Progress,
    patience: Patience = PATIENT,
) -> Path:
    """Return `path` once it holds the wanted file, downloaded if it is not there yet.

    What a broken download has left is continued by the next call, and another process that
    downloads the file is waited for. The file takes its name
    only when it is whole and its hash is the expected one.

    Args:
        path: where the file is to be.
        urls: addresses of the same file (http, https or file), tried in this order.
        expected: what is known of it.
        limit_bytes: size beyond which it cannot be the right file.
        record: see `record_hash`; what is recorded is expected where no SHA-256 is known.
        progress: says how far it is.
        patience: with slow and broken servers.

    Raises:
        RobustsegError: no address gave the right file, or it cannot be written.
    """
    path = Path(path)
    wanted = _wanted(path, expected, limit_bytes, record)
    problems: list[UnusableError] = []
    try:
        with alone(path, progress.say):
            if path.is_file() and not wanted.problem(path):
                remove_partials(path)
                return path
            for url in urls:
                try:
                    Download(path, url, wanted, progress, patience).take()
                    return path
                except UnusableError as error:
                    problems.append(error)
                    progress.say(f"{url} {error}")
    except OSError as error:
        if path.is_file() and not wanted.problem(path):  # in a folder that is only to be read
            return path
        raise RobustsegError(
            f"could not write {error.filename or path}: {error.strerror or error}; free some "
            "space or check the permissions, then run again: the download is continued"
        ) from error
    reasons = "; ".join(f"{url} {problem}" for url, problem in zip(urls, problems, strict=True))
    again = "run again to continue, " if any(error.passing for error in problems) else ""
    raise RobustsegError(
        f"could not download {path.name}: {reasons or 'it has no address'}; "
        f"{again}name another mirror, or put the file at {path} yourself"
    )


def verify(
    path: str | Path, expected: Expected = Expected(), *, record: str | Path | None = None
) -> str:
    """Return the SHA-256 of a file that is there, however it came there.

    Arguments as for `fetch`.

    Raises:
        RobustsegError: it is missing, empty or a web page, or has another size or hash.
    """
    path = Path(path)
    if not path.is_file():
        raise RobustsegError(f"{path} does not exist; fetch it first")
    if problem := _wanted(path, expected, LIMIT_BYTES, record).problem(path):
        raise RobustsegError(f"{path} {problem}; delete it and fetch it again")
    return file_sha256(path)


def record_hash(path: str | Path, sha256: str, record: str | Path, progress: Progress) -> None:
    """Record the hash of a file that has proved to be the right one, to be expected from then on.

    Args:
        path: the file; its name is recorded.
        sha256: its hash.
        record: JSON file of hashes by file name, a line for each; of lines that are there already
            none is changed.
        progress: is told.

    Raises:
        RobustsegError: `record` cannot be read or written.
    """
    name, record = Path(path).name, Path(record)
    if name in _read_record(record):  # perhaps in a place where nothing can be written
        return
    with alone(record, progress.say):
        hashes = _read_record(record)
        if name in hashes:
            return
        text = json.dumps(hashes | {name: sha256}, indent=2, sort_keys=True)
        write_text(record, f"{text}\n")
    progress.say(f"{name} has sha256 {sha256}, which {record} now expects")


def _read_record(record: Path) -> dict[str, str]:
    """Return the recorded hashes by file name."""
    if not record.exists():
        return {}
    try:
        # Whoever deletes the last line leaves a comma before it.
        content = parse_json(re.sub(r",\s*}\s*$", "}", read_text(record)), str(record))
        hashes = {str(name): str(value) for name, value in content.items()}
    except (RobustsegError, AttributeError) as error:
        raise RobustsegError(
            f"{record} is not a record of hashes ({error}); restore it, or delete it to record anew"
        ) from error
    for name, value in hashes.items():
        if not re.fullmatch(r"[0-9a-f]{64}", value):
            raise RobustsegError(
                f"{record} is not a record of hashes: that of {name} is {shown(value)}; delete "
                "its line"
            )
    return hashes


def _wanted(path: Path, expected: Expected, limit_bytes: int, record: str | Path | None) -> Wanted:
    """Return what is wanted of a file, by what is known or else recorded of it."""
    size_bytes = expected.size_bytes
    limit_bytes = limit_bytes if size_bytes is None else size_bytes
    recorded = None
    if record is not None and expected.sha256 is None:
        recorded = Expected(_read_record(Path(record)).get(path.name)).strongest
    if record is None or recorded is None:
        return Wanted(size_bytes, limit_bytes, expected.strongest, "")
    lines = Path(record).read_text(encoding="utf-8").splitlines()
    number = next((n for n, line in enumerate(lines, 1) if json.dumps(path.name) in line), 1)
    whose = f" by line {number} of {record} (delete this line to accept another file)"
    return Wanted(size_bytes, limit_bytes, recorded, whose)
