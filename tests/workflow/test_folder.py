"""A person's own photographs of different sizes, from two folders to evidence; and what is noticed.

The tests share one folder and follow one another.
"""

import os
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from robustseg.evidence.reading import read_evidence
from tests.workflow.running import MATCHBOX, planned, snakemake

pytestmark = pytest.mark.timeout(300)

RUN = Path("results", "mine")
EVIDENCE = RUN / "attacks" / "clean" / "at_5" / "seed0" / "eps0" / "seed0-shard0.parquet"
SIZES = {"street/b": (40, 56), "a": (48, 40), "street/a": (40, 56)}


def run(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Snakemake in the folder on its configuration."""
    cores = ["--cores", "2", "--quiet", "reason"]
    config = folder / "config.yaml"
    return snakemake(*cores, "--configfile", config, *arguments, folder=folder)


def write(folder: Path, count: int) -> None:
    """Write `count` times three photographs and masks of two classes, with an ignored line."""
    random = np.random.default_rng(count)
    for number in range(count):
        for name, size in SIZES.items():
            pixels = random.integers(0, 256, (*size, 3), np.uint8)
            mask = random.integers(0, 2, size, np.uint8)
            mask[number] = 9
            for part, array, suffix in (("images", pixels, "jpg"), ("masks", mask, "png")):
                path = folder / part / f"{name}{number}.{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train and evaluate a model once and return the folder."""
    folder = tmp_path_factory.mktemp("own")
    write(folder / "train", 2)
    write(folder / "val", 1)
    (folder / "classes.txt").write_text("road\nsky\n")
    config = yaml.safe_load(MATCHBOX.read_text())
    for key in ("gallery", "targeted", "pictures", "seeds"):
        del config[key]
    seen = {"kind": "folder", "images": "val/images", "masks": "val/masks", "ignore": [9]}
    seen |= {"classes": "classes.txt"}
    training = {"train_images": "train/images", "train_masks": "train/masks"}
    sea = {name: config["attacks"]["suites"][name] for name in ["sea"]}
    config |= {
        "run": "mine",
        "data": {
            "shapes": config["data"]["shapes"],
            "mine": {**seen, **training, "crop_px": 32, "base_px": 36, "resize_px": 36},
            "seen": seen,
        },
        "backbones": {"convnext_clean": config["backbones"]["convnext_clean"]},
        "models": {"at_5": config["models"]["at_5"] | {"dataset": "mine"}},
        "attacks": config["attacks"] | {"suites": sea, "shards": 8},
        "tables": {"by_class": [{"model": "at_5", "suites": ["sea"], "eps_255": [4]}]},
        "figures": {},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    made = run("--", EVIDENCE, "data", "plan", folder=folder)
    assert made.returncode == 0, made.stdout
    return folder


def test_every_labelled_pixel_is_in_the_evidence(finished: Path) -> None:
    rows = read_evidence([finished / EVIDENCE])
    assert isinstance(rows, pd.DataFrame)
    found = {row.image_id: (row.pixels, list(row.labelled)) for row in rows.itertuples()}
    assert sorted(found) == sorted(f"{name}0" for name in SIZES)
    for name, (pixels, labelled) in found.items():
        with Image.open(finished / "val" / "masks" / f"{name}.png") as file:
            short = min(file.size)
            size = [36 * side // short for side in file.size]
            mask = np.array(file.resize((size[0], size[1]), Image.Resampling.NEAREST))
        assert labelled == [(mask == 0).sum(), (mask == 1).sum()]
        assert pixels == sum(labelled) < mask.size


def test_without_a_training_split_there_are_no_rows(finished: Path) -> None:
    rows = {
        (name, split): pq.read_table(finished / RUN / "data" / name / f"{split}.parquet").num_rows
        for name in ("mine", "seen")
        for split in ("train", "val")
    }
    assert list(rows.values()) == [6, 3, 0, 3]


def test_the_plan_counts_images_and_cuts_no_more_shards_than_batches(finished: Path) -> None:
    plan = (finished / RUN / "plan" / "plan.md").read_text()
    # The backbone, the training, the evaluation and two shards of SEA: three images in twos.
    assert "| by_class | 5 |" in plan
    throughput = (finished / RUN / "plan" / "throughput.json").read_text()
    # Trained on crops of 32; resized to 50x36 twice and 43x36: a square of 41 is as large.
    assert "2classes-32px" in throughput
    assert "2classes-41px" in throughput


def test_nothing_is_computed_from_a_file_of_the_future(finished: Path) -> None:
    """Snakemake would remove what was made from it."""
    made, evidence = finished / RUN / "data" / "mine" / "val.parquet", finished / EVIDENCE
    evidence.unlink()
    os.utime(made, (0, time.time() + 7200))
    refused = run("--", EVIDENCE, folder=finished)
    assert "val.parquet was changed 120 minutes ahead of this machine" in refused.stdout
    assert "Evaluate at_5" not in refused.stdout
    made.touch()
    assert run("--", EVIDENCE, folder=finished).returncode == 0


def test_new_files_are_noticed(finished: Path) -> None:
    again = run("--dry-run", "--", EVIDENCE, "data", folder=finished)
    assert planned(again.stdout) == {}
    for part, suffix in (("images", "jpg"), ("masks", "png")):
        first = finished / "val" / part / f"a0.{suffix}"
        shutil.copy(first, first.with_name(f"new.{suffix}"))
    more = planned(run("--dry-run", "--", EVIDENCE, folder=finished).stdout)
    assert more["prepare_folder"] == more["evaluate_clean"] == 1


def test_what_does_not_fit_ends_the_job_in_one_sentence(finished: Path) -> None:
    (finished / "val" / "masks" / "new.png").unlink()
    refused = run("--", RUN / "data" / "seen" / "val.parquet", folder=finished)
    assert refused.returncode == 1
    says = "[data seen] error: there are 1 of the 4 images in val/images without a mask in val/mask"
    assert says in refused.stdout
    assert "Traceback" not in refused.stdout
    shutil.rmtree(finished / "val" / "masks")
    refused = run("--", "data", folder=finished)
    assert "config.yaml: data.seen.masks is 'val/masks', where no folder is; a r" in refused.stdout
    assert "Traceback" not in refused.stdout
