"""Tables that the paper does not have: by class and size, each attack, black box, and others."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from robustseg.evidence.writing import write_evidence
from robustseg.greedy_miou import greedy_miou
from robustseg.tables.making import make_table
from robustseg.tables.registry import TABLES
from tests.synthetic import MODELS, READS, synthetic_rows, write_jobs

MODEL, CLASSES = "fake_pir_5", 4


def long(name: str, folder: Path, **size: int) -> tuple[pd.DataFrame, str]:
    """Return the long form of a table of made-up evidence, and what is printed."""
    outputs = {kind: folder / f"{name}.{kind}" for kind in ("parquet", "md")}
    paths = write_jobs(folder / "evidence", READS[name], **size)
    make_table(TABLES[name], paths, READS[name], MODELS, outputs)
    return pd.read_parquet(outputs["parquet"]), outputs["md"].read_text()


def worst_rows(eps_255: float) -> list[dict[str, Any]]:
    """Return for each image the row of its worst attack, by a plain loop."""
    if not eps_255:
        return synthetic_rows(MODEL, "clean", 0.0)
    order = ["mask_ce", "bal_ce", "js", "mask_sph"]
    rows = sorted(synthetic_rows(MODEL, "sea", eps_255), key=lambda row: order.index(row["loss"]))
    worst: dict[str, dict[str, Any]] = {}
    for row in rows:
        found = worst.get(row["image_id"])
        if found is None or row["pixels_correct"] < found["pixels_correct"]:
            worst[row["image_id"]] = row
    return list(worst.values())


@pytest.mark.parametrize("eps_255", [0.0, 4.0, 8.0])
def test_shares_by_class_are_those_of_a_slow_loop(tmp_path: Path, eps_255: float) -> None:
    frame, printed = long("by_class", tmp_path)
    found = frame[frame["eps_255"] == eps_255].set_index("metric")
    rows = worst_rows(eps_255)
    means = {"iou": "miou", "class_acc": "macc"}
    for metric, whole in (("iou", "union"), ("class_acc", "labelled")):
        shares = []
        for label in range(CLASSES):
            part = sum(int(row["intersection"][label]) for row in rows)
            share = 100 * part / sum(int(row[whole][label]) for row in rows)
            shares.append(share)
            one = found.loc[f"{metric}:{label}"]
            assert one["value"] == pytest.approx(share)
            assert one["low"] <= share <= one["high"]
            assert one["high"] - one["low"] > 0
        assert found.loc[means[metric], "value"] == pytest.approx(sum(shares) / CLASSES)
    assert len(found) == 2 * (CLASSES + 1)
    (line,) = (line for line in printed.splitlines() if line.startswith("| mean"))
    assert f"| {found.loc['miou', 'value']:.1f} | {found.loc['macc', 'value']:.1f} |" in line


def test_a_class_that_is_nowhere_has_no_line_and_weighs_nothing(tmp_path: Path) -> None:
    """Seen by giving all counts a class more, which no pixel has."""
    reads = [{"model": MODEL, "suites": ["sea"], "eps_255": [4]}]
    paths = []
    for suite, eps_255 in (("clean", 0.0), ("sea", 4.0)):
        rows = synthetic_rows(MODEL, suite, eps_255)
        for row in rows:
            for name in ("labelled", "intersection", "union"):
                row[name] = [*map(int, row[name]), 0]
        path = tmp_path / suite / MODEL / "seed0" / f"eps{eps_255:g}" / "seed0-shard0.parquet"
        write_evidence(path, rows, {})
        paths.append(path)
    outputs = {"parquet": tmp_path / "wider.parquet", "md": tmp_path / "wider.md"}
    make_table(TABLES["by_class"], paths, reads, MODELS, outputs)
    wider = pd.read_parquet(outputs["parquet"])
    assert not wider["metric"].str.endswith(f":{CLASSES}").any()
    frame, _ = long("by_class", tmp_path / "narrow")
    whole = frame[frame["eps_255"] <= 4].set_index(["eps_255", "metric"])["value"]
    assert wider.set_index(["eps_255", "metric"])["value"].to_dict() == whole.to_dict()


def test_each_attack_has_its_line_and_the_worst_of_all_is_below(tmp_path: Path) -> None:
    frame, printed = long("each_attack", tmp_path)
    at_4 = frame[(frame["eps_255"] == 4) & (frame["metric"] == "acc")].set_index("attack")["value"]
    rows = [*synthetic_rows(MODEL, "losses", 4), *synthetic_rows(MODEL, "sea", 4)]
    lowest: dict[str, float] = {}
    for name in {(row["suite"], row["attack"]) for row in rows}:
        ours = [row for row in rows if (row["suite"], row["attack"]) == name]
        shares = [row["pixels_correct"] / row["pixels"] for row in ours]
        assert at_4[": ".join(name)] == pytest.approx(100 * sum(shares) / len(shares))
    for row in rows:
        share = row["pixels_correct"] / row["pixels"]
        lowest[row["image_id"]] = min(share, lowest.get(row["image_id"], 1.0))
    assert at_4["worst"] == pytest.approx(100 * sum(lowest.values()) / len(lowest))
    assert len(at_4) == 6 + 4 + 1
    assert "| sea: apgd-mask\\_ce-reduced-30 |" in printed


def test_each_attack_has_one_line_of_heads(tmp_path: Path) -> None:
    paths, out = write_jobs(tmp_path, READS["each_attack"]), tmp_path / "t.html"
    make_table(TABLES["each_attack"], paths, READS["each_attack"], MODELS, {"html": out})
    heads = out.read_text().partition("<thead>")[2].partition("</thead>")[0]
    assert heads.count("<tr>") == 1


def test_a_table_of_one_image_says_so_in_the_singular(tmp_path: Path) -> None:
    _, printed = long("each_attack", tmp_path, images=1)
    assert "1 image of fake" in printed


def counts(rows: list[dict[str, Any]], name: str) -> list[list[int]]:
    return [list(map(int, row[name])) for row in rows]


def slow_image_miou(row: dict[str, Any]) -> float:
    pairs = zip(row["intersection"], row["union"], strict=True)
    shares = [int(part) / int(whole) for part, whole in pairs if whole]
    return sum(shares) / len(shares)


def test_worst_case_miou_is_that_of_its_candidates(tmp_path: Path) -> None:
    """The attacks of both suites and the clean image; the search has tests of its own."""
    eps_255, size = 8.0, {"images": 8, "pixels": 60}
    frame, printed = long("worst_miou", tmp_path, **size)
    found = frame[frame["eps_255"] == eps_255].set_index("metric")["value"]
    rows = [
        *synthetic_rows(MODEL, "losses", eps_255, **size),
        *synthetic_rows(MODEL, "sea", eps_255, **size),
        *synthetic_rows(MODEL, "clean", 0.0, **size),
    ]
    by_attack: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        by_attack.setdefault((row["suite"], row["attack"]), []).append(row)
    attacks = list(by_attack.values())
    parts, wholes = (
        np.array([counts(rows, name) for rows in attacks]) for name in ("intersection", "union")
    )
    greedy = greedy_miou(parts, wholes)
    assert found["greedy_miou"] == pytest.approx(100 * greedy.miou)
    assert found["miou_bound"] == pytest.approx(100 * greedy.lower_bound)
    assert found["miou_gap"] == pytest.approx(100 * (greedy.miou - greedy.lower_bound))
    assert found["miou_bound"] <= found["greedy_miou"] < found["miou"]
    by_image = [min(map(slow_image_miou, versions)) for versions in zip(*attacks, strict=True)]
    assert found["image_miou"] == pytest.approx(100 * sum(by_image) / len(by_image))
    assert f"| {found['greedy_miou']:.1f} | {found['miou_bound']:.1f} |" in printed


def test_the_clean_image_is_a_candidate_beside_a_single_attack(tmp_path: Path) -> None:
    """An attack that leaves all pixels right leaves the scores of the clean images."""
    paths = write_jobs(tmp_path, [{"model": MODEL, "suites": [], "eps_255": []}])
    attack = [row for row in synthetic_rows(MODEL, "sea", 8.0) if row["loss"] == "mask_ce"]
    labelled = {row["image_id"]: row["labelled"] for row in synthetic_rows(MODEL, "clean", 0.0)}
    for row in attack:
        row |= {"pixels_correct": row["pixels"]}
        whole = labelled[row["image_id"]]
        row |= dict.fromkeys(("labelled", "intersection", "union"), whole)
    path = tmp_path / "sea" / MODEL / "seed0" / "eps8" / "seed0-shard0.parquet"
    write_evidence(path, attack, {})
    reads = [{"model": MODEL, "suites": ["sea"], "eps_255": [8]}]
    out = tmp_path / "worst_miou.csv"
    make_table(TABLES["worst_miou"], [*paths, path], reads, MODELS, {"csv": out})
    frame = pd.read_csv(out)
    clean, worst = (frame[frame["attack"] == a].set_index("metric") for a in ("clean", "worst"))
    for metric in ("miou", "greedy_miou", "miou_bound"):
        assert worst.loc[metric, "value"] == pytest.approx(clean.loc["miou", "value"])
    assert worst.loc["image_miou", "value"] == clean.loc["image_miou", "value"]


def test_clean_miou_has_no_worst_case(tmp_path: Path) -> None:
    frame, printed = long("worst_miou", tmp_path)
    clean = frame[frame["eps_255"] == 0].set_index("metric")["value"]
    rows = synthetic_rows(MODEL, "clean", 0.0)
    assert set(clean.index) == {"miou", "image_miou"}
    mean = sum(map(slow_image_miou, rows)) / len(rows)
    assert clean["image_miou"] == pytest.approx(100 * mean)
    assert f"| 0 | {clean['miou']:.1f} | – | – | – | {100 * mean:.1f} |" in printed


LABELLED = [[3, 12, 30, 355], [2, 0, 79, 319]]
"""Pixels of each class in two images of 400 pixels: two objects below 1 %, one of 3 %, ..."""
RIGHT = {"none": 1, "mask_ce": 2, "bal_ce": 3, "js": 5, "mask_sph": 4}
"""One pixel of so many is right, under each loss."""


def of_known_sizes(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with the counts of LABELLED; what is wrong is predicted as class 3, or as 2."""
    whole = LABELLED[int(row["image_id"][-1])]
    part = [count // RIGHT[row["loss"]] for count in whole]
    wrong = [w - p for w, p in zip(whole, part, strict=True)]
    union = [*whole[:2], whole[2] + wrong[3], whole[3] + sum(wrong[:3])]
    counts = {"labelled": whole, "intersection": part, "union": union}
    return {**row, **counts, "pixels": sum(whole), "pixels_correct": sum(part)}


def test_accuracy_by_size_is_that_of_a_slow_loop(tmp_path: Path) -> None:
    reads = [{"model": MODEL, "suites": ["sea"], "eps_255": [8]}]
    paths = []
    for suite, eps_255 in (("clean", 0.0), ("sea", 8.0)):
        rows = synthetic_rows(MODEL, suite, eps_255, images=2)
        path = tmp_path / suite / MODEL / "seed0" / f"eps{eps_255:g}" / "seed0-shard0.parquet"
        write_evidence(path, list(map(of_known_sizes, rows)), {})
        paths.append(path)
    out = tmp_path / "by_size.csv"
    make_table(TABLES["by_size"], paths, reads, MODELS, {"csv": out})
    frame = pd.read_csv(out)
    sizes = {
        "below 1 %": [3, 2],
        "1 to 5 %": [12],
        "5 to 20 %": [30, 79],
        "20 % or more": [355, 319],
    }
    for eps_255, one_in in ((0.0, 1), (8.0, 5)):
        found = frame[frame["eps_255"] == eps_255].set_index("metric")["value"].to_dict()
        expected = {
            f"size_acc:{name}": 100 * sum(n // one_in for n in objects) / sum(objects)
            for name, objects in sizes.items()
        }
        if not eps_255:
            expected |= {f"objects:{name}": 100 * len(sizes[name]) / 7 for name in sizes}
        assert found == pytest.approx(expected)


def test_a_size_that_no_object_has_is_a_dash(tmp_path: Path) -> None:
    """Four classes that share 400 pixels about equally are never below 1 %."""
    _, printed = long("by_size", tmp_path)
    assert "| below 1 % | 0.0 | – | – | – |" in printed


def scores(rows: list[dict[str, Any]], draws: list[int]) -> tuple[float, float]:
    """Return ACC and mIoU in percent of the images that were drawn, by plain loops."""
    drawn = [rows[place] for place in draws]
    acc = sum(row["pixels_correct"] / row["pixels"] for row in drawn) / len(drawn)
    shares = []
    for label in range(CLASSES):
        union = sum(int(row["union"][label]) for row in drawn)
        shares.append(sum(int(row["intersection"][label]) for row in drawn) / union)
    return 100 * acc, 100 * sum(shares) / CLASSES


def worst_without(loss: str | None, eps_255: float) -> list[dict[str, Any]]:
    """Return for each image the row of the worst attack or of none, the clean one last."""
    attacks = sorted(synthetic_rows(MODEL, "sea", eps_255), key=lambda row: row["attack"])
    worst: dict[str, dict[str, Any]] = {}
    for row in [*attacks, *synthetic_rows(MODEL, "clean", 0.0)]:
        found = worst.get(row["image_id"])
        if row["loss"] != loss and (
            found is None or row["pixels_correct"] < found["pixels_correct"]
        ):
            worst[row["image_id"]] = row
    return [worst[image] for image in sorted(worst)]


def test_what_a_loss_adds_is_the_worst_case_without_it_minus_that_with_all(tmp_path: Path) -> None:
    frame, printed = long("leave_one_out", tmp_path)
    found = frame[frame["eps_255"] == 8].set_index(["attack", "metric"])
    everything = worst_without(None, 8)
    images = list(range(len(everything)))
    for loss in ("mask_ce", "bal_ce", "js", "mask_sph"):
        others, word = worst_without(loss, 8), f"without_{loss}"
        for metric, part in (("acc", 0), ("miou", 1)):
            gap = scores(others, images)[part] - scores(everything, images)[part]
            one = found.loc[word, f"{metric}_added"]
            assert found.loc[(word, metric), "value"] == pytest.approx(scores(others, images)[part])
            assert one["value"] == pytest.approx(gap)
            without = [
                scores(others, rest)[part] - scores(everything, rest)[part]
                for rest in ([i for i in images if i != image] for image in images)
            ]
            reach = t.isf(0.025, len(images) - 1) * np.std(without) * (len(images) - 1) ** 0.5
            shorter = min(gap - one["low"], one["high"] - gap)  # to the side of no skew
            assert shorter == pytest.approx(reach, abs=1e-9)
        assert found.loc[(word, "acc_added"), "value"] >= 0
    assert found["value"].unstack()["acc_added"].max() > 0
    assert len(found) == 2 + 4 * 4
    assert "| Mask-CE |" in printed


def square_rows(eps_255: float) -> list[dict[str, Any]]:
    """Return made-up rows of a Square attack of 50 queries."""
    words = {"suite": "blackbox", "attack": "square-right_pixels-3.2-50", "loss": "right_pixels"}
    words |= {"optimizer": "square", "schedule": "none"}
    costs = {"iterations": 50, "forward_passes": 51, "backward_passes": 0}
    rows = synthetic_rows(MODEL, "losses", eps_255)
    return [row | words | costs for row in rows if row["loss"] == "ce"]


def test_square_stands_beside_sea_with_the_passes_of_both(tmp_path: Path) -> None:
    reads = [{"model": MODEL, "suites": ["blackbox", "sea"], "eps_255": [4, 8]}]
    paths = write_jobs(tmp_path, [{**reads[0], "suites": ["sea"]}])
    for eps_255 in (4.0, 8.0):
        path = tmp_path / "blackbox" / MODEL / "seed0" / f"eps{eps_255:g}" / "seed0-shard0.parquet"
        write_evidence(path, square_rows(eps_255), {})
        paths.append(path)
    outputs = {"parquet": tmp_path / "table.parquet", "md": tmp_path / "table.md"}
    make_table(TABLES["black_box"], paths, reads, MODELS, outputs)
    frame = pd.read_parquet(outputs["parquet"])
    found = frame[frame["metric"] == "acc"].set_index(["attack", "eps_255"])["value"]
    for eps_255 in (4.0, 8.0):
        for word, rows in (("square", square_rows(eps_255)), ("sea", worst_rows(eps_255))):
            shares = [row["pixels_correct"] / row["pixels"] for row in rows]
            assert found[word, eps_255] == pytest.approx(100 * sum(shares) / len(shares))
    printed = outputs["md"].read_text()
    assert "Square (50 queries) ACC" in printed
    (line,) = [line for line in printed.splitlines() if line.startswith("| 8/255 |")]
    # SEA: four losses of 30 iterations, and a forward pass more of each.
    assert line.endswith("| 51 + 0 | 124 + 120 |")


def test_the_version_of_eccv_has_three_losses_and_a_greedy_search(tmp_path: Path) -> None:
    frame, printed = long("eccv_2024", tmp_path)
    for eps_255 in (4.0, 8.0):
        rows = synthetic_rows(MODEL, "sea", eps_255) + synthetic_rows(MODEL, "eccv", eps_255)
        losses = {"sea": ["mask_ce", "bal_ce", "js", "mask_sph"]}
        losses["eccv"] = ["mask_ce_balanced", "mask_ce", "js"]
        for name, wanted in losses.items():
            some = [row for row in rows if row["loss"] in wanted]
            some += synthetic_rows(MODEL, "clean", 0.0)
            ids = sorted({row["image_id"] for row in some})
            lowest = [
                min(row["pixels_correct"] / row["pixels"] for row in some if row["image_id"] == one)
                for one in ids
            ]
            found = frame[(frame["attack"] == name) & (frame["eps_255"] == eps_255)]
            values = found.set_index("metric")["value"]
            assert values["acc"] == pytest.approx(100 * np.mean(lowest))
            if name == "eccv":
                order = [*wanted, "none"]
                by_loss = [[r for r in some if r["loss"] == loss] for loss in order]
                parts, wholes = (
                    np.array([[row[what] for row in attack] for attack in by_loss])
                    for what in ("intersection", "union")
                )
                greedy = greedy_miou(parts, wholes)
                assert values["greedy_miou"] == pytest.approx(100 * greedy.miou, abs=0.2)
                assert values["miou_bound"] == pytest.approx(100 * greedy.lower_bound)
    assert "mIoU, greedy" in printed
