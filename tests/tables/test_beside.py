"""The paper's numbers stand beside measured ones of the paper's models, and nowhere else."""

import csv
from pathlib import Path

import pytest

from robustseg.tables.making import make_table
from robustseg.tables.registry import TABLES
from tests.synthetic import MODELS, write_jobs

PAPER = Path(__file__).parents[2] / "config" / "paper"
MODEL = "pir_at_5_50ep_upernet_convnext_t"


@pytest.fixture
def lines(tmp_path, monkeypatch):
    """Return a function that makes Table 4 of one model and returns the lines of its Markdown."""

    def make(name, dataset):
        settings = {**MODELS["fake_pir_5"], "dataset": dataset}
        monkeypatch.setitem(MODELS, name, settings)
        reads = [{"model": name, "suites": ["sea"], "eps_255": [4, 8]}]
        out = {kind: tmp_path / f"{name}-{dataset}.{kind}" for kind in ("md", "csv")}
        paths = write_jobs(tmp_path / dataset, reads)
        make_table(TABLES["table4"], paths, reads, {name: settings}, out, PAPER)
        with out["csv"].open(newline="") as file:
            measured = [float(row["value"]) for row in csv.DictReader(file)]
        rows = [line.strip("| ").split(" | ") for line in out["md"].read_text().splitlines()]
        return measured, {row[0]: row[4:] for row in rows if len(row) > 4}

    return make


def test_the_papers_model_has_the_papers_numbers_below_its_own(lines):
    measured, rows = lines(MODEL, "voc")
    with (PAPER / "table4.csv").open(newline="") as file:
        printed = {
            (float(row["eps_255"]), row["metric"]): row["value"]
            for row in csv.DictReader(file)
            if (row["model"], row["dataset"]) == (MODEL, "voc")
        }
    expected = [printed[eps, metric] for eps in (0, 4, 8) for metric in ("acc", "miou")]
    assert rows["paper"] == expected
    gaps = [float(text.replace("−", "-")) for text in rows["difference"]]
    wanted = [round(m, 1) - float(p) for m, p in zip(measured, expected, strict=True)]
    assert gaps == pytest.approx(wanted, abs=0.051)


@pytest.mark.parametrize(("name", "dataset"), [("pir_at_5", "scenes"), (MODEL, "scenes")])
def test_another_model_or_data_set_has_none(lines, name, dataset):
    _, rows = lines(name, dataset)
    assert "PIR-AT" in rows
    assert not {"paper", "difference"} & set(rows)
