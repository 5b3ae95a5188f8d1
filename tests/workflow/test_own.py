"""A model of one's own through the workflow, from config/own.yaml; and the page that it ends in."""

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from robustseg.attacks.spec import AttackSpec
from robustseg.config import load_config
from robustseg.data.folder import open_folder
from robustseg.errors import RobustsegError
from robustseg.evaluation.over_batches import carried_over, rows_of_dataset
from robustseg.evidence.reading import read_evidence, read_opinions
from robustseg.models.references import own_model
from tests.workflow.running import ROOT, planned, snakemake

pytestmark = pytest.mark.timeout(300)

MODEL = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.head = torch.nn.Conv2d(3, 4, 1)

    def forward(self, images):
        return {"out": self.head(images)}
"""


CARRIED = {
    "kind": "transfer", "sources": ["other"], "losses": ["ce"], "schedules": ["constant"],
    "iterations": [5],
}  # fmt: skip


def settings() -> dict:
    config = yaml.safe_load((ROOT / "config" / "own.yaml").read_text())
    config["models"]["net"] |= {"load": "mymodels.py:Net", "normalise": "half"}
    config["models"]["net"]["classes"] = [0, 1, 2, None]
    config["attacks"]["suites"]["sea"]["iterations"] = [4]
    config["attacks"]["suites"]["doubt"] |= {"iterations": 4, "sources": ["other"]}
    config["gallery"] |= {"images": 2, "iterations": 4}
    other = {"load": "mymodels.py:Net", "weights": "other.pth", "scale": 2.0}
    config["models"]["other"] = {"kind": "own", "dataset": "streets", **other}
    config["attacks"]["suites"]["carried"] = CARRIED
    config["tables"]["each_attack"] = [{"model": "net", "suites": ["carried"], "eps_255": [8]}]
    return config


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    folder = tmp_path_factory.mktemp("own")
    random = np.random.default_rng(0)
    for number in range(3):
        pixels = random.integers(0, 256, (32, 40, 3), np.uint8)
        mask = pixels.argmax(2).astype(np.uint8)
        mask[:2] = 255
        for part, array in (("images", pixels), ("masks", mask)):
            (folder / "val" / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(folder / "val" / part / f"{number}.png")
    (folder / "mymodels.py").write_text(MODEL)
    (folder / "classes.txt").write_text("red\ngreen\nblue\n")
    weight = torch.cat([torch.eye(3), torch.zeros(1, 3)])[:, :, None, None]
    torch.save(
        {"head.weight": 4 * weight, "head.bias": torch.tensor([0, 0, 0, -2.0])}, folder / "w.pth"
    )
    torch.save(
        {"head.weight": weight.flip(1), "head.bias": torch.tensor([0, 0.5, 0, 0])},
        folder / "other.pth",
    )
    (folder / "own.yaml").write_text(yaml.safe_dump(settings()))
    done = snakemake(
        "--cores", "2", "--configfile", folder / "own.yaml", "--", "all", folder=folder
    )
    assert done.returncode == 0, done.stdout
    return folder


def test_from_four_lines_to_tables_and_a_page(finished: Path) -> None:
    table = pd.read_csv(finished / "results" / "mine" / "tables" / "robustness.csv")
    scores = table[table["metric"] == "acc"].set_index(["attack", "eps_255"])["value"]
    assert 90 < scores["clean", 0] <= 100
    assert scores["worst", 8] < scores["worst", 4] < scores["clean", 0]
    page = (finished / "results" / "mine" / "report" / "index.html").read_text()
    assert "How robust is it?" in page
    assert "Which of the paper" not in page
    assert "Reproduces" not in page


def test_its_figures_are_doubted(finished: Path) -> None:
    """On all images where there are fewer than asked for, at both radii, with another model."""
    folder = finished / "results" / "mine"
    page = (folder / "report" / "index.html").read_text()
    for eps_255 in (4, 8):
        file = folder / f"attacks/doubt/net/seed0/eps{eps_255}/seed0-shard0.parquet"
        (opinion,) = read_opinions(file)
        assert opinion.images == 3
        status = {one.check: one.status for one in opinion.findings}
        assert {status["transfer"], status["falls_with_radius"]} == {"passed"}
        assert f"net at {eps_255}/255: {opinion.verdict}." in page


def test_normalisation_and_the_output_of_no_class_are_as_configured(finished: Path) -> None:
    """Counted with NumPy: (x - 0.5) / 0.5 times 4, and a fourth output at -2."""
    clean = finished / "results/mine/attacks/clean/net/seed0/eps0/seed0-shard0.parquet"
    rows = read_evidence([clean]).set_index("image_id")
    for number in range(3):
        pixels = np.array(Image.open(finished / "val" / "images" / f"{number}.png")) / 255
        mask = np.array(Image.open(finished / "val" / "masks" / f"{number}.png"))
        logits = np.concatenate([4 * (pixels - 0.5) / 0.5, np.full((32, 40, 1), -2.0)], 2)
        right = (logits.argmax(2) == mask)[mask != 255]
        row = rows.loc[str(number)]
        assert (row["pixels"], row["pixels_correct"]) == (30 * 40, right.sum())
        assert right.mean() < 1
        assert len(row["union"]) == 3


def test_attacks_are_carried_over_from_another_model_of_one_s_own(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by the library, from the two models as they are configured."""
    monkeypatch.chdir(finished)
    attacked = finished / "results/mine/attacks/carried/net/seed0/eps8/seed0-shard0.parquet"
    rows = read_evidence([attacked]).set_index("image_id")
    dataset = open_folder("val/images", "val/masks", classes="classes.txt")
    config = load_config(settings(), [])
    source, target = (own_model(config.own_of(name), 3) for name in ("other", "net"))
    identity = {"dataset": "streets", "model": "net", "training_seed": 0, "suite": "carried"}
    attack = carried_over(
        source, target, AttackSpec("ce", "apgd", "constant", 5), source_name="other",
        eps_255=8, seed=0, identity=identity,
    )  # fmt: skip
    expected = rows_of_dataset([attack], target, dataset, batch_size=8)
    assert len(rows) == len(expected) == 3
    for row in expected:
        found = rows.loc[row["image_id"]]
        assert found["attack"] == "transfer-other-apgd-ce-constant-5"
        assert found["pixels_correct"] == row["pixels_correct"]


def test_weights_that_are_exchanged_for_older_ones_are_noticed(finished: Path) -> None:
    """A file that is moved into place keeps its time, here also its size."""
    weights, kept = finished / "w.pth", finished / "kept.pth"
    weights.rename(kept)
    content = bytearray(kept.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    os.utime(weights, (0, 0))
    plan = ["-n", "--cores", "1", "--configfile", finished / "own.yaml", "--", "all"]
    done = snakemake(*plan, folder=finished)
    jobs = {"evaluate_clean", "attack_model", "doubt_model", "attack_gallery"}
    assert jobs <= set(planned(done.stdout)), done.stdout
    kept.rename(weights)
    assert planned(snakemake(*plan, folder=finished).stdout) == {}


def test_a_changed_model_is_evaluated_again(finished: Path) -> None:
    with (finished / "other.pth").open("ab") as file:
        file.write(b"changed")
    done = snakemake(
        "-n", "--cores", "1", "--configfile", finished / "own.yaml", "--", "all", folder=finished
    )
    assert "Attack net, seed 0, with carried" in done.stdout
    assert "Attack net, seed 0, with sea" not in done.stdout
    (finished / "mymodels.py").write_text(MODEL + "# changed")
    done = snakemake(
        "-n", "--cores", "1", "--configfile", finished / "own.yaml", "--", "all", folder=finished
    )
    assert "evaluate_clean" in done.stdout
    shutil.rmtree(finished / "results")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"load": "nowhere.py:net"}, r"models.net.load names nowhere.py, which does not exist"),
        ({"load": "trained:w.safetensors"}, r"models.net.load names w.safetensors, which does not"),
        ({"load": "trained:w.pth"}, r"models.net.weights has no use beside trained:w.pth"),
        ({"load": "released:x"}, r"models.net.load is released:x: write `kind: released` and"),
        ({"load": "net"}, r"models.net.load should be `file.py:name` or another of the forms"),
        ({"classes": [0, 1, 9]}, r"models.net.classes\[2\] is 9, but .* has the classes 0 to"),
        ({"weights": "w2.pth"}, r"models.net.weights names w2.pth"),
        ({"dataset": "other"}, r"models.net.dataset is 'other'"),
        ({"mean": [0.5, 0.5, 0.5]}, r"models.net needs both mean and std"),
        ({"normalise": "x"}, r"models.net.normalise"),
    ],
)
def test_a_wrong_section_is_refused(
    finished: Path, monkeypatch: pytest.MonkeyPatch, changes: dict, match: str
) -> None:
    monkeypatch.chdir(finished)
    config = settings()
    config["models"]["net"] |= changes
    with pytest.raises(RobustsegError, match=match):
        load_config(config, [])
