"""What surrounds a job: its log, its errors, its share of the images."""

import ast
import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import robustseg
from robustseg.workflow_job import OUTLIVED, job
from robustseg.attacks.spec import images_of_shard
from robustseg.errors import RobustsegError
from robustseg.evidence.schema import hash_settings
from robustseg.progress import Progress
from tests.campaign.disks import can_mount, small_disk
from tests.workflow.running import MATCHBOX, ROOT, snakemake


def test_progress_goes_to_the_terminal_and_to_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "logs" / "job.log"
    with job("attack", log) as progress:
        progress.say("half done")
    assert log.read_text() == capsys.readouterr().err == "[attack] half done\n"


def test_a_full_gpu_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where it is not the model that asks for more, but a loss, or the measuring of passes."""
    with pytest.raises(SystemExit), job("attack", tmp_path / "job.log"):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
    said = capsys.readouterr().err
    assert said.startswith("[attack] error: the GPU's memory is full; ")
    assert "attack_model:batch_size=4" in said
    assert said.count("\n") == 1
    assert "CUDA out of memory" in (tmp_path / "job.log").read_text()


def test_garbage_is_left_until_the_job_begins(tmp_path: Path) -> None:
    """Loading torch and timm takes a fifth less without looking for any."""
    program = (
        "import gc, sys\n"
        "from robustseg.workflow_job import job\n"
        "assert not gc.isenabled()\n"
        "with job('attack', sys.argv[1]):\n"
        "    assert gc.isenabled()\n"
        "    assert gc.get_freeze_count()\n"
        "assert not gc.get_freeze_count()\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(robustseg.__file__).parents[1])}
    command = [sys.executable, "-c", program, tmp_path / "job.log"]
    subprocess.run(command, env=environment, check=True)


SCRIPT = """
import atexit, sys
from robustseg.workflow_job import job

class Told:
    def __del__(self):
        print("taken apart")

kept, snakemake = Told(), None
atexit.register(print, "at exit")
with job("attack", sys.argv[1]):
    print("done")
    if len(sys.argv) > 2:
        raise ZeroDivisionError
"""


def test_a_script_ends_with_its_job_and_is_not_taken_apart(tmp_path: Path) -> None:
    """That takes as long as a small attack; what modules do at the exit is done all the same."""
    environment = os.environ | {"PYTHONPATH": str(Path(robustseg.__file__).parents[1])}

    def run(script: str, *arguments: str) -> tuple[int, list[str]]:
        command = [sys.executable, "-c", script, str(tmp_path / "job.log"), *arguments]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True)
        return ended.returncode, ended.stdout.splitlines()

    assert run(SCRIPT) == (0, ["done", "at exit"])
    assert run(SCRIPT, "fails") == (1, ["done", "at exit", "taken apart"])
    library = SCRIPT.replace("snakemake", "other")
    assert run(library) == (0, ["done", "at exit", "taken apart"])


@pytest.mark.parametrize(
    "script", sorted((ROOT / "scripts").glob("*.py")), ids=lambda path: path.name
)
def test_nothing_follows_a_job(script: Path) -> None:
    """The process ends with it, and well."""
    main = ast.parse(script.read_text()).body[-1]
    assert isinstance(main, ast.If)
    last = main.body[-1]
    assert isinstance(last, ast.With)
    assert ast.unparse(last.items[0].context_expr).startswith("job(")


def test_the_time_left_follows_from_the_speed_of_this_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = itertools.count(0, 10)  # s; an item takes 10
    monkeypatch.setattr("robustseg.progress.time.monotonic", lambda: next(clock))
    assert list(Progress("train").track("abc", 100, "batches", before=97)) == list("abc")
    first, *_, last = capsys.readouterr().err.splitlines()
    assert "98%" in first
    assert "98/100 [00:10<00:20, 10.00s/ batches]" in first
    assert "100/100 [00:30<00:00" in last


def test_what_a_person_can_mend_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "job.log"
    with pytest.raises(SystemExit) as end, job("attack", log):
        raise RobustsegError("image 7 has no label; add one")
    assert end.value.code == 1
    assert capsys.readouterr().err == "[attack] error: image 7 has no label; add one\n"
    assert log.read_text().startswith("[attack] error: image 7 has no label; add one\n")


def test_a_defect_keeps_its_traceback(tmp_path: Path) -> None:
    log = tmp_path / "job.log"
    with pytest.raises(ZeroDivisionError), job("attack", log):
        _ = 1 / 0
    assert "ZeroDivisionError" in log.read_text()


def test_ctrl_c_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "job.log"
    # What a shell starts in the background ignores Ctrl-C, and so would the tests there.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(SystemExit) as end, job("attack", log):
        signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)
    assert end.value.code == 130
    sentence = "[attack] stopped by Ctrl-C; the same command continues from what is kept\n"
    assert log.read_text() == capsys.readouterr().err == sentence


def test_a_full_disk_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "job.log"
    log.symlink_to("/dev/full")
    with pytest.raises(SystemExit) as end, job("attack", log) as progress:
        progress.say("half done")
    assert end.value.code == 1
    assert f"[attack] error: {log}: No space left on device; free some space" in (
        capsys.readouterr().err
    )


def test_a_job_waits_for_the_same_job_of_an_earlier_run(tmp_path: Path) -> None:
    """Its Snakemake was killed, and the settings may have changed since."""
    log, result = tmp_path / "job.log", tmp_path / "result"
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from robustseg.workflow_job import job\n"
        "with job('attack', sys.argv[1]) as progress:\n"
        "    progress.say('begins')\n"
        "    Path(sys.argv[2]).write_text('new settings')\n"
    )
    command = [sys.executable, "-c", program, log, result]
    environment = os.environ | {"PYTHONPATH": str(Path(robustseg.__file__).parents[1])}
    with job("attack", log) as earlier:
        later = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        assert later.stderr
        assert later.stderr.readline() == f"[attack] {OUTLIVED}\n"
        earlier.say("goes on")
        assert log.read_text() == "[attack] goes on\n"
        result.write_text("old settings")
    _, said = later.communicate(timeout=60)
    assert said == log.read_text() == "[attack] begins\n"
    assert result.read_text() == "new settings"
    assert {path.name for path in tmp_path.iterdir()} == {"job.log", "result"}


@pytest.mark.parametrize("images", [15, 16, 32])
@pytest.mark.parametrize("shards", [1, 2, 3])
@pytest.mark.parametrize("unit", [1, 2, 5])
def test_each_image_is_in_one_shard(images: int, shards: int, unit: int) -> None:
    parts = [images_of_shard(images, shard, shards, unit) for shard in range(shards)]
    assert list(itertools.chain(*parts)) == list(range(images))
    assert all(part.start % unit == 0 for part in parts)
    units = [-(-len(part) // unit) for part in parts]
    assert max(units) - min(units) <= 1


def test_more_shards_than_batches_are_refused() -> None:
    with pytest.raises(RobustsegError, match="cut into 4 shards; ask for 3 or fewer"):
        images_of_shard(5, 0, 4, unit=2)


def test_hashes_tell_settings_apart_but_not_their_order() -> None:
    assert hash_settings({"a": 1, "b": 2}) == hash_settings({"b": 2, "a": 1})
    assert hash_settings({"a": 1}) != hash_settings({"a": 2})
    assert hash_settings({4.0: 0.1}) != hash_settings({8.0: 0.1})


@pytest.mark.skipif(not can_mount(), reason="a full disk takes the right to mount one")
def test_a_full_disk_of_temporary_files_stops_no_run(tmp_path: Path) -> None:
    """As Snakemake's solver would, which it starts where several jobs can be next."""
    folder = tmp_path / "tmp"
    with small_disk(folder, 4096):
        (folder / "another").write_bytes(bytes(4096))
        full = {"TMPDIR": str(folder), "TMP": str(folder)}
        targets = ["--configfile", MATCHBOX, "--", "data"]
        run = snakemake("--cores", "1", *targets, folder=tmp_path, **full)
    assert run.returncode == 0, run.stdout
