"""The settings that the documentation gives for Table 5 are the paper's numbers."""

import csv
import re
from pathlib import Path

import pytest
import yaml

from robustseg.config.schema import Training

ROOT = Path(__file__).parents[2]
EPOCHS = {"voc": (50, 300), "ade20k": (32, 128)}


def printed():
    """Return the paper's numbers by data set, decoder and metric."""
    with (ROOT / "config" / "paper" / "table5.csv").open() as file:
        return {
            (row["dataset"], row["model"], row["metric"]): float(row["value"])
            for row in csv.DictReader(file)
        }


def documented():
    text = (ROOT / "docs" / "training.md").read_text()
    block = re.search(r"<!-- table5 -->\n```yaml\n(.*?)```", text, re.S)[1]
    return {name: Training(**settings) for name, settings in yaml.safe_load(block).items()}


@pytest.mark.parametrize(
    "name", ["voc_upernet", "voc_pspnet", "ade20k_upernet", "ade20k_segmenter"]
)
def test_documented_settings_are_the_papers(name):
    training, paper = documented()[name], printed()
    dataset, model = name.split("_")
    short, long = EPOCHS[dataset]
    ours = {
        "learning_rate": training.learning_rate,
        "weight_decay": training.weight_decay,
        "images_per_gpu": training.images_per_pass,
        "gpus": training.batch_size / training.images_per_pass,
        "epochs_short": short,
        "epochs_long": long,
        "warmup_epochs_short": training.warmup * short,
        "warmup_epochs_long": training.warmup * long,
        "sgd_momentum": training.momentum,
        "adamw_beta1": training.betas and training.betas[0],
        "adamw_beta2": training.betas and training.betas[1],
        "schedule_power": training.power,
        "lr_ratio_encoder": 1 if training.learning_rate_ratio != 1 else None,
        "lr_ratio_decoder": training.learning_rate_ratio if model == "pspnet" else None,
        "auxiliary_loss_weight": training.auxiliary_weight or None,
    }
    of_data = {"base_size_px", "crop_height_px", "crop_width_px"}
    expected = {
        metric: value
        for (of_dataset, of_model, metric), value in paper.items()
        if (of_dataset, of_model) == (dataset, model) and metric not in of_data
    }
    assert {key: value for key, value in ours.items() if value is not None} == expected
