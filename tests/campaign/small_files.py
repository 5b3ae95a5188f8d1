"""Bad small files beside the large ones: JSON, CSV, TSV, lists, splits, and kept pictures."""

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from robustseg.data.classes import read_classes
from robustseg.data.generate import generate
from robustseg.data.opening import load_split
from robustseg.downloads import verify
from robustseg.evidence.attacked_images import read_shots
from robustseg.evidence.reported import read_reported
from robustseg.page.page import costs_of, read_benchmarks
from robustseg.plan.throughput import read_throughput
from robustseg.training.launch import TrainingJob
from tests.campaign.cases import CaseClass, Verdict, judged
from tests.campaign.jobs import SETTINGS, own_run
from tests.mutations import mutated
from tests.workflow.hostile import changed
from tests.workflow.running import ROOT

DOWNLOADED = b"downloaded"


class Small(NamedTuple):
    """A small file: its name, content, what reads it, and whether it is summed."""

    name: str
    content: bytes
    read: Callable[[Path], Any]
    summed: bool = False


def prepare(folder: Path) -> list[Small]:
    """Write one file of each kind."""
    folder.mkdir()
    generate(SETTINGS["data"]["scenes"], "val", folder / "val.npz")
    own_run(folder / "run")
    (shots,) = (folder / "run" / "gallery").glob("*.npz")
    table = "table4.csv"
    throughput = {"forward_s": 0.1, "attack_s": 0.3, "update_s": 0.4}
    measured = {"device": "cpu", "batch_size": 2, "networks": {"a": throughput, "b": throughput}}
    training = {"name": "x", "subject": {"epochs": 1}, "training": {}, "training_seed": 0}
    training |= {"files": {"train": "a", "val": "b", "weights": "c", "metrics": "d"}}
    training["files"] |= {"checkpoint": "e", "backbone": None}
    training |= {"machine": {"threads": 1, "device": "cpu", "checkpoint_every_s": 1.0}}
    hashes = {"other.bin": "0" * 64, "file.bin": hashlib.sha256(DOWNLOADED).hexdigest()}
    return [
        Small("val.npz", (folder / "val.npz").read_bytes(), _pixels, summed=True),
        Small("shots.npz", shots.read_bytes(), lambda path: _arrays(read_shots(path)), summed=True),
        Small(table, (ROOT / "config/paper" / table).read_bytes(), _reported),
        Small("throughput.json", json.dumps(measured).encode(), read_throughput),
        Small("job.json", json.dumps(training).encode(), TrainingJob.read),
        Small("hashes.json", json.dumps(hashes, indent=2).encode(), _verified),
        Small("classes.txt", b"sky 0 0 255\nsea 0 255 0\nroad 9 9 9\n", read_classes),
        Small("job.tsv", b"s\th:m:s\tmax_rss\n1.5\t0:00:01\t30.1\n", _costs),
    ]


def _costs(path: Path) -> Any:
    return costs_of(read_benchmarks([path]))


def _pixels(path: Path) -> Any:
    split = load_split(path)
    images, labels, ids = split.batch(range(len(split)))
    return images.tolist(), labels.tolist(), ids, split.class_names


def _arrays(shots: Any) -> Any:
    return {name: np.asarray(array).tolist() for name, array in shots._asdict().items()}


def _reported(path: Path) -> Any:
    return len(read_reported(path.parent))


def _verified(path: Path) -> Any:
    """Look whether a file is the recorded one."""
    downloaded = path.with_name("file.bin")
    downloaded.write_bytes(DOWNLOADED)
    return verify(downloaded, record=path)


def attempt(good: list[Small], folder: Path, source: random.Random) -> Verdict:
    """Read a file of which bytes, or for JSON values, were changed."""
    small = source.choice(good)
    path = folder / small.name
    path.write_bytes(small.content)
    right = small.read(path) if small.summed else None
    if path.suffix == ".json" and source.random() < 0.6:
        path.write_text(json.dumps(changed(json.loads(small.content), source), default=str))
    else:
        path.write_bytes(mutated(small.content, source))
    return judged(
        lambda: small.read(path),
        small.name,
        lambda found: "other content" if small.summed and found != right else None,
    )


CLASSES = [CaseClass("small_files", "inputs", prepare, attempt, weight=1.5)]
