"""Weights of others, served by a real HTTP server, through the workflow's real rules.

One released model and one fetched backbone in the published layout, with random values, on a
handful of images in ADE20K's layout. The tests share one folder and follow one another.
"""

import json
import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from robustseg.files import sha256
from robustseg.models.checkpoints import read_weights
from tests.data.archives import ade20k_files, write_files
from tests.models.published_keys import classifier_state, column, published_state
from tests.serving import Server, serve
from tests.workflow.running import matchbox, snakemake

pytestmark = pytest.mark.timeout(300)

RELEASED = "pir_at_5_128ep_segmenter_vit_s"
FILE = "pir_at_ade20k_segmenter_vit_s.pth"
BACKBONE_FILE = "weights_vit_s.pt"
RUN = Path("results", "matchbox")
WEIGHTS = RUN / "models" / "released" / "seed0" / "weights.safetensors"
READ = [{"model": "released", "suites": ["sea"], "eps_255": [4]}]
CPU = ["--cores", "2", "--quiet", "reason"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with images, and what the server offers."""
    folder = tmp_path_factory.mktemp("published")
    write_files(folder / "ade", ade20k_files())
    (folder / "served").mkdir()
    torch.save(published_state(RELEASED), folder / "served" / FILE)
    state = classifier_state("vit_small", "base_model.model.")
    state["base_model.normalize.mean"] = column([0.485, 0.456, 0.406])
    state["base_model.normalize.std"] = column([0.229, 0.224, 0.225])
    torch.save(state, folder / "served" / BACKBONE_FILE)
    return folder


@pytest.fixture
def server(folder: Path) -> Any:
    with serve(folder / "served") as server:
        yield server


def config(folder: Path, server: Server, **changes: Any) -> Path:
    """Write a configuration whose weights come from the server."""
    entry = {"kind": "released", "weights": RELEASED, "dataset": "ade20k"}
    pir_at = {"scheme": "pir_at", "decoder": "segmenter", "backbone": "vit_s", "training": "sgd"}
    amounts = {"dataset": "ade20k", "epochs": 1, "eps_255": 4, "steps": 1}
    training = {"optimizer": "sgd", "momentum": 0.9, "learning_rate": 1e-3, "weight_decay": 0.0}
    training |= {"batch_size": 5, "warmup": 0.1, "power": 1.0, "step_size": 0.01}
    own = {
        "data.ade20k": {
            "kind": "ade20k",
            "root": str(folder / "ade"),
            "check_counts": False,
            "crop_px": 32,
            "base_px": 32,
        },
        "downloads": {
            "folder": "data",
            "weights": {name: {"urls": [server.url(name)]} for name in (FILE, BACKBONE_FILE)},
        },
        "training.sgd": training,
        "backbones.vit_s": {"kind": "fetched", "weights": "vit_s_robust"},
        "models.released": entry | {"min_clean_accuracy": 0},
        "models.pir_at_vit_s": pir_at | amounts,
        "tables.table9": READ,
    }
    return matchbox(folder, **(own | changes))


def run(folder: Path, path: Path, *targets: str | Path) -> tuple[int, str]:
    result = snakemake(*CPU, "--configfile", path, "--", *targets, folder=folder)
    return result.returncode, result.stdout


def recorded(folder: Path) -> dict[str, str]:
    record = folder / "data" / "weights" / "hashes.json"
    return json.loads(record.read_text()) if record.exists() else {}


def test_a_file_that_cannot_be_converted_is_not_recorded(folder: Path, server: Server) -> None:
    """And what the sentence advises helps."""
    (folder / "served" / FILE).rename(folder / "kept")
    (folder / "served" / FILE).write_bytes((folder / "kept").read_bytes()[:1000])
    status, output = run(folder, config(folder, server), WEIGHTS)
    assert status == 1
    assert f"data/weights/{FILE} is truncated or no checkpoint of torch" in output
    assert "delete it and fetch it again" in output
    fetched = folder / "data" / "weights" / FILE
    assert not recorded(folder)
    fetched.unlink()
    os.replace(folder / "kept", folder / "served" / FILE)
    status, output = run(folder, config(folder, server), WEIGHTS)
    assert status == 0, output
    assert not recorded(folder)  # do they predict?


def test_a_released_model_that_does_not_predict_is_not_attacked(
    folder: Path, server: Server
) -> None:
    strict = {"kind": "released", "weights": RELEASED, "dataset": "ade20k"}
    path = config(folder, server, **{"models.released": strict})
    status, output = run(folder, path, "table9")
    assert status == 1
    assert f"released with the weights {RELEASED} is right at " in output
    assert "but at least 64.1 % is expected (69.1 % is reported), so it is not attacked" in output
    assert "Traceback (most recent call last)" not in output
    assert not list(folder.glob(f"{RUN}/attacks/sea/**/*.parquet"))
    assert FILE not in recorded(folder)


def test_the_same_model_is_attacked_where_that_is_asked_for(folder: Path, server: Server) -> None:
    status, output = run(folder, config(folder, server), "table9")
    assert status == 0, output
    assert server.requests == []  # fetched by the test before, once for all runs
    assert recorded(folder)[FILE] == sha256(folder / "data" / "weights" / FILE)
    weights = folder / RUN / "models" / "released" / "seed0"
    tensors, metadata = read_weights(weights / "weights.safetensors")
    assert torch.equal(
        tensors["backbone.pos_embed"], published_state(RELEASED)["encoder.pos_embed"]
    )
    assert metadata["published"]["sha256"] == sha256(folder / "served" / FILE)
    report = json.loads((weights / "keys.json").read_text())
    assert sorted(report["dropped"]) == ["encoder.head.bias", "encoder.head.weight"]
    checked = folder / RUN / "attacks" / "clean" / "released" / "seed0" / "eps0" / "accuracy.json"
    assert json.loads(checked.read_text())["least"] == 0
    table = pq.read_table(folder / RUN / "tables" / "table9.parquet").to_pandas()
    assert set(table["model"]) == {"released"}
    shown = (folder / RUN / "tables" / "table9.md").read_text()
    assert "released: weights published by the paper, not trained here." in shown


def test_a_model_is_trained_from_a_fetched_backbone(folder: Path, server: Server) -> None:
    weights = RUN / "models" / "pir_at_vit_s" / "seed0" / "weights.safetensors"
    status, output = run(folder, config(folder, server), weights)
    assert status == 0, output
    log = (folder / RUN / "logs" / "models" / "pir_at_vit_s-seed0.log").read_text()
    assert "150 weights kept (pos_embed resized), 2 dropped (head)" in log
    assert BACKBONE_FILE in recorded(folder)  # there are no images to check it on
    _, metadata = read_weights(folder / weights)
    keys = metadata["backbone_keys"]
    assert keys["resized"] == ["pos_embed"]
    assert {key.split(".")[0] for key in keys["fresh"]} == {"decode_head"}
    report = json.loads((folder / RUN / "backbones" / "vit_s" / "seed0" / "keys.json").read_text())
    assert report["input_mean"] == pytest.approx([0.485, 0.456, 0.406])
    assert len(report["renamed"]) == 152


def test_a_fetched_backbone_is_scored_on_imagenet(folder: Path, server: Server) -> None:
    for label in range(1000):
        (folder / "val" / f"n{label:08d}").mkdir(parents=True)
    for name, label in (("one", 3), ("two", 700)):
        Image.new("RGB", (40, 50), (label % 256, 90, 30)).save(
            folder / "val" / f"n{label:08d}" / f"{name}.JPEG"
        )
    imagenet = {"kind": "imagenet", "root": str(folder / "val"), "resize_px": 36, "crop_px": 32}
    vit_s = {"kind": "fetched", "weights": "vit_s_robust", "dataset": "imagenet"}
    changes = {
        "data.imagenet": imagenet,
        "backbones.vit_s": vit_s,
        "tables.table6": [{"model": "vit_s", "suites": ["classifier"], "eps_255": [4]}],
    }
    status, output = run(folder, config(folder, server, **changes), "backbone_accuracy")
    assert status == 1
    assert "vit_s with the weights vit_s_robust is right at " in output
    assert "but at least 64.2 % is expected" in output

    changes["backbones.vit_s"] = vit_s | {"min_clean_accuracy": 0}
    path = config(folder, server, **changes)
    status, output = run(folder, path, "backbone_accuracy", "table6")
    assert status == 0, output
    shown = (folder / RUN / "tables" / "table6.md").read_text()
    assert "ViT-S | yes | Singh et al. (2023)" in shown


def test_other_weights_under_the_same_name_are_refused(folder: Path, server: Server) -> None:
    """The hash was recorded at first use, and is enforced from then on."""
    path, fetched = config(folder, server), folder / "data" / "weights" / FILE
    known = recorded(folder)
    assert known[FILE] == sha256(fetched)
    whole = fetched.read_bytes()
    fetched.write_bytes(whole[:-1] + b"x")
    status, output = run(folder, path, WEIGHTS)
    assert status == 1
    assert f"data/weights/{FILE} has sha256 " in output
    assert f"but {known[FILE]} is expected by line 2 of data/weights/hashes.json" in output

    fetched.unlink()
    (folder / "served" / FILE).rename(folder / "kept")
    (folder / "served" / FILE).write_bytes((folder / "kept").read_bytes()[:1000])
    status, output = run(folder, path, fetched.relative_to(folder))
    assert status == 1
    assert f"could not download {FILE}" in output
    assert not fetched.exists()

    # The person puts the right file there, and it is used as it is.
    os.replace(folder / "kept", fetched)
    asked = len(server.requests)
    status, output = run(folder, path, WEIGHTS)
    assert status == 0, output
    assert len(server.requests) == asked
