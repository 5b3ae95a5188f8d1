"""Each of the paper's architectures trains with its settings, and continues to the same weights."""

from pathlib import Path

import pytest
import torch
import yaml

from robustseg.models.checkpoints import read_weights
from robustseg.training.train import Files, Machine, train_segmentation
from tests.training.test_train import KilledError, Killer, data, files, quiet

__all__ = ["data"]  # the fixture
CASES = [
    ("voc_upernet_t", "upernet_demo", "convnext_demo"),
    ("voc_pspnet", "pspnet_demo", "resnet_demo"),
    ("ade20k_segmenter", "segmenter", "vit_demo"),
]
PAPER = yaml.safe_load((Path(__file__).parents[2] / "config" / "config.yaml").read_text())
SMALLER = {"batch_size": 8, "images_per_pass": 4}


@pytest.mark.parametrize(("training", "decoder", "backbone"), CASES)
def test_it_trains_as_table_5_says_and_continues(data, tmp_path, training, decoder, backbone):
    settings = PAPER["training"][training] | SMALLER
    model = {"scheme": "at", "decoder": decoder, "epochs": 2, "eps_255": 4, "steps": 1}

    def run(folder, progress):
        of = files(data, folder)
        made = Files(of.train, of.val, of.weights, of.metrics, of.checkpoint)
        machine = Machine(checkpoint_every_s=0.0)
        train_segmentation(model, settings, backbone, made, 0, progress, machine)
        return read_weights(made.weights)[0]

    whole = run(tmp_path / "whole", quiet())
    with pytest.raises(KilledError):
        run(tmp_path / "killed", Killer(4))
    torch.rand(7)  # random layers follow from the seed, not from what was drawn before
    continued = run(tmp_path / "killed", quiet())
    assert all(torch.equal(whole[name], continued[name]) for name in whole)
    assert all(tensor.isfinite().all() for tensor in whole.values())
