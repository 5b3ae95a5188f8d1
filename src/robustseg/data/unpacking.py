"""Archives, unpacked whole or not at all, and never outside their folder."""

import bz2
import gzip
import json
import lzma
import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypeVar, cast

from robustseg.errors import RobustsegError, reason_of
from robustseg.files import alone, sha256
from robustseg.progress import Progress

MARKER = ".unpacked.json"
"""Inside an unpacked folder: the SHA-256 of the archive that it came from."""
DAMAGED = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError,
    OSError, ValueError, RuntimeError, LookupError, ArithmeticError, MemoryError,
)  # fmt: skip
"""What reading raises of files that are no archives, not whole, or made to break their reader."""
MOST_MEMBERS = 300_000
"""ASSUME: several times as many as the published archives have, below 50,000 each."""
LONGEST_HEADER_BYTES = 2**20
"""Of what a tar says about a member, which is read at once. ASSUME: names take a few kB."""
LONGEST_NAME_BYTES, LONGEST_PATH = 255, 1000
"""Of a file or a folder on Linux; of a path. ASSUME: shorter than Linux allows, since the folder
that it is unpacked into has a path too."""
BLOCK_BYTES = 2**20
COMPRESSED: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
"""How a compressed tar is opened, by its first bytes."""
ZIP_END = struct.Struct("<4s4xHH10x")
"""The last bytes of a zip before its comment: signature, members on this disk and in all."""
ZIP_SIZE = struct.Struct("<22xI4x")
"""What a zip says before a member: its size; 0 if it was not known yet."""
ZIP_MANY, ZIP_LARGE = 2**16 - 1, 2**32 - 1
"""In the place of numbers that are too large for it."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Member:
    """An entry of an archive."""

    name: str
    size_bytes: int
    """As the archive says; its content is never longer."""
    is_folder: bool
    blocks: Iterator[bytes] | None
    """Its content. None unless it is a regular file; to be read before the next member is asked
    for."""


def unpack(
    archive: str | Path,
    folder: str | Path,
    *,
    wanted: Sequence[str] = ("",),
    limit_bytes: int,
    progress: Progress,
) -> Path:
    """Unpack .tar, .tgz or .zip into `folder`; do nothing if it is that archive unpacked.

    The folder takes its name once everything is in it.

    Args:
        archive: the file.
        folder: made by this function, and replaced if it comes from another archive.
        wanted: beginnings of the paths that are unpacked.
        limit_bytes: size of all members together beyond which the archive is refused.
        progress: says how far it is.

    Raises:
        RobustsegError: a member leaves the folder, is a link or a device, has an impossible name or
            that of another, the size is beyond the limit, nothing is wanted, the archive is
            damaged, or the folder was not made by this function.
    """
    archive, folder = Path(archive), Path(folder)
    digest = sha256(archive)
    temporary, old = (folder.with_name(f".{folder.name}.{now}") for now in ("unpacking", "old"))
    try:
        with alone(folder, progress.say):
            _remove(temporary)
            _remove(old)
            if folder.exists() and _made_from(folder) == digest:
                progress.say(f"{folder} is {archive.name} unpacked")
                return folder
            try:
                temporary.mkdir()
                _unpack_all(archive, temporary, wanted, limit_bytes, progress)
                marker = json.dumps({"sha256": digest})
                (temporary / MARKER).write_text(f"{marker}\n", encoding="utf-8")
                with suppress(FileNotFoundError):
                    # Not removed in its place: half of it, after a kill, would be nobody's.
                    os.replace(folder, old)
                os.replace(temporary, folder)
            finally:
                _remove(temporary)
                _remove(old)
    except OSError as error:
        raise RobustsegError(
            f"could not unpack {archive} into {folder}: {error.strerror or error}; "
            "free some space or check the permissions, then run again"
        ) from error
    return folder


def _remove(folder: Path) -> None:
    """Remove a folder, or the link or file that is in its place."""
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def _made_from(folder: Path) -> str:
    """Return the hash of the archive that a folder was unpacked from."""
    try:
        return str(json.loads((folder / MARKER).read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        raise RobustsegError(
            f"{folder} is there, but was not unpacked here (it has no {MARKER}); move it away, "
            "or name it as `root` of the data set if it is your own copy"
        ) from None


def _unpack_all(
    archive: Path, folder: Path, wanted: Sequence[str], limit_bytes: int, progress: Progress
) -> None:
    """Unpack the wanted members; check the names of all of them."""
    unpacked = 0
    for member in progress.track(members_of(archive, limit_bytes), None, "members"):
        path = PurePosixPath(member.name)
        if problem := _problem(member):
            raise _refusal(archive, member, problem)
        if member.is_folder or not str(path).startswith(tuple(wanted)):
            continue
        if member.blocks is None:
            raise _refusal(archive, member, "is a link or a device, or sparse")
        target = folder / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            file = target.open("xb")
        except (FileExistsError, NotADirectoryError) as error:
            raise _refusal(archive, member, "is in the place of another") from error
        with file:
            for block in member.blocks:
                file.write(block)
        unpacked += 1
    if not unpacked:
        sought = " or ".join(wanted) if any(wanted) else "at all"
        raise RobustsegError(
            f"{archive} has no file {sought}; delete it and check where it is from"
        )


def _problem(member: Member) -> str | None:
    """Return what is wrong with a member's name, as a predicate."""
    path = PurePosixPath(member.name)
    if leaves_folder(member.name):
        return "leaves the folder"
    if not (member.is_folder or path.parts):
        return "has an empty name"
    try:
        longest = max((len(part.encode()) for part in path.parts), default=0)
    except UnicodeEncodeError:
        return "has a name that is not UTF-8"
    if longest > LONGEST_NAME_BYTES or len(member.name) > LONGEST_PATH or "\0" in member.name:
        return "has a name that no file can have"
    return "is in the place of another" if path.parts[:1] == (MARKER,) else None


def leaves_folder(name: str) -> bool:
    """Return whether a relative path may lie outside the folder that it is relative to."""
    path = PurePosixPath(name)
    # A backslash or a colon separates on other systems; no file of ours has one in its name.
    return path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name


def _refusal(archive: Path, member: Member, why: str) -> RobustsegError:
    return RobustsegError(
        f"{archive} is refused, its member {_shown(member.name)} {why}; "
        "delete it and check where it came from"
    )


def _shown(name: str) -> str:
    return repr(name if len(name) <= 100 else f"{name[:100]}...")


def members_of(archive: Path, limit_bytes: int) -> Iterator[Member]:
    """Yield an archive's members, each to be read before the next one is asked for.

    Raises:
        RobustsegError: it is truncated, damaged, encrypted or no archive, or its members have more
            than `limit_bytes` together; also when a member's content is read.
    """
    with _reading(archive, ""):
        opened = _zip_members if zipfile.is_zipfile(archive) else _tar_members
    entries, at = opened(archive, limit_bytes), ""
    total = 0
    for number in count():
        with _reading(archive, at):
            entry = next(entries, None)
        if entry is None:
            return
        total += entry.size_bytes
        if total > limit_bytes or number >= MOST_MEMBERS:
            limit = f"{limit_bytes:,} bytes" if total > limit_bytes else f"{MOST_MEMBERS:,} members"
            raise RobustsegError(
                f"{archive} is refused, it unpacks to more than {limit}; "
                "delete it and check where it came from"
            )
        blocks = None if entry.content is None else _blocks(archive, entry, entry.content)
        yield Member(entry.name, entry.size_bytes, entry.is_folder, blocks)
        at = f" after {_shown(entry.name)}"


@contextmanager
def _reading(archive: Path, at: str) -> Iterator[None]:
    """Turn what reading an archive raises into a sentence."""
    try:
        yield
    except DAMAGED as error:
        raise RobustsegError(
            f"{archive} is truncated or no archive{at} ({reason_of(error)}); "
            "delete it and run again, or name another mirror"
        ) from error


@dataclass(frozen=True)
class _Entry:
    """A member, and its content unless it is no regular file."""

    name: str
    size_bytes: int
    is_folder: bool
    content: IO[bytes] | None


def _blocks(archive: Path, entry: _Entry, content: IO[bytes]) -> Iterator[bytes]:
    """Yield a member's content, of which there must be as much as the archive says."""
    left, block = entry.size_bytes, b"something"
    while block:
        with _reading(archive, f" at {_shown(entry.name)}"):
            block = content.read(BLOCK_BYTES)
            left -= len(block)
            if left < 0 or (left and not block):
                raise EOFError("it is longer or shorter than announced")
        yield block


def _zip_members(path: Path, limit_bytes: int) -> Iterator[_Entry]:
    with zipfile.ZipFile(path) as archive, path.open("rb") as raw:
        infos = archive.infolist()
        _check_count(path, len(archive.comment), len(infos))
        for info in infos:
            kind = stat.S_IFMT(info.external_attr >> 16)
            is_folder = info.filename.endswith("/")
            regular = not is_folder and kind in (0, stat.S_IFREG)
            with _reading(path, f" at {_shown(info.filename)}"):
                _check_member(raw, info)
                content = archive.open(info)  # which compares the names in table and member
            with content:
                size = info.file_size if regular else 0
                yield _Entry(info.filename, size, is_folder, content if regular else None)


def _check_member(raw: IO[bytes], info: zipfile.ZipInfo) -> None:
    """Refuse a member packed in an unknown way, of another size than said, or a folder with bytes.

    Raises:
        zipfile.BadZipFile: it is.
    """
    # Other methods may make any number of bytes out of few at once.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise zipfile.BadZipFile("it is not packed by deflate")
    if info.flag_bits & 1:
        raise zipfile.BadZipFile("it is encrypted")
    raw.seek(info.header_offset)
    (said,) = ZIP_SIZE.unpack(raw.read(ZIP_SIZE.size))
    if said not in (info.file_size, 0, ZIP_LARGE):
        raise zipfile.BadZipFile(f"it has {said} bytes, not {info.file_size}")
    if info.filename.endswith("/") and info.file_size:
        raise zipfile.BadZipFile(f"it is a folder and has {info.file_size} bytes")


def _check_count(path: Path, comment_bytes: int, found: int) -> None:
    """Compare the members that were found with how many there are said to be.

    Raises:
        zipfile.BadZipFile: they differ, so the table of contents is damaged.
    """
    with path.open("rb") as file:
        file.seek(-ZIP_END.size - comment_bytes, os.SEEK_END)
        signature, _, said = ZIP_END.unpack(file.read(ZIP_END.size))
    # 65,535: as many, or more than fit here.
    if signature != b"PK\5\6" or said not in (found, ZIP_MANY):
        raise zipfile.BadZipFile(f"its table of contents has {found} members, not {said}")


def _tar_members(path: Path, limit_bytes: int) -> Iterator[_Entry]:
    with path.open("rb") as raw:
        begin = raw.read(6)
    opened = next((how for magic, how in COMPRESSED.items() if begin.startswith(magic)), Path.open)
    with opened(path, "rb") as packed:
        stream = _Stream(packed, 2 * limit_bytes + LONGEST_HEADER_BYTES)
        file = cast(IO[bytes], stream)
        archive = stream.head(lambda: tarfile.TarFile(fileobj=file, tarinfo=_Header))
        while info := stream.head(archive.next):
            regular = info.isreg() and not info.issparse()
            content = archive.extractfile(info) if regular else None
            size = info.size if info.isreg() else 0
            yield _Entry(info.name, size, info.isdir(), content)
        # What a compressed file says of itself at its end is compared with what was read.
        while block := stream.read(BLOCK_BYTES):
            if block.strip(b"\0"):
                raise tarfile.ReadError("there is something after its end")


class _Header(tarfile.TarInfo):
    """A tar's header; where one is damaged, the archive does not just end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Header":
        if len(buf) == tarfile.BLOCKSIZE and not any(buf):
            return super().frombuf(buf, encoding, errors)  # raises what ends the archive
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from error
        if header.size < 0 or header.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError(f"{_shown(header.name)} has a negative size or is sparse")
        return header


class _Stream:
    """A file that is read forwards only, up to a limit."""

    def __init__(self, file: IO[bytes], limit_bytes: int) -> None:
        self.file, self.left, self.place = file, limit_bytes, 0
        self.head_left: int | None = None

    def head(self, read: Callable[[], Result]) -> Result:
        """Return what is read of a header, which may not be long."""
        self.head_left = LONGEST_HEADER_BYTES
        try:
            return read()
        finally:
            self.head_left = None

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes."""
        if self.head_left is not None:
            self.head_left -= size
            if size < 0 or self.head_left < 0:
                raise tarfile.ReadError("a header without end")
        block = self.file.read(size)
        self.place += len(block)
        self.left -= len(block)
        if self.left < 0:
            raise tarfile.ReadError("it unpacks to more than it should")
        return block

    def tell(self) -> int:
        """Return how many bytes were read."""
        return self.place

    def seek(self, place: int) -> None:
        """Read on to a place."""
        if place < self.place:
            raise tarfile.ReadError("a member lies before the one before it")
        allowed, self.head_left = self.head_left, None
        while self.place < place and self.read(min(BLOCK_BYTES, place - self.place)):
            pass
        self.head_left = allowed
