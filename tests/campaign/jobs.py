"""The project's jobs at their smallest, each with all that it reads: to be killed, or starved."""

import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from robustseg.workflow_job import job
from robustseg.cli import main
from robustseg.data.generate import generate
from robustseg.data.prepare import prepare
from robustseg.data.unpacking import unpack
from robustseg.downloads import Expected, fetch
from robustseg.evaluation.evaluate import evaluate
from robustseg.evidence.schema import hash_settings
from robustseg.own_run import report
from robustseg.progress import Progress, Silence
from robustseg.training.launch import TrainingJob, run
from robustseg.training.train import Files, Machine
from tests.cli.test_cli import MODEL
from tests.data import archives
from tests.serving import serve
from tests.workflow.running import MATCHBOX, ROOT

sys.path[:0] = [str(ROOT / "scripts")]  # what a rule starts
from attack_model import write_attack_evidence  # noqa: E402
from doubt_model import write_doubt_evidence  # noqa: E402
from evaluate_clean import write_clean_evidence  # noqa: E402

SETTINGS: dict[str, Any] = yaml.safe_load(MATCHBOX.read_text())
IDENTITY = {"dataset": "scenes", "model": "pir_at_5", "training_seed": 0}
CONTENT = bytes(range(256)) * 8 * 1024
"""2 MiB to be downloaded."""
COMMAND = ["mymodels.py:net", "--data", "images", "masks", "--classes", "3", "--eps", "4"]

Work = Callable[[Path, Path, Progress], Any]


@dataclass(frozen=True)
class Job:
    """A job of the project.

    Attributes:
        work: does it, with inputs from the first folder and results in the second.
        prepare: makes its inputs in a folder.
        begin: lays what must be there before into the folder of its results.
        spare_bytes: that it leaves free on a disk.
        bare: whether it says its errors itself, as a command does.
    """

    work: Work
    prepare: Callable[[Path], Any] = lambda _: None
    begin: Callable[[Path, Path], Any] = lambda inputs, out: None
    spare_bytes: int = 0
    bare: bool = False

    def run(self, inputs: Path, out: Path) -> None:
        """Do the job as an entry script does it, from the folder that its results lie in.

        Records name that folder, and so it has the same name each time.
        """
        os.chdir(out.parent)
        out = Path(out.name)
        if self.bare:
            sys.exit(self.work(inputs, out, Silence()))
        with job("the job", "log") as progress:
            self.work(inputs, out, progress)


def _data(inputs: Path) -> None:
    for kind in ("scenes", "shapes"):
        for split in ("train", "val"):
            generate(SETTINGS["data"][kind], split, inputs / kind / f"{split}.npz")


def _training(inputs: Path, out: Path, kind: str, subject: Mapping[str, Any]) -> TrainingJob:
    files = Files(
        train=inputs / kind / "train.npz",
        val=inputs / kind / "val.npz",
        weights=out / "weights.safetensors",
        metrics=out / "metrics.parquet",
        checkpoint=out / "checkpoint.pt",
        backbone=inputs / "backbone" / "weights.safetensors" if kind == "scenes" else None,
    )
    recipe = SETTINGS["training"]["upernet" if kind == "scenes" else "backbone"]
    return TrainingJob("train", subject, recipe, files, 0, Machine(checkpoint_every_s=0.0))


def _pretrain(inputs: Path, out: Path, progress: Progress) -> None:
    subject = SETTINGS["backbones"]["convnext_robust"]
    run(_training(inputs, out, "shapes", subject), 1, progress)


def _train(inputs: Path, out: Path, progress: Progress) -> None:
    subject = SETTINGS["models"]["pir_at_5"] | {"architecture": "convnext_demo"}
    run(_training(inputs, out, "scenes", subject), 1, progress)


def _backbone(inputs: Path) -> None:
    _data(inputs)
    _pretrain(inputs, inputs / "backbone", Silence())


def _weights(inputs: Path) -> None:
    _backbone(inputs)
    _train(inputs, inputs / "model", Silence())


def _evaluate(inputs: Path, out: Path, progress: Progress) -> None:
    write_clean_evidence(
        str(inputs / "model" / "weights.safetensors"),
        str(inputs / "scenes" / "val.npz"),
        str(out / "clean.parquet"),
        own=None,
        identity=IDENTITY,
        config_hash=hash_settings("evaluate"),
        batch_size=1,
        device="cpu",
        progress=progress,
    )


def _common(inputs: Path, suite: str, progress: Progress) -> dict[str, Any]:
    return {
        "own": None,
        "suite": {"kind": "white_box", "step_size": None} | SETTINGS["attacks"]["suites"][suite],
        "sources": {},
        "class_pixels": None,
        "radii_255": [4.0],
        "identity": IDENTITY | {"suite": suite},
        "config_hash": hash_settings(suite),
        "batch_size": 1,
        "device": "cpu",
        "progress": progress,
    }


def _attack(inputs: Path, out: Path, progress: Progress) -> None:
    write_attack_evidence(
        str(inputs / "model" / "weights.safetensors"),
        str(inputs / "scenes" / "val.npz"),
        str(out / "sea.parquet"),
        seed=0,
        shard=(0, 1, 1),
        precision="fp32",
        compiled=False,
        **_common(inputs, "sea", progress),
    )


def _evidence(inputs: Path) -> None:
    _weights(inputs)
    _evaluate(inputs, inputs / "evidence", Silence())
    _attack(inputs, inputs / "evidence", Silence())


def _doubt(inputs: Path, out: Path, progress: Progress) -> None:
    evidence = inputs / "evidence"
    write_doubt_evidence(
        str(inputs / "model" / "weights.safetensors"),
        str(inputs / "scenes" / "val.npz"),
        [str(evidence / "clean.parquet"), str(evidence / "sea.parquet")],
        str(out / "doubt.parquet"),
        known_255=[4.0],
        **_common(inputs, "doubt", progress),
    )


def own_data(inputs: Path) -> None:
    """Write photographs of colours, their masks and a model, as somebody may have them."""
    import numpy as np
    from PIL import Image

    inputs.mkdir(parents=True, exist_ok=True)
    (inputs / "mymodels.py").write_text(MODEL)
    generator = np.random.default_rng(0)
    for number in range(3):
        pixels = generator.integers(0, 256, (10, 12, 3), np.uint8)
        for folder, content in (("images", pixels), ("masks", pixels.argmax(2).astype(np.uint8))):
            (inputs / folder).mkdir(exist_ok=True)
            Image.fromarray(content).save(inputs / folder / f"photo{number}.png")


def own_run(out: Path, progress: bool = False) -> None:
    """Attack a tiny model on tiny images by the library's own call."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = torch.nn.Conv2d(3, 3, 3, padding=1)
        pairs = [(torch.rand(3, 8, 8), torch.randint(3, (8, 8))) for _ in range(3)]
    evaluate(
        model, pairs, 4.0, folder=out, iterations=3, batch_size=1, pictures=1, progress=progress
    )


def _attack_library(inputs: Path, out: Path, progress: Progress) -> None:
    own_run(out, progress=True)


def _attack_command(inputs: Path, out: Path, progress: Progress) -> int:
    out = out.absolute()
    os.chdir(inputs)
    command = ["attack", *COMMAND, "--iterations", "3", "--batch-size", "1"]
    return main([*command, "--pictures", "1", "--out", str(out)])


def _attacked(inputs: Path) -> None:
    own_data(inputs)
    before = Path.cwd()
    try:
        status = _attack_command(inputs, inputs / "run", Silence())
    finally:
        os.chdir(before)
    assert status == 0


def _lay_run(inputs: Path, out: Path) -> None:
    shutil.copytree(inputs / "run", out, dirs_exist_ok=True)


def _doubt_command(inputs: Path, out: Path, progress: Progress) -> int:
    return main(["doubt", str(out), "--images", "2"])


def _page(inputs: Path, out: Path, progress: Progress) -> None:
    report(out)


def _serve(inputs: Path) -> None:
    """Serve a file, slowly, from a process of its own that ends with its group."""
    (inputs / "served").mkdir(parents=True)
    (inputs / "served" / "file.bin").write_bytes(CONTENT)
    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        with os.fdopen(reading) as file:
            (inputs / "url").write_text(file.readline().strip())
        return
    with suppress(BaseException), serve(inputs / "served") as server:
        server.pause_s = 0.002
        os.write(writing, f"{server.url('file.bin')}\n".encode())
        server.stopping.wait()
    os._exit(0)


def _fetch(inputs: Path, out: Path, progress: Progress) -> None:
    expected = Expected(hashlib.sha256(CONTENT).hexdigest())
    fetch(out / "file.bin", [(inputs / "url").read_text()], expected, progress=progress)


def _archives(inputs: Path) -> None:
    inputs.mkdir(parents=True)
    archives.write_tar(inputs / "voc.tgz", archives.voc_files(), "w:gz")


def _unpack(inputs: Path, out: Path, progress: Progress) -> None:
    unpack(inputs / "voc.tgz", out / "voc", limit_bytes=10**7, progress=progress)


def _photographs(inputs: Path) -> None:
    archives.write_files(inputs / "root", archives.ade20k_files())


def _prepare(inputs: Path, out: Path, progress: Progress) -> None:
    from robustseg.config.data import Ade20k

    settings = Ade20k(kind="ade20k", check_counts=False, crop_px=32, base_px=40)
    outputs = {name: out / f"{name}.parquet" for name in ("manifest", "train", "val")}
    prepare(settings.model_dump(), inputs / "root", {"ade20k": ""}, outputs, 1, progress)


def _generate(inputs: Path, out: Path, progress: Progress) -> None:
    generate(SETTINGS["data"]["scenes"], "train", out / "train.npz")


JOBS: dict[str, Job] = {
    "generate": Job(_generate),
    "pretrain": Job(_pretrain, _data),
    "train": Job(_train, _backbone),
    "evaluate": Job(_evaluate, _weights),
    "attack": Job(_attack, _weights),
    "attack_library": Job(_attack_library),
    "attack_command": Job(_attack_command, own_data, bare=True),
    "doubt": Job(_doubt, _evidence),
    "doubt_command": Job(_doubt_command, _attacked, _lay_run, bare=True),
    "fetch": Job(_fetch, _serve, spare_bytes=64 * 2**20),
    "unpack": Job(_unpack, _archives),
    "prepare": Job(_prepare, _photographs),
    "page": Job(_page, _attacked, _lay_run),
}
"""By name, as in the table of counts."""


@dataclass
class Ready:
    """A job with its inputs, and what it leaves when nothing disturbs it."""

    job: Job
    inputs: Path
    tree: dict[str, str] = field(default_factory=dict)
    steps: int = 0
    seconds: float = 0.0
