"""The ablation of training, over made-up evidence."""

import pytest

from tests.tables.test_experiments import MODEL, clean, sea, table

SETTINGS = MODEL | {
    **{"scheme": "pir_at", "eps_255": 4, "steps": 2, "drop_path": 0.0, "images_per_pass": None},
    **{"gradient_contamination": False, "attack_start": "image", "attack_mode": "eval"},
    **{"attack_loss": "ce", "precision": "fp32", "weight_decay_of": "all"},
}
MODELS = {
    "paper": SETTINGS,
    "released": SETTINGS | {"gradient_contamination": True, "weight_decay_of": "matrices"},
    "other": SETTINGS | {"attack_start": "random", "attack_loss": "mask_sph"},
}


def test_rows_say_how_they_differ_from_the_first(tmp_path):
    rows, reads = [], []
    for place, name in enumerate(MODELS):
        rows += clean(name, [150 + place, 170])
        rows += sea(name, 4, [[100 + place, 20], [60, 30], [90, 90], [90, 90]])
        reads.append({"model": name, "suites": ["sea"], "eps_255": [4]})
    values, outputs = table("ablation_training", rows, reads, tmp_path, MODELS)
    assert values["released", "clean", 0, "acc"] == pytest.approx(100 * (151 / 200 + 170 / 200) / 2)
    assert values["other", "sea", 4, "acc"] == pytest.approx(100 * (60 / 200 + 20 / 200) / 2)
    text = outputs["md"].read_text()
    assert "| reference | 80.0 |" in text
    assert "| PGD's gradients in the update, weight decay of matrices | 80.2 |" in text
    assert "| PGD from a random start, PGD on Mask-Sph. | 80.5 |" in text
    assert "PIR-AT, 2 steps, 4 epochs" in text
