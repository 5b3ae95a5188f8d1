"""Tables 5, 6, 11, Appendix C.3 and Figure 6 against slow loops over made-up evidence."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from robustseg.claims.comparisons import NumberKey
from robustseg.claims.image_scores import image_scores
from robustseg.errors import RobustsegError
from robustseg.evidence.schema import COUNTED
from robustseg.evidence.writing import write_evidence
from robustseg.figures.making import make_figure
from robustseg.figures.registry import FIGURES
from robustseg.tables.making import make_table
from robustseg.tables.registry import TABLES
from tests.synthetic import PROVENANCE

SEA = ("mask_ce", "bal_ce", "js", "mask_sph")
MODEL = {
    "decoder": "upernet",
    "backbone": "net",
    "architecture": "convnext_demo",
    "dataset": "scenes",
    "epochs": 4,
}
MODELS = {
    "clean": {**MODEL, "scheme": "clean"},
    "at_5": {**MODEL, "scheme": "at", "eps_255": 4, "steps": 5},
    "pir_at_5": {**MODEL, "scheme": "pir_at", "eps_255": 4, "steps": 5},
}


def row(model, suite, attack, eps_255, image, correct, pixels=200, linf_255=None, **more):
    """One image with two classes, all of whose pixels are labelled as the first."""
    return {
        "dataset": "scenes",
        "model": model,
        "training_seed": 0,
        "suite": suite,
        "attack": attack,
        "loss": "none",
        "optimizer": "apgd",
        "schedule": "reduced",
        "iterations": 30,
        "logit_margin": 0.0,
        "choice": "default",
        "eps_255": float(eps_255),
        "seed": 0,
        "image_id": f"val-{image}",
        "pixels": pixels,
        **counts(correct, pixels),
        "linf_255": float(eps_255 if linf_255 is None else linf_255),
        "forward_passes": 31,
        "backward_passes": 30,
        **more,
    }


def counts(correct, pixels=200):
    """The counts of an image with so many right pixels."""
    return {
        "pixels_correct": correct,
        "labelled": [pixels, 0],
        "intersection": [correct, 0],
        "union": [pixels, pixels - correct],
    }


def clean(model, correct, **more):
    words = {"loss": "none", "optimizer": "none", "schedule": "none", "iterations": 0}
    return [row(model, "clean", "clean", 0, i, c, **words, **more) for i, c in enumerate(correct)]


def sea(model, eps_255, by_loss):
    return [
        row(model, "sea", f"apgd-{loss}-reduced-30", eps_255, image, count, loss=loss)
        for loss, counts in zip(SEA, by_loss, strict=True)
        for image, count in enumerate(counts)
    ]


def write(folder, rows):
    """Write the rows of each job to a file of its own."""
    paths = []
    for key, part in pd.DataFrame(rows).groupby(["model", "suite", "eps_255"]):
        path = folder / ("-".join(map(str, key)) + ".parquet")
        write_evidence(path, part.to_dict("records"), PROVENANCE)
        paths.append(path)
    return paths


def table(name, rows, reads, folder, models=MODELS):
    outputs = {kind: folder / f"{name}.{kind}" for kind in ("csv", "md", "tex", "html", "parquet")}
    make_table(TABLES[name], write(folder, rows), reads, models, outputs)
    numbers = pd.read_csv(outputs["csv"])
    return numbers.set_index(["model", "attack", "eps_255", "metric"])["value"], outputs


TRANSFER_READS = [{"model": "pir_at_5", "suites": ["transfer", "sea"], "eps_255": [4]}]


def transfer_rows(sources=("clean", "at_5")):
    moved = {"clean": [180, 160], "at_5": [150, 120]}
    return [
        *clean("pir_at_5", [190, 170]),
        *sea("pir_at_5", 4, [[100, 90], [80, 110], [120, 120], [99, 130]]),
        *(
            row(
                "pir_at_5",
                "transfer",
                f"transfer-{source}-apgd-mask_ce-reduced-30",
                4,
                image,
                count,
                loss="mask_ce",
            )
            for source in sources
            for image, count in enumerate(moved.get(source, [100, 100]))
        ),
    ]


def test_table11_shows_each_source_and_the_white_box(tmp_path):
    values, outputs = table("table11", transfer_rows(), TRANSFER_READS, tmp_path)
    acc = values.xs("acc", level="metric")["pir_at_5"]
    assert acc["transfer_clean", 4] == pytest.approx(100 * (0.9 + 0.8) / 2)
    assert acc["transfer_at", 4] == pytest.approx(100 * (0.75 + 0.6) / 2)
    assert acc["sea", 4] == pytest.approx(100 * (80 / 200 + 90 / 200) / 2)
    assert {acc[word, 0] for word in ("sea", "transfer_at", "transfer_clean")} == {90.0}
    lines = outputs["md"].read_text().splitlines()
    assert any(line.startswith("| APGD w/ Mask-CE | AT | PIR-AT | 90.0 ") for line in lines)
    assert any(line.startswith("| SEA (white-box) | PIR-AT | PIR-AT | 90.0 ") for line in lines)
    assert "Table 11" in outputs["html"].read_text()


def test_table11_keeps_radii_apart(tmp_path):
    weak = {"clean": [180, 160], "at_5": [150, 120]}
    rows = transfer_rows()
    rows += sea("pir_at_5", 8, [[10, 20]] * 4)
    rows += [
        {
            **one,
            "eps_255": 8.0,
            "linf_255": 8.0,
            **counts(weak[one["attack"].split("-")[1]][0] // 2),
        }
        for one in rows
        if one["suite"] == "transfer"
    ]
    reads = [{**TRANSFER_READS[0], "eps_255": [4, 8]}]
    values, _ = table("table11", rows, reads, tmp_path)
    acc = values.xs("acc", level="metric")["pir_at_5"]
    assert acc["transfer_clean", 4] == pytest.approx(85)
    assert acc["transfer_clean", 8] == pytest.approx(45)
    assert acc["transfer_at", 8] == pytest.approx(37.5)
    assert acc["sea", 8] == pytest.approx(7.5)


def test_two_sources_of_one_scheme_are_refused(tmp_path):
    models = {**MODELS, "at_2": {**MODELS["at_5"], "steps": 2}}
    with pytest.raises(RobustsegError, match="reads two sources of one: at_5, at_2"):
        table("table11", transfer_rows(("at_5", "at_2")), TRANSFER_READS, tmp_path, models)


def test_an_unknown_source_is_refused(tmp_path):
    with pytest.raises(
        RobustsegError, match="whose source vit is not a model of this configuration"
    ):
        table("table11", transfer_rows(("vit",)), TRANSFER_READS, tmp_path)


def test_missing_transfer_is_named(tmp_path):
    rows = [r for r in transfer_rows() if r["suite"] != "transfer"]
    with pytest.raises(RobustsegError, match=r"suite transfer, .* at 4/255, seed 0; run them"):
        table("table11", rows, TRANSFER_READS, tmp_path)


def table6_inputs():
    nets = {
        "plain": {"architecture": "convnext_demo", "dataset": "shapes", "scheme": "clean"},
        "tough": {
            **{"architecture": "convnext_demo", "dataset": "shapes", "scheme": "at"},
            "eps_255": 4,
        },
    }
    rows, reads = [], []
    for name, right, held in (
        ("plain", [1, 1, 1, 0], [0] * 4),
        ("tough", [1, 0, 1, 0], [1, 0, 0, 0]),
    ):
        one = {"pixels": 1, "dataset": "shapes"}
        rows += clean(name, right, **one)
        words = {"loss": "ce", **one}
        rows += [
            row(name, "net", "apgd-ce-reduced-30", 4, i, c, **words) for i, c in enumerate(held)
        ]
        reads.append({"model": name, "suites": ["net"], "eps_255": [4]})
    return rows, reads, nets


def test_table6_counts_images_that_are_right(tmp_path):
    rows, reads, nets = table6_inputs()
    values, outputs = table("table6", rows, reads, tmp_path, nets)
    assert values["plain", "clean", 0, "acc"] == 75
    assert values["plain", "linf", 4, "acc"] == 0
    assert values["tough", "clean", 0, "acc"] == 50
    assert values["tough", "linf", 4, "acc"] == 25
    assert "miou" not in set(values.index.get_level_values("metric"))
    assert "| yes | trained here on shapes | 50.0 | 25.0 |" in outputs["md"].read_text()


def appendix_c3_inputs():
    models = {
        "clean": MODELS["clean"],
        "bare": {**MODELS["clean"], "background": False},
    }
    rows, reads = [], []
    for name, everywhere, objects in (
        ("clean", [150, 170], [80, 90]),
        ("bare", [60, 70], [90, 95]),
    ):
        words = {"loss": "none", "optimizer": "none", "schedule": "none", "iterations": 0}
        rows += clean(name, everywhere)
        rows += [
            row(name, "objects", "clean_objects", 0, i, c, pixels=100, **words)
            for i, c in enumerate(objects)
        ]
        reads.append({"model": name, "suites": ["objects"], "eps_255": [0]})
    return rows, reads, models


def test_appendix_c3_shows_both_scores_of_both_models(tmp_path):
    rows, reads, models = appendix_c3_inputs()
    values, outputs = table("appendix_c3", rows, reads, tmp_path, models)
    assert values["clean", "clean", 0, "acc"] == pytest.approx(85)
    assert values["bare", "clean", 0, "acc"] == pytest.approx(92.5)
    assert values["clean", "clean_all", 0, "acc"] == pytest.approx(80)
    text = outputs["md"].read_text()
    assert text.startswith("**Appendix C.3: ")
    assert "| yes | 85.0 |" in text
    assert "| no | 92.5 |" in text


RECIPE = {
    **{"optimizer": "adamw", "learning_rate": 1e-3, "weight_decay": 1e-2, "betas": [0.9, 0.999]},
    **{"batch_size": 16, "warmup": 0.1, "power": 1.0, "step_size": 0.01, "auxiliary_weight": 0.4},
    **{"data": {"size_px": 48, "train_images": 99}, "eps_255": 0, "steps": 0},
    **{"images_per_pass": None, "learning_rate_ratio": 1.0, "drop_path": 0.0, "precision": "fp32"},
    **{"attack_loss": "ce", "attack_start": "image", "attack_mode": "eval"},
    **{"gradient_contamination": False, "weight_decay_of": "all"},
}


def table5_trainings():
    scenes = {**RECIPE, "dataset": "scenes", "decoder": "upernet", "training": "long"}
    return {
        "net": {**RECIPE, "dataset": "shapes", "training": "short", "epochs": 8},
        "clean": {**scenes, "epochs": 50},
        "at": {**scenes, "epochs": 300, "eps_255": 4, "steps": 2, "weight_decay_of": "matrices"},
    }


def test_table5_is_the_configuration(tmp_path):
    outputs = {kind: tmp_path / f"table5.{kind}" for kind in ("csv", "md", "parquet")}
    make_table(TABLES["table5"], [], [], table5_trainings(), outputs)
    text = outputs["md"].read_text()
    for line in (
        "| Epochs | 8 | 50/300 |",
        "| Warmup epochs | 0.8 | 5/30 |",
        "| Weight decay | 0.01 | 0.01/0.01 of matrices |",
        "| PGD steps | – | 2 |",
        "| PGD loss | – | CE |",
        "| LR ratio (Enc:Dec) | – | – |",
    ):
        assert line in text
    numbers = pd.read_csv(outputs["csv"]).set_index(["model", "metric"])["value"]
    assert numbers["long", "epochs_short"] == 50
    assert numbers["long", "warmup_epochs_long"] == 30
    assert numbers["short", "learning_rate"] == 1e-3
    assert ("short", "auxiliary_loss_weight") not in numbers.index
    assert not {"gpus", "lr_ratio_decoder"} & set(numbers.index.get_level_values("metric"))


def test_table5_shows_what_pspnet_is_trained_with(tmp_path):
    own = {"optimizer": "sgd", "betas": None, "momentum": 0.9, "learning_rate_ratio": 10.0}
    own |= {"batch_size": 128, "images_per_pass": 16, "gradient_contamination": True, "steps": 2}
    net = RECIPE | own | {"dataset": "voc", "decoder": "pspnet", "training": "psp", "epochs": 50}
    outputs = {kind: tmp_path / f"table5.{kind}" for kind in ("csv", "md")}
    make_table(TABLES["table5"], [], [], {"net": net}, outputs)
    text = outputs["md"].read_text()
    for line in (
        "| Optimizer | SGD |",
        "| Batch size | 16×8 |",
        "| Momentum | 0.9 |",
        "| LR ratio (Enc:Dec) | 1:10 |",
        "| PGD's gradients in the update | yes |",
    ):
        assert line in text
    numbers = pd.read_csv(outputs["csv"]).set_index("metric")["value"].to_dict()
    expected = {"images_per_gpu": 16, "gpus": 8, "sgd_momentum": 0.9, "lr_ratio_decoder": 10}
    assert expected.items() <= numbers.items()
    assert "adamw_beta1" not in numbers


def test_table5_shows_how_photographs_are_cut(tmp_path):
    data = {"crop_px": 473, "base_px": 512, "train_split": "paper_8498", "void": "ignore"}
    voc = {"dataset": "voc", "decoder": "upernet", "training": "a", "epochs": 50, "data": data}
    scenes = {"dataset": "scenes", "decoder": "upernet", "training": "a", "epochs": 50}
    outputs = {kind: tmp_path / f"table5.{kind}" for kind in ("csv", "md")}
    recipes = {"voc": RECIPE | voc, "scenes": RECIPE | scenes}
    make_table(TABLES["table5"], [], [], recipes, outputs)
    text = outputs["md"].read_text()
    for line in (
        "| Base size | 512 | – |",
        "| Crop size | 473×473 | 48×48 |",
        "| Random horizontal flip | yes | yes |",
        "| Random Gaussian blur | yes | no |",
        "| Training images | paper 8498 | 99 |",
        "| Pixels without a class | ignore | – |",
    ):
        assert line in text
    numbers = pd.read_csv(outputs["csv"]).set_index(["dataset", "metric"])["value"]
    assert numbers["voc", "base_size_px"] == 512
    assert numbers["voc", "crop_width_px"] == 473
    assert ("scenes", "base_size_px") not in numbers.index


def figure6_rows():
    """Six images; ALMA prox attacks four of them. 198 of 200 wrong pixels are 99 %."""
    random = np.random.default_rng(1)
    rows = clean("clean", [190] * 6)
    for eps in (1, 2, 4):
        right = random.integers(0, 5, (4, 6))
        rows += sea("clean", eps, right.tolist())
    words = {"loss": "margin", "optimizer": "alma_prox", "schedule": "none", "iterations": 50}
    found = {0: (2, 0.9), 2: (1, 3.0), 3: (190, 0.0), 5: (2, 2.0)}
    rows += [
        row("clean", "alma", "alma_prox-0.99-50", 255, image, right, linf_255=norm, **words)
        for image, (right, norm) in found.items()
    ]
    return rows, found


FIGURE6_READS = [
    {"model": "clean", "suites": ["sea"], "eps_255": [1, 2, 4]},
    {"model": "clean", "suites": ["alma"], "eps_255": [255]},
]


def draw_figure6(rows, folder):
    outputs = {kind: folder / f"figure6.{kind}" for kind in ("csv", "svg", "parquet")}
    make_figure(FIGURES["figure6"], write(folder, rows), FIGURE6_READS, MODELS, outputs)
    return outputs


def test_figure6_is_what_a_slow_loop_finds(tmp_path):
    rows, found = figure6_rows()
    numbers = pd.read_csv(draw_figure6(rows, tmp_path)["csv"])
    shown = numbers.set_index(["attack", "eps_255"])["value"]
    assert set(numbers["metric"]) == {"robust_images"}
    for eps in (1, 2, 4):
        robust = {"alma": 0, "mask_ce": 0, "sea": 0}
        for image, (right, norm) in found.items():
            robust["alma"] += not (200 - right >= 198 and norm <= eps)
            mine = [
                r
                for r in rows
                if r["suite"] == "sea" and r["image_id"] == f"val-{image}" and r["eps_255"] <= eps
            ]
            wrong = {"mask_ce": [], "sea": []}
            for one in mine:
                wrong["sea"].append(200 - one["pixels_correct"])
                if one["loss"] == "mask_ce":
                    wrong["mask_ce"].append(200 - one["pixels_correct"])
            for word, counts in wrong.items():
                robust[word] += not any(count >= 198 for count in counts)
        for word, count in robust.items():
            assert shown[word, eps] == pytest.approx(100 * count / 4), (word, eps)
    assert shown["alma", 1] == 75
    assert shown["alma", 4] == 25


def test_figure6_has_the_intervals_of_a_share_of_images(tmp_path):
    """Wilson's: its ends are so far from the share as their own deviation times Student's t is."""
    numbers = pd.read_csv(draw_figure6(figure6_rows()[0], tmp_path)["csv"])
    each = t.isf(0.025, 3) ** 2 / 4
    for one in numbers.to_dict("records"):
        share = one["value"] / 100
        ends = sorted(np.roots([1 + each, -2 * share - each, share**2]).real)
        assert [one["low"], one["high"]] == pytest.approx(100 * np.array(ends), abs=1e-6)
    assert (numbers["low"] < numbers["high"]).any()


def test_figure6_leaves_out_images_that_have_no_labels(tmp_path):
    rows = figure6_rows()[0]
    (tmp_path / "all").mkdir()
    before = pd.read_csv(draw_figure6(rows, tmp_path / "all")["csv"])
    for one in rows:
        if one["image_id"] == "val-3":
            empty = {"pixels": 0, "pixels_correct": 0}
            one |= empty | {name: [0] * len(one[name]) for name in COUNTED}
    after = pd.read_csv(draw_figure6(rows, tmp_path)["csv"])
    assert (set(before["images"]), set(after["images"])) == ({4}, {3})


def test_figure6_says_which_evidence_is_missing(tmp_path):
    rows = [r for r in figure6_rows()[0] if r["suite"] != "alma"]
    with pytest.raises(
        RobustsegError, match=r"figure6 misses evidence of 1 job: suite alma, .* at 255"
    ):
        draw_figure6(rows, tmp_path)


def test_images_that_the_clean_evaluation_lacks_are_refused(tmp_path):
    rows, _ = figure6_rows()
    for one in rows:
        if one["suite"] == "alma" and one["image_id"] == "val-5":
            one["image_id"] = "val-9"
    with pytest.raises(RobustsegError, match="are not the 6 of the clean evaluation"):
        draw_figure6(rows, tmp_path)


def test_shares_of_robust_images_are_means_over_images(tmp_path):
    rows, _ = figure6_rows()
    numbers = pd.read_parquet(draw_figure6(rows, tmp_path)["parquet"])
    scores = image_scores(numbers, write(tmp_path, rows), {"figure6": FIGURE6_READS})
    assert len(numbers) == 9
    for one in numbers.to_dict("records"):
        image_ids, held, _ = scores(NumberKey(*(one[key] for key in NumberKey._fields)))
        assert list(image_ids) == ["val-0", "val-2", "val-3", "val-5"]
        assert held.mean() == pytest.approx(one["value"])


def test_models_of_two_data_sets_are_told_apart(tmp_path):
    other = {**MODELS["pir_at_5"], "dataset": "streets"}
    rows = transfer_rows()
    rows += [{**one, "model": "other", "dataset": "streets"} for one in rows]
    reads = [*TRANSFER_READS, {**TRANSFER_READS[0], "model": "other"}]
    _, outputs = table("table11", rows, reads, tmp_path, {**MODELS, "other": other})
    text = outputs["md"].read_text()
    for dataset in ("scenes", "streets"):
        assert f"**{dataset}, UPerNet + ConvNeXt (demo size), PIR-AT" in text
    _, outputs = table("table11", transfer_rows(), TRANSFER_READS, tmp_path / "alone")
    assert "**UPerNet + ConvNeXt (demo size), PIR-AT" in outputs["md"].read_text()
