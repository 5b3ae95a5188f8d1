"""The paper on photographs: planned whole, and from downloads to a table with little work."""

import hashlib
import importlib.util
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from robustseg.data.opening import load_split
from robustseg.models.published import ESPNET_CAMVID
from tests.data.archives import camvid_files, cifar10_files, write_tar
from tests.serving import serve
from tests.workflow.running import ROOT, planned, snakemake

STREET = ROOT / "config" / "street.yaml"
PICTURES = ROOT / "config" / "street_pictures.yaml"
ESPNET = ROOT / "examples" / "espnet_camvid" / "espnet.py"

pytestmark = pytest.mark.timeout(900)


@pytest.mark.parametrize("name", ["street", "street_gpu"])
def test_all_of_it_can_be_planned_without_any_data(name: str, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    run = snakemake(
        *("--dry-run", "--configfile", ROOT / "config" / f"{name}.yaml", PICTURES, "--", "all"),
        folder=tmp_path,
    )
    assert run.returncode == 0, run.stdout
    jobs = planned(run.stdout)
    assert (jobs["attack_gallery"], jobs["make_picture"]) == (2, 3)
    assert jobs["download_archive"] == jobs["unpack_archive"] == 2
    assert jobs["prepare_cifar10"] == jobs["fetch_weights"] == 1
    assert (jobs["pretrain_backbone"], jobs["train_model"]) == (2, 6)


def test_with_copies_of_ones_own_nothing_is_downloaded() -> None:
    """`make street ROOT=...` names every data set of the configuration."""
    (copies,) = re.findall(
        r"^COPIES := --config 'data=\{(.*)\}'", (ROOT / "Makefile").read_text(), re.M
    )
    named = set(re.findall(r"(\w+): \$\(ROOT_KEY\)", copies))
    assert named == set(yaml.safe_load(STREET.read_text())["data"])


def test_a_gpu_does_the_same_in_large() -> None:
    small, large = (
        yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text())
        for name in ("street", "street_gpu")
    )
    for section in ("tables", "figures"):
        assert small[section] == large[section], section
    assert set(small["models"]) == set(large["models"])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run from a server with the true layout to a table of ESPNet and of a model trained here."""
    folder = tmp_path_factory.mktemp("street")
    served = tmp_path_factory.mktemp("served")
    write_tar(served / "camvid.tar.gz", camvid_files(), "w:gz")
    write_tar(served / "cifar.tar.gz", cifar10_files(), "w:gz")
    spec = importlib.util.spec_from_file_location("espnet", ESPNET)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.save(module.net().state_dict(), served / "espnet.pth")
    (folder / "examples").symlink_to(ROOT / "examples")
    with serve(served) as server:

        def mirror(file: str) -> dict[str, object]:
            digest = hashlib.sha256((served / file).read_bytes()).hexdigest()
            return {"urls": [server.url(file)], "sha256": digest}

        config = yaml.safe_load(STREET.read_text())
        few = {"train_images": 8, "val_images": 4, "check_pixels": False}
        small = {"resize_px": 36, "crop_px": 32, "base_px": 32, **few}
        config["data"] = {
            "camvid": config["data"]["camvid"] | small,
            "camvid_16": config["data"]["camvid_16"] | small,
            "cifar10": {"kind": "cifar10", "train_images": 64, "val_images": 10},
        }
        for trained in (*config["backbones"].values(), *config["models"].values()):
            trained |= {"epochs": 1} if "epochs" in trained else {}
        config["attacks"]["suites"]["sea"]["iterations"] = [3]
        config["attacks"]["suites"]["doubt"] |= {"images": 4, "iterations": 3}
        config["downloads"] = {
            "archives": {
                "segnet_camvid": mirror("camvid.tar.gz"),
                "cifar10": mirror("cifar.tar.gz"),
            },
            "weights": {ESPNET_CAMVID: mirror("espnet.pth")},
        }
        config["tables"]["robustness"] = [
            {"model": name, "suites": ["sea"], "eps_255": [4]} for name in ("espnet", "clean")
        ]
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        run = snakemake(
            "--cores",
            "2",
            "--configfile",
            folder / "config.yaml",
            "--",
            "robustness",
            folder=folder,
        )
        assert run.returncode == 0, run.stdout
    return folder


def test_a_network_from_outside_stands_beside_one_trained_here(finished: Path) -> None:
    table = pd.read_csv(finished / "results" / "street" / "tables" / "robustness.csv")
    assert set(table["model"]) == {"espnet", "clean"}
    assert table.groupby("dataset")["images"].first().to_dict() == {"camvid": 4, "camvid_16": 4}


def test_what_is_downloaded_is_what_is_trained_on(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished)  # where the paths of photographs begin
    data = finished / "results" / "street" / "data"
    photographs = load_split(data / "camvid" / "val.parquet")
    assert photographs.image_ids == ["000", "058", "116", "174"]  # evenly spread over 233
    assert photographs.batch([0])[1].unique().tolist() == [-1, 0]
    images, labels, _ = load_split(data / "cifar10" / "train.npz").batch(range(64))
    red = images[:, 0, 0, 0].mul(255).round().int()
    assert np.array_equal(red, 25 * labels)
