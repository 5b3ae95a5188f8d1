"""Tables that the paper does not have: `by_class` and `each_attack`."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from robustseg.evidence.writing import write_evidence
from robustseg.tables.making import make_table
from robustseg.tables.registry import TABLES
from tests.synthetic import MODELS, READS, synthetic_rows, write_jobs

MODEL, CLASSES = "fake_pir_5", 4


def long(name: str, folder: Path) -> tuple[pd.DataFrame, str]:
    """Return the long form of a table of made-up evidence, and what is printed."""
    outputs = {kind: folder / f"{name}.{kind}" for kind in ("parquet", "md")}
    paths = write_jobs(folder / "evidence", READS[name])
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
    frame, _ = long("by_class", tmp_path)
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
