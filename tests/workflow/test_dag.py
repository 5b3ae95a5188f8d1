"""What Snakemake plans, without data, GPU or any job being run."""

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from robustseg.config import load_config
from robustseg.figures.registry import FIGURES, PICTURES
from robustseg.plan.costs import GALLERY, jobs_of
from robustseg.tables.registry import TABLES
from tests.workflow.running import MATCHBOX, ROOT, load, matchbox, planned, snakemake

STAGES = ["data", "backbones", "models", "attacks", "tables", "figures", "gallery"]
STAGES += ["claims", "report", "plan"]
RULE_FILES = sorted((ROOT / "rules").glob("*.smk"))


def plan(*arguments: str | Path, folder: Path) -> dict[str, int]:
    run = snakemake("--dry-run", *arguments, folder=folder)
    assert run.returncode == 0, run.stdout
    return planned(run.stdout)


# The default and what is sent to a cluster is the paper, the others are generated data sets.
@pytest.mark.parametrize("profile", ["default", "demo", "gpu", "multi_gpu", "slurm", "lsf"])
def test_every_profile_plans_every_target(profile: str, tmp_path: Path) -> None:
    chosen = ["--profile", ROOT / "profiles" / profile] if profile != "default" else []
    config = load("config")
    if profile in ("demo", "gpu"):
        chosen += ["--configfile", ROOT / "config" / f"{profile}.yaml"]
        config = load(profile)
    seeds = bool(config.seeds)
    targets = ["all", *STAGES, *["seeds"] * seeds, *config.tables, *config.figures]
    jobs = plan(*chosen, "--", *targets, folder=tmp_path)
    assert sum(jobs.get(rule, 0) for rule in ("generate_data", "prepare_data")) == 2
    over_seeds = [name for name in config.seeds if name in TABLES]
    assert jobs["make_table"] == len(config.tables)
    assert jobs.get("make_table_over_seeds", 0) == len(over_seeds)
    assert jobs["make_figure"] == len(config.figures)
    assert jobs.get("make_figure_over_seeds", 0) == len(config.seeds) - len(over_seeds)
    assert jobs["make_picture"] == len(config.pictures)
    for rule in ("make_claims", "make_page"):
        assert jobs[rule] == 1
        assert jobs.get(f"{rule}_over_seeds", 0) == seeds
    assert not list(tmp_path.glob("results/*/*/*"))


@pytest.mark.parametrize(
    ("target", "jobs"),
    [
        ("data", {"generate_data": 2}),
        ("backbones", {"generate_data": 1, "pretrain_backbone": 2}),
        ("models", {"generate_data": 2, "pretrain_backbone": 2, "train_model": 5}),
        # One model from the robust backbone, one suite at one radius.
        (
            "table9",
            {
                "generate_data": 2,
                "pretrain_backbone": 1,
                "train_model": 1,
                "evaluate_clean": 1,
                "attack_model": 1,
                "make_table": 1,
            },
        ),
        # A clean model, two suites.
        (
            "figure4",
            {
                "generate_data": 2,
                "pretrain_backbone": 1,
                "train_model": 1,
                "evaluate_clean": 1,
                "attack_model": 2,
                "make_figure": 1,
            },
        ),
        # Attacks from two models on a third, beside white-box ones.
        (
            "table11",
            {
                "generate_data": 2,
                "pretrain_backbone": 2,
                "train_model": 3,
                "evaluate_clean": 1,
                "attack_model": 2,
                "make_table": 1,
            },
        ),
        # A second opinion reads the suite that it is on, and tries another model's attacks.
        (
            "second_opinions",
            {
                "generate_data": 2,
                "pretrain_backbone": 2,
                "train_model": 2,
                "evaluate_clean": 1,
                "attack_model": 1,
                "doubt_model": 1,
                "make_table": 1,
            },
        ),
        # A backbone, and no model.
        (
            "table6",
            {
                "generate_data": 1,
                "pretrain_backbone": 1,
                "evaluate_clean": 1,
                "attack_model": 1,
                "make_table": 1,
            },
        ),
        # The configuration itself.
        ("table5", {"make_table": 1}),
        # ALMA prox once, SEA at one radius.
        (
            "figure6",
            {
                "generate_data": 2,
                "pretrain_backbone": 1,
                "train_model": 1,
                "evaluate_clean": 1,
                "attack_model": 2,
                "make_figure": 1,
            },
        ),
        (
            "figure8",
            {
                "generate_data": 2,
                "pretrain_backbone": 1,
                "train_model": 1,
                "attack_gallery": 1,
                "make_picture": 1,
            },
        ),
        # Two models, two training seeds, one suite, and for one of them a second.
        (
            "seeds",
            {
                "generate_data": 2,
                "pretrain_backbone": 4,
                "train_model": 4,
                "evaluate_clean": 4,
                "attack_model": 6,
                "make_table_over_seeds": 1,
                "make_figure_over_seeds": 1,
                "make_claims_over_seeds": 1,
                "make_page_over_seeds": 1,
            },
        ),
    ],
)
def test_a_target_needs_just_what_it_reads(
    target: str, jobs: dict[str, int], tmp_path: Path
) -> None:
    assert plan("--configfile", MATCHBOX, "--", target, folder=tmp_path) == jobs


@pytest.mark.parametrize(
    ("shards", "val_images", "jobs"),
    [(2, 8, 2), (3, 8, 3), (100, 8, 4), (2, 2, 1)],  # batches of two: at most one job each
)
def test_shards_multiply_attacks_alone(
    shards: int, val_images: int, jobs: int, tmp_path: Path
) -> None:
    changes = {"attacks.shards": shards, "data.scenes.val_images": val_images}
    planned = plan("--configfile", matchbox(tmp_path, **changes), "--", "table9", folder=tmp_path)
    assert (planned["attack_model"], planned["evaluate_clean"]) == (jobs, 1)


def test_the_ablation_trains_and_attacks_each_of_its_models(tmp_path: Path) -> None:
    config = ROOT / "config" / "ablation.yaml"
    assert plan("--configfile", config, "--", "ablation_training", folder=tmp_path) == {
        "generate_data": 2,
        "pretrain_backbone": 1,
        "train_model": 9,
        "evaluate_clean": 9,
        "attack_model": 18,
        "make_table": 1,
    }


def test_an_unknown_target_gets_a_list_of_the_known(tmp_path: Path) -> None:
    target = "tables/table1"
    run = snakemake("--dry-run", "--configfile", MATCHBOX, "--", target, folder=tmp_path)
    assert run.returncode == 1
    known = "known are plan, data, backbones, models, attacks,"
    said = [
        line for line in run.stdout.splitlines() if f"{target} is not a target; {known}" in line
    ]
    assert len(said) == 1, run.stdout
    assert "black_box, second_opinions, strength, logit_scales, open_choices, figure2" in said[0]
    assert "Traceback" not in run.stdout
    assert "Exception" not in run.stdout


def test_an_unknown_target_leaves_no_lock(tmp_path: Path) -> None:
    run = snakemake("--cores", "1", "--configfile", MATCHBOX, "--", "tabel1", folder=tmp_path)
    assert run.returncode == 1
    assert "tabel1 is not a target" in run.stdout
    assert not list((tmp_path / ".snakemake").glob("locks/*"))


def test_planning_imports_no_networks_and_no_plots(tmp_path: Path) -> None:
    """Each would take as long as all the rest, in the plan and again in every job's start."""
    run = snakemake("--dry-run", "--", "all", folder=tmp_path, PYTHONPROFILEIMPORTTIME="1")
    assert planned(run.stdout)["attack_model"] > 450
    imported = set(re.findall(r"^import time:.*\| +(\w+)$", run.stdout, re.M))
    assert {"snakemake", "pydantic"} <= imported
    assert not imported & {"torch", "torchvision", "timm", "matplotlib", "seaborn"}


PUBLISHED = {
    "data.ade20k": {"kind": "ade20k", "root": "none", "check_counts": False},
    "backbones.cn_t": {"kind": "fetched", "weights": "convnext_t_cvst_robust"},
    "models.vit_s": {
        "kind": "released",
        "weights": "pir_at_5_128ep_segmenter_vit_s",
        "dataset": "ade20k",
    },
}


@pytest.mark.parametrize(
    ("model", "jobs"),
    [
        # Released weights are fetched, converted, and must predict before they are attacked.
        (
            "vit_s",
            {
                "fetch_weights": 1,
                "convert_model": 1,
                "evaluate_clean": 1,
                "check_accuracy": 1,
                "attack_model": 1,
                "make_table": 1,
            },
        ),
        # A model that is trained here from a backbone of others is no model of others.
        (
            "pir_at_5",
            {
                "fetch_weights": 1,
                "convert_backbone": 1,
                "generate_data": 1,
                "train_model": 1,
                "evaluate_clean": 1,
                "attack_model": 1,
                "make_table": 1,
            },
        ),
    ],
)
def test_published_weights_stand_where_trained_ones_do(
    model: str, jobs: dict[str, int], tmp_path: Path
) -> None:
    changes = PUBLISHED | {
        "models.pir_at_5.backbone": "cn_t",
        "models.pir_at_5.decoder": "upernet",
        "tables.table9.0.model": model,
    }
    config = matchbox(tmp_path, **changes)
    planned = plan("--configfile", config, "--", "table9", folder=tmp_path)
    if model == "vit_s":
        planned = {rule: count for rule, count in planned.items() if "data" not in rule}
    assert planned == jobs


def test_a_gallery_of_released_weights_waits_for_their_accuracy(tmp_path: Path) -> None:
    changes = PUBLISHED | {"gallery.eps_255": {"vit_s": [4]}, "pictures": {"figure8": ["vit_s"]}}
    config = matchbox(tmp_path, **changes)
    jobs = plan("--configfile", config, "--", "figure8", folder=tmp_path)
    assert (jobs["check_accuracy"], jobs["attack_gallery"]) == (1, 1)
    assert on_gpu(jobs) == priced(config, "figure8")


ON_GPU = (
    *("pretrain_backbone", "train_model", "evaluate_clean"),
    *("attack_model", "doubt_model", "attack_gallery", "attack_targeted"),
)


def on_gpu(jobs: dict[str, int]) -> dict[str, int]:
    return {rule: count for rule, count in jobs.items() if rule in ON_GPU}


def priced(path: Path, *names: str) -> dict[str, int]:
    """Return the jobs that the target `plan` counts, by rule."""
    config = load_config(yaml.safe_load(path.read_text()), [path])
    return dict(Counter(job.rule for job in {job for one in names for job in jobs_of(config, one)}))


def test_the_plan_prices_the_jobs_that_run(tmp_path: Path) -> None:
    """Also of a gallery that no figure shows, and of published weights that attacks come from."""
    source = PUBLISHED["models.vit_s"] | {"weights": "pir_at_5_128ep_upernet_convnext_t"}
    carried = {"kind": "transfer", "sources": ["source"], "losses": ["js"]}
    changes = PUBLISHED | {
        "models.source": source,
        "attacks.suites.carried": carried | {"schedules": ["constant"], "iterations": [3]},
        "tables.each_attack.0": {"model": "vit_s", "suites": ["carried"], "eps_255": [4]},
        "gallery.eps_255": {"pir_at_5": [4], "half_at_3": [2]},
    }
    config = matchbox(tmp_path, **changes)
    settings = load_config(yaml.safe_load(config.read_text()), [config])
    jobs = plan("--configfile", config, "--", "each_attack", folder=tmp_path)
    assert on_gpu(jobs) == priced(config, "each_attack")
    assert jobs["evaluate_clean"] == 2
    jobs = plan("--configfile", config, "--", "gallery", folder=tmp_path)
    assert on_gpu(jobs) == priced(config, GALLERY)
    assert jobs["attack_gallery"] == 2
    every = [*settings.tables, *settings.figures, *settings.pictures, GALLERY]
    jobs = plan("--configfile", config, "--", "all", folder=tmp_path)
    assert on_gpu(jobs) == priced(config, *every)


@pytest.mark.parametrize("path", RULE_FILES, ids=lambda path: path.stem)
def test_every_rule_says_what_it_is(path: Path) -> None:
    for rule in re.split(r"^rule ", path.read_text(), flags=re.M)[1:]:
        name = rule.split(":")[0]
        wanted = ["output", "log", "conda", "threads", "resources", "params", "message", "script"]
        if "localrule" not in rule:
            wanted.append("benchmark")
        if name == "plan":  # it tells what is done at the moment, so it is never done itself
            wanted.remove("output")
        missing = [key for key in wanted if f"\n    {key}:" not in rule]
        assert not missing, f"{name} lacks {missing}"
        for resource in ("mem_mb", "runtime", "gpu"):
            assert f" {resource}=" in rule, f"{name} does not say its {resource}"
        for files in re.findall(r"\n    (?:input|output):\n((?: {8}.*\n)+)", rule):
            unnamed = re.findall(r"^ {8}(?!\w+=|unpack\(|\))(\S.*)", files, re.M)
            assert not unnamed, f"{name} does not name {unnamed}"


def test_trainings_are_begun_first_and_nothing_else() -> None:
    """Else a long one may be left to run alone at the end; a dry run does not show the order."""
    first = {
        rule.partition(":")[0]
        for path in RULE_FILES
        for rule in path.read_text(encoding="utf-8").split("\nrule ")[1:]
        if "    priority: lambda wildcards: training_priority(" in rule
    }
    assert first == {"pretrain_backbone", "train_model"}
    assert sum(path.read_text(encoding="utf-8").count("priority:") for path in RULE_FILES) == 2


def test_there_is_a_rule_file_for_each_stage() -> None:
    assert {path.stem for path in RULE_FILES} == {*STAGES, "common"}


def test_no_rule_and_no_check_knows_a_table_or_figure_by_name() -> None:
    """A new one touches its file, the configurations that want it, and a test."""
    names = [*TABLES, *FIGURES, *PICTURES]
    unmistakable = "|".join(name for name in names if not name.isalpha())  # `leak` is English too
    word = re.compile(rf"""\b({unmistakable})\b|["'`]({"|".join(names)})["'`]""")
    library = ROOT / "src" / "robustseg"
    files = [ROOT / "Snakefile", *RULE_FILES, *(ROOT / "rules" / "captions").iterdir()]
    for folder in ("config", "plan", "page", "claims", "evidence", "evaluation", "attacks"):
        files += (library / folder).rglob("*.py")
    found = {
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in files
        for match in word.finditer(path.read_text(encoding="utf-8"))
    }
    # The paper's own ranking of models is its Table 3, whatever tables a run has.
    assert found <= {'src/robustseg/page/leaderboard.py: "table3"'}
