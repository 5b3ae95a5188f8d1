"""What the settings of a training may be, where no configuration has checked them."""

import math
from dataclasses import replace

import pytest
import torch

from robustseg.config.models import TrainedBackbone, TrainedModel, Training
from robustseg.data.arrays import save_split
from robustseg.errors import RobustsegError
from robustseg.models.build import build_backbone
from robustseg.models.registry import BACKBONES, least_px
from robustseg.training.settings import OF_OTHERS, REQUIRED, SUBJECT, TRAINING, settings_of
from robustseg.training.train import train_segmentation
from tests.training import tiny
from tests.training.test_train import MODEL, PIR_AT, data, files, quiet, train
from tests.training.test_train import TRAINING as DEMO

__all__ = ["data"]  # the fixture


def test_the_keys_are_those_of_configurations():
    assert set(TRAINING) == set(Training.model_fields)
    subject = {*TrainedModel.model_fields, *TrainedBackbone.model_fields, "architecture"}
    assert set(SUBJECT) | OF_OTHERS == subject


def test_what_is_left_out_is_what_configurations_say():
    fields = Training.model_fields
    said = {key: REQUIRED if one.is_required() else one.default for key, one in fields.items()}
    assert {key: default for key, (_, default) in TRAINING.items()} == said


WRONG = [
    ("batch_size", 0, "a whole number from 1"),
    ("batch_size", 8.0, "a whole number from 1"),
    ("batch_size", True, "a whole number from 1"),
    ("learning_rate", 0, "a number above 0"),
    ("learning_rate", math.nan, "a number above 0"),
    ("learning_rate", math.inf, "a number above 0"),
    ("learning_rate", "1e-3", "a number above 0"),
    ("step_size", 2.55, "a number above 0 and at most 1"),
    ("warmup", 1.1, "a number from 0 to 1"),
    ("momentum", 1.0, "a number from 0 to below 1"),
    ("betas", [0.9], "two numbers from 0 to below 1"),
    ("betas", [0.9, 1.0], "two numbers from 0 to below 1"),
    ("precision", "fp16", "one of fp32, bf16"),
    ("optimizer", "lion", "one of adamw, sgd"),
    ("weight_decay_of", "norms", "one of all, matrices"),
    ("attack_mode", "Eval", "one of eval, train"),
    ("attack_start", "noise", "one of image, random"),
    ("attack_loss", "dice", "one of ce, bal_ce,"),
    ("attack_loss", "miou_ce", "one of ce, bal_ce,"),  # asks for the pixels of each class
    ("gradient_contamination", "no", "one of True, False"),
]


@pytest.mark.parametrize(("key", "value", "words"), WRONG)
def test_a_value_that_is_none_is_refused(key, value, words):
    with pytest.raises(RobustsegError, match=rf"the training's {key} is .*; it should be {words}"):
        settings_of(tiny.AT, tiny.TRAINING | {key: value}, "at", 0)


@pytest.mark.parametrize(
    ("key", "value"), [("epochs", 0), ("epochs", "2"), ("eps_255", -1), ("background", 0.5)]
)
def test_so_is_one_of_the_model(key, value):
    with pytest.raises(RobustsegError, match=f"the training's {key} is "):
        settings_of(tiny.AT | {key: value}, tiny.TRAINING, "at", 0)


def test_what_is_misspelt_or_missing_is_named():
    with pytest.raises(RobustsegError, match="'learningrate' is not a training setting; known"):
        settings_of(tiny.AT, tiny.TRAINING | {"learningrate": 1.0}, "at", 0)
    with pytest.raises(RobustsegError, match="'epoch' is not a training setting; known are epo"):
        settings_of(tiny.AT | {"epoch": 1}, tiny.TRAINING, "at", 0)
    with pytest.raises(RobustsegError, match="settings have no power; add it: a number above 0"):
        settings_of(tiny.AT, tiny.TRAINING | {"power": None}, "at", 0)
    with pytest.raises(RobustsegError, match="scheme is 'pirat'; it should be clean, at, pir_at"):
        settings_of(tiny.AT, tiny.TRAINING, "pirat", 0)


@pytest.mark.parametrize("missing", ["eps_255", "steps"])
def test_adversarial_training_without_an_attack_is_refused(missing):
    subject = {key: value for key, value in tiny.AT.items() if key != missing}
    with pytest.raises(RobustsegError, match="needs eps_255 and steps above 0"):
        settings_of(subject, tiny.TRAINING, "at", 0)


def test_half_of_a_single_image_is_none():
    with pytest.raises(
        RobustsegError, match=r"a share of 0\.5 is none, so nothing would be attacked"
    ):
        settings_of(tiny.AT, tiny.TRAINING | {"images_per_pass": 1}, "half_at", 0)


@pytest.mark.parametrize(
    ("scheme", "changes"),
    [
        ("clean", {"batch_size": 1}),
        ("half_at", {"images_per_pass": 2, "attack_mode": "train"}),
    ],
)
def test_single_images_for_batch_norm_are_refused(data, tmp_path, scheme, changes):
    attack = {"eps_255": 4, "steps": 1} if scheme != "clean" else {}
    with pytest.raises(RobustsegError, match="BatchNorm, in upernet_demo, needs at least two"):
        train(data, tmp_path, MODEL | {"scheme": scheme} | attack, **changes)


def test_an_image_too_small_for_the_network_is_said_before_the_training(data, tmp_path):
    small = tiny.images(1)  # of 8x8 pixels
    save_split(tmp_path / "val.npz", small)
    paths = replace(files(data, tmp_path), val=tmp_path / "val.npz")
    with pytest.raises(
        RobustsegError, match=r"image image0 has 8x8 pixels, and a convnext_demo takes none .* 29"
    ):
        train_segmentation(PIR_AT, DEMO, "convnext_demo", paths, 0, quiet())


def test_so_is_a_view_to_train_on_that_is_too_small(data, tmp_path):
    save_split(tmp_path / "train.npz", tiny.images())
    paths = replace(files(data, tmp_path), train=tmp_path / "train.npz", backbone=None)
    with pytest.raises(
        RobustsegError, match=r"trained on in 8x8 pixels, .* none with a side below 29; raise crop"
    ):
        train_segmentation(PIR_AT, DEMO, "convnext_demo", paths, 0, quiet())


@pytest.mark.parametrize("name", [name for name in BACKBONES if "demo" in name])
def test_the_least_image_is_one_that_a_backbone_takes(name):
    backbone, least = build_backbone(name).eval(), least_px(name)
    for size in ((least, 40), (40, least)):
        padded = [-(-side // 8) * 8 if "vit" in name else side for side in size]  # Segmenter's
        backbone.features(torch.zeros(1, 3, *padded))
    if least > 1:
        with pytest.raises(RuntimeError, match="Kernel size"):
            backbone.features(torch.zeros(1, 3, least - 1, 40))
