"""Downloads from a real server that breaks, stalls, lies or is not there."""

import errno
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections import namedtuple
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from robustseg import downloads
from robustseg.downloads import Expected, record_hash, verify
from robustseg.errors import RobustsegError
from robustseg.progress import Progress
from robustseg.receiving import SPARE_BYTES, Patience, partial_path
from tests.serving import Server, serve

ROOT = Path(__file__).parents[1]
PROGRESS = Progress("test")
CONTENT = bytes(range(256)) * 16 * 1024  # 4 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()
EXPECTED = Expected(SHA256)
PATIENCE = Patience(silence_s=20, pause_s=0.01, tries=4)
fetch = partial(downloads.fetch, patience=PATIENCE)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
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
    partial_path(path, server.url("file.bin")).touch()  # as if killed after the last step
    assert server.requests == [("file.bin", None)]
    fetch(path, [server.url("file.bin")], expected, progress=PROGRESS)
    assert nothing_but(path, "file.bin")


def test_a_file_address(server: Server, path: Path) -> None:
    fetch(path, [(server.folder / "file.bin").as_uri()], EXPECTED, progress=PROGRESS)
    assert path.read_bytes() == CONTENT


def test_broken_connections_are_continued(server: Server, path: Path) -> None:
    server.break_after["file.bin"] = [1_500_000, 3_000_000]
    fetch(path, [server.url("file.bin")], EXPECTED, progress=PROGRESS)
    assert path.read_bytes() == CONTENT
    assert server.asked("file.bin") == [None, "bytes=1500000-", "bytes=3000000-"]


def test_the_next_call_continues_what_was_given_up(server: Server, path: Path) -> None:
    server.break_after["file.bin"] = [2_000_000] * (PATIENCE.tries + 1)
    with pytest.raises(RobustsegError, match=r"broke the connection.*run again to continue"):
        fetch(path, [server.url("file.bin")], EXPECTED, progress=PROGRESS)
    assert not path.exists()
    server.requests.clear()
    fetch(path, [server.url("file.bin")], EXPECTED, progress=PROGRESS)
    assert path.read_bytes() == CONTENT
    assert server.asked("file.bin") == ["bytes=2000000-"]
    assert nothing_but(path, "file.bin")


def test_a_server_that_breaks_again_and_again_is_finished(server: Server, path: Path) -> None:
    """Each connection brings something, so that none of them counts as failed."""
    server.break_every["file.bin"] = 50_000
    patience = Patience(pause_s=0.001, tries=1)
    fetch(path, [server.url("file.bin")], EXPECTED, progress=PROGRESS, patience=patience)
    assert path.read_bytes() == CONTENT
    starts = range(0, len(CONTENT), 50_000)
    assert server.asked("file.bin") == [f"bytes={n}-" if n else None for n in starts]


FETCHES = """
import os, signal, sys, time
from robustseg import downloads, receiving
from robustseg.progress import Progress
hashed = receiving.file_hash
receiving.file_hash = lambda *arguments: time.sleep(0.1) or hashed(*arguments)
path, url, sha256 = sys.argv[1:]
for line in sys.stdin:
    child = os.fork()
    if not child:
        downloads.fetch(path, [url], downloads.Expected(sha256), progress=Progress("test"))
        os._exit(0)
    time.sleep(float(line))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print(flush=True)
"""
"""Kills a download after each number of seconds that it reads; hashing takes long enough for it."""


def test_a_process_killed_at_any_moment_is_continued(server: Server, path: Path) -> None:
    url, draw = server.url("file.bin"), random.Random(0)
    left = partial_path(path, url)
    server.pause_s = 0.003  # it takes 0.2 s
    command = [sys.executable, "-c", FETCHES, path, url, SHA256]
    pipe = subprocess.PIPE
    reached = unfinished = in_hash = 0
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, env=environment(), text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        for _ in range(60):
            print(draw.uniform(0, 0.4), file=process.stdin, flush=True)
            process.stdout.readline()
            if path.exists():
                assert path.read_bytes() == CONTENT
                fetch(path, [url], EXPECTED, progress=PROGRESS)
                assert nothing_but(path, "file.bin")
                path.unlink()
                reached = 0
                continue
            size = left.stat().st_size if left.exists() else 0
            assert size >= reached  # nothing is lost
            reached = size
            unfinished += 1
            in_hash += size == len(CONTENT)
        process.stdin.close()
    assert unfinished >= 20
    assert in_hash >= 1
    server.pause_s = 0.0
    fetch(path, [url], EXPECTED, progress=PROGRESS)
    assert path.read_bytes() == CONTENT
    assert nothing_but(path, "file.bin")


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "src")}


def test_what_has_arrived_is_on_disk_at_once(server: Server, path: Path) -> None:
    server.stall_at["file.bin"] = 3000
    url, patience = server.url("file.bin"), Patience(silence_s=2, tries=1, least_bytes_per_s=10_000)

    def run() -> None:
        with suppress(RobustsegError):
            fetch(path, [url], EXPECTED, progress=PROGRESS, patience=patience)

    thread = threading.Thread(target=run)
    thread.start()
    seen = 0
    while thread.is_alive() and seen < 3000:
        time.sleep(0.01)
        seen = partial_path(path, url).stat().st_size if partial_path(path, url).exists() else 0
    assert seen == 3000
    assert thread.is_alive()  # it still waits for more
    thread.join()


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


def test_a_version_that_has_changed_is_not_mixed_with_the_last(server: Server, path: Path) -> None:
    """Where no hash would tell."""
    new = CONTENT[::-1]
    for heeds in (True, False):
        server.heeds_if_range = heeds
        (server.folder / "file.bin").write_bytes(CONTENT)
        server.break_after["file.bin"] = [2_000_000]
        server.changes["file.bin"] = [new]
        fetch(path, [server.url("file.bin")], progress=PROGRESS)
        assert path.read_bytes() == new
        # A server that does not heed which version is asked for is asked once more.
        again = [] if heeds else [None]
        assert server.asked("file.bin") == [None, "bytes=2000000-", *again]
        assert nothing_but(path, "file.bin")
        path.unlink()
        server.requests.clear()


def test_what_cannot_be_told_from_another_version_begins_anew(server: Server, path: Path) -> None:
    server.etags = False
    server.break_after["file.bin"] = [2_000_000]
    fetch(path, [server.url("file.bin")], progress=PROGRESS)
    assert path.read_bytes() == CONTENT
    assert server.asked("file.bin") == [None, None]


def test_a_mixed_file_is_fetched_once_more(server: Server, path: Path) -> None:
    """The hash tells, where the server says nothing."""
    server.etags = False
    (server.folder / "file.bin").write_bytes(CONTENT[::-1])
    server.break_after["file.bin"] = [2_000_000]
    server.changes["file.bin"] = [CONTENT]
    fetch(path, [server.url("file.bin")], EXPECTED, progress=PROGRESS)
    assert path.read_bytes() == CONTENT
    assert server.asked("file.bin") == [None, "bytes=2000000-", None]


def test_a_whole_partial_file_needs_no_bytes(server: Server, path: Path) -> None:
    url = server.url("file.bin")
    path.parent.mkdir()
    partial_path(path, url).write_bytes(CONTENT)
    fetch(path, [url], EXPECTED, progress=PROGRESS)
    assert path.read_bytes() == CONTENT


def test_a_partial_file_that_is_too_long_is_thrown_away(server: Server, path: Path) -> None:
    url = server.url("file.bin")
    path.parent.mkdir()
    partial_path(path, url).write_bytes(CONTENT + b"more")
    fetch(path, [url], EXPECTED, progress=PROGRESS)
    assert path.read_bytes() == CONTENT


def test_a_silent_server_is_given_up(server: Server, path: Path) -> None:
    patience = Patience(silence_s=0.2, pause_s=0.01)
    server.stall_at["file.bin"] = 0
    with pytest.raises(RobustsegError, match=r"was silent for 0.2 s"):
        fetch(path, [server.url("file.bin")], EXPECTED, progress=PROGRESS, patience=patience)
    assert len(server.requests) == patience.tries
    assert not path.exists()


@pytest.mark.parametrize("known", [True, False])
def test_a_trickle_is_given_up(server: Server, path: Path, known: bool) -> None:
    server.block_bytes, server.pause_s = 1, 0.01
    patience = Patience(window_s=0.2, pause_s=0.01, tries=2)
    expected = EXPECTED if known else Expected()
    with pytest.raises(RobustsegError, match=r"sends less than 500 bytes a second; run again"):
        fetch(path, [server.url("file.bin")], expected, progress=PROGRESS, patience=patience)
    assert len(server.requests) == 2
    server.block_bytes, server.pause_s = 2**16, 0.0
    fetch(path, [server.url("file.bin")], expected, progress=PROGRESS)
    assert path.read_bytes() == CONTENT
    assert str(server.asked("file.bin")[-1]) > "bytes=1"  # the trickle's bytes were of use


def test_a_trickle_of_connections_is_given_up(server: Server, path: Path) -> None:
    server.break_every["file.bin"] = 1
    with pytest.raises(RobustsegError, match="broke the connection"):
        fetch(path, [server.url("file.bin")], EXPECTED, progress=PROGRESS)
    assert len(server.requests) < 20


def test_an_answer_whose_head_never_ends_is_given_up(server: Server, path: Path) -> None:
    server.slow_heads.add("file.bin")
    patience = Patience(silence_s=0.2, pause_s=0.01, tries=2)
    with pytest.raises(RobustsegError, match=r"did not answer within 0.4 s"):
        fetch(path, [server.url("file.bin")], EXPECTED, progress=PROGRESS, patience=patience)


@pytest.mark.parametrize(
    ("expected", "sentence"),
    [
        (Expected(), "sends more than 5,000,000 bytes"),
        (EXPECTED, "sends more than 5,000,000 bytes"),
        (Expected(size_bytes=len(CONTENT)), "sends more than 4,194,304 bytes"),
    ],
)
def test_an_endless_body_is_given_up(
    server: Server, path: Path, expected: Expected, sentence: str
) -> None:
    server.endless.add("file.bin")
    url = server.url("file.bin")
    with pytest.raises(RobustsegError, match=f"file.bin {sentence}; name another") as caught:
        fetch(path, [url], expected, limit_bytes=5_000_000, progress=PROGRESS)
    assert "run again" not in str(caught.value)
    assert nothing_but(path)


def test_more_than_the_limit_is_not_begun(server: Server, path: Path) -> None:
    with pytest.raises(RobustsegError, match="has 4,194,304 bytes, but the file has at most 999"):
        fetch(path, [server.url("file.bin")], EXPECTED, limit_bytes=999, progress=PROGRESS)
    assert nothing_but(path)


@pytest.mark.parametrize("name", ["file.bin", "endless.bin"])
def test_a_disk_is_not_filled(
    server: Server, path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.endless.add("endless.bin")
    usage = namedtuple("usage", "free")
    room = SPARE_BYTES + 3_000_000

    def disk_usage(folder: Path) -> object:
        return usage(room - sum(file.stat().st_size for file in Path(folder).glob(".*")))

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    with pytest.raises(RobustsegError, match=r"could not write .*: No space left .* is continued"):
        fetch(path, [server.url(name)], progress=PROGRESS)
    kept = sum(file.stat().st_size for file in path.parent.iterdir())
    assert kept < 5_000_000 if name == "endless.bin" else kept < 1000


def test_a_redirection_is_followed_without_reading_it(server: Server, path: Path) -> None:
    server.redirects["first"] = "/second and last"
    server.redirects["second and last"] = server.url("file.bin")
    fetch(path, [server.url("first")], EXPECTED, progress=PROGRESS)
    assert path.read_bytes() == CONTENT
    server.redirects["circle"] = "/circle"
    path.unlink()
    with pytest.raises(RobustsegError, match="from one address to the next without end"):
        fetch(path, [server.url("circle")], EXPECTED, progress=PROGRESS)


def test_a_busy_server_is_asked_again(server: Server, path: Path) -> None:
    server.refusals["file.bin"] = [503, 429]
    fetch(path, [server.url("file.bin")], EXPECTED, progress=PROGRESS)
    assert path.read_bytes() == CONTENT
    assert len(server.requests) == 3


def test_pauses_grow(server: Server, path: Path) -> None:
    server.answers["file.bin"] = 500
    patience, began = Patience(pause_s=0.1), time.monotonic()
    with pytest.raises(RobustsegError, match="answers 500 Internal Server Error; run again"):
        fetch(path, [server.url("file.bin")], EXPECTED, progress=PROGRESS, patience=patience)
    assert len(server.requests) == 4
    assert time.monotonic() - began > 0.2 + 0.4 + 0.8


def test_a_server_says_when_to_ask_again(server: Server, path: Path) -> None:
    server.refusals["file.bin"], server.retry_after = [429], "1"
    began = time.monotonic()
    fetch(path, [server.url("file.bin")], EXPECTED, progress=PROGRESS)
    assert time.monotonic() - began > 1
    path.unlink()
    server.refusals["file.bin"], server.retry_after = [503], "Fri, 31 Dec 2100 23:59:59 GMT"
    with pytest.raises(RobustsegError, match=r"503 .*, to be asked again in \d{9,} s; run again"):
        fetch(path, [server.url("file.bin")], EXPECTED, progress=PROGRESS)


@pytest.mark.parametrize(
    ("kind", "page"),
    [
        ("Text/HTML", b"Please log in"),
        ("application/XHTML+xml", b"Please log in"),
        ("application/octet-stream", b"<HTML>Please log in"),
        ("", b"<html>Please log in"),
    ],
)
def test_a_web_page_is_not_the_file(server: Server, path: Path, kind: str, page: bytes) -> None:
    server.pages.add("file.bin")
    server.page_type, server.page = kind, page
    with pytest.raises(RobustsegError, match="web page instead of the file; name another"):
        fetch(path, [server.url("file.bin")], progress=PROGRESS)
    assert nothing_but(path)


@pytest.mark.parametrize(
    "begin", [b"\n <!DOCTYPE HTML>", b"\xef\xbb\xbf<?xml version='1.0'?><Error>"]
)
def test_a_page_that_is_there_is_not_the_file(tmp_path: Path, begin: bytes) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(begin + b"Please log in")
    with pytest.raises(RobustsegError, match=r"file.bin is a web page instead of the file; delete"):
        verify(path)


def test_nothing_is_not_the_file(server: Server, path: Path) -> None:
    (server.folder / "file.bin").write_bytes(b"")
    with pytest.raises(RobustsegError, match="is empty"):
        fetch(path, [server.url("file.bin")], progress=PROGRESS)
    assert nothing_but(path)


def test_an_address_with_spaces(server: Server, path: Path) -> None:
    for folder in ("a b", "c #1?"):
        (server.folder / folder).mkdir()
        (server.folder / folder / "my file.bin").write_bytes(CONTENT)
    urls = [server.url("a b/my file.bin"), f"file://{server.folder}/c #1?/my file.bin"]
    for url in urls:
        fetch(path, [url], EXPECTED, progress=PROGRESS)
        assert path.read_bytes() == CONTENT
        path.unlink()
    assert server.requests == [("a b/my file.bin", None)]


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("ftp://a/b", "is not an address that can be used"),
        ("data/file.bin", "does not begin with http"),
        ("http://[::1/file.bin", "is not an address that can be used"),
        ("http:///file.bin", "is not an address that can be used"),
        ("file://folder/file.bin", "names another machine"),
        ("file:///absent/file.bin", "does not exist"),
    ],
)
def test_no_address(path: Path, url: str, sentence: str) -> None:
    with pytest.raises(RobustsegError) as caught:
        fetch(path, [url], EXPECTED, progress=PROGRESS)
    assert sentence in str(caught.value)
    assert "run again" not in str(caught.value)


@pytest.mark.parametrize(
    ("proxy", "sentence"),
    [
        (
            "http://me:secret@127.0.0.1:9",
            "could not be reached by the proxy 127.0.0.1:9 that http",
        ),
        (
            "http://",
            r"is not an address that can be used \(by the proxy http:// that .* URL",
        ),
    ],
)
def test_a_proxy_is_named_without_its_password(
    path: Path, monkeypatch: pytest.MonkeyPatch, proxy: str, sentence: str
) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(RobustsegError, match=sentence) as error:
        fetch(path, ["http://example.org/file.bin"], progress=PROGRESS)
    assert "secret" not in str(error.value)


def test_certificates_that_are_not_there_are_no_full_disk(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such.pem")
    with pytest.raises(RobustsegError, match=r"/x cannot be asked \(.*invalid path: /no/such.pem"):
        fetch(path, ["https://127.0.0.1:9/x"], progress=PROGRESS)


def test_a_planted_link_is_not_written_through(server: Server, path: Path) -> None:
    url, victim = server.url("file.bin"), path.parent.parent / "victim"
    victim.write_text("mine")
    path.parent.mkdir()
    for name in (partial_path(path, url), Path(f"{partial_path(path, url)}.json")):
        for plant in (name.symlink_to, name.hardlink_to):
            plant(victim)
            with pytest.raises(RobustsegError, match=r"is a link or a .*; delete it"):
                fetch(path, [url], EXPECTED, progress=PROGRESS)
            name.unlink()
    assert victim.read_text() == "mine"


def test_mirrors_are_tried_in_order(server: Server, path: Path) -> None:
    server.pages.add("page.bin")
    server.answers["busy.bin"] = 403
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
    assert f"wrong.bin has sha256 {found}, but {SHA256} is expected; name another" in str(
        caught.value
    )
    assert nothing_but(path)


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


def test_bytes_that_end_early_are_a_broken_connection(server: Server, path: Path) -> None:
    server.lengths = False  # so that the end of the connection is the end of the file
    server.break_after["file.bin"] = [2_000_000]
    fetch(path, [server.url("file.bin")], Expected(size_bytes=len(CONTENT)), progress=PROGRESS)
    assert path.read_bytes() == CONTENT
    assert server.asked("file.bin") == [None, "bytes=2000000-"]


def test_a_hash_is_recorded_when_it_is_said_to_be_right(
    server: Server, path: Path, tmp_path: Path
) -> None:
    record, url = tmp_path / "hashes.json", server.url("file.bin")
    fetch(path, [url], record=record, progress=PROGRESS)
    assert verify(path, record=record) == SHA256
    assert not record.exists()  # whatever has come, nobody has used it yet
    for name in ("another", "file.bin", "zebra"):
        record_hash(name, SHA256, record, PROGRESS)
    assert json.loads(record.read_text()) == dict.fromkeys(("another", "file.bin", "zebra"), SHA256)
    assert {file.name for file in tmp_path.iterdir()} == {"hashes.json", "here", "served"}

    path.unlink()
    with pytest.raises(RobustsegError, match=rf"but {SHA256} is expected by line 3 of .*hashes"):
        fetch(path, [server.url("wrong.bin")], record=record, progress=PROGRESS)
    path.write_bytes(CONTENT[::-1])
    with pytest.raises(
        RobustsegError, match=r"by line 3 .*\(delete this line to .*; delete it and"
    ):
        verify(path, record=record)
    known = hashlib.sha256(CONTENT[::-1]).hexdigest()
    assert verify(path, Expected(known.upper()), record=record) == known


def test_a_recorded_hash_counts_more_than_an_older_one(path: Path, tmp_path: Path) -> None:
    """Whoever makes another file of the same MD5 has not made one of the same SHA-256."""
    record = tmp_path / "hashes.json"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    published = Expected(md5=hashlib.md5(CONTENT).hexdigest())
    assert verify(path, published, record=record) == SHA256
    record_hash(path, "0" * 64, record, PROGRESS)
    with pytest.raises(RobustsegError, match=r"but 0{64} is expected by line 2 of .*hashes.json"):
        verify(path, published, record=record)


@pytest.mark.parametrize("name", ["another", "file.bin", "zebra"])
def test_to_delete_the_line_that_is_named_is_enough(
    server: Server, path: Path, tmp_path: Path, name: str
) -> None:
    record = tmp_path / "hashes.json"
    for one in ("another", "file.bin", "zebra"):
        record_hash(one, SHA256, record, PROGRESS)
    path = path.with_name(name)
    with pytest.raises(RobustsegError) as caught:
        fetch(path, [server.url("wrong.bin")], record=record, progress=PROGRESS)
    line = int(str(caught.value).partition("by line ")[2].partition(" ")[0])
    lines = record.read_text().splitlines()
    record.write_text("\n".join(lines[: line - 1] + lines[line:]))
    fetch(path, [server.url("wrong.bin")], record=record, progress=PROGRESS)
    digest = verify(path, record=record)
    record_hash(path, digest, record, PROGRESS)
    assert json.loads(record.read_text())[name] == digest
    assert len(json.loads(record.read_text())) == 3


def test_what_is_no_record_is_said(server: Server, path: Path, tmp_path: Path) -> None:
    record = tmp_path / "hashes.json"
    for content in ("[]", '{"file.bin": '):
        record.write_text(content)
        with pytest.raises(RobustsegError, match=r"hashes.json is not a record of hashes \("):
            fetch(path, [server.url("file.bin")], record=record, progress=PROGRESS)
    record.write_text(json.dumps({"file.bin": "a" * 5000}))
    with pytest.raises(RobustsegError, match=r"that of file\.bin is 'a{199}…; delete its line"):
        verify(record, record=record)
    with pytest.raises(RobustsegError, match="absent does not exist; fetch it first"):
        verify(tmp_path / "absent", record=record)


def test_another_process_that_downloads_the_file_is_waited_for(server: Server, path: Path) -> None:
    server.pause_s, server.block_bytes = 0.05, len(CONTENT) // 20
    url, outcomes = server.url("file.bin"), []

    def take() -> None:
        outcomes.append(fetch(path, [url], EXPECTED, progress=PROGRESS))

    both = [threading.Thread(target=take) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert outcomes == [path, path]
    assert path.read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_a_hash_on_record_needs_no_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = tmp_path / "hashes.json"
    record_hash("file.bin", "0" * 64, record, PROGRESS)
    monkeypatch.setattr("robustseg.downloads.alone", None)
    record_hash("file.bin", "0" * 64, record, PROGRESS)


def test_a_file_that_a_person_put_there_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(CONTENT)
    found = hashlib.md5(CONTENT).hexdigest()
    assert verify(path, Expected(md5=found, size_bytes=len(CONTENT))) == SHA256
    with pytest.raises(RobustsegError, match=r"file\.bin has 4,194,304 bytes instead of 7; delete"):
        verify(path, Expected(size_bytes=7))
    with pytest.raises(RobustsegError, match=f"has md5 {found}, but 0123 is expected; delete it"):
        verify(path, Expected(md5="0123", size_bytes=len(CONTENT)))


def test_a_file_in_a_folder_that_may_only_be_read_is_taken(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(path: Path, say: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), f"{path}.lock")

    monkeypatch.setattr("robustseg.downloads.alone", read_only)
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    assert fetch(path, [], EXPECTED, progress=PROGRESS) == path
    path.write_bytes(CONTENT[::-1])
    with pytest.raises(RobustsegError, match=r"could not write .*file\.bin\.lock: Read-only file"):
        fetch(path, [], EXPECTED, progress=PROGRESS)


def test_a_file_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where a folder should be")
    with pytest.raises(RobustsegError, match="could not write"):
        fetch(tmp_path / "taken" / "f", [server.url("file.bin")], progress=PROGRESS)
