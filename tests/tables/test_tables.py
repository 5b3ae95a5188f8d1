import csv
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from robustseg.attacks.losses import PAPER_LOSSES
from robustseg.errors import RobustsegError
from robustseg.evidence.numbers import LONG_COLUMNS
from robustseg.tables.making import make_table
from robustseg.tables.registry import TABLES
from tests.synthetic import MODELS, PROVENANCE, READS, slow_acc, synthetic_rows, write_jobs

FORMATS = ("parquet", "csv", "md", "tex", "html", "json")
SEA = ("mask_ce", "bal_ce", "js", "mask_sph")
MADE = [name for name in TABLES if name in READS]
"""Those that synthetic evidence is written for."""


def make(table, folder, paths, reads=None, models=MODELS):
    outputs = {kind: folder / f"{table}.{kind}" for kind in FORMATS}
    make_table(TABLES[table], paths, reads or READS[table], models, outputs)
    return outputs


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    return {table: make(table, folder, write_jobs(folder / table, READS[table])) for table in MADE}


def rows_of(model, suite, eps, losses, **seeds):
    return [row for row in synthetic_rows(model, suite, eps, **seeds) if row["loss"] in losses]


def long(made, table):
    return pd.read_parquet(made[table]["parquet"])


def value(frame, **where):
    chosen = frame.query(" and ".join(f"{name} == {want!r}" for name, want in where.items()))
    assert len(chosen) == 1
    return chosen["value"].item()


@pytest.mark.parametrize("table", MADE)
def test_every_table_is_made_in_every_format(made, table):
    frame = long(made, table)
    assert tuple(frame.columns) == (*LONG_COLUMNS, "runs")
    assert all(len(runs) for runs in frame["runs"])
    is_difference = frame["metric"].str.endswith("_added")
    assert frame["value"].between(np.where(is_difference, -100, 0), 100).all()
    assert {metric.split(":")[0] for metric in frame["metric"]} <= set(TABLES[table].metrics)
    assert not frame.duplicated(["model", "training_seed", "attack", "eps_255", "metric"]).any()
    with made[table]["csv"].open() as file:
        assert [float(row["value"]) for row in csv.DictReader(file)] == frame["value"].tolist()
    for kind in ("md", "tex", "html"):
        text = made[table][kind].read_text(encoding="utf-8")
        shown = {float(number) for number in re.findall(r"(?<![\d.−])\d+\.\d\b", text)}
        scores = frame[~is_difference]
        means = scores.groupby(["model", "attack", "eps_255", "metric"])["value"].mean()
        assert {round(mean, 1) for mean in means} <= {round(s, 1) for s in shown}
        assert all(f"{abs(gap):.2f} (" in text for gap in frame["value"][is_difference])


@pytest.mark.parametrize("table", MADE)
def test_captions_say_what_the_evidence_says(made, table):
    caption = pq.read_schema(made[table]["parquet"]).metadata[b"caption"].decode()
    assert ("ACC is the mean over images" in caption) == ("acc" in TABLES[table].metrics)
    assert "6 images of fake_scenes" in caption
    assert "training seed 0;" in caption
    assert ("attack seeds 0, 1, 2" if table == "table10" else "attack seed 0.") in caption


def test_tables_name_the_evidence_behind_them(made):
    metadata = pq.read_schema(made["table9"]["parquet"]).metadata
    assert metadata[b"torch"].decode() == PROVENANCE["torch"]
    assert len(metadata[b"evidence"].decode().split("\n")) == 3


@pytest.mark.parametrize("eps", [4, 8])
def test_numbers_are_those_of_a_slow_loop(made, eps):
    at = {"model": "fake_pir_5", "eps_255": float(eps), "metric": "acc"}
    losses = synthetic_rows("fake_pir_5", "losses", eps)
    sea = synthetic_rows("fake_pir_5", "sea", eps)
    expected = {
        ("table2", "worst"): (losses, PAPER_LOSSES),
        ("table2", "js"): (losses, ["js"]),
        ("table8", "all_losses"): (losses, PAPER_LOSSES),
        ("table8", "four_losses"): (losses, SEA),
        ("table1", "sea"): (sea, SEA),
        ("table1", "mask_ce"): (sea, ["mask_ce"]),
        ("table3", "sea"): (sea, SEA),
        ("table9", "sea"): (sea, SEA),
        ("table9", "A"): (sea, ["mask_ce", "bal_ce", "js"]),
        ("table9", "B"): (sea, ["mask_ce", "bal_ce", "mask_sph"]),
        ("table9", "C"): (sea, ["mask_ce", "js", "mask_sph"]),
    }
    for (table, attack), (rows, used) in expected.items():
        slow = slow_acc([row for row in rows if row["loss"] in used])
        assert value(long(made, table), attack=attack, **at) == pytest.approx(slow), (table, attack)


def test_existing_attacks_are_found_by_loss_and_optimizer(made):
    at = {"model": "fake_pir_5", "eps_255": 8.0, "metric": "acc"}
    for table, suite in (("table1", "baselines"), ("table7", "baselines_100")):
        for attack, loss in (("cospgd", "cossim_ce"), ("segpgd", "bal_ce")):
            expected = slow_acc(rows_of("fake_pir_5", suite, 8, [loss]))
            assert value(long(made, table), attack=attack, **at) == pytest.approx(expected)
    expected = slow_acc(rows_of("fake_pir_5", "losses", 8, ["bal_ce"]))
    assert value(long(made, "table7"), attack="segapgd", **at) == pytest.approx(expected)


def test_table10_spreads_over_attack_seeds(made):
    values = [slow_acc(synthetic_rows("fake_pir_5", "sea", 8, seed=seed)) for seed in (0, 1, 2)]
    mean = sum(values) / 3
    std = (sum((one - mean) ** 2 for one in values) / 2) ** 0.5
    chosen = long(made, "table10").query("attack == 'sea' and eps_255 == 8")
    assert chosen["value"].item() == pytest.approx(mean)
    assert chosen["std"].item() == pytest.approx(std)
    assert f"{mean:.1f} ± {std:.1f}" in made["table10"]["md"].read_text()


def test_iterations_in_heads_come_from_the_evidence(made):
    text = made["table1"]["md"].read_text()
    assert "CosPGD (30 iter.)" in text
    assert "SEA (4 × 30 iter.)" in text
    assert "10 iterations each" in made["table7"]["md"].read_text()


def test_half_clean_training_is_named_for_what_it_is(made):
    for table in ("table1", "table3"):
        for kind in ("md", "tex", "html"):
            text = made[table][kind].read_text()
            assert "half-clean AT" in text
            assert "it is not DDC-AT" in text
    assert "DDC-AT" not in made["table4"]["md"].read_text()


def bold(made, table, row):
    """Return the bold cells of a Markdown row, by position."""
    lines = made[table]["md"].read_text().splitlines()
    cells = [line.strip("| ").split(" | ") for line in lines if line.startswith(f"| {row} |")][-1]
    return [index for index, cell in enumerate(cells[1:]) if cell.startswith("**")], cells[1:]


def test_the_best_is_bold_and_ties_are(made):
    positions, cells = bold(made, "table2", "8/255")
    for metric in (0, 1):
        single = [float(cell.strip("*")) for cell in cells[metric:12:2]]
        best = [2 * i + metric for i, number in enumerate(single) if number == min(single)]
        assert [p for p in positions if p % 2 == metric] == best
    positions, cells = bold(made, "table9", "4/255")
    for part in (range(4), range(4, 7)):
        numbers = {i: float(cells[i].strip("*")) for i in part}
        best = [i for i, number in numbers.items() if number == min(numbers.values())]
        assert [p for p in positions if p in part] == best


def test_a_radius_that_one_model_was_not_attacked_at_is_a_dash(tmp_path):
    reads = json.loads(json.dumps(READS["table3"]))
    reads[0]["eps_255"] = [4]
    outputs = make("table3", tmp_path, write_jobs(tmp_path / "e", reads), reads)
    line = next(li for li in outputs["md"].read_text().splitlines() if "half-clean AT |" in li)
    assert line.endswith("| – | – |")


def test_the_same_evidence_gives_the_same_bytes(made, tmp_path):
    again = make("table2", tmp_path, write_jobs(tmp_path / "e", READS["table2"]))
    for kind in ("csv", "md", "tex", "html"):
        assert again[kind].read_bytes() == made["table2"][kind].read_bytes()


class Rows(HTMLParser):
    """Width of every table row, in columns, counting cells that span several."""

    def __init__(self):
        super().__init__()
        self.widths, self.scopes = [], []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "tr":
            self.widths.append(0)
        if tag in ("td", "th"):
            self.widths[-1] += int(attrs.get("colspan", 1))
        if tag == "th":
            self.scopes.append(attrs.get("scope"))


@pytest.mark.parametrize("table", MADE)
def test_html_is_well_formed_and_its_rows_are_equally_wide(made, table):
    text = made[table]["html"].read_text(encoding="utf-8")
    ElementTree.fromstring(text)
    rows = Rows()
    rows.feed(text)
    head_rows = text[: text.index("</thead>")].count("<tr")
    stub = text[: text.index("</tr>")].count("rowspan")
    expected = [rows.widths[0]] + [rows.widths[0] - stub] * (head_rows - 1)
    assert rows.widths[:head_rows] == expected
    assert set(rows.widths[head_rows:]) == {rows.widths[0]}
    assert "row" in rows.scopes
    assert "col" in rows.scopes


@pytest.mark.parametrize("table", MADE)
def test_latex_is_ascii_balanced_and_equally_wide(made, table):
    text = made[table]["tex"].read_text(encoding="utf-8")
    assert text.isascii()
    assert text.count("{") == text.count("}")
    assert text.count("\\begin{") == text.count("\\end{")
    body = text[text.index("\\toprule") : text.index("\\bottomrule")]
    widths = {
        sum(
            int(found[1]) if (found := re.match(r"\\multicolumn\{(\d+)\}", cell)) else 1
            for cell in re.split(r" & ", line)
        )
        for line in body.splitlines()
        if line.endswith("\\\\")
    }
    assert widths == {len(re.search(r"\\begin\{tabular\}\{(\w+)\}", text)[1])}
    assert "fake\\_scenes" in text


def test_names_with_signs_of_markup_are_escaped(tmp_path):
    models = {name: dict(model, decoder="<b>&|_%") for name, model in MODELS.items()}
    paths = write_jobs(tmp_path / "e", READS["table9"])
    outputs = make("table9", tmp_path, paths, models=models)
    assert "&lt;b&gt;&amp;|_%" in outputs["html"].read_text()
    assert r"\ensuremath{<}b\ensuremath{>}\&\textbar{}\_\%" in outputs["tex"].read_text()
    assert r"\<b\>&\|\_%" in outputs["md"].read_text()


def test_incomplete_evidence_is_named_and_leaves_nothing(tmp_path):
    paths = write_jobs(tmp_path / "e", READS["table2"])
    with pytest.raises(RobustsegError, match=r"table2 misses evidence of 2 jobs: .*12/255"):
        make("table2", tmp_path / "out", paths[:-2])
    assert not (tmp_path / "out").exists()


def test_a_model_of_another_configuration_is_named(tmp_path):
    paths = write_jobs(tmp_path / "e", READS["table9"])
    with pytest.raises(RobustsegError, match="fake_pir_5, which is not a model of this"):
        make("table9", tmp_path, paths, models={"other": MODELS["fake_pir_5"]})


SEEDS = (0, 1, 2)


def test_over_training_seeds_a_table_shows_mean_and_spread(tmp_path):
    paths = write_jobs(tmp_path / "e", READS["table4"], training_seeds=SEEDS)
    outputs = make("table4", tmp_path, paths)
    values = [slow_acc(synthetic_rows("fake_pir_2", "sea", 4, training_seed=s)) for s in SEEDS]
    mean = sum(values) / 3
    std = (sum((one - mean) ** 2 for one in values) / 2) ** 0.5
    text = outputs["md"].read_text()
    assert f"| {mean:.1f} ± {std:.1f} |" in text
    assert "training seeds 0, 1, 2" in text
    assert "Mean ± sample standard deviation over the training seeds" in text
    frame = pd.read_parquet(outputs["parquet"])
    chosen = frame.query("model == 'fake_pir_2' and attack == 'sea' and eps_255 == 4")
    by_seed = chosen.query("metric == 'acc'").set_index("training_seed")["value"]
    assert by_seed.to_dict() == pytest.approx(dict(zip(SEEDS, values, strict=True)))


@pytest.mark.parametrize("name", ["leave_one_out", "robustness", "strength"])
@pytest.mark.parametrize("seeds", [(0,), SEEDS])
def test_a_caption_promises_intervals_where_there_are_some(name, seeds, tmp_path):
    reads = READS["worst_miou"]
    paths = write_jobs(tmp_path / "e", reads, training_seeds=seeds)
    caption, _, cells = make(name, tmp_path, paths, reads)["md"].read_text().partition("\n")
    assert ("in brackets" in caption) == (len(seeds) == 1)
    assert bool(re.search(r"\(\S+ to \S+\)", cells)) == (len(seeds) == 1)


def test_a_layout_is_made_from_the_numbers_alone(tmp_path):
    """Laid out once more where no evidence is left, it is what was written."""
    from robustseg.evidence.numbers import Sources
    from robustseg.evidence.queries import Evidence
    from robustseg.numbers_shown import collect
    from robustseg.tables.layout import from_json, to_json

    paths = write_jobs(tmp_path / "e", READS["table9"])
    outputs = make("table9", tmp_path, paths)
    evidence = Evidence.open("table9", paths, READS["table9"], MODELS, False)
    numbers = collect(TABLES["table9"], Sources(evidence, MODELS))
    shutil.rmtree(tmp_path / "e")
    layout = replace(TABLES["table9"].layout(numbers), label="Table 9")
    assert from_json(outputs["json"].read_text(encoding="utf-8")) == layout
    assert from_json(to_json(layout)) == layout


def test_a_number_names_the_runs_behind_it(made):
    frame = long(made, "table9").query("attack == 'A' and eps_255 == 8")
    (runs,) = frame["runs"]
    assert [run["loss"] for run in runs] == ["mask_ce", "bal_ce", "js"]
    assert {(run["suite"], run["model"], run["eps_255"], run["seed"]) for run in runs} == {
        ("sea", "fake_pir_5", 8.0, 0)
    }


def test_unequal_budgets_and_single_seeds_are_refused(tmp_path):
    reads = [{"model": "fake_pir_5", "suites": ["baselines", "losses"], "eps_255": [8]}]
    with pytest.raises(RobustsegError, match="give both suites the same iterations"):
        make("table7", tmp_path, write_jobs(tmp_path / "e", reads), reads)
    with pytest.raises(RobustsegError, match="at least two attack seeds of fake_pir_5"):
        make("table10", tmp_path, write_jobs(tmp_path / "f", READS["table9"]), READS["table9"])


@pytest.mark.parametrize("table", ["table2", "table3", "table4", "table8"])
def test_models_that_are_alike_have_their_names(tmp_path, table):
    """Others have none, as in the paper."""
    models = {**MODELS, "fake_clean": MODELS["fake_pir_5"]}
    for all_models, named in ((MODELS, 0), (models, 1)):
        reads = [
            read | {"model": model}
            for read in READS[table][:1]
            for model in ("fake_clean", "fake_pir_5")
        ]
        made = make(table, tmp_path, write_jobs(tmp_path / "e", reads), reads, all_models)
        text = made["md"].read_text("utf-8")
        for model in ("fake\\_clean", "fake\\_pir\\_5"):
            assert text.count(f", {model}") == named
