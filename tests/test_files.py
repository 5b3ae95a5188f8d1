"""Files are whole or absent, and what prevents one is a sentence."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from robustseg.errors import RobustsegError
from robustseg.files import alone, atomic_path, refuse_from_the_future, refuse_unwritable

ROOT = Path(__file__).parents[1]
WRITES = """
import sys, time
from pathlib import Path
from robustseg.files import alone, atomic_path
path = Path(sys.argv[1])
with alone(path, print) if sys.argv[2] == "alone" else atomic_path(path) as temporary:
    temporary and temporary.write_text("of a process that is killed")
    print(flush=True)
    time.sleep(60)
"""


def test_a_file_from_the_future_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    path.touch()
    for ahead_s in (-3600, 0, 30):
        os.utime(path, (0, time.time() + ahead_s))
        refuse_from_the_future([path, tmp_path / "missing"])
    os.utime(path, (0, time.time() + 600))
    with pytest.raises(RobustsegError, match=r"x.parquet was changed 10 minutes ahead of this"):
        refuse_from_the_future([path])


def test_a_file_takes_its_name_only_when_whole(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "result.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
    assert path.read_text() == "half"
    assert [p.name for p in path.parent.iterdir()] == ["result.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "result.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_path(path) as temporary:
        _ = temporary.write_text("new") / 0
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_a_file_ends_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("in the way")
    with (
        pytest.raises(RobustsegError, match=r"could not write .*results/table\.csv"),
        atomic_path(tmp_path / "results" / "table.csv"),
    ):
        pass


def test_a_folder_that_cannot_be_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_unwritable([tmp_path / "not" / "there" / "x.txt", "y.txt"])
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(RobustsegError, match=f"can be written to {tmp_path}; correct its"):
        refuse_unwritable(["y.txt", tmp_path / "not" / "there" / "x.txt"])


def test_a_link_to_a_disk_that_is_not_there_is_said(tmp_path: Path) -> None:
    disk, results = tmp_path / "disk", tmp_path / "results"
    results.symlink_to(disk / "results")
    says = f"but {results} is a link to {disk}/results, which is not there; mount its disk"
    with pytest.raises(RobustsegError, match=says):
        refuse_unwritable([results / "demo" / "x.txt"])
    (disk / "results").mkdir(parents=True)
    refuse_unwritable([results / "demo" / "x.txt"])


def test_a_file_where_a_folder_is_to_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "results").touch()
    with pytest.raises(RobustsegError, match=f"but {tmp_path}/results is no folder; rename it"):
        refuse_unwritable([tmp_path / "results" / "demo" / "x.txt"])


@contextmanager
def another_process(path: Path, how: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a process that is in the middle of writing `path`, and kill it at the end."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", WRITES, path, how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout
        process.stdout.readline()
        yield process
        process.send_signal(signal.SIGKILL)


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    path, other = tmp_path / "result.txt", tmp_path / ".results.txt"
    other.write_text("something else")
    with another_process(path, "atomic_path"):
        pass
    assert len(list(tmp_path.iterdir())) == 2
    with atomic_path(path) as temporary:
        temporary.write_text("new")
    assert {file.name for file in tmp_path.iterdir()} == {"result.txt", ".results.txt"}
    assert path.read_text() == "new"


def test_what_a_living_process_writes_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "result.txt"
    with another_process(path, "atomic_path"):
        theirs = set(tmp_path.iterdir())
        with atomic_path(path) as temporary:
            temporary.write_text("new")
        assert set(tmp_path.iterdir()) == {path, *theirs}


def test_the_last_of_several_writers_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "result.txt"
    with ExitStack() as stack:
        written = [stack.enter_context(atomic_path(path)) for _ in range(3)]
        for number, temporary in enumerate(written):
            temporary.write_text(str(number) * 1000)
    assert path.read_text() == "0" * 1000  # left last
    assert list(tmp_path.iterdir()) == [path]


def test_a_planted_link_is_not_written_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    monkeypatch.setattr(secrets, "token_hex", lambda size: "guessed")
    folder = tmp_path / "folder"
    folder.mkdir()
    planted = folder / ".result.txt.guessed.part.txt"
    planted.symlink_to(victim)
    with (
        pytest.raises(RobustsegError, match=r"could not write .*result\.txt: File exists"),
        atomic_path(folder / "result.txt") as temporary,
    ):
        temporary.write_text("new")
    (folder / ".other.lock").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"), alone(folder / "other", print):
        pass
    assert victim.read_text() == "mine"
    assert planted.is_symlink()


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a") as temporary:
        temporary.write_text("new")
    (tmp_path / "b").write_text("new")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_only_one_process_makes_a_path(tmp_path: Path) -> None:
    path = tmp_path / "result"
    said: list[str] = []

    def stop(text: str) -> None:
        said.append(text)
        raise TimeoutError

    with another_process(path, "alone"):
        for _ in range(2):
            with pytest.raises(TimeoutError), alone(path, stop):
                pass
    assert said == [f"waits for another process that is making {path}"] * 2
    with alone(path, stop):  # the other one is dead
        pass
    assert list(tmp_path.iterdir()) == []


COUNTS = """
import sys
from pathlib import Path
from robustseg.files import alone
path = Path(sys.argv[1])
for _ in range(200):
    with alone(path, print):
        path.write_text(str(int(path.read_text()) + 1))
"""


def test_those_who_wait_come_one_after_the_other(tmp_path: Path) -> None:
    path = tmp_path / "number"
    path.write_text("0")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", COUNTS, path]
    processes = [subprocess.Popen(command, env=environment) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert path.read_text() == "600"
    assert list(tmp_path.iterdir()) == [path]


def test_a_text_is_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    code = "import sys; from robustseg.files import write_text; write_text(sys.argv[1], chr(949))"
    path = tmp_path / "made" / "text.md"
    latin = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([sys.executable, "-c", code, path], env=latin, check=True)
    assert path.read_bytes() == "ε".encode()
