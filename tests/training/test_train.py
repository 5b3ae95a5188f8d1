"""Whole trainings of tiny sets: what they write, that they learn, that a kill changes nothing."""

import hashlib
import io
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import robustseg
from robustseg import commit
from robustseg.data.generate import generate
from robustseg.errors import RobustsegError
from robustseg.files import sha256
from robustseg.models.checkpoints import read_weights
from robustseg.progress import Progress
from robustseg.training import checkpoint
from robustseg.training.batches import Loader, epoch_passes, flip
from robustseg.training.checkpoint import load_checkpoint, save_checkpoint
from robustseg.training.train import (
    METRICS_SCHEMA,
    Files,
    Machine,
    train_classifier,
    train_segmentation,
)
from tests.campaign.disks import can_mount, small_disk

TRAINING = {
    "optimizer": "adamw",
    "learning_rate": 3e-3,
    "weight_decay": 1e-2,
    "betas": [0.9, 0.999],
    "batch_size": 8,
    "warmup": 0.1,
    "power": 1.0,
    "step_size": 0.01,
    "auxiliary_weight": 0.4,
}
BACKBONE = {"architecture": "convnext_demo", "epochs": 1}
MODEL = {"decoder": "upernet_demo", "epochs": 2}
PIR_AT = MODEL | {"scheme": "pir_at", "eps_255": 4, "steps": 1}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Folder with 32x32 sets: 24 training images, 8 for validation, and a backbone."""
    folder = tmp_path_factory.mktemp("data")
    settings = {"size_px": 32, "train_images": 24, "val_images": 8, "seed": 0}
    for kind in ("scenes", "shapes"):
        for split in ("train", "val"):
            generate(settings | {"kind": kind}, split, folder / kind / f"{split}.npz")
    train_classifier(BACKBONE, TRAINING, files(folder, folder, "shapes"), 0, quiet())
    (folder / "weights.safetensors").rename(folder / "backbone.safetensors")
    return folder


def files(data, folder, kind="scenes"):
    return Files(
        train=data / kind / "train.npz",
        val=data / kind / "val.npz",
        weights=folder / "weights.safetensors",
        metrics=folder / "metrics.parquet",
        checkpoint=folder / "checkpoint.pt",
        backbone=data / "backbone.safetensors" if kind == "scenes" else None,
    )


def quiet():
    return Progress("test", every_s=1e9)


def train(data, folder, model=PIR_AT, seed=0, machine=Machine(), **changes):  # noqa: B008
    """Train a tiny model and return the hash of its tensors (the file also holds the settings)."""
    made = files(data, folder)
    train_segmentation(model, TRAINING | changes, "convnext_demo", made, seed, quiet(), machine)
    return tensor_hash(made.weights)


def tensor_hash(path):
    tensors, _ = read_weights(path)
    content = b"".join(tensors[name].numpy().tobytes() for name in sorted(tensors))
    return hashlib.sha256(content).hexdigest()


def test_classifier_learns_and_writes_its_metrics(data, tmp_path):
    made = files(data, tmp_path, "shapes")
    train_classifier(BACKBONE | {"epochs": 12}, TRAINING, made, 0, quiet())
    rows = pq.read_table(made.metrics)
    assert rows.schema.equals(METRICS_SCHEMA)
    assert rows["epoch"].to_pylist() == list(range(1, 13))
    assert rows["loss"][-1].as_py() < 0.7 * rows["loss"][0].as_py()
    assert set(rows["miou"].to_pylist() + rows["robust_accuracy"].to_pylist()) == {None}
    assert read_weights(made.weights)[1]["architecture"]["kind"] == "classifier"
    assert not made.checkpoint.exists()


def test_a_small_training_split_is_not_outweighed_by_its_validation(data, tmp_path):
    few = data / "few.npz"
    settings = {"kind": "shapes", "size_px": 32, "train_images": 8, "val_images": 8, "seed": 0}
    generate(settings, "train", few)
    made = replace(files(data, tmp_path, "shapes"), train=few)
    train_classifier(BACKBONE | {"epochs": 8}, TRAINING, made, 0, quiet())
    assert pq.read_table(made.metrics)["epoch"].to_pylist() == [3, 6, 8]


def test_robust_classifier_reports_robust_accuracy(data, tmp_path):
    made = files(data, tmp_path, "shapes")
    robust = BACKBONE | {"eps_255": 255, "steps": 1, "eps_ramp": 0.5}
    train_classifier(robust, TRAINING | {"step_size": 1.0}, made, 0, quiet())
    row = pq.read_table(made.metrics).to_pylist()[0]
    assert 0 <= row["robust_accuracy"] <= row["accuracy"] <= 1


def test_segmentation_learns(data, tmp_path):
    train(data, tmp_path, MODEL | {"scheme": "clean", "epochs": 20})
    rows = pq.read_table(tmp_path / "metrics.parquet").to_pylist()
    assert rows[-1]["loss"] < 0.7 * rows[0]["loss"]
    assert rows[-1]["accuracy"] > 0.3
    assert 0 < rows[-1]["miou"] < rows[-1]["accuracy"]
    assert rows[-1]["robust_miou"] is None


def test_same_settings_same_files_and_every_setting_matters(data, tmp_path):
    model = PIR_AT | {"epochs": 1}
    base = train(data, tmp_path, model)
    metrics = sha256(tmp_path / "metrics.parquet")
    torch.rand(7)  # the global random state plays no part
    assert train(data, tmp_path, model) == base
    assert sha256(tmp_path / "metrics.parquet") == metrics
    others = [
        train(data, tmp_path, model, seed=1),
        train(data, tmp_path, model | {"scheme": "clean"}),
        train(data, tmp_path, model | {"scheme": "half_at"}),
        train(data, tmp_path, model | {"steps": 2}),
        train(data, tmp_path, model | {"eps_255": 2}),
        train(data, tmp_path, model, auxiliary_weight=0.0),
        train(data, tmp_path, model, weight_decay=0.1),
        train(data, tmp_path, model, drop_path=0.5),
        train(data, tmp_path, model, images_per_pass=4),
    ]
    assert len({base, *others}) == len(others) + 1


@pytest.mark.parametrize(("scheme", "attacked"), [("clean", 0), ("half_at", 4), ("at", 8)])
def test_the_scheme_says_how_much_of_a_batch_is_attacked(
    data, tmp_path, monkeypatch, scheme, attacked
):
    sizes = []

    def perturb(model, images, *rest, **options):
        sizes.append(len(images))
        return images

    monkeypatch.setattr("robustseg.training.loop.perturb", perturb)
    train(data, tmp_path, PIR_AT | {"scheme": scheme, "epochs": 1})
    assert sizes == ([attacked] * 3 + [8] if attacked else [])  # 3 batches, then validation


def test_the_radius_ramp_reaches_the_attack(data, tmp_path, monkeypatch):
    radii = []

    def perturb(model, images, labels, attack, **options):
        radii.append(attack.epsilon * 255)
        return images

    monkeypatch.setattr("robustseg.training.loop.perturb", perturb)
    robust = BACKBONE | {"eps_255": 8, "steps": 1, "eps_ramp": 1.0}
    train_classifier(robust, TRAINING, files(data, tmp_path, "shapes"), 0, quiet())
    assert radii == pytest.approx([0, 8 / 3, 16 / 3, 8])


def test_at_and_pir_at_differ_in_the_backbone_alone(data, tmp_path):
    weights = {
        scheme: read_weights_after(train, data, tmp_path, PIR_AT | {"scheme": scheme})
        for scheme in ("at", "pir_at")
    }
    for key, tensor in weights["at"].items():
        assert torch.equal(tensor, weights["pir_at"][key])


def read_weights_after(run, data, folder, model):
    run(data, folder, model)
    return read_weights(folder / "weights.safetensors")[0]


RUN = """
import json, sys
from pathlib import Path
from robustseg.progress import Progress
from robustseg.training.train import Files, Machine, train_segmentation
model, training, paths = json.loads(sys.argv[1])
files = Files(**{name: Path(path) for name, path in paths.items()})
machine = Machine(checkpoint_every_s=0.0)
train_segmentation(model, training, "convnext_demo", files, 0, Progress("test"), machine)
"""


def start(data, folder, model):
    """Start a training in a process of its own that writes a checkpoint after every batch."""
    import json

    paths = {name: str(path) for name, path in vars(files(data, folder)).items()}
    environment = os.environ | {"PYTHONPATH": str(Path(robustseg.__file__).parents[1])}
    arguments = json.dumps([model, TRAINING, paths])
    return subprocess.Popen(
        [sys.executable, "-c", RUN, arguments], env=environment, stderr=subprocess.PIPE, text=True
    )


def test_a_killed_training_ends_in_the_same_weights(data, tmp_path):
    model = PIR_AT | {"epochs": 5}
    (tmp_path / "whole").mkdir()
    expected = train(data, tmp_path / "whole", model)
    killed = start(data, tmp_path, model)
    wait_for(tmp_path / "checkpoint.pt", killed, changes=3)
    os.kill(killed.pid, signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert not (tmp_path / "weights.safetensors").exists()
    place = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["state"]
    assert 0 < place["epoch"] * 3 + place["batch"] < 15
    second = start(data, tmp_path, model)
    _, said = second.communicate(timeout=60)
    assert second.returncode == 0, said
    assert "continues from" in said
    assert tensor_hash(tmp_path / "weights.safetensors") == expected
    assert sha256(tmp_path / "weights.safetensors") == sha256(
        tmp_path / "whole" / "weights.safetensors"
    )
    assert sha256(tmp_path / "metrics.parquet") == sha256(tmp_path / "whole" / "metrics.parquet")


def wait_for(path, process, changes):
    """Wait until a file has been replaced a few times."""
    seen = set()
    deadline = time.monotonic() + 150
    while len(seen) < changes:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        if path.exists():
            seen.add(path.stat().st_mtime_ns)
        time.sleep(0.002)


class KilledError(Exception):
    pass


class Killer(Progress):
    """Stops a training after some batches, as a signal would between two updates."""

    def __init__(self, after):
        super().__init__("test", every_s=1e9)
        self.after, self.said = after, []

    def say(self, text):
        self.said.append(text)

    def track(self, items, total, unit, before=0):
        for done, item in enumerate(items, start=1):
            yield item
            if done == self.after:
                raise KilledError


@pytest.mark.parametrize("after", [1, 3, 4])
def test_it_continues_in_and_between_epochs(data, tmp_path, after):
    expected = train(data, tmp_path)
    made, machine = files(data, tmp_path), Machine(checkpoint_every_s=0.0)
    metrics = sha256(made.metrics)
    made.weights.unlink()
    with pytest.raises(KilledError):
        train_segmentation(PIR_AT, TRAINING, "convnext_demo", made, 0, Killer(after + 1), machine)
    assert made.checkpoint.exists()
    assert train(data, tmp_path) == expected
    assert sha256(made.metrics) == metrics


def test_what_was_done_before_counts_in_the_meter(data, tmp_path, capsys):
    made = interrupted(data, tmp_path)
    progress = Progress("test", every_s=0)
    train_segmentation(PIR_AT, TRAINING, "convnext_demo", made, 0, progress)
    places = [int(n) for n in re.findall(r"(\d)/6 \[", capsys.readouterr().err)]
    assert places == [4, 5, 6]


def interrupted(data, folder, model=PIR_AT):
    """Leave a checkpoint behind and return the files."""
    made = files(data, folder)
    with pytest.raises(KilledError):
        train_segmentation(
            model, TRAINING, "convnext_demo", made, 0, Killer(3), Machine(checkpoint_every_s=0.0)
        )
    return made


def test_a_checkpoint_of_other_settings_is_not_used_and_that_is_said(data, tmp_path):
    (tmp_path / "other").mkdir()
    expected = train(data, tmp_path / "other")
    made, listener = interrupted(data, tmp_path, PIR_AT | {"eps_255": 8}), Killer(after=-1)
    train_segmentation(PIR_AT, TRAINING, "convnext_demo", made, 0, listener)
    assert any("other settings" in line for line in listener.said)
    assert tensor_hash(made.weights) == expected


def test_a_checkpoint_of_another_commit_is_used_and_that_is_said(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pt"
    monkeypatch.setattr(checkpoint, "git_commit", lambda: "that")
    save_checkpoint(path, {"w": torch.zeros(1)}, "a")
    for this, said in (
        ("this", f"continues from {path}, which commit that left, and this code is this; remove"),
        ("that", f"continues from {path}"),
    ):
        monkeypatch.setattr(commit, "git_commit", lambda this=this: this)
        state, sentence = load_checkpoint(path, "a")
        assert state is not None
        assert sentence.removesuffix(" it to train anew") == said


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_truncated_checkpoint_stops_with_one_sentence_and_stays(data, tmp_path, share):
    made = interrupted(data, tmp_path)
    os.truncate(made.checkpoint, int(made.checkpoint.stat().st_size * share))
    with pytest.raises(RobustsegError, match=r"checkpoint\.pt is truncated.*delete it") as caught:
        train(data, tmp_path)
    assert "\n" not in str(caught.value)
    assert made.checkpoint.exists()


CHANGES = {
    "it is at epoch -1": lambda state: state.update(epoch=-1),
    "its entries are not": lambda state: state.pop("rows"),
    "its losses are no finite numbers": lambda state: state.update(losses=[float("nan")]),
    "its rows are no metrics": lambda state: state.update(rows=[{"epoch": 1}]),
    "its weights are those of another network": lambda state: state["model"].popitem(),
    "not finite": lambda state: next(iter(state["model"].values())).fill_(float("nan")),
    "its optimizer has no state": lambda state: state["optimizer"].update(state={}),
}


@pytest.mark.parametrize("why", CHANGES)
def test_a_checkpoint_that_no_training_leaves_is_refused(data, tmp_path, why):
    made = interrupted(data, tmp_path)
    content = torch.load(made.checkpoint, weights_only=True)
    CHANGES[why](content["state"])
    torch.save(content, made.checkpoint)
    with pytest.raises(RobustsegError, match=rf"no checkpoint of this training \(.*{why}"):
        train(data, tmp_path)


class CutOff(io.BytesIO):
    """A file that Ctrl-C meets in the middle of a write."""

    def write(self, some):
        if self.tell() > 1000:
            raise KeyboardInterrupt
        return super().write(some)


def test_ctrl_c_while_a_checkpoint_is_written_is_ctrl_c(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"w": torch.zeros(1)}, "a")
    monkeypatch.setattr(Path, "open", lambda path, mode: CutOff())
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, {"w": [torch.zeros(1000), torch.zeros(1000)]}, "a")
    monkeypatch.undo()
    assert load_checkpoint(path, "a")[0]["w"].shape == (1,)
    assert list(tmp_path.iterdir()) == [path]


WRITE_MUCH = """
import resource, signal, sys
import torch
from robustseg.errors import RobustsegError
from robustseg.training.checkpoint import load_checkpoint, save_checkpoint
path, limit = sys.argv[1], int(sys.argv[2])
save_checkpoint(path, {"w": torch.zeros(1000)}, "a")
if limit:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
for path in (path, path + ".new"):
    try:
        save_checkpoint(path, {"w": [torch.zeros(200_000), torch.zeros(9)]}, "a")
    except RobustsegError as error:
        print(error)
assert load_checkpoint(sys.argv[1], "a")[0]["w"].shape == (1000,)
"""


@pytest.mark.parametrize("how", ["full disk", "file size limit"])
def test_a_full_disk_is_one_sentence_and_keeps_the_old_checkpoint(tmp_path, how):
    if how == "full disk" and not can_mount():
        pytest.skip("a small file system cannot be mounted here; the size limit stands in for it")
    folder = tmp_path / "disk"
    path = folder / "checkpoint.pt"
    reason = "No space left on device" if how == "full disk" else "File too large"
    with small_disk(folder, 300_000) if how == "full disk" else nullcontext(folder.mkdir()):
        limit = "100000" if how == "file size limit" else "0"
        command = [sys.executable, "-c", WRITE_MUCH, str(path), limit]
        environment = os.environ | {"PYTHONPATH": str(Path(robustseg.__file__).parents[1])}
        run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        assert run.stdout.splitlines() == [
            f"could not write {name}: {reason}; free some space or check the permissions, then "
            "run again"
            for name in (path, f"{path}.new")
        ]
        assert list(folder.iterdir()) == [path]


def test_a_checkpoint_that_would_run_code_is_not_opened(data, tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "ran"),))

    torch.save({"settings": Evil(), "state": {}}, tmp_path / "checkpoint.pt")
    with pytest.raises(RobustsegError, match=r"checkpoint\.pt"):
        train(data, tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_loss_that_is_not_finite_stops_with_a_sentence(data, tmp_path):
    with pytest.raises(RobustsegError, match=r"loss is nan in epoch 1, batch \d.* learning_rate"):
        train(data, tmp_path, learning_rate=1e30, warmup=0.0)
    assert not (tmp_path / "weights.safetensors").exists()


def test_fewer_images_than_a_batch_is_said(data, tmp_path):
    with pytest.raises(RobustsegError, match="24 images, fewer than the batch_size 32"):
        train(data, tmp_path, batch_size=32)


class Numbered:
    """A set whose images hold their own number, and its mirror image on the other side."""

    def __len__(self):
        return 11

    def batch(self, indices):
        images = torch.tensor(indices).float().view(-1, 1, 1, 1).repeat(1, 3, 1, 2)
        images[..., 1] += 100
        return images, images[:, 0].long(), [str(index) for index in indices]


def epoch_batches(dataset, batch_size, training_seed, epoch, first=0):
    """Return images and labels of an epoch, loaded by three threads."""
    passes = epoch_passes(dataset, batch_size, batch_size, training_seed, epoch, first)
    return [loaded[1:] for loaded in Loader(dataset, training_seed, threads=3).load(passes)]


def test_an_epoch_visits_each_image_once_in_an_order_of_its_own():
    first, again, second = (
        [images.amin((1, 2, 3)).tolist() for images, _ in epoch_batches(Numbered(), 4, 0, epoch)]
        for epoch in (0, 0, 1)
    )
    assert first == again != second
    assert [len(batch) for batch in first] == [4, 4]
    assert len(set(first[0] + first[1])) == 8
    resumed = [images for images, _ in epoch_batches(Numbered(), 4, 0, 0, first=1)]
    assert resumed[0].amin((1, 2, 3)).tolist() == first[1]


def test_image_and_labels_are_mirrored_together_half_of_the_time():
    mirrored = []
    for epoch in range(40):
        for images, labels in epoch_batches(Numbered(), 4, 0, epoch):
            assert torch.equal(images[:, 0].long(), labels)
            mirrored += (images[:, 0, 0, 0] >= 100).tolist()
    assert 0.4 < np.mean(mirrored) < 0.6


def test_flip_mirrors_left_and_right_of_the_chosen_only():
    values = torch.arange(12).view(2, 2, 3)
    result = flip(values, torch.tensor([False, True]))
    assert torch.equal(result[0], values[0])
    assert result[1].tolist() == [[8, 7, 6], [11, 10, 9]]
    assert torch.equal(flip(torch.tensor([3, 4]), torch.tensor([True, True])), torch.tensor([3, 4]))
