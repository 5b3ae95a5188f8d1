"""Bigger backbones and longer training: planned, and priced by the networks' throughput."""

from pathlib import Path

import pytest

from robustseg.errors import RobustsegError
from robustseg.plan.costs import PlannedJob, jobs_of
from robustseg.plan.limits import attack_minutes, memory_mb
from robustseg.plan.networks import BIGGER, PAPER
from robustseg.plan.prices import Priced, price
from robustseg.plan.throughput import Throughput
from tests.workflow.running import load, planned, snakemake

CONFIG = load("bigger")
JOBS = list(dict.fromkeys(jobs_of(CONFIG, "table3")))
SECONDS = {"tiny": 1.0, "small": 2.0, "base": 3.0, "large": 5.0}
"""Of an attack's pass, made up."""


def priced(throughputs: dict[str, Throughput]) -> list[Priced]:
    return price([(job, "nowhere") for job in JOBS], throughputs, "made_up.json")


def throughputs() -> dict[str, Throughput]:
    """Return a throughput of each network: two other kinds of pass that cost nothing."""
    return {
        str(network): Throughput.model_construct(
            forward_s=0, attack_s=SECONDS[network.architecture.split("_")[1]], update_s=0
        )
        for network in (*PAPER, *BIGGER)
        if network.architecture.startswith("convnext")
    }


def test_a_dry_run_trains_and_attacks_each_of_its_models(tmp_path: Path) -> None:
    run = snakemake(
        "--dry-run", "--configfile", "config/bigger.yaml", "--", "table3", folder=tmp_path
    )
    assert run.returncode == 0, run.stdout
    assert planned(run.stdout) == {
        "download_archive": 3,
        "unpack_archive": 3,
        "prepare_data": 2,
        "fetch_weights": 4,
        "convert_backbone": 4,
        "train_model": 9,
        "evaluate_clean": 9,
        "attack_model": 9 * 3 * 8,
        "make_table": 1,
    }


def test_hours_are_those_of_the_networks() -> None:
    found = priced(throughputs())
    hours: dict[tuple[str, str], float] = {}
    for one in found:
        key = one.job.rule, model_of(one.job)
        hours[key] = hours.get(key, 0) + one.hours
    passes = 4 * 3 * 1449 * 300  # of four losses at three radii on each of VOC's images
    for size in "tiny", "small", "base", "large":
        seconds = hours["attack_model", f"pir_at_5_50ep_upernet_convnext_{size[0]}"] * 3600
        assert seconds == pytest.approx(passes * SECONDS[size], rel=0.01)
    training = "train_model", "pir_at_5_50ep_upernet_convnext_l"
    assert hours[training] * 3600 == pytest.approx(8498 * 50 * 5 * SECONDS["large"], rel=0.01)
    longer = hours["train_model", "pir_at_5_300ep_upernet_convnext_t"]
    assert longer == pytest.approx(6 * hours["train_model", "pir_at_5_50ep_upernet_convnext_t"])


def model_of(job: PlannedJob) -> str:
    return dict(job.wildcards).get("model", "")


def test_a_network_without_a_throughput_is_named() -> None:
    some = throughputs()
    del some["upernet-convnext_large-151classes-512px"]
    with pytest.raises(RobustsegError, match=r"no throughput of upernet-convnext_large-151cl"):
        priced(some)


def test_a_scheduler_is_asked_for_more() -> None:
    models = [f"pir_at_5_50ep_upernet_convnext_{size}" for size in "tsbl"]
    for ask in (
        [memory_mb(CONFIG, model, 1) for model in models],
        [attack_minutes(CONFIG, model, "sea", 1) for model in models],
    ):
        assert ask == sorted(set(ask))


def test_at_demo_scale_each_model_differs_in_what_its_name_says() -> None:
    ours = load("bigger_demo").trainings()
    one = ours["pir_at_5"]
    assert ours["pir_at_5_long"] == one | {"epochs": 2 * one["epochs"]}
    changed = {key for key, value in ours["pir_at_5_larger"].items() if value != one[key]}
    assert changed == {"backbone", "architecture"}
    transformers = [ours["vit_at_2"], ours["vit_pir_at_2"]]
    differ = {key for key in transformers[0] if transformers[0][key] != transformers[1][key]}
    assert differ == {"scheme", "backbone"}
