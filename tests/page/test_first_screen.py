"""What the page says first of models of one's own, and the image that it shows."""

import numpy as np
import pandas as pd
import pytest

from robustseg.evidence.attacked_images import read_shots
from robustseg.evidence.numbers import LONG_COLUMNS
from robustseg.page.attack_viewer import encode_gallery
from robustseg.page.first_screen import answers_of, picture_of
from robustseg.page.page import MOST_ANSWERS, make_page
from tests.page.parts import CONFIG
from tests.page.test_attack_viewer import shots, write
from tests.synthetic import READS, write_jobs

SCORES = {  # (attack, eps_255): ACC, low, high, mIoU
    ("clean", 0): (91.04, 88.0, 93.5, 61.2),
    ("sea: apgd-js-reduced-30", 1): (41.0, 37.0, 45.0, 21.0),
    ("worst", 1): (40.21, 36.96, 44.04, 20.3),
    ("worst", 4): (3.14, 1.0, 5.5, 0.9),
}
OWN = {name: {"scheme": "own"} for name in ("net", "one", "two")}


def robustness(model="net", with_interval=True, images=16):
    rows = []
    for (attack, eps), (acc, low, high, miou) in SCORES.items():
        cell = {"table": "robustness", "model": model, "attack": attack, "eps_255": float(eps)}
        cell["images"] = images
        bounds = (low, high) if with_interval else (np.nan, np.nan)
        rows.append(
            cell | {"metric": "acc", "value": acc} | dict(zip(("low", "high"), bounds, strict=True))
        )
        rows.append(cell | {"metric": "miou", "value": miou, "low": np.nan, "high": np.nan})
    return pd.DataFrame(rows)


def test_a_model_of_ones_own_is_told_in_a_sentence():
    ((one,),) = answers_of(robustness(), None, None, OWN)
    assert one.question == "How robust is “net”?"
    assert one.sentence == (
        "On 16 clean images 91.0 % of the pixels are right (88.0 to 93.5; mIoU 61.2). The worst "
        "attack leaves 40.2 % at 1/255 (37.0 to 44.0; mIoU 20.3), 3.1 % at 4/255 "
        "(1.0 to 5.5; mIoU 0.9)."
    )
    assert one.bars == {"clean": 91.04, "1/255": 40.21, "4/255": 3.14}
    assert one.verdict == ""


def test_no_interval_and_no_radius_are_no_trouble():
    table = robustness(with_interval=False)
    ((one,),) = answers_of(table[table["attack"] == "clean"], None, None, OWN)
    assert one.sentence == "On 16 clean images 91.0 % of the pixels are right (mIoU 61.2)."


def test_over_training_seeds_mean_and_spread_are_told():
    seeds = [robustness().assign(training_seed=seed) for seed in (0, 1)]
    seeds[1]["value"] -= 2.0
    ((one,),) = answers_of(pd.concat(seeds), None, None, OWN)
    assert one.sentence.startswith(
        "On 16 clean images 90.0 ± 1.4 % of the pixels are right (mIoU 60.2 ± 1.4). The worst "
        "attack leaves 39.2 ± 1.4 % at 1/255 (mIoU 19.3 ± 1.4), "
    )
    assert one.bars == pytest.approx({"clean": 90.04, "1/255": 39.21, "4/255": 2.14})


def test_each_model_has_a_sentence():
    both = pd.concat([robustness("one"), robustness("two")])
    questions = [one.question for (one,) in answers_of(both, None, None, OWN)]
    assert questions == ["How robust is “one”?", "How robust is “two”?"]


def test_a_trained_model_has_its_training_beside_its_name_and_each_its_images():
    """Above it the page speaks of AT, which "at_5" does not say; models may have other images."""
    both = pd.concat([robustness("at_5", images=48), robustness("net", images=1)])
    told = [one for (one,) in answers_of(both, None, None, {**OWN, "at_5": {"scheme": "at"}})]
    assert [one.question for one in told] == [
        "How robust is “at_5 (AT)”?",
        "How robust is “net”?",
    ]
    assert [one.sentence.split(" 91.0")[0] for one in told] == [
        "On 48 clean images",
        "On 1 clean image",
    ]


def gallery(folder, **files):
    return encode_gallery({name: write(folder / f"{name}.npz", **of) for name, of in files.items()})


def accuracy(*by_radius):
    return np.array(by_radius)


def test_the_picture_shows_the_image_nearest_to_the_mean(tmp_path):
    """Attacked, the first model has 0.5, 0.2, 0.1 (mean 0.27), the second 0.9, 0.6, 0.3 (0.6)."""
    clean = accuracy([0.9] * 3, [0.5, 0.2, 0.1], [0.0] * 3)
    robust = accuracy([0.9] * 3, [0.9, 0.6, 0.3], [0.8, 0.1, 0.8])
    made = gallery(
        tmp_path,
        weak={**shots(images=3), "accuracy": clean},
        strong={**shots(images=3), "accuracy": robust},
    )
    models = {"weak": {"scheme": "clean"}, "strong": {"scheme": "pir_at", "eps_255": 4}}
    picture = picture_of(made, models)
    assert (picture["id"], picture["of"], picture["loss"]) == ("fake_1", 3, "Mask-CE")
    rows = {row["label"]: row["cells"] for row in picture["rows"]}
    assert [cell["accuracy"] for cell in rows["Clean model"]] == ["90.0", "20.0"]
    assert [cell["accuracy"] for cell in rows["PIR-AT model"]] == ["90.0", "60.0"]
    assert [cell["radius"] for cell in rows["PIR-AT model"]] == ["0", "4/255"]
    image = made["models"][1]["images"][1]
    assert rows["PIR-AT model"][1]["prediction"] == made["pictures"][image["prediction"][1]]
    assert rows["PIR-AT model"][1]["attacked"] == made["pictures"][image["attacked"][1]]


def test_the_key_of_colours_is_of_what_the_shown_maps_hold(tmp_path):
    """Most pixels first; neither of maps that are not shown nor of pixels outside the image."""
    maps = np.zeros((3, 1, 6, 6), dtype=np.uint8)
    maps[0, :, :, :4], maps[0, :, 0], maps[2] = 2, 255, 1
    made = gallery(tmp_path, weak=shots_of(maps), strong=shots_of(maps))
    models = {"weak": {"scheme": "clean"}, "strong": {"scheme": "at", "eps_255": 4}}
    assert picture_of(made, models)["colours"] == [("ground", "#000000"), ("c", "#03c8ff")]


def shots_of(prediction):
    return {**shots(images=1), "prediction": prediction, "accuracy": np.full((3, 1), 0.5)}


@pytest.mark.parametrize(("classes", "listed", "more"), [(12, 12, 0), (13, 12, 1), (151, 12, 139)])
def test_of_many_classes_the_key_has_the_largest(tmp_path, classes, listed, more):
    changes = {
        "prediction": np.resize(np.arange(classes, dtype=np.uint8), (3, 1, 13, 13)),
        "class_names": np.array([f"class {number}" for number in range(classes)]),
        "palette": np.zeros((classes, 3), dtype=np.uint8),
        "accuracy": np.full((3, 1), 0.5),
    }
    made = gallery(tmp_path, net={**shots(images=1, size=13), **changes})
    picture = picture_of(made, {"net": {"scheme": "own"}})
    assert (len(picture["colours"]), picture["more"]) == (listed, more)


def test_models_are_attacked_next_to_the_radius_that_they_are_trained_for(tmp_path):
    """The paper's galleries have no radius in common: 0.25 to 2 for clean, 4 to 16 for PIR-AT."""
    made = gallery(
        tmp_path, weak=shots(eps_255=(0.0, 0.5, 2.0)), strong=shots(eps_255=(0.0, 4.0, 12.0))
    )
    models = {"weak": {"scheme": "clean"}, "strong": {"scheme": "at", "eps_255": 4}}
    radii = [[cell["radius"] for cell in row["cells"]] for row in picture_of(made, models)["rows"]]
    assert radii == [["0", "2/255"], ["0", "4/255"]]


@pytest.mark.parametrize("radii", [(0.0, 1.0), (0.0, 1.0, 4.0), (0.0, 1.0, 4.0, 8.0)])
def test_one_model_alone_is_shown_at_its_first_radii(tmp_path, radii):
    made = gallery(tmp_path, net=shots(eps_255=radii))
    (row,) = picture_of(made, {"net": {"scheme": "own"}})["rows"]
    assert row["label"] == "net"
    assert [cell["radius"] for cell in row["cells"]] == ["0", "1/255", "4/255"][: len(radii)]


def test_models_of_other_images_do_not_stand_side_by_side(tmp_path):
    other = {**shots(), "image_ids": np.array(["a", "b"])}
    made = gallery(tmp_path, one=shots(), two=other)
    models = {"one": {"scheme": "own"}, "two": {"scheme": "own"}}
    assert [row["label"] for row in picture_of(made, models)["rows"]] == ["one"]


def test_no_gallery_no_picture():
    assert picture_of(None, {}) is None


def test_the_viewer_names_the_loss(tmp_path):
    path = write(tmp_path / "net.npz")
    assert encode_gallery({"net": path})["models"][0]["loss"] == str(read_shots(path).loss)


@pytest.mark.parametrize("count", [MOST_ANSWERS, 40])
def test_of_many_models_the_first_are_told_and_the_others_folded_away(tmp_path, count):
    models = {f"net_{number}": {**CONFIG["models"]["fake_clean"]} for number in range(count)}
    told = pd.concat(map(robustness, models)).reindex(columns=list(LONG_COLUMNS))
    told.to_parquet(tmp_path / "robustness.parquet")
    evidence = write_jobs(tmp_path / "e", READS["table2"][:1])
    config = CONFIG | {"models": models}
    out = tmp_path / "index.html"
    make_page({}, {}, config, evidence, [], out, numbers=[tmp_path / "robustness.parquet"])
    first, *folded = out.read_text("utf-8").split("</main>")[0].split("<summary>28 more</summary>")
    assert first.count("How robust is") == MOST_ANSWERS
    assert [part.count("How robust is") for part in folded] == [28] * (count > MOST_ANSWERS)
