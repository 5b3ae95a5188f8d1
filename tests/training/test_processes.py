"""Several processes started by torchrun give the weights of one, and end as one does."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from torch import distributed
from torch.distributed import HashStore

import robustseg
from robustseg.data.arrays import save_split
from robustseg.data.opening import load_split
from robustseg.errors import RobustsegError
from robustseg.models.checkpoints import read_weights
from robustseg.progress import Progress, Silence
from robustseg.training import processes
from robustseg.training.batches import epoch_passes
from robustseg.training.launch import TrainingJob, _watch, run
from robustseg.training.processes import join_processes
from robustseg.training.train import Machine
from tests.campaign.disks import can_mount, small_disk
from tests.campaign.processes import lives
from tests.training import tiny
from tests.training.test_train import (
    BACKBONE,
    MODEL,
    TRAINING,
    data,
    files,
    start,
    tensor_hash,
    train,
    wait_for,
)

__all__ = ["data"]  # the fixture
SGD = TRAINING | {"optimizer": "sgd", "betas": None, "momentum": 0.9, "learning_rate": 0.01}
PASSES = SGD | {"batch_size": 24, "images_per_pass": 6}
CLASSIFIER = BACKBONE | {"eps_255": 4, "steps": 2, "epochs": 3}
SEGMENTER = MODEL | {"scheme": "half_at", "eps_255": 4, "steps": 1, "architecture": "convnext_demo"}
LIBRARY = str(Path(robustseg.__file__).parents[1])


def job(data, folder, subject, training=PASSES, machine=Machine()):  # noqa: B008
    folder.mkdir(exist_ok=True)
    kind = "scenes" if "decoder" in subject else "shapes"
    return TrainingJob("train it", subject, training, files(data, folder, kind), 0, machine)


def weights(training):
    return read_weights(training.files.weights)[0]


def difference(one, other):
    return max(float((one[key].double() - other[key].double()).abs().max()) for key in one)


def test_two_processes_give_the_weights_of_one(data, tmp_path):
    one, two = (job(data, tmp_path / name, CLASSIFIER) for name in ("one", "two"))
    run(one, 1, Silence())
    run(two, 2, Silence())
    assert difference(weights(one), weights(two)) < 1e-6
    assert one.files.metrics.read_bytes() != b""
    assert two.files.metrics.exists()
    assert not two.files.checkpoint.exists()


def test_batch_norm_and_random_layers_too_and_started_by_hand(data, tmp_path):
    training = PASSES | {"drop_path": 0.3, "attack_start": "random", "gradient_contamination": True}
    one, two = (job(data, tmp_path / name, SEGMENTER, training) for name in ("one", "two"))
    run(one, 1, Silence())
    two.write(tmp_path / "job.json")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*torchrun, "--nproc-per-node=2", "-m", "robustseg.training", tmp_path / "job.json"],
        env=os.environ | {"PYTHONPATH": LIBRARY},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (
        "24 images, in 4 passes of 6 on 2 processes, 2 of them one after the other" in done.stderr
    )
    assert done.stderr.count("epoch 2 of 2") == done.stderr.count("backbone: 74") == 1
    assert difference(weights(one), weights(two)) < 1e-5


def test_batches_without_counted_pixels_for_one_process_and_for_all(data, tmp_path):
    split = load_split(data / "scenes" / "train.npz")
    batches = epoch_passes(split, 8, 4, training_seed=0, epoch=0)  # three, of two passes each
    passes = [one.indices for one in batches]
    split.labels[passes[0] + passes[1] + passes[3]] = 255
    save_split(tmp_path / "train.npz", split)
    training = TRAINING | {"images_per_pass": 4}
    subject = SEGMENTER | {"epochs": 1}
    jobs = [job(data, tmp_path / name, subject, training) for name in ("one", "two")]
    one, two = (
        replace(job, files=replace(job.files, train=tmp_path / "train.npz")) for job in jobs
    )
    run(one, 1, Silence())
    run(two, 2, Silence())
    assert difference(weights(one), weights(two)) < 1e-5
    assert all(tensor.isfinite().all() for tensor in weights(two).values())


MANY = CLASSIFIER | {"epochs": 60}
RUN = """
import sys
from robustseg.workflow_job import job
from robustseg.training.launch import TrainingJob, run
training = TrainingJob.read(sys.argv[1])
with job(training.name, sys.argv[2]) as progress:
    run(training, int(sys.argv[3]), progress)
"""


def start_job(training, folder, processes):
    """Run a job as an entry script does, in a process of its own."""
    training.write(folder / "job.json")
    arguments = [folder / "job.json", folder / "log", str(processes)]
    return subprocess.Popen(
        [sys.executable, "-c", RUN, *arguments],
        env=os.environ | {"PYTHONPATH": LIBRARY},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_sigterm_ends_all_with_a_checkpoint_that_any_number_continues(data, tmp_path):
    whole = job(data, tmp_path / "whole", MANY)
    run(whole, 1, Silence())
    training = job(data, tmp_path / "killed", MANY, machine=Machine(checkpoint_every_s=0.0))
    process = start_job(training, tmp_path, 2)
    wait_for(training.files.checkpoint, process, changes=3)
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "error: stopped by SIGTERM before batch 1 of epoch" in said.splitlines()[-1]
    assert "Traceback" not in said
    assert "run the same again to continue" in (tmp_path / "log").read_text()
    assert not training.files.weights.exists()
    listener = Listener()
    run(replace(training, machine=Machine()), 1, listener)
    assert any("continues from" in line for line in listener.said)
    assert difference(weights(whole), weights(training)) < 1e-5


LATE = """
import os, sys, time
from robustseg.progress import Silence
from robustseg.training.launch import TrainingJob
from robustseg.training.loop import Trainer
resume = Trainer._resume
def late(self):
    time.sleep(3 * int(os.environ["RANK"]))
    resume(self)
Trainer._resume = late
TrainingJob.read(sys.argv[1]).train(Silence())
"""


def test_a_training_that_was_done_is_ended_by_all_however_late_they_are(
    data, tmp_path, monkeypatch
):
    def killed(*arguments):
        raise KeyboardInterrupt

    training = job(
        data, tmp_path, CLASSIFIER | {"epochs": 1}, machine=Machine(checkpoint_every_s=0.0)
    )
    with monkeypatch.context() as patch:
        patch.setattr("robustseg.training.train._write", killed)
        with pytest.raises(KeyboardInterrupt):
            run(training, 1, Silence())
    assert training.files.checkpoint.exists()
    training.write(tmp_path / "job.json")
    (tmp_path / "late.py").write_text(LATE)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*torchrun, "--nproc-per-node=2", tmp_path / "late.py", tmp_path / "job.json"],
        env=os.environ | {"PYTHONPATH": LIBRARY},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert training.files.weights.exists()


def test_processes_that_see_different_checkpoints_are_refused(tmp_path, monkeypatch):
    def elsewhere(group, tensors):
        (places,) = tensors
        places[1] = 5

    one = tiny.trainer(tmp_path, processes=2, images_per_pass=4)
    monkeypatch.setattr("robustseg.training.processes.ProcessGroup.add", elsewhere)
    with pytest.raises(RobustsegError, match=r"states in .*checkpoint\.pt .* 0, 5\); let"):
        one.run()


def test_sigterm_before_the_processes_have_begun_is_said(data, tmp_path):
    process = start_job(job(data, tmp_path, CLASSIFIER), tmp_path, 2)
    while not any("torch.distributed.run" in command for command in children(process.pid)):
        time.sleep(0.01)
    time.sleep(0.5)  # the launcher takes seconds to start others
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "stopped by SIGTERM before" in said.splitlines()[-1]


def children(process):
    """Return the command lines of a process's children."""
    found = []
    for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
        with suppress(OSError):  # it has ended
            found.append(Path(f"/proc/{child}/cmdline").read_text())
    return found


def test_more_processes_than_gpus_are_refused(monkeypatch):
    started = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
    for name, value in started.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    with pytest.raises(RobustsegError, match="1 GPUs are visible here, but 2 processes were start"):
        join_processes("cuda").__enter__()


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({"WORLD_SIZE": "2"}, "variable RANK expected.*RANK=, WORLD_SIZE=2"),
        ({"WORLD_SIZE": "two", "RANK": "0"}, "'two'.* let torchrun start"),
        (
            {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"},
            "MASTER_ADDR=127.0.0.1, MASTER_PORT=1, RANK=1, WORLD_SIZE=2",
        ),
    ],
)
def test_processes_that_do_not_find_each_other_say_so(monkeypatch, told, sentence):
    monkeypatch.setattr("robustseg.training.processes.JOINING", timedelta(seconds=1))
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RobustsegError, match=f"could not join the other processes .*{sentence}"):
        join_processes("cpu").__enter__()


def test_a_gpu_that_is_not_there_is_said(data, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(RobustsegError, match="to compute on cuda, but torch sees no GPU here"):
        run(job(data, tmp_path, CLASSIFIER, machine=Machine(device="cuda")), 1, Silence())


class Listener(Progress):
    def __init__(self):
        super().__init__("train it", every_s=1e9)
        self.said = []

    def say(self, text):
        self.said.append(text)


def test_the_others_end_when_the_first_is_killed(data, tmp_path):
    training = job(data, tmp_path / "killed", MANY, machine=Machine(checkpoint_every_s=0.0))
    training = replace(training, subject=MANY | {"epochs": 100000})
    process = start_job(training, tmp_path, 2)
    wait_for(training.files.checkpoint, process, changes=2)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stderr.close()
    deadline = time.monotonic() + 60
    while lives(process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_sigterm_to_a_single_process_costs_nothing(data, tmp_path):
    model = MODEL | {"scheme": "pir_at", "eps_255": 4, "steps": 1, "epochs": 30}
    (tmp_path / "whole").mkdir()
    expected = train(data, tmp_path / "whole", model)
    stopped = start(data, tmp_path, model)
    wait_for(tmp_path / "checkpoint.pt", stopped, changes=2)
    stopped.terminate()
    _, said = stopped.communicate(timeout=60)
    assert stopped.returncode == 1
    assert "RobustsegError: stopped by SIGTERM" in said
    assert not (tmp_path / "weights.safetensors").exists()
    assert train(data, tmp_path, model) == expected
    assert tensor_hash(tmp_path / "weights.safetensors") == expected


def test_an_error_of_the_processes_is_one_sentence(data, tmp_path):
    training = job(data, tmp_path, CLASSIFIER, PASSES | {"learning_rate": 1e30, "warmup": 0.0})
    with pytest.raises(RobustsegError, match=r"^the network's outputs are not") as error:
        run(training, 2, Silence())
    assert "\n" not in str(error.value)


def test_a_process_that_dies_without_a_word_is_said(data, tmp_path):
    training = job(data, tmp_path, CLASSIFIER, machine=Machine(device="lion"))
    with (tmp_path / "log").open("w") as log, pytest.raises(RobustsegError, match="log says more"):
        run(training, 2, Progress("train it", log))
    assert re.search("^RuntimeError: .*lion", (tmp_path / "log").read_text(), re.M)


@pytest.mark.skipif(not can_mount(), reason="a full disk takes the right to mount one")
def test_a_full_disk_of_temporary_files_is_named(data, tmp_path, monkeypatch):
    folder = tmp_path / "tmp"
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with small_disk(folder, 4096):
        (folder / "another").write_bytes(bytes(4096))
        with pytest.raises(RobustsegError, match=f"could not write {folder}/.*: No space left"):
            run(job(data, tmp_path, CLASSIFIER), 2, Silence())


def test_lines_of_processes_may_be_in_any_encoding(tmp_path):
    says = (
        "import sys; sys.stderr.buffer.write(b'lib\\xff\\n[train it] error: why\\n'); sys.exit(3)"
    )
    with (tmp_path / "log").open("w") as log:
        said = _watch([sys.executable, "-c", says], "train it", Progress("train it", log))
    assert said == (3, "why")
    assert "lib" in (tmp_path / "log").read_text()


def test_a_process_that_was_killed_is_said(tmp_path):
    says = "import sys; sys.exit('  rank : 1\\n  exitcode  : -9 (pid: 21468)')"
    with (tmp_path / "log").open("w") as log:
        status, said = _watch([sys.executable, "-c", says], "train it", Progress("train it", log))
    assert status == 1
    assert "was killed, as is done where memory runs out; run the same again" in said


@pytest.mark.parametrize("content", ["", "[]", json.dumps({"name": "x"}), "{"])
def test_a_file_that_is_no_job_is_refused(tmp_path, content):
    path = tmp_path / "job.json"
    path.write_text(content)
    with pytest.raises(RobustsegError, match=r"job\.json describes no training .* subject, train"):
        TrainingJob.read(path)


@pytest.mark.parametrize("lacks", ["architecture", "scheme"])
def test_a_job_whose_subject_is_incomplete_is_refused(data, tmp_path, lacks):
    subject = {key: value for key, value in SEGMENTER.items() if key != lacks}
    job(data, tmp_path, subject).write(tmp_path / "job.json")
    with pytest.raises(RobustsegError, match=rf"job\.json .*its subject has no {lacks}"):
        TrainingJob.read(tmp_path / "job.json")


@pytest.mark.parametrize(("key", "value"), [("threads", 0), ("checkpoint_every_s", "10")])
def test_a_job_on_no_such_machine_is_refused(data, tmp_path, key, value):
    job(data, tmp_path, SEGMENTER).write(tmp_path / "job.json")
    content = json.loads((tmp_path / "job.json").read_text())
    content["machine"][key] = value
    (tmp_path / "job.json").write_text(json.dumps(content))
    with pytest.raises(RobustsegError, match=rf"job\.json describes no training \({key} is "):
        TrainingJob.read(tmp_path / "job.json")


def test_a_job_survives_being_written(data, tmp_path):
    training = job(data, tmp_path, SEGMENTER)
    training.write(tmp_path / "job.json")
    assert TrainingJob.read(tmp_path / "job.json") == training
    assert not torch.distributed.is_initialized()


def test_a_process_that_fails_waits_for_no_other(monkeypatch):
    """To leave the group in order is for all to do together, and the others are in an update."""
    left = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(processes, "rendezvous", lambda *_, **options: iter([(HashStore(), 0, 2)]))
    monkeypatch.setattr(distributed, "init_process_group", lambda *_, **options: None)
    monkeypatch.setattr(distributed, "get_rank", lambda: 0)
    monkeypatch.setattr(distributed, "destroy_process_group", lambda: left.append(True))
    with pytest.raises(RobustsegError, match="too little memory"), join_processes("cpu"):
        raise RobustsegError("too little memory")
    assert not left
    with join_processes("cpu") as group:
        assert group.first
    assert left
