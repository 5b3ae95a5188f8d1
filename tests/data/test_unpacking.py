"""Archives: whole ones, damaged ones and hostile ones."""

import bz2
import gzip
import io
import lzma
import os
import random
import stat
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from robustseg.data import unpacking
from robustseg.data.unpacking import MARKER, unpack
from robustseg.errors import RobustsegError
from robustseg.progress import Progress

ROOT = Path(__file__).parents[2]
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


def test_a_kill_while_the_older_folder_is_removed_costs_nothing(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(path: Path, **options: Any) -> None:
        if (Path(path) / MARKER).exists() and found(Path(path)) == {"older": b"1"}:
            (Path(path) / MARKER).unlink()
            raise KeyboardInterrupt

    older = make(tmp_path / "older.tar", {"older": b"1"})
    unpack(older, tmp_path / "folder", limit_bytes=10**6, progress=PROGRESS)
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            unpack(archive, tmp_path / "folder", limit_bytes=10**6, progress=PROGRESS)
    unpack(archive, tmp_path / "folder", limit_bytes=10**6, progress=PROGRESS)
    assert found(tmp_path / "folder") == FILES
    assert not list(tmp_path.glob(".folder*"))


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


@pytest.mark.parametrize("compress", [bz2.compress, lzma.compress])
def test_other_compressions_of_a_tar(tmp_path: Path, compress: Any) -> None:
    archive = make(tmp_path / "set.tar", FILES)
    archive.write_bytes(compress(archive.read_bytes()))
    unpack(archive, tmp_path / "f", limit_bytes=10**6, progress=PROGRESS)
    assert found(tmp_path / "f") == FILES


@pytest.mark.parametrize(
    ("at", "value", "sentence"),
    [
        (10, 99, r"at 'set/images/a.jpg' \(it is not packed by deflate"),
        (10, 12, r"at 'set/images/a.jpg' \(it is not packed by deflate"),
        (6, 200, "zip file version 20.0"),
        (8, 1, r"at 'set/images/a.jpg' \(it is encrypted"),
        (8, 32, "at 'set/images/a.jpg'"),
        (8, 64, "at 'set/images/a.jpg'"),
    ],
)
def test_a_zip_that_cannot_be_read(tmp_path: Path, at: int, value: int, sentence: str) -> None:
    """Another method (unknown, bzip2), a later version, encryption of two kinds, and a patch."""
    archive = make(tmp_path / "set.zip", FILES)
    content = bytearray(archive.read_bytes())
    struct.pack_into("<H", content, content.index(b"PK\1\2") + at, value)
    archive.write_bytes(content)
    refused(archive, f"truncated or no archive.*{sentence}")


def test_a_zip_whose_table_of_contents_has_lost_a_member(tmp_path: Path) -> None:
    """A comment of the last but one that reaches over the last."""
    archive = make(tmp_path / "set.zip", FILES)
    content = bytearray(archive.read_bytes())
    last = content.rindex(b"PK\1\2")
    comment = content.rindex(b"PK\5\6") - last
    struct.pack_into("<H", content, content.rindex(b"PK\1\2", 0, last) + 32, comment)
    archive.write_bytes(content)
    refused(archive, "its table of contents has 2 members, not 3")


def test_a_folder_of_a_zip_that_is_a_file(tmp_path: Path) -> None:
    archive = raw_zip(tmp_path / "set.zip", b"set/")
    refused(archive, r"truncated or no archive at 'set/' \(it is a folder and has 7 bytes\)")


def test_a_zip_of_more_members_than_its_end_can_say(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "set.zip", FILES)
    content = bytearray(archive.read_bytes())
    struct.pack_into("<HH", content, content.rindex(b"PK\5\6") + 8, 65_535, 65_535)
    archive.write_bytes(content)
    unpack(archive, tmp_path / "f", limit_bytes=10**6, progress=PROGRESS)
    assert found(tmp_path / "f") == FILES


def nameless_zip(path: Path) -> Path:
    """Write a zip of an empty file without a name, which Python does not write."""
    head = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, *(14 * [0]))
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(entry), len(head), 0)
    path.write_bytes(head + entry + end)
    return path


def raw_zip(path: Path, name: bytes, flags: int = 0x800) -> Path:
    """Write a zip of an empty file and give it another name of the same length."""
    make_zip(path, {"x" * len(name): b"hostile"})
    content = path.read_bytes().replace(b"x" * len(name), name)
    entry = content.index(b"PK\1\2") + 8
    path.write_bytes(content[:entry] + struct.pack("<H", flags) + content[entry + 2 :])
    return path


def test_names_of_a_zip_that_are_no_names(tmp_path: Path) -> None:
    refused(raw_zip(tmp_path / "set.zip", b"a\xff\xfeb"), "utf-8.*codec can't decode")
    refused(nameless_zip(tmp_path / "set.zip"), "member '' has an empty name")
    refused(make_zip(tmp_path / "set.zip", {"./.": b"hostile"}), "'./.' has an empty name")
    long = {"a/" + "b" * 256: b"hostile"}
    refused(make_zip(tmp_path / "set.zip", long), "b{90,}...' has a name that no file can have")
    deep = {"a/" * 600 + "b": b"hostile"}
    refused(make_zip(tmp_path / "set.zip", deep), "has a name that no file can have")


def test_names_of_a_tar_that_are_no_names(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "set.tar", "w", errors="surrogateescape") as archive:
        info = tarfile.TarInfo("a\udcff")
        archive.addfile(info)
    refused(tmp_path / "set.tar", r"'a\\udcff' has a name that is not UTF-8")
    for name, sentence in (("", "has an empty name"), (".", "has an empty name")):
        refused(make_tar(tmp_path / "set.tar", {name: b"hostile"}), f"'{name}' {sentence}")
    info = tarfile.TarInfo("a")
    info.pax_headers = {"path": "a\0b"}
    refused(make_tar(tmp_path / "set.tar", {}, info), "has a name that no file can have")


@pytest.mark.parametrize("kind", ["set.tar", "set.zip"])
@pytest.mark.parametrize(
    ("first", "second"),
    [("a", "a"), ("a", "./a"), ("a", "a/b"), ("a", "a/b/c"), ("a/b", "a"), ("b", MARKER)],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_in_one_place(tmp_path: Path, kind: str, first: str, second: str) -> None:
    path = tmp_path / kind
    if kind == "set.zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(first, "one")
            archive.writestr(second, "two")
    else:
        make_tar(path, {first: b"one"}, tarfile.TarInfo(second))
    refused(path, f"its member '{second}' is in the place of another")


def test_folders_may_be_named_as_often_as_they_like(tmp_path: Path) -> None:
    folders = [tarfile.TarInfo(name) for name in (".", "set", "set/", "./set/images")]
    for info in folders:
        info.type = tarfile.DIRTYPE
    archive = make_tar(tmp_path / "set.tar", FILES, *folders)
    unpack(archive, tmp_path / "f", limit_bytes=10**6, progress=PROGRESS)
    assert found(tmp_path / "f") == FILES


def test_nothing_of_what_is_wanted(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(RobustsegError, match=r"set.* has no file other/images/ or lists/; delete"):
        unpack(
            archive,
            tmp_path / "f",
            wanted=["other/images/", "lists/"],
            limit_bytes=10**6,
            progress=PROGRESS,
        )
    assert not (tmp_path / "f").exists()


@pytest.mark.parametrize("name", ["set.tar", "set.zip"])
def test_an_archive_of_nothing(tmp_path: Path, name: str) -> None:
    refused(make(tmp_path / name, {}), "has no file at all")


@pytest.mark.parametrize("members", [0, 1, 2])
def test_a_tar_that_ends_between_two_members(tmp_path: Path, members: int) -> None:
    archive = make_tar(tmp_path / "set.tar", FILES)
    with tarfile.open(archive) as opened:
        ends = [info.offset for info in opened][members]
    archive.write_bytes(archive.read_bytes()[:ends])
    refused(archive, "truncated or no archive")


@pytest.mark.parametrize("place", [512 + 5120, 512 + 5120 + 1024])
def test_a_tar_with_a_hole(tmp_path: Path, place: int) -> None:
    """A header that was never written looks like the end."""
    archive = make_tar(tmp_path / "set.tar", FILES)
    content = bytearray(archive.read_bytes())
    content[place : place + 512] = bytes(512)
    archive.write_bytes(content)
    refused(archive, "there is something after its end")


def test_a_tgz_whose_end_is_damaged(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "set.tgz", FILES)
    content = archive.read_bytes()
    archive.write_bytes(content[:-8] + b"1234" + content[-4:])
    refused(archive, "truncated or no archive after 'set/more/b' .*CRC")
    archive.write_bytes(content[:-6])
    refused(archive, "truncated or no archive after 'set/more/b'")


def test_sparse_files_of_a_tar(tmp_path: Path) -> None:
    old = tarfile.TarInfo("set/sparse")
    old.type = tarfile.GNUTYPE_SPARSE
    refused(make_tar(tmp_path / "set.tar", FILES, old), "'set/sparse' has a negative size or is sp")
    for headers in (
        {"GNU.sparse.map": "0,1", "GNU.sparse.size": "1"},
        {"GNU.sparse.map": "0,x", "GNU.sparse.size": "1"},
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9999999"},
    ):
        info = tarfile.TarInfo("set/sparse")
        info.pax_headers = headers
        refused(
            make_tar(tmp_path / "set.tar", FILES, info),
            "sparse' is a link or a device, or sparse|truncated or no archive after 'set/more/b'",
        )


def test_a_header_of_a_tar_that_never_ends(tmp_path: Path) -> None:
    """A name of 100 MB in an archive of 100 kB."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 10**8
    with gzip.open(tmp_path / "set.tgz", "wb", 1) as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        for _ in range(100):
            file.write(b"a" * 10**6)
    refused(tmp_path / "set.tgz", "a header without end", limit_bytes=10**9)


def test_an_end_of_a_tgz_that_never_comes(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "set.tar", FILES)
    packed = gzip.compress(archive.read_bytes() + bytes(10**7))
    archive.unlink()
    (tmp_path / "set.tgz").write_bytes(packed)
    refused(tmp_path / "set.tgz", "unpacks to more than it should")


def test_more_than_a_zip_announces(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "set.zip", {"zeros": bytes(2_000_000)})
    content = bytearray(archive.read_bytes())
    struct.pack_into("<I", content, content.index(b"PK\1\2") + 24, 1000)
    archive.write_bytes(content)
    refused(archive, "truncated or no archive at 'zeros'")


def test_too_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "MOST_MEMBERS", 2)
    refused(make(tmp_path / "set.tar", FILES), "unpacks to more than 2 members")


@pytest.mark.parametrize("kind", ["symlink", "file"])
def test_what_lies_where_it_is_unpacked_is_not_written_through(
    archive: Path, tmp_path: Path, kind: str
) -> None:
    victim, planted = tmp_path / "victim", tmp_path / ".folder.unpacking"
    victim.mkdir()
    planted.symlink_to(victim) if kind == "symlink" else planted.write_text("planted")
    unpack(archive, tmp_path / "folder", limit_bytes=10**6, progress=PROGRESS)
    assert found(tmp_path / "folder") == FILES
    assert not (tmp_path / "folder").is_symlink()
    assert not list(victim.iterdir())


UNPACKS = """
import sys
from robustseg.data.unpacking import unpack
from robustseg.progress import Progress
unpack(*sys.argv[1:], limit_bytes=10**8, progress=Progress("test"))
"""


def test_two_processes_unpack_one_after_the_other(tmp_path: Path) -> None:
    files = {f"set/{n}": b"%d" % n for n in range(2000)}
    archive = make(tmp_path / "set.tar", files)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", UNPACKS, archive, tmp_path / "f"]
    processes = [subprocess.Popen(command, env=environment) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert found(tmp_path / "f") == files
    assert {path.name for path in tmp_path.iterdir()} == {"set.tar", "f"}


def mutate(content: bytes, draw: random.Random) -> tuple[bytes, int, int]:
    """Return a damaged archive, and the first and last byte at which it differs."""
    place, size = draw.randrange(len(content)), draw.choice([1, 1, 1, 2, 4, 20, 512])
    before, after = content[:place], content[place + size :]
    how = draw.randrange(6)
    if how == 0:
        return before, place, len(content)
    if how == 1:
        return before + after, place, len(content)
    if how == 2:
        return before + draw.randbytes(size) + content[place:], place, len(content)
    changed = bytes(size) if how == 3 else draw.randbytes(size)
    return before + changed + after, place, place + size


def sentence_about(path: Path, folder: Path) -> str:
    """Return why an archive is not unpacked; nothing if it is."""
    try:
        unpack(path, folder, limit_bytes=10**6, progress=PROGRESS)
    except RobustsegError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("kind", ["set.tar", "set.tgz", "set.zip", "stored.zip"])
def test_a_damaged_archive_is_refused_or_right(tmp_path: Path, kind: str) -> None:
    """Whatever was damaged; a plain tar says nothing of its files' content."""
    path, draw = tmp_path / kind, random.Random(kind)
    files = {**FILES, "set/noise": draw.randbytes(700)}
    if kind == "stored.zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        make(path, files)
    whole, contents = path.read_bytes(), []
    if kind == "set.tar":
        with tarfile.open(path) as opened:
            contents = [(info.offset_data, info.offset_data + info.size) for info in opened]
    right = wrong = 0
    for number in range(300):
        damaged, first, last = mutate(whole, draw)
        path.write_bytes(damaged)
        folder = tmp_path / "here" / str(number)
        if sentence := sentence_about(path, folder):
            assert str(path) in sentence
            assert "\n" not in sentence
            assert not folder.exists()
            wrong += 1
            continue
        unpacked = found(folder)
        if any(first < end and begin < last for begin, end in contents):
            assert {name: len(one) for name, one in unpacked.items()} == {
                name: len(one) for name, one in files.items()
            }
        else:
            assert unpacked == files, number
        right += 1
    assert wrong > 50
    assert right > 0
    assert {one.name for one in tmp_path.iterdir()} == {kind, "here"}
    assert not list((tmp_path / "here").glob(".*"))
