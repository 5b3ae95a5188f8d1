"""Simulated clusters against schedules worked out by hand."""

import subprocess
import sys
from pathlib import Path

import pytest

from robustseg.config import load_config, read_yaml
from robustseg.plan.costs import PlannedJob
from robustseg.plan.makespan import all_jobs, simulate, waits_for

ROOT = Path(__file__).parents[2]
MATCHBOX = ROOT / "tests" / "workflow" / "matchbox.yaml"
HOUR = 3600.0


def job(rule: str, name: str) -> PlannedJob:
    return PlannedJob(rule, (("model", name),), ())


TRAIN = job("train_model", "a")
ATTACKS = [job("attack_model", name) for name in "bcde"]


@pytest.mark.parametrize(
    ("gpus", "hours", "busy"),
    # One after the other; two side by side; no more than there is to do.
    [(1, 4, 1), (2, 2, 1), (3, 2, 2 / 3), (100, 1, 4 / 100)],
)
def test_jobs_that_wait_for_nothing(gpus: int, hours: float, busy: float) -> None:
    found = simulate({one: [] for one in ATTACKS}, lambda _: HOUR, gpus)
    assert (found.hours, found.busy) == pytest.approx((hours, busy))


def test_attacks_wait_for_their_model() -> None:
    needs = {TRAIN: [], **{one: [TRAIN] for one in ATTACKS}}
    seconds = {TRAIN: 5 * HOUR, **dict.fromkeys(ATTACKS, HOUR)}
    assert simulate(needs, seconds.__getitem__, 4).hours == pytest.approx(5 + 1)
    assert simulate(needs, seconds.__getitem__, 2).hours == pytest.approx(5 + 2)


def test_what_most_waits_for_is_first() -> None:
    # Three attacks of other models are ready at once, but the training has more behind it.
    needs = {**{one: [] for one in ATTACKS[:3]}, TRAIN: [], ATTACKS[3]: [TRAIN]}
    assert simulate(needs, lambda _: HOUR, 1).hours == pytest.approx(5)
    assert simulate(needs, lambda _: HOUR, 2).hours == pytest.approx(3)


def test_a_training_on_several_gpus() -> None:
    needs = {TRAIN: [], **{one: [TRAIN] for one in ATTACKS}}
    seconds = {TRAIN: 8 * HOUR, **dict.fromkeys(ATTACKS, HOUR)}
    found = simulate(needs, seconds.__getitem__, 4, training_gpus=4)
    assert (found.hours, found.busy) == pytest.approx((2 + 1, 1))
    assert simulate(needs, seconds.__getitem__, 2, training_gpus=4).hours == pytest.approx(4 + 2)


def test_needs_are_those_of_the_workflow() -> None:
    config = load_config(read_yaml(MATCHBOX), [MATCHBOX])
    jobs = all_jobs(config)
    assert len(set(jobs)) == len(jobs)
    needs = waits_for(config, jobs)

    def needed(rule: str, **wildcards: str) -> set[str]:
        (found,) = [
            one
            for one in jobs
            if one.rule == rule and wildcards.items() <= dict(one.wildcards).items()
        ]
        return {
            dict(one.wildcards).get("model") or dict(one.wildcards)["backbone"]
            for one in needs[found]
        }

    assert needed("pretrain_backbone", backbone="convnext_clean") == set()
    assert needed("train_model", model="pir_at_5") == {"convnext_robust"}
    assert needed("attack_model", suite="classifier") == {"convnext_clean"}
    assert needed("attack_model", suite="transfer") == {"pir_at_5", "clean", "at_5"}
    assert needed("attack_gallery") == {"pir_at_5"}
    assert needed("doubt_model") == {"pir_at_5", "clean"}
    (doubt,) = (one for one in jobs if one.rule == "doubt_model")
    (attack,) = (one for one in needs[doubt] if one.rule == "attack_model")
    assert dict(attack.wildcards)["suite"] == "sea"


def test_the_command_of_the_documentation() -> None:
    command = [sys.executable, ROOT / "scripts" / "bench" / "simulate_cluster.py", MATCHBOX]
    run = subprocess.run(
        [*command, "--seconds", "0.05"], capture_output=True, text=True, check=True, timeout=250
    )
    everything, attacks = run.stdout.split("Attacks alone, models are there:")
    assert "| 1 | " in everything
    assert "512 GPUs" in attacks
