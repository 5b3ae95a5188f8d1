"""The scale for one GPU: what it costs, and that it runs, here with its sizes cut down."""

import re
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import yaml

from robustseg.config import load_config
from robustseg.data.scenes import SCENE_CLASSES
from robustseg.models.build import build_segmentation_model
from robustseg.plan.costs import jobs_of
from tests.workflow.running import ROOT, snakemake

GPU = ROOT / "config" / "gpu.yaml"
DEMO = ROOT / "config" / "demo.yaml"
PAGE = (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")

FEW = {50: 3, 100: 4, 300: 5, 500: 6}
"""Iterations instead of the paper's: all different, since attacks are named after them."""

pytestmark = pytest.mark.timeout(600)


def cut_down(folder: Path) -> Path:
    """Write config/gpu.yaml with all its models, suites and tables, and next to no work in them."""
    config = yaml.safe_load(GPU.read_text())
    config["data"]["scenes"] |= {"size_px": 32, "train_images": 4, "val_images": 2}
    config["data"]["shapes"] |= {"size_px": 32, "train_images": 8, "val_images": 2}
    for recipe in config["training"].values():
        recipe["batch_size"] = 2
    for trained in (*config["backbones"].values(), *config["models"].values()):
        trained["epochs"] = 1
    for suite in config["attacks"]["suites"].values():
        suite |= {"images": 2} if "images" in suite else {}
        budgets = suite.get("iterations")
        if isinstance(budgets, list):
            suite["iterations"] = [FEW[budget] for budget in budgets]
        elif budgets:
            suite["iterations"] = FEW[budgets]
    config["gallery"] |= {"images": 1, "iterations": 3}
    config["targeted"] |= {"iterations": 3}
    path = folder / "cut_down.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def test_its_cost_is_what_the_file_says() -> None:
    """Millions of forward and backward passes: docs/gpu.md reckons 30 minutes from them."""
    config = load_config(yaml.safe_load(GPU.read_text()), [GPU])
    names = [*config.tables, *config.figures, *config.pictures]
    passes: Counter[str] = Counter()
    for job in {job for name in names for job in jobs_of(config, name)}:
        stage = "training" if job.rule in ("train_model", "pretrain_backbone") else "attacks"
        passes[stage] += sum(work.attack + work.update for work in job.work)
    said = re.search(r"([\d.]+) million .* in attacks, ([\d.]+) in training", GPU.read_text())
    assert said
    assert [float(number) for number in said.groups()] == [
        round(passes[stage] / 1e6, 1) for stage in ("attacks", "training")
    ]
    assert f"{said[1]} million" in PAGE
    assert f"{said[2]} million" in PAGE


@pytest.mark.parametrize(("path", "column"), [(DEMO, "demo"), (GPU, "gpu")])
def test_its_sizes_beside_the_demo_s_are_those_of_the_configurations(
    path: Path, column: str
) -> None:
    rows = [re.split(r" *\| *", row) for row in re.findall(r"^\| .*", PAGE, re.M)]
    head, *lines = rows[:5]
    said = [line[head.index(column)] for line in lines]
    config = yaml.safe_load(path.read_text())
    scenes, model = config["data"]["scenes"], config["models"]["pir_at_5"]
    architecture = config["backbones"][model["backbone"]]["architecture"]
    network = build_segmentation_model(architecture, model["decoder"], len(SCENE_CLASSES))
    (iterations,) = config["attacks"]["suites"]["sea"]["iterations"]
    assert said == [
        f"{scenes['size_px']} px, generated",
        f"{scenes['val_images']}",
        f"{sum(one.numel() for one in network.parameters()) / 1e6:.1f} M parameters",
        f"{iterations}",
    ]


def test_cut_down_it_runs_from_data_to_the_claim_that_it_is_for(tmp_path: Path) -> None:
    """Constant against reduced radius, with the profile for a GPU but on the CPU."""
    chosen = ["--profile", ROOT / "profiles" / "gpu", "--configfile", cut_down(tmp_path)]
    targets = ["figure2", "figure3"]
    run = snakemake(*chosen, "--cores", "2", "--", *targets, folder=tmp_path)
    assert run.returncode == 0, run.stdout
    for figure in targets:
        numbers = pd.read_csv(tmp_path / "results" / "gpu" / "figures" / f"{figure}.csv")
        schedules = numbers["attack"].str.partition("/")[2]
        assert set(schedules) == {"constant", "restarts", "reduced"}
        assert numbers["value"].between(0, 100).all()
        assert set(numbers["images"]) == {2}
    assert run.stdout.count("no GPU is visible here") == 1
