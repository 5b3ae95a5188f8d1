"""Archives: whole ones, damaged ones and hostile ones."""

import io
import stat
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from robustseg.data.unpacking import MARKER, unpack
from robustseg.errors import RobustsegError
from robustseg.progress import Progress

PROGRESS = Progress("test")
FILES = {"set/images/a.jpg": b"a" * 5000, "set/lists/train.txt": b"a\n", "set/more/b": b"b"}


def make_tar(path: Path, files: Mapping[str, bytes], *extra: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in extra:
            archive.addfile(info)
    return path


def make_zip(path: Path, files: Mapping[str, bytes], *extra: zipfile.ZipInfo) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        for info in extra:
            archive.writestr(info, "/etc/passwd")
    return path


def make(path: Path, files: Mapping[str, bytes]) -> Path:
    return make_zip(path, files) if path.suffix == ".zip" else make_tar(path, files)


def found(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != MARKER)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(params=["set.tar", "set.tgz", "set.zip"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return make(tmp_path / request.param, FILES)


def refused(archive: Path, sentence: str, limit_bytes: int = 10**6) -> None:
    folder = archive.parent / "here" / "folder"
    with pytest.raises(RobustsegError, match=sentence) as caught:
        unpack(archive, folder, limit_bytes=limit_bytes, progress=PROGRESS)
    assert str(archive) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(folder.parent.iterdir())
    around = {path.name for path in archive.parent.iterdir()}
    assert around <= {archive.name, "here"}  # nothing was written beside the folder


def test_everything_is_unpacked_once(archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for _ in range(2):
        assert unpack(archive, folder, limit_bytes=10**6, progress=PROGRESS) == folder
        assert found(folder) == FILES
        (folder / "set" / "more" / "b").touch()
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    unpack(archive, folder, limit_bytes=10**6, progress=PROGRESS)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == times


def test_what_a_killed_process_left_is_not_taken_for_whole(archive: Path, tmp_path: Path) -> None:
    left = tmp_path / ".folder.unpacking"
    left.mkdir()
    (left / "half").write_text("half")
    unpack(archive, tmp_path / "folder", limit_bytes=10**6, progress=PROGRESS)
    assert found(tmp_path / "folder") == FILES
    assert not left.exists()


def test_only_what_is_wanted_is_unpacked(archive: Path, tmp_path: Path) -> None:
    wanted = ["set/images/", "set/lists/"]
    unpack(archive, tmp_path / "f", wanted=wanted, limit_bytes=10**6, progress=PROGRESS)
    assert set(found(tmp_path / "f")) == {"set/images/a.jpg", "set/lists/train.txt"}


def test_another_archive_replaces_what_was_unpacked(archive: Path, tmp_path: Path) -> None:
    unpack(archive, tmp_path / "f", limit_bytes=10**6, progress=PROGRESS)
    unpack(make(archive, {"x": b"new"}), tmp_path / "f", limit_bytes=10**6, progress=PROGRESS)
    assert found(tmp_path / "f") == {"x": b"new"}


def test_a_persons_own_folder_is_left_alone(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "mine").write_text("mine")
    with pytest.raises(RobustsegError, match="was not unpacked here"):
        unpack(archive, tmp_path / "f", limit_bytes=10**6, progress=PROGRESS)
    assert found(tmp_path / "f") == {"mine": b"mine"}


def test_a_truncated_archive(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    refused(archive, "truncated or no archive")


def test_no_archive_at_all(tmp_path: Path) -> None:
    (tmp_path / "set.tar").write_text("<html>Please log in</html>" * 100)
    refused(tmp_path / "set.tar", "truncated or no archive")


def test_a_damaged_member(tmp_path: Path) -> None:
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a", b"a" * 100)
    archive.write_bytes(archive.read_bytes().replace(b"a" * 100, b"a" * 99 + b"b"))
    refused(archive, "truncated or no archive.*CRC")


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "a/../../outside", "..\\outside"])
@pytest.mark.parametrize("kind", ["set.tar", "set.zip"])
def test_a_path_that_leaves_the_folder(tmp_path: Path, name: str, kind: str) -> None:
    refused(make(tmp_path / kind, FILES | {name: b"hostile"}), "leaves the folder")


def test_a_size_beyond_the_limit(archive: Path) -> None:
    bomb = make(archive, {"zeros": b"\0" * 2_000_000})
    refused(bomb, r"unpacks to more than 1,000,000 bytes")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_a_link_or_device_in_a_tar(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("set/link")
    info.type, info.linkname = kind, "/etc/passwd"
    refused(make_tar(tmp_path / "set.tar", FILES, info), "'set/link' is a link or a device")


def test_a_link_in_a_zip(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("set/link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    refused(make_zip(tmp_path / "set.zip", FILES, info), "'set/link' is a link or a device")
