"""The workflow's job of second opinions, on a made-up model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doubt_model import write_doubt_evidence

from robustseg.attacks.spec import AttackSpec
from robustseg.data.arrays import ArrayDataset, save_split
from robustseg.data.opening import load_split
from robustseg.errors import RobustsegError
from robustseg.evaluation.over_batches import evaluate_clean, on_itself, rows_of_dataset
from robustseg.evidence.findings import FAILED, NOT_RUN, PASSED, Finding
from robustseg.evidence.reading import read_evidence, read_opinions, read_provenance
from robustseg.evidence.writing import write_evidence
from robustseg.models.references import UNSAID, own_model
from robustseg.progress import Progress

MODEL = """
import torch

def net(images):
    return 9 * images
"""
IMAGES, SIDE = 5, 8


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Write a model, images, and evidence of an attack at 8, 12 and 16/255; return the job's input.

    At 12/255 the attack is said to have found nothing.
    """
    monkeypatch.chdir(tmp_path)
    Path("mymodels.py").write_text(MODEL)
    own = UNSAID | {"load": "mymodels.py:net", "weights": None}
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (IMAGES, SIDE, SIDE, 3), np.uint8)
    names = [f"image{number}" for number in range(IMAGES)]
    split = ArrayDataset(
        images, images.argmax(3).astype(np.uint8), names, list("rgb"), [(0, 0, 0)] * 3
    )
    save_split("val.npz", split)
    model, dataset = own_model(own, 3), load_split("val.npz")
    identity: dict[str, Any] = {"dataset": "d", "model": "m", "training_seed": 0}
    clean = evaluate_clean(model, dataset, batch_size=2, identity=identity)
    write_evidence("clean.parquet", clean, {})
    rows = []
    for eps_255 in (8.0, 12.0, 16.0):
        attacks = on_itself(
            model, [AttackSpec("ce", "apgd", "constant", 10)], eps_255=eps_255, seed=3,
            identity=identity | {"suite": "weak"},
        )  # fmt: skip
        found = rows_of_dataset(attacks, model, dataset, batch_size=2)
        unharmed = {row["image_id"]: row for row in clean}
        counts = ("pixels_correct", "labelled", "intersection", "union")
        rows += [
            row
            | ({name: unharmed[row["image_id"]][name] for name in counts} if eps_255 == 12 else {})
            for row in found
        ]
    write_evidence("weak.parquet", rows, {})
    return {
        **{"weights": [], "val": "val.npz", "doubted": ["clean.parquet", "weak.parquet"]},
        **{"evidence": "out/seed3.parquet", "own": own, "sources": {}, "class_pixels": None},
        "suite": {"kind": "doubt", "of": "weak", "images": 4, "iterations": 30, "sources": []},
        **{"radii_255": [8, 16], "known_255": [8, 16], "config_hash": "h", "batch_size": 3},
        **{"identity": identity | {"suite": "again"}, "device": "cpu"},
        "progress": Progress("test"),
    }


def findings(path: str) -> list[dict[str, Finding]]:
    return [{one.check: one for one in opinion.findings} for opinion in read_opinions(path)]


def test_evidence_and_opinions_are_of_the_images_radii_and_budget_asked_for(
    here: dict[str, Any],
) -> None:
    write_doubt_evidence(**here)
    rows = read_evidence([here["evidence"]])
    assert set(rows["suite"]) == {"again"}
    assert set(rows["eps_255"]) == {8.0, 16.0}
    assert set(rows["seed"]) == {3}
    assert rows["image_id"].nunique() == 4
    assert "doubt-more_iterations-apgd-ce-constant-60" in set(rows["attack"])
    assert [one.eps_255 for one in read_opinions(here["evidence"])] == [8, 16]
    assert read_provenance(here["evidence"])["precision"] == "float32"
    assert not Path(here["evidence"]).with_suffix(".parts").exists()
    # On a linear model any attack is right.
    for found in findings(here["evidence"]):
        assert {one.status for one in found.values()} <= {PASSED, NOT_RUN, "noted"}


def test_figures_are_compared_at_the_doubted_radii_alone(here: dict[str, Any]) -> None:
    write_doubt_evidence(**here)
    assert findings(here["evidence"])[0]["falls_with_radius"].status == PASSED
    write_doubt_evidence(**here | {"known_255": [8, 12, 16]})
    assert findings(here["evidence"])[0]["falls_with_radius"].status == FAILED
    write_doubt_evidence(**here | {"known_255": [8], "radii_255": [8]})
    assert findings(here["evidence"])[0]["falls_with_radius"].status == NOT_RUN


def test_another_model_is_refused_before_it_is_attacked(here: dict[str, Any]) -> None:
    Path("mymodels.py").write_text(MODEL.replace("9 * images", "images.flip(1)"))
    with pytest.raises(RobustsegError, match=r"image image\d: without an attack \d+ of 64 pixels"):
        write_doubt_evidence(**here)
    assert not Path(here["evidence"]).exists()
