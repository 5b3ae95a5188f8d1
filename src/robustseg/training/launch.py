"""A training as plain data, run here or in several processes that torchrun starts."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import FrameType
from typing import Any

from robustseg.errors import RobustsegError
from robustseg.files import write_text
from robustseg.progress import Progress
from robustseg.text_files import read_json
from robustseg.training.train import Files, Machine, train_classifier, train_segmentation

ERROR = "error: "
"""Begins the sentence that a process ends with, after its name."""
KILLED = r"\s*exitcode\s*: -9\b"
"""What torchrun says of a process that was ended by SIGKILL, which says nothing itself."""


@dataclass(frozen=True)
class TrainingJob:
    """All that a training needs.

    Attributes:
        name: in front of every line that it prints.
        subject: a config's `models` entry with the `architecture` of its backbone, or a `backbones`
            entry.
        training: its `training` entry.
        files: inputs and outputs.
        training_seed: seed of initialisation, data order and augmentation.
        machine: where each of its processes runs.
    """

    name: str
    subject: Mapping[str, Any]
    training: Mapping[str, Any]
    files: Files
    training_seed: int
    machine: Machine

    def write(self, path: str | Path) -> None:
        """Write the job as JSON.

        Raises:
            RobustsegError: the file cannot be written.
        """
        write_text(path, json.dumps(asdict(self), default=str, indent=2))

    @classmethod
    def read(cls, path: str | Path) -> "TrainingJob":
        """Read a job from JSON.

        Raises:
            RobustsegError: no such file, not JSON, or keys missing or unknown.
        """
        try:
            content = read_json(path)
            paths = {name: path and Path(path) for name, path in content["files"].items()}
            subject = content["subject"]
            _needs(subject, "architecture", *(["scheme"] if "decoder" in subject else []))
            return cls(
                **content | {"files": Files(**paths), "machine": Machine(**content["machine"])}
            )
        except (RobustsegError, KeyError, TypeError, AttributeError) as error:
            keys = ", ".join(field.name for field in fields(cls))
            raise RobustsegError(
                f"{path} describes no training ({error}); it must be JSON with {keys}"
            ) from error

    def train(self, progress: Progress) -> None:
        """Train, together with the other processes that torchrun has started, if any.

        Raises:
            RobustsegError: see `train_segmentation`.
        """
        rest = self.files, self.training_seed, progress, self.machine
        if "decoder" in self.subject:
            train_segmentation(self.subject, self.training, self.subject["architecture"], *rest)
        else:
            train_classifier(self.subject, self.training, *rest)


def _needs(subject: Mapping[str, Any], *keys: str) -> None:
    """Refuse a subject that lacks one of some keys, which are names."""
    for key in keys:
        if not isinstance(subject.get(key), str):
            raise RobustsegError(f"its subject has no {key}")


def run(job: TrainingJob, processes: int, progress: Progress) -> None:
    """Train in this process, or in several, one a GPU.

    Args:
        job: what to train.
        processes: how many; they share the passes of each batch.
        progress: where to say how far it is; what else the processes print goes to its log.

    Raises:
        RobustsegError: see `train_segmentation`, or a process that died.
    """
    if processes == 1:
        job.train(progress)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "job.json")
        job.write(path)
        status, sentence = _watch(_torchrun(path, processes), job.name, progress)
    if status:
        raise RobustsegError(
            sentence or f"a process of the training ended with status {status}; the log says more"
        )


def _torchrun(path: Path, processes: int) -> list[str]:
    """Return the command that starts several processes of this library."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return [*launcher, f"--nproc-per-node={processes}", "-m", "robustseg.training", str(path)]


def _watch(command: list[str], name: str, progress: Progress) -> tuple[int, str]:
    """Run a command, pass its lines and SIGTERM on, and return its status and first error.

    If this process is killed, the lines have nobody to go to and the others end for that.
    """
    library = str(Path(__file__).parents[2])
    search = os.pathsep.join(filter(None, [library, os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": search}
    prefix, sentence = f"[{name}] ", ""
    with (
        subprocess.Popen(
            command, env=environment, stderr=subprocess.PIPE, text=True, errors="replace"
        ) as process,
        _sigterm_to(process) as asked,
    ):
        assert process.stderr is not None
        for line in process.stderr:
            said = line.rstrip("\n").removeprefix(prefix)
            if not line.startswith(prefix):
                progress.note(line.rstrip("\n"))
                if not sentence and re.match(KILLED, line):
                    sentence = (
                        "one of its processes was killed, as is done where memory runs out; run "
                        "the same again to continue, with more memory if that was it"
                    )
            elif not said.startswith(ERROR):
                progress.say(said)
            else:
                sentence = sentence or said.removeprefix(ERROR)
    if asked.is_set() and not sentence:
        sentence = "stopped by SIGTERM before the training had begun; run the same again"
    return process.returncode, sentence


@contextmanager
def _sigterm_to(process: "subprocess.Popen[str]") -> Iterator[threading.Event]:
    """Hand SIGTERM on to a process, which then ends by itself; the event says that it came."""
    asked = threading.Event()

    def hand_on(number: int, frame: FrameType | None) -> None:
        asked.set()
        process.terminate()

    previous = signal.signal(signal.SIGTERM, hand_on)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, previous)
