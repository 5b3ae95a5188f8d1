"""Downloads from a real server that breaks, stalls, lies or is not there."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from robustseg import downloads
from robustseg.downloads import Expected, fetch, verify
from robustseg.errors import RobustsegError
from robustseg.progress import Progress
from tests.serving import Server, serve

ROOT = Path(__file__).parents[1]
PROGRESS = Progress("test")
CONTENT = bytes(range(256)) * 16 * 1024  # 4 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()
EXPECTED = Expected(SHA256)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(downloads, "PAUSE_S", 0.0)
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "file.bin").write_bytes(CONTENT)
    (folder / "wrong.bin").write_bytes(CONTENT[::-1])
    with serve(folder) as running:
        yield running


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "here" / "file.bin"


def nothing_but(path: Path, *names: str) -> bool:
    return {file.name for file in path.parent.iterdir()} == set(names)


@pytest.mark.parametrize(
    "expected",
    [
        Expected(sha256=SHA256.upper()),
        Expected(sha1=hashlib.sha1(CONTENT).hexdigest()),
        Expected(md5=hashlib.md5(CONTENT).hexdigest(), size_bytes=len(CONTENT)),
    ],
)
def test_a_file_is_downloaded_once(server: Server, path: Path, expected: Expected) -> None:
    for _ in range(2):
        assert fetch(path, [server.url("file.bin")], expected, progress=PROGRESS) == path
    assert path.read_bytes() == CONTENT
    assert server.requests == [("file.bin", None)]
    assert nothing_but(path, "file.bin")


def test_a_file_address(server: Server, path: Path) -> None:
    fetch(path, [(server.folder / "file.bin").as_uri()], EXPECTED, progress=PROGRESS)
    assert path.read_bytes() == CONTENT


def test_broken_connections_are_continued(server: Server, path: Path) -> None:
    server.break_after["file.bin"] = [1_500_000, 3_000_000]
    fetch(path, [server.url("file.bin")], EXPECTED, progress=PROGRESS)
    assert path.read_bytes() == CONTENT
    first, second, third = server.asked("file.bin")
    assert first is None
    assert second == "bytes=1048576-"  # whole chunks are kept
    assert third == "bytes=2097152-"


def test_the_next_call_continues_what_was_given_up(server: Server, path: Path) -> None:
    server.break_after["file.bin"] = [2_000_000] * (downloads.TRIES + 1)
    with pytest.raises(RobustsegError, match=r"broke the connection.*run again to continue"):
        fetch(path, [server.url("file.bin")], EXPECTED, progress=PROGRESS)
    assert not path.exists()
    server.requests.clear()
    fetch(path, [server.url("file.bin")], EXPECTED, progress=PROGRESS)
    assert path.read_bytes() == CONTENT
    assert server.asked("file.bin") == ["bytes=1048576-"]
    assert nothing_but(path, "file.bin")


KILLED = """
import sys
from robustseg.downloads import fetch
from robustseg.progress import Progress
fetch(sys.argv[1], [sys.argv[2]], progress=Progress("test"))
"""


def test_a_killed_process_is_continued(server: Server, path: Path) -> None:
    url = server.url("file.bin")
    server.stall_at["file.bin"] = 3 * 2**20
    process = subprocess.Popen([sys.executable, "-c", KILLED, path, url], env=environment())
    partial = downloads._partial(path, url)
    deadline = time.monotonic() + 60
    while not partial.exists() or partial.stat().st_size < 3 * 2**20:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline, "it never got so far"
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert not path.exists()
    server.stall_at.clear()
    fetch(path, [url], EXPECTED, progress=PROGRESS)
    assert path.read_bytes() == CONTENT
    assert server.asked("file.bin") == [None, f"bytes={3 * 2**20}-"]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "src")}


def test_a_server_that_cannot_continue_starts_again(server: Server, path: Path) -> None:
    server.ranges = False
    server.break_after["file.bin"] = [2_000_000]
    fetch(path, [server.url("file.bin")], EXPECTED, progress=PROGRESS)
    assert path.read_bytes() == CONTENT


def test_another_part_than_asked_for_is_not_used(server: Server, path: Path) -> None:
    server.shift = 1
    server.break_after["file.bin"] = [2_000_000]
    with pytest.raises(RobustsegError, match="another part of the file than was asked for"):
        fetch(path, [server.url("file.bin")], progress=PROGRESS)
    assert not path.exists()


def test_a_whole_partial_file_needs_no_bytes(server: Server, path: Path) -> None:
    url = server.url("file.bin")
    path.parent.mkdir()
    downloads._partial(path, url).write_bytes(CONTENT)
    fetch(path, [url], EXPECTED, progress=PROGRESS)
    assert path.read_bytes() == CONTENT


def test_a_partial_file_that_is_too_long_is_thrown_away(server: Server, path: Path) -> None:
    url = server.url("file.bin")
    path.parent.mkdir()
    downloads._partial(path, url).write_bytes(CONTENT + b"more")
    fetch(path, [url], EXPECTED, progress=PROGRESS)
    assert path.read_bytes() == CONTENT


def test_a_silent_server_is_given_up(
    server: Server, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "TIMEOUT_S", 0.2)
    server.stall_at["file.bin"] = 0
    with pytest.raises(RobustsegError, match=r"was silent for 0.2 s"):
        fetch(path, [server.url("file.bin")], EXPECTED, progress=PROGRESS)
    assert not path.exists()


def test_mirrors_are_tried_in_order(server: Server, path: Path) -> None:
    server.pages.add("page.bin")
    server.answers["busy.bin"] = 503
    names = ["missing.bin", "busy.bin", "page.bin", "wrong.bin", "file.bin", "unused.bin"]
    fetch(path, [server.url(name) for name in names], EXPECTED, progress=PROGRESS)
    assert path.read_bytes() == CONTENT
    assert [name for name, _ in server.requests] == names[:-1]
    assert nothing_but(path, "file.bin")


def test_every_problem_is_named(server: Server, path: Path) -> None:
    server.pages.add("page.bin")
    urls = [server.url("missing.bin"), server.url("page.bin"), "http://127.0.0.1:9/file.bin"]
    with pytest.raises(RobustsegError) as caught:
        fetch(path, urls, EXPECTED, progress=PROGRESS)
    sentence = str(caught.value)
    assert f"{urls[0]} answers 404 Not Found" in sentence
    assert f"{urls[1]} answers with a web page instead of the file" in sentence
    assert f"{urls[2]} could not be reached" in sentence
    assert f"put the file at {path} yourself" in sentence
    assert "\n" not in sentence


def test_a_wrong_hash_names_expected_and_found(server: Server, path: Path) -> None:
    with pytest.raises(RobustsegError) as caught:
        fetch(path, [server.url("wrong.bin")], EXPECTED, progress=PROGRESS)
    found = hashlib.sha256(CONTENT[::-1]).hexdigest()
    for part in ("file.bin", f"expected sha256:{SHA256}", f"got {found}"):
        assert part in str(caught.value)
    assert not path.exists()


def test_a_wrong_file_that_is_there_is_replaced(server: Server, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(CONTENT[:-1])
    fetch(path, [server.url("file.bin")], EXPECTED, progress=PROGRESS)
    assert path.read_bytes() == CONTENT


def test_a_wrong_size_is_refused_before_it_is_received(server: Server, path: Path) -> None:
    with pytest.raises(RobustsegError, match="has 4,194,304 bytes instead of 5,000,000"):
        fetch(path, [server.url("file.bin")], Expected(size_bytes=5_000_000), progress=PROGRESS)
    assert not path.exists()


def test_a_size_that_the_server_does_not_say_is_checked_too(server: Server, path: Path) -> None:
    server.lengths = False
    with pytest.raises(RobustsegError, match="has 4,194,304 bytes instead of 5,000,000"):
        fetch(path, [server.url("file.bin")], Expected(size_bytes=5_000_000), progress=PROGRESS)
    assert not path.exists()
    fetch(path, [server.url("file.bin")], Expected(size_bytes=len(CONTENT)), progress=PROGRESS)
    assert path.read_bytes() == CONTENT


def test_a_file_of_another_size_that_is_there_is_replaced(server: Server, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(CONTENT[:-1])
    fetch(path, [server.url("file.bin")], Expected(size_bytes=len(CONTENT)), progress=PROGRESS)
    assert path.read_bytes() == CONTENT


def test_bytes_that_end_early_are_a_broken_connection(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    download = downloads._Download(path, None, PROGRESS)
    with pytest.raises(requests.ConnectionError, match="ended too early"):
        download._write([b"1234"], 0, 5)
    download._write([b"5"], 4, 5)
    assert path.read_bytes() == b"12345"


def test_an_unknown_hash_is_recorded_and_enforced(
    server: Server, path: Path, tmp_path: Path
) -> None:
    record = tmp_path / "hashes.json"
    fetch(tmp_path / "other", [server.url("wrong.bin")], record=record, progress=PROGRESS)
    fetch(path, [server.url("file.bin")], record=record, progress=PROGRESS)
    recorded = json.loads(record.read_text())
    assert recorded.keys() == {"file.bin", "other"}
    assert recorded["file.bin"] == SHA256
    path.unlink()
    with pytest.raises(RobustsegError, match=rf"expected sha256:{SHA256}.*hashes.json has"):
        fetch(path, [server.url("wrong.bin")], record=record, progress=PROGRESS)
    record.write_text("[]")
    with pytest.raises(RobustsegError, match=r"hashes.json is no record of hashes"):
        fetch(path, [server.url("file.bin")], record=record, progress=PROGRESS)


def test_a_file_that_a_person_put_there_is_recorded_and_enforced_too(tmp_path: Path) -> None:
    path, record = tmp_path / "file.bin", tmp_path / "hashes.json"
    path.write_bytes(CONTENT)
    assert verify(path, record=record, progress=PROGRESS) == SHA256
    assert json.loads(record.read_text()) == {"file.bin": SHA256}
    path.write_bytes(CONTENT[::-1])
    with pytest.raises(RobustsegError, match=rf"but {SHA256} is expected by .*hashes.json; delete"):
        verify(path, record=record, progress=PROGRESS)
    known = hashlib.sha256(CONTENT[::-1]).hexdigest()
    assert verify(path, Expected(known.upper()), record=record, progress=PROGRESS) == known
    assert json.loads(record.read_text()) == {"file.bin": SHA256}
    with pytest.raises(RobustsegError, match=rf"has sha256 {known}, but {SHA256} is expected; del"):
        verify(path, EXPECTED, record=record, progress=PROGRESS)
    with pytest.raises(RobustsegError, match="absent does not exist; fetch it first"):
        verify(tmp_path / "absent", record=record, progress=PROGRESS)


def test_two_processes_do_not_write_the_same_file(server: Server, path: Path) -> None:
    url = server.url("file.bin")
    with (
        downloads._alone(downloads._partial(path, url)),
        pytest.raises(RobustsegError, match="another process is downloading"),
    ):
        fetch(path, [url], EXPECTED, progress=PROGRESS)


def test_a_file_that_a_person_put_there_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(CONTENT)
    found = hashlib.md5(CONTENT).hexdigest()
    assert verify(path, Expected(md5=found, size_bytes=len(CONTENT)), progress=PROGRESS) == SHA256
    with pytest.raises(RobustsegError, match=r"file\.bin has 4,194,304 bytes, but 7 are expected;"):
        verify(path, Expected(size_bytes=7), progress=PROGRESS)
    with pytest.raises(RobustsegError, match=f"has md5 {found}, but 0123 is expected; delete it"):
        verify(path, Expected(md5="0123", size_bytes=len(CONTENT)), progress=PROGRESS)


def test_a_file_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where a folder should be")
    with pytest.raises(RobustsegError, match="could not write"):
        fetch(tmp_path / "taken" / "f", [server.url("file.bin")], progress=PROGRESS)
