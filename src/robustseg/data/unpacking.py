"""Archives, unpacked whole or not at all, and never outside their folder."""

import json
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from robustseg.errors import RobustsegError
from robustseg.files import sha256
from robustseg.progress import Progress

MARKER = ".unpacked.json"
"""Inside an unpacked folder: the SHA-256 of the archive that it came from."""
DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError)


@dataclass(frozen=True)
class Member:
    """An entry of an archive."""

    name: str
    size_bytes: int
    is_folder: bool
    content: IO[bytes] | None
    """None unless it is a regular file; to be read before the next member is asked for."""


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
        RobustsegError: a member leaves the folder, is a link or a device, the size is beyond the
            limit, the archive is damaged, or the folder was not made by this function.
    """
    archive, folder = Path(archive), Path(folder)
    digest = sha256(archive)
    if folder.exists() and _made_from(folder) == digest:
        progress.say(f"{folder} is {archive.name} unpacked")
        return folder
    temporary = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        _unpack_all(archive, temporary, wanted, limit_bytes, progress)
        (temporary / MARKER).write_text(json.dumps({"sha256": digest}) + "\n", encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(temporary, folder)
    except OSError as error:
        raise RobustsegError(
            f"could not unpack {archive} into {folder}: {error.strerror or error}; "
            "free some space or check the permissions, then run again"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


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
    """Unpack the wanted members; check all of them."""
    total = 0
    with open_archive(archive) as members:
        for member in progress.track(members, 0, "members"):
            path = PurePosixPath(member.name)
            total += member.size_bytes
            if leaves_folder(member.name):
                raise _refusal(archive, f"its member {member.name!r} leaves the folder")
            if total > limit_bytes:
                raise _refusal(archive, f"it unpacks to more than {limit_bytes:,} bytes")
            if member.is_folder or not str(path).startswith(tuple(wanted)):
                continue
            if member.content is None:
                raise _refusal(archive, f"its member {member.name!r} is a link or a device")
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                shutil.copyfileobj(member.content, file, 2**20)


def leaves_folder(name: str) -> bool:
    """Return whether a relative path may lie outside the folder that it is relative to."""
    path = PurePosixPath(name)
    # A backslash or a colon separates on other systems; no file of ours has one in its name.
    return path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name


def _refusal(archive: Path, why: str) -> RobustsegError:
    return RobustsegError(f"{archive} is refused, {why}; delete it and check where it came from")


@contextmanager
def open_archive(archive: Path) -> Iterator[Iterator[Member]]:
    """Yield an archive's members, each to be read before the next one is asked for.

    Raises:
        RobustsegError: it is truncated, encrypted or no archive.
    """
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened_zip:
                yield _zip_members(opened_zip)
        else:
            with tarfile.open(archive, "r|*") as opened_tar:
                yield _tar_members(opened_tar)
    except DAMAGED as error:
        raise RobustsegError(
            f"{archive} is truncated or no archive ({error}); delete it and run again"
        ) from error


def _zip_members(archive: zipfile.ZipFile) -> Iterator[Member]:
    for info in archive.infolist():
        if info.flag_bits & 1:
            raise zipfile.BadZipFile("it is encrypted")
        kind = stat.S_IFMT(info.external_attr >> 16)
        if info.is_dir() or kind not in (0, stat.S_IFREG):
            yield Member(info.filename, 0, info.is_dir(), None)
            continue
        with archive.open(info) as content:
            yield Member(info.filename, info.file_size, False, content)


def _tar_members(archive: tarfile.TarFile) -> Iterator[Member]:
    for info in archive:
        content = archive.extractfile(info) if info.isreg() else None
        yield Member(info.name, info.size, info.isdir(), content)
