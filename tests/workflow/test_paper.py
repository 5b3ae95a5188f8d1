"""The default configuration is the paper: every number that it prints has a job here."""

import csv
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from robustseg.config.schema import Config
from robustseg.evidence.reported import read_reported
from robustseg.plan.costs import jobs_of
from tests.workflow.running import ROOT, load, planned, snakemake

LISTING = Path(__file__).with_name("paper_jobs.csv")
"""The jobs of `config/config.yaml`; `python -m tests.workflow.test_paper` writes it anew."""

LOSSES_OF_SEA = {"mask_ce", "bal_ce", "js", "mask_sph", "A", "B", "C", "sea"}
SUITES = {
    "table1": {"cospgd": "baselines", "segpgd": "baselines", "mask_ce": "sea", "sea": "sea"},
    "table2": dict.fromkeys(
        ["ce", "bal_ce", "cossim_ce", "js", "mask_ce", "mask_sph", "worst"], "losses"
    ),
    "table3": {"sea": "sea"},
    "table4": {"sea": "sea"},
    "table7": {
        "segpgd": "baselines_100",
        "cospgd": "baselines_100",
        "segapgd": "losses",
        "cosapgd": "losses",
    },
    "table8": {"all_losses": "losses", "four_losses": "losses"},
    "table9": dict.fromkeys(LOSSES_OF_SEA, "sea"),
    "table10": dict.fromkeys(LOSSES_OF_SEA, "sea"),
    "table11": {"transfer_clean": "transfer", "transfer_at": "transfer", "sea": "sea"},
}
"""Which suite holds the evidence of a printed attack."""


@pytest.fixture(scope="module")
def config() -> Config:
    return load("config")


def printed() -> list[dict[str, Any]]:
    """Return the paper's own numbers of the tables that are made from evidence."""
    rows = read_reported(ROOT / "config" / "paper").to_dict("records")
    return [row for row in rows if row["table"] in SUITES and row["by"] == "paper"]


def test_every_printed_number_has_its_evidence(config: Config) -> None:
    missing, checked = [], 0
    for row in printed():
        reads = [read for read in config.tables[row["table"]] if read.model == row["model"]]
        if not reads or config.dataset_of(row["model"]) != row["dataset"]:
            missing.append(row)
            continue
        if row["eps_255"] > 0:  # the clean evaluation comes with every read
            suite = SUITES[row["table"]][row["attack"]]
            if not any(suite in one.suites and row["eps_255"] in one.eps_255 for one in reads):
                missing.append(row)
        checked += 1
    assert not missing
    assert checked > 500


def test_no_row_is_read_that_the_paper_does_not_print(config: Config) -> None:
    models = {(row["table"], row["model"]) for row in printed()}
    for table in SUITES:
        for read in config.tables[table]:
            assert (table, read.model) in models


@pytest.mark.parametrize("path", ["config", "bigger"])
def test_models_are_what_their_names_say(path: str) -> None:
    config = load(path)
    for name, model in config.models.items():
        settings = config.model_of(name)
        words = name.removeprefix(settings["scheme"] + "_").replace("150_classes_", "").split("_")
        assert name.startswith(settings["scheme"])
        if settings["steps"]:
            assert int(words.pop(0)) == settings["steps"]
        assert words.pop(0) == f"{settings['epochs']}ep"
        assert words.pop(0) == settings["decoder"]
        sizes = {"t": "tiny", "s": "small", "b": "base", "l": "large"}
        backbone = sizes.get(words[-1], words[-1])
        assert settings["architecture"].startswith("_".join([*words[:-1], backbone])), model
        if model.kind == "trained" and settings["scheme"] != "clean":
            robust = config.backbones[model.backbone].robust
            assert robust == (settings["scheme"] == "pir_at")
            assert settings["eps_255"] == 4


def settings_of_table5(config: Config) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield (data set/decoder, settings named as the paper's) of each trained model."""
    for name, training in config.trainings().items():
        if getattr(config.models.get(name), "kind", "") != "trained":
            continue
        data, length = training["data"], "short" if training["epochs"] in (32, 50) else "long"
        crop = data["crop_px"]
        found = {
            "base_size_px": data["base_px"],
            "crop_height_px": crop,
            "crop_width_px": crop,
            "learning_rate": training["learning_rate"],
            "weight_decay": training["weight_decay"],
            "images_per_gpu": training["images_per_pass"],
            "gpus": training["batch_size"] / training["images_per_pass"],
            f"epochs_{length}": training["epochs"],
            f"warmup_epochs_{length}": training["epochs"] * training["warmup"],
            "schedule_power": training["power"],
            "lr_ratio_decoder": training["learning_rate_ratio"],
            "auxiliary_loss_weight": training["auxiliary_weight"],
        }
        if training["optimizer"] == "adamw":
            found["adamw_beta1"], found["adamw_beta2"] = training["betas"]
        else:
            found["sgd_momentum"] = training["momentum"]
        yield f"{config.models[name].dataset}/{training['decoder']}", found


@pytest.mark.parametrize("path", ["config", "bigger"])
def test_training_is_table_5(path: str) -> None:
    rows = read_reported(ROOT / "config" / "paper")
    table = rows[rows["table"] == "table5"]
    reported: dict[str, dict[str, float]] = {}
    for row in table.to_dict("records"):
        reported.setdefault(f"{row['dataset']}/{row['model']}", {})[row["metric"]] = row["value"]
    compared = Counter[str]()
    for place, found in settings_of_table5(load(path)):
        for metric, value in found.items():
            # A dash or cross of the paper is a setting that is off.
            off = {"lr_ratio_decoder": 1.0, "auxiliary_loss_weight": 0.0}.get(metric)
            assert value == pytest.approx(reported[place].get(metric, off)), (place, metric)
            compared[place] += 1
    assert set(compared) == (
        set(reported) if path == "config" else {"voc/upernet", "ade20k/upernet"}
    )


@pytest.mark.parametrize("path", ["config", "bigger"])
def test_what_decays_is_what_does_in_the_recipes_that_the_paper_follows(path: str) -> None:
    for training in load(path).training.values():
        assert (training.weight_decay_of == "matrices") == (training.weight_decay > 0)


def test_appendix_c3_has_both_of_its_pairs(config: Config) -> None:
    """Clean and 2-step PIR-AT, each trained with 151 and with 150 classes."""
    found = [config.model_of(read.model) for read in config.tables["appendix_c3"]]
    assert [(one["scheme"], one["steps"], one["background"]) for one in found] == [
        ("clean", 0, True),
        ("clean", 0, False),
        ("pir_at", 2, True),
        ("pir_at", 2, False),
    ]
    same = ("dataset", "architecture", "decoder", "epochs", "training")
    assert len({tuple(one[key] for key in same) for one in found}) == 1


def listing(config: Config) -> list[list[str]]:
    """Return rule, model or backbone, suite, radii, seeds and number of jobs."""
    groups: dict[tuple[str, str, str], list[dict[str, str]]] = {}
    names = [*config.tables, *config.figures, *config.pictures]
    for job in dict.fromkeys(job for name in names for job in jobs_of(config, name)):
        wildcards = dict(job.wildcards)
        model = wildcards.get("model") or wildcards["backbone"]
        groups.setdefault((job.rule, model, wildcards.get("suite", "")), []).append(wildcards)
    rows = []
    for key, jobs in sorted(groups.items()):
        radii = sorted({job["eps_255"] for job in jobs if "eps_255" in job}, key=float)
        seeds = sorted({job["seed"] for job in jobs if "seed" in job})
        rows.append([*key, " ".join(radii), " ".join(seeds), str(len(jobs))])
    return rows


def test_the_jobs_are_those_on_record(config: Config) -> None:
    with LISTING.open(newline="") as file:
        header, *recorded = list(csv.reader(file))
    assert header == ["rule", "model", "suite", "eps_255", "seeds", "jobs"]
    assert recorded == listing(config)


@pytest.mark.parametrize(
    ("target", "jobs"),
    [
        # Nine trainings from seven backbones of Table 6, two released models; SEA at 3 radii in 4
        # shards each.
        (
            "table3",
            {
                "download_archive": 3,
                "unpack_archive": 3,
                "prepare_data": 2,
                "fetch_weights": 8,
                "convert_backbone": 7,
                "convert_model": 2,
                "check_accuracy": 2,
                "train_model": 9,
                "evaluate_clean": 11,
                "attack_model": 11 * 3 * 4,
                "make_table": 1,
            },
        ),
        # One model, 4 radii, 5 seeds, 4 shards.
        (
            "table10",
            {
                "download_archive": 2,
                "unpack_archive": 2,
                "prepare_data": 1,
                "fetch_weights": 1,
                "convert_backbone": 1,
                "train_model": 1,
                "evaluate_clean": 1,
                "attack_model": 4 * 5 * 4,
                "make_table": 1,
            },
        ),
        ("table5", {"make_table": 1}),
    ],
)
def test_a_table_needs_just_what_it_reads(
    target: str, jobs: dict[str, int], tmp_path: Path
) -> None:
    run = snakemake("--dry-run", target, folder=tmp_path)
    assert run.returncode == 0, run.stdout
    assert planned(run.stdout) == jobs


def test_released_weights_are_evaluated_without_training(tmp_path: Path) -> None:
    released = ROOT / "config" / "released.yaml"
    run = snakemake("--dry-run", "--configfile", released, "--", "all", folder=tmp_path)
    assert run.returncode == 0, run.stdout
    jobs = planned(run.stdout)
    assert "train_model" not in jobs
    assert jobs["evaluate_clean"] == 7
    own, paper = load("released"), load("config")
    for name, suite in own.attacks.suites.items():
        assert suite == paper.attacks.suites[name]
    for table, reads in own.tables.items():
        assert all(read in paper.tables[table] for read in reads)


def test_table_6_is_a_configuration_of_its_own(tmp_path: Path) -> None:
    imagenet = ROOT / "config" / "imagenet.yaml"
    run = snakemake("--dry-run", "--configfile", imagenet, "--", "table6", folder=tmp_path)
    assert run.returncode == 0, run.stdout
    assert planned(run.stdout)["attack_model"] == 6 * 8
    rows = read_reported(ROOT / "config" / "paper")
    printed = set(rows[rows["table"] == "table6"]["model"])
    assert {read.model for read in load("imagenet").tables["table6"]} == printed


if __name__ == "__main__":
    with LISTING.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["rule", "model", "suite", "eps_255", "seeds", "jobs"])
        writer.writerows(listing(load("config")))


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("imagenet", {"fetch_weights": 6}),
        ("street_gpu", {"fetch_weights": 1, "download_archive": 2}),
    ],
)
def test_the_docs_command_fetches_all_that_is_not_here(
    name: str, files: dict[str, int], tmp_path: Path
) -> None:
    """For login nodes that forbid downloads, on another machine in the same folder."""
    text = "".join((ROOT / "docs" / f"{page}.md").read_text() for page in ("paper", "clusters"))
    words, again = re.findall(r"snakemake .*?(--until [\w ]+ -- [\w ]+)", text)
    assert words == again
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "imagenet").mkdir()
    config = ROOT / "config" / f"{name}.yaml"
    run = snakemake("--dry-run", "--configfile", config, *words.split(), folder=tmp_path)
    assert run.returncode == 0, run.stdout
    assert planned(run.stdout).items() >= files.items()
