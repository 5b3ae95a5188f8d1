"""What jobs ask a scheduler for."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from robustseg.config import load_config, read_yaml
from robustseg.models.backbones import build_backbone
from robustseg.models.build import build_segmentation_model
from robustseg.models.registry import BACKBONES, DECODERS, backbones_for
from robustseg.plan.limits import (
    GIGA_MACS,
    LONGEST_MIN,
    MAIN,
    attack_minutes,
    clean_minutes,
    memory_mb,
    relative_cost,
    training_minutes,
    training_priority,
)
from robustseg.plan.networks import Work
from tests.workflow.running import ROOT

PATH = ROOT / "config" / "config.yaml"
PAPER = load_config(read_yaml(PATH), [PATH])
TINY, SMALL = "pir_at_5_50ep_upernet_convnext_t", "pir_at_5_50ep_upernet_convnext_s"


@pytest.mark.parametrize("architecture", BACKBONES)
def test_multiplications_are_those_of_the_networks(architecture: str) -> None:
    counted = {}
    for decoder in ("", *(name for name in DECODERS if architecture in backbones_for(name))):
        with torch.device("meta"), FlopCounterMode(display=False) as counter:
            network = (
                build_segmentation_model(architecture, decoder, 21)
                if decoder
                else build_backbone(architecture, 1000)
            )
            network.eval()(torch.rand(1, 3, 512, 512))
        counted[decoder] = counter.get_total_flops() / 2e9
    assert counted == pytest.approx(GIGA_MACS[architecture], rel=0.05, abs=0.1)


def test_a_published_classifier_is_no_demo() -> None:
    path = ROOT / "config" / "imagenet.yaml"
    config = load_config(read_yaml(path), [path])
    assert all(memory_mb(config, name, 1) > 10_000 for name in config.backbones)


def test_a_network_that_is_new_in_the_registry_asks_for_what_the_main_one_does() -> None:
    main = relative_cost(Work(MAIN, attack=1))
    for new in (replace(MAIN, architecture="new"), replace(MAIN, decoder="new")):
        assert relative_cost(Work(new, attack=1)) == main


def test_larger_networks_ask_for_more() -> None:
    assert memory_mb(PAPER, SMALL, 1) > memory_mb(PAPER, TINY, 1)
    assert attack_minutes(PAPER, SMALL, "sea", 1) > attack_minutes(PAPER, TINY, "sea", 1)


def test_retries_ask_for_more_up_to_a_day() -> None:
    assert memory_mb(PAPER, TINY, 3) == 3 * memory_mb(PAPER, TINY, 1)
    first, second = (attack_minutes(PAPER, TINY, "losses", attempt) for attempt in (1, 2))
    assert second == 2 * first
    assert training_minutes(PAPER, TINY, 4) == LONGEST_MIN
    assert clean_minutes(PAPER, TINY, 1) == 30


def test_shards_ask_for_less() -> None:
    attacks = PAPER.attacks.model_copy(update={"shards": 2 * PAPER.attacks.shards})
    cut = PAPER.model_copy(update={"attacks": attacks})
    whole = attack_minutes(PAPER, TINY, "sea", 1)
    assert 0.4 * whole < attack_minutes(cut, TINY, "sea", 1) < 0.7 * whole


def test_trainings_come_before_attacks_and_the_longest_first() -> None:
    longest, short = "at_5_300ep_upernet_convnext_t", "at_2_50ep_upernet_convnext_t"
    assert training_priority(PAPER, longest) > training_priority(PAPER, short) > 0
