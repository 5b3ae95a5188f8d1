"""Figures of attacked images show what was kept, and refuse what does not fit together."""

import json

import numpy as np
import pandas as pd
import pytest

from robustseg.errors import RobustsegError
from robustseg.evidence.attacked_images import save_arrays
from robustseg.figures import picture
from robustseg.figures.by_radius import most_varied
from robustseg.figures.picture import colours, make_picture
from robustseg.figures.registry import PICTURES
from tests.figures.reading import TEXT_WIDTH_INCHES, readable

MODELS = {
    "clean": {"scheme": "clean", "dataset": "scenes"},
    "robust": {"scheme": "pir_at", "dataset": "scenes"},
}
RANDOM = np.random.default_rng(0)
PALETTE = np.array([[0, 0, 0], [200, 0, 0], [0, 200, 0]], np.uint8)
SHOWN = {
    "image_ids": np.array(["a", "b", "c"]),
    "labels": np.stack([np.full((8, 8), i, np.uint8) for i in (0, 1, 2)]),
    "images": RANDOM.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8),
    "class_names": np.array(["background", "red", "green"]),
    "palette": PALETTE,
}


def gallery(path, eps_255=(0.0, 4.0, 8.0)):
    radii = np.array(eps_255)
    count = len(radii)
    arrays = {
        **SHOWN,
        "eps_255": radii,
        "perturbation": np.zeros((count, 3, 8, 8, 3), np.float16),
        "prediction": RANDOM.integers(0, 3, (count, 3, 8, 8), dtype=np.uint8),
        "accuracy": np.arange(3 * count).reshape(count, 3) / 3 / count,
        "loss": np.array("js"),
    }
    arrays["labels"] = SHOWN["labels"].copy()
    arrays["labels"][2, 0, 0] = 1  # the third image has two classes, the others one
    save_arrays(path, arrays)
    return arrays


def targeted(path, eps_255=2.0, targets=("red", "green")):
    arrays = {
        **SHOWN,
        "targets": np.array(targets),
        "eps_255": np.array(eps_255),
        "perturbation": np.zeros((2, 3, 8, 8, 3), np.float16),
        "prediction": RANDOM.integers(0, 3, (2, 3, 8, 8), dtype=np.uint8),
        "share": np.array([[0.5, 0.6, 0.7], [0.2, 0.3, 0.4]]),
        "clean_share": np.zeros((2, 3)),
    }
    save_arrays(path, arrays)


def draw(figure, shots, folder, kinds=("png", "svg", "pdf", "csv", "json")):
    outputs = {kind: folder / f"{figure}.{kind}" for kind in kinds}
    make_picture(PICTURES[figure], shots, MODELS, outputs)
    return outputs


def test_accuracies_are_printed_over_the_images_with_most_classes(tmp_path):
    arrays = gallery(tmp_path / "clean.npz")
    outputs = draw("figure7", {"clean": tmp_path / "clean.npz"}, tmp_path)
    numbers = pd.read_csv(outputs["csv"]).set_index(["image_id", "eps_255"])["value"]
    assert set(numbers.index.get_level_values("image_id")) == {"a", "c"}
    text = outputs["svg"].read_text()
    for (image, eps), value in numbers.items():
        expected = arrays["accuracy"][[0, 4, 8].index(eps), "abc".index(image)]
        assert value == pytest.approx(100 * expected)
        assert f"ACC {100 * expected:.1f} %" in text
    for word in (
        "background",
        "red",
        "green",
        "ε = 8/255",
        "original",
        "ground truth",
        "segmentation",
    ):
        assert word in text
    assert "APGD on JS" in json.loads(outputs["json"].read_text(encoding="utf-8"))["caption"]


def test_figure1_prints_the_share_of_each_model_and_target(tmp_path):
    shots = {model: tmp_path / f"{model}.npz" for model in MODELS}
    for path in shots.values():
        targeted(path)
    outputs = draw("figure1", shots, tmp_path)
    numbers = pd.read_csv(outputs["csv"]).set_index(["model", "target", "image_id"])["value"]
    assert len(numbers) == 12
    assert numbers["robust", "green", "b"] == pytest.approx(30)
    text = outputs["svg"].read_text()
    assert "PIR-AT model" in text
    assert "→ green" in text


@pytest.mark.parametrize("count", [3, 8, 11])
def test_accuracies_at_many_radii_can_be_read(tmp_path, monkeypatch, count):
    """Of up to seven radii in a column of text; more make a wider figure."""
    wide = max(TEXT_WIDTH_INCHES, 0.62 * (1 + count))
    monkeypatch.setattr(
        picture, "write_drawing", lambda drawing, *_: readable(drawing.canvas, wide)
    )
    gallery(tmp_path / "clean.npz", eps_255=np.linspace(0, 16, count).round(1))
    draw("figure7", {"clean": tmp_path / "clean.npz"}, tmp_path)


def test_long_names_of_classes_can_be_read(tmp_path, monkeypatch):
    names = [f"{word} " + "of a very long kind " * 3 for word in ("ground", "car", "lamp")]
    monkeypatch.setattr(picture, "write_drawing", lambda drawing, *_: readable(drawing.canvas))
    monkeypatch.setitem(SHOWN, "class_names", np.array(names))
    shots = {model: tmp_path / f"{model}.npz" for model in MODELS}
    for path in shots.values():
        targeted(path, targets=names[1:])
    draw("figure1", shots, tmp_path)


def test_the_same_images_give_the_same_bytes(tmp_path):
    gallery(tmp_path / "clean.npz")
    shots = {"clean": tmp_path / "clean.npz"}
    first = {kind: path.read_bytes() for kind, path in draw("figure7", shots, tmp_path).items()}
    again = {kind: path.read_bytes() for kind, path in draw("figure7", shots, tmp_path).items()}
    assert first == again


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    shots = {model: tmp_path / f"{model}.npz" for model in MODELS}
    targeted(shots["clean"])
    targeted(shots["robust"], eps_255=4.0)
    with pytest.raises(RobustsegError, match=r"robust\.npz has other eps_255 than .*clean\.npz"):
        draw("figure1", shots, tmp_path, ["csv"])


def test_a_missing_file_is_named(tmp_path):
    for figure in ("figure1", "figure8"):
        with pytest.raises(RobustsegError, match=r"gone\.npz cannot be read"):
            draw(figure, {"robust": tmp_path / "gone.npz"}, tmp_path, ["csv"])


def test_unlabelled_pixels_have_a_colour_and_are_no_class():
    labels = np.array([[[0, 255]], [[0, 1]]], dtype=np.uint8)
    assert most_varied(labels, 1) == [1]
    assert colours(labels[0], PALETTE).tolist() == [[[0, 0, 0], [128, 128, 128]]]
