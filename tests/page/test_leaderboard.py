"""Submissions of two small runs, one of them overestimated, and the leaderboard made of them."""

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from robustseg import doubt, evaluate
from robustseg.cli import main
from robustseg.errors import RobustsegError
from robustseg.evaluation.evaluate import read_evaluation
from robustseg.evidence.reading import read_opinions
from robustseg.evidence.reported import reported_numbers
from robustseg.files import sha256
from robustseg.page.leaderboard import (
    NOT_SEPARATED,
    PAPER_CLASSES,
    REPORTED,
    make_leaderboard,
    rank,
)
from robustseg.page.submission import make_submissions, read_submission

EPS_255 = 40.0
IMAGES = torch.rand(6, 3, 10, 12, generator=torch.Generator().manual_seed(0))
DATA = (IMAGES, IMAGES.argmax(1))


def colours(images: torch.Tensor) -> torch.Tensor:
    return 3 * images


def rounds(images: torch.Tensor) -> torch.Tensor:
    return 3 * torch.round(images * 3) / 3


def rows_of(path: str) -> list[dict[str, str]]:
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of two runs; the second opinion was asked of `rounds` alone."""
    folder = tmp_path_factory.mktemp("runs")
    for model in (colours, rounds):
        name = model.__name__
        evaluate(
            model, DATA, [8.0, EPS_255], folder=folder / name, iterations=5, name=name,
            progress=False,
        )  # fmt: skip
    doubt(rounds, DATA, EPS_255, folder=folder / "rounds", images=4)
    for name in ("colours", "rounds"):
        make_submissions(folder / name)
    return folder


@pytest.fixture
def runs(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of them to spoil, as current folder."""
    shutil.copytree(made, tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    return Path("runs")


def file_of(run: str, eps_255: float = EPS_255) -> Path:
    return Path("runs", run, "report", "submissions", f"{run}_eps{eps_255:g}.json")


def spoil(path: Path, change: Callable[[Any], object], to: Path | None = None) -> Path:
    """Change what a submission says."""
    content = json.loads(path.read_text())
    change(content)
    (to or path).write_text(json.dumps(content))
    return to or path


def test_figures_are_those_of_the_table(made: Path) -> None:
    numbers = read_evaluation(made / "colours").numbers
    one = read_submission(made / "colours/report/submissions/colours_eps40.json")
    for attack, eps_255, said in (("clean", 0.0, one.clean), ("worst", EPS_255, one.worst)):
        for metric, figure in (("acc", said.acc_percent), ("miou", said.miou_percent)):
            shown = numbers.get("colours", attack, eps_255, metric)
            assert shown
            assert (figure.value, figure.low, figure.high) == (shown.value, shown.low, shown.high)
    assert (one.images, one.classes, one.eps_255, one.norm) == (6, 3, EPS_255, "l_inf")


def test_one_image_has_no_interval_and_is_not_separated(tmp_path: Path) -> None:
    for model in (colours, rounds):
        evaluate(
            model, DATA, EPS_255, folder=tmp_path / model.__name__, iterations=3, images=1,
            name=model.__name__, pictures=0, progress=False,
        )  # fmt: skip
    (found,) = rank([path for run in tmp_path.iterdir() for path in make_submissions(run)])
    shown = [entry.of.worst.acc_percent for entry in found.entries]
    assert all(one.low is None and one.high is None for one in shown)
    assert shown[0].value > shown[1].value
    assert list(found.together) == [False, True]


def test_the_attack_and_its_cost_are_on_record(made: Path) -> None:
    one = read_submission(made / "colours/report/submissions/colours_eps40.json")
    assert one.attack.suites == ["sea"]
    assert one.attack.losses == ["bal_ce", "js", "mask_ce", "mask_sph"]
    assert (one.attack.iterations, one.attack.seeds) == ([5], [0])
    (clean,) = made.glob("colours/attacks/clean/**/*.parquet")
    (sea,) = made.glob("colours/attacks/sea/**/eps40/*.parquet")
    rows = [row for path in (clean, sea) for row in pq.read_table(path).to_pylist()]
    for way in ("forward", "backward"):
        counted = sum(row[f"{way}_passes"] for row in rows) / 6
        assert getattr(one.attack.passes_an_image, way) == pytest.approx(counted)


def test_the_evidence_is_named_with_its_hash(made: Path) -> None:
    one = read_submission(made / "rounds/report/submissions/rounds_eps40.json")
    kinds = [file.path.split("/")[1] for file in one.evidence]
    assert kinds == ["clean", "sea", "doubt"]
    for file in one.evidence:
        assert file.sha256 == sha256(made / "rounds" / file.path)


def test_a_file_of_evidence_is_hashed_once_for_a_run(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []

    def counted(path: Path) -> str:
        hashed.append(path.resolve())
        return sha256(path)

    for module in ("submission", "leaderboard"):
        monkeypatch.setattr(f"robustseg.page.{module}.sha256", counted)
    evidence = sorted(path.resolve() for path in runs.glob("rounds/attacks/**/*.parquet"))
    assert len(evidence) == 4  # clean, two radii, the second opinion
    make_submissions(runs / "rounds")
    assert sorted(hashed) == evidence
    hashed.clear()
    rank([file_of("rounds"), file_of("rounds", 8.0)])
    assert sorted(hashed) == evidence


def test_the_second_opinion_is_that_of_the_run(made: Path) -> None:
    (path,) = made.glob("rounds/attacks/doubt/**/*.parquet")
    (opinion,) = read_opinions(path)
    one = read_submission(made / "rounds/report/submissions/rounds_eps40.json").doubt
    assert one
    assert one.overestimated_by_points == opinion.points > 2
    assert one.verdict == opinion.verdict
    assert read_submission(made / "rounds/report/submissions/rounds_eps8.json").doubt is None


@pytest.mark.parametrize(
    ("acc", "found", "rating", "ranked"),
    [
        (45.0, 40.0, "too high", 40.0),  # on harder images than the others
        (80.0, 75.0, "too high", 55.0),  # on easier ones
        (62.0, 61.0, "may be too high", 60.0),
        (62.0, 62.0, "no sign", 60.0),
    ],
)
def test_an_overestimated_figure_ranks_at_what_was_found(
    runs: Path, acc: float, found: float, rating: str, ranked: float
) -> None:
    def said(one: Any) -> None:
        one["worst"]["acc_percent"] = {"value": 60.0, "low": 59.0, "high": 61.0}
        opinion = {"acc_percent": acc, "found_percent": found, "rating": rating}
        one["doubt"].update(opinion, overestimated_by_points=acc - found)

    path = spoil(file_of("rounds"), said, Path("rounds.json"))
    assert read_submission(path).ranked_percent == ranked


def test_an_overestimated_figure_may_lose_its_place(runs: Path) -> None:
    def at(value: float) -> Callable[[Any], None]:
        return lambda one: one["worst"]["acc_percent"].update(value=value)

    def doubted(one: Any) -> None:
        opinion = {"acc_percent": 70.0, "found_percent": 10.0, "overestimated_by_points": 60.0}
        one["doubt"].update(opinion)
        at(75.0)(one)

    paths = [
        spoil(file_of("rounds"), doubted, Path("rounds.json")),
        spoil(file_of("colours"), at(50.0), Path("colours.json")),
    ]
    (found,) = rank(paths)
    assert [entry.label for entry in found.entries] == ["colours", "rounds"]


def test_the_page_says_what_was_doubted(runs: Path) -> None:
    make_leaderboard(["runs/colours", "runs/rounds"], "board.html")
    page, text = Path("board.html").read_text(), Path("board.md").read_text()
    for said in (page, text):
        assert "rounds ✗" in said or "rounds ≈ ✗" in said
        assert "✗ too high by ≥ " in said
        assert "not asked for" in said
    assert "<script src" not in page
    assert "http" not in page.replace("https://arxiv.org/abs/2306.12941", "")
    (lowest,) = (
        row for row in rows_of("board.csv") if row["model"] == "rounds" and row["eps_255"] == "40.0"
    )
    assert float(lowest["ranked_percent"]) < float(lowest["worst_case_acc_percent"])


@pytest.fixture
def board(runs: Path) -> Path:
    """The leaderboard of two submissions away from their runs; no two figures of them are alike."""

    def figures(*values: float) -> dict[str, Any]:
        acc, miou = ({"value": one, "low": one - 1, "high": one + 2} for one in values)
        return {"acc_percent": acc, "miou_percent": miou}

    def honest(one: Any) -> None:
        one.update(worst=figures(50, 40), clean=figures(90, 80))
        one["attack"]["passes_an_image"] = {"forward": 30.0, "backward": 12.0}

    def doubted(one: Any) -> None:
        one.update(worst=figures(75, 60), clean=figures(95, 85), warnings=["it rounds"])
        one["attack"].update(seeds=[1], passes_an_image={"forward": 1000.0, "backward": 1.0})
        opinion = {"acc_percent": 70.0, "found_percent": 10.0, "overestimated_by_points": 60.0}
        one["doubt"].update(opinion, images=4, verdict="60 points too high")

    changes = {"colours": honest, "rounds": doubted}
    paths = [spoil(file_of(name), change, Path(name)) for name, change in changes.items()]
    make_leaderboard(paths, "board.html")
    return Path("board.html")


def test_a_line_of_the_csv_is_the_submission(board: Path) -> None:
    shared = {
        **{"dataset": "data", "classes": "3", "eps_255": "40.0", "images": "6"},
        "images_sha256": read_submission(Path("colours")).images_sha256,
        **{"source": "measured", "suites": "sea", "iterations": "5", "evidence_compared": "False"},
    }
    honest = {
        **{"position": "1", "model": "colours", "file": "colours", "passes_an_image": "42.0"},
        **{"ranked_percent": "50.0", "separated_from_above": ""},
        **{"second_opinion": "", "overestimated_by_points": ""},
    }
    doubted = {
        **{"position": "2", "model": "rounds", "file": "rounds", "passes_an_image": "1001.0"},
        **{"ranked_percent": "10.0", "separated_from_above": "True"},
        **{"second_opinion": "too high", "overestimated_by_points": "60.0"},
    }
    columns = ("worst_case_acc", "worst_case_miou", "clean_acc", "clean_miou")
    for one, values in ((honest, (50, 40, 90, 80)), (doubted, (75, 60, 95, 85))):
        for column, value in zip(columns, values, strict=True):
            ends = (f"{value}.0", f"{value - 1}.0", f"{value + 2}.0")
            named = (f"{column}_{end}" for end in ("percent", "low", "high"))
            one.update(zip(named, ends, strict=True))
    assert rows_of("board.csv") == [shared | honest, shared | doubted]


def test_a_line_in_markdown_is_the_submission(board: Path) -> None:
    lines = board.with_suffix(".md").read_text().splitlines()
    assert [one for one in lines if re.match(r"\| \d", one)] == [
        "| 1. colours | 50.0 (49.0 to 52.0) | 40.0 (39.0 to 42.0) | not asked for | not there "
        "| 90.0 | 80.0 | sea: 4 × 5 iterations | 42 |",
        "| 2. rounds ✗ ! | ≤ 10.0 | ≤ 60.0 | ✗ too high by ≥ 60.0 | not there "
        "| 95.0 | 85.0 | sea: 4 × 5 iterations | 1,001 |",
    ]


def test_a_bar_is_as_long_as_what_it_ranks_at(board: Path) -> None:
    page = board.read_text()
    assert '<span>1. colours</span><i style="--share: 50.0%"></i><b>50.0</b>' in page
    assert '<span>2. rounds ✗ !</span><i style="--share: 10.0%"></i><b>≤ 10.0</b>' in page


def notes_of(page: Path) -> list[str]:
    lines = page.with_suffix(".md").read_text().splitlines()
    return [one.removeprefix("- ") for one in lines if one.startswith("- ")]


def test_each_note_is_said_where_it_holds(board: Path) -> None:
    assert notes_of(board) == [
        "✗ rounds: measured 75.0 (74.0 to 77.0), 60 points too high on 4 images, where 10.0 are "
        "left; it ranks at 10.0, an upper bound without an interval.",
        "The attacks differ: a weaker attack leaves more, and says less.",
        "! rounds: it rounds.",
        "Evidence “not there”: the figures are as the file says; where evidence lies beside, they "
        "were made from it again and agree.",
    ]


def test_no_note_is_said_where_nothing_holds(runs: Path) -> None:
    """By the same attacks, with evidence, without a warning: but for the model doubted."""
    make_leaderboard([file_of("colours")], "board.html")
    assert notes_of(Path("board.html")) == []
    make_leaderboard([file_of("colours"), file_of("rounds")], "board.html")
    assert {one.split(":")[0] for one in notes_of(Path("board.html"))} - {NOT_SEPARATED} == {
        "✗ rounds",
        "! rounds",
    }


def test_the_same_images_with_other_labels_are_ranked_by_themselves(
    runs: Path, tmp_path: Path
) -> None:
    evaluate(
        colours, DATA, EPS_255, folder=tmp_path / "other", iterations=3, ignore_index=0,
        pictures=0, progress=False,
    )  # fmt: skip
    (other,) = make_submissions(tmp_path / "other")
    found = rank([file_of("colours"), other])
    assert [one.setting.images for one in found] == [6, 6]
    assert len({one.setting.images_sha256 for one in found}) == 2


def test_each_radius_data_set_and_set_of_images_is_ranked_by_itself(runs: Path) -> None:
    changed = {
        "radius": lambda one: one.update(eps_255=7.0),
        "dataset": lambda one: one.update(dataset="voc"),
        "images": lambda one: one.update(images=7),
        "others": lambda one: one.update(images_sha256="0" * 64),
        "classes": lambda one: one.update(classes=4),
    }
    paths = [spoil(file_of("colours"), change, Path(key)) for key, change in changed.items()]
    found = rank([file_of("colours"), file_of("rounds"), *paths])
    assert len(found) == 1 + len(changed)
    assert sorted(len(one.entries) for one in found) == [1] * len(changed) + [2]


def test_models_whose_intervals_overlap_are_marked(runs: Path) -> None:
    def at(value: float) -> Callable[[Any], object]:
        figure = {"value": value, "low": value - 1.0, "high": value + 1.0}
        return lambda one: (
            one["worst"].update(acc_percent=figure),
            one.update(model=f"at_{value:.0f}"),
            one["evidence"][0].update(sha256=f"{value:064.0f}"),
        )

    paths = [spoil(file_of("colours"), at(value), Path(f"{value}")) for value in (50.0, 60.0, 51.0)]
    (found,) = rank(paths)
    assert [entry.label for entry in found.entries] == ["at_60", "at_51", "at_50"]
    assert list(found.together) == [False, False, True]
    make_leaderboard(paths, "board.html")
    lines = Path("board.md").read_text()
    assert "| 3. at\\_50 ≈ |" in lines
    assert "| 2. at\\_51 |" in lines
    assert "\n- ≈: not separated from the model above: " in lines
    separated = [row["separated_from_above"] for row in rows_of("board.csv")]
    assert separated == ["", "True", "False"]


def test_without_an_interval_a_model_is_separated_from_none(runs: Path) -> None:
    def lone(one: Any) -> None:
        one["worst"]["acc_percent"] = {"value": 40.0, "low": None, "high": None}

    def certain(one: Any) -> None:
        one["worst"]["acc_percent"] = {"value": 50.0, "low": 49.0, "high": 51.0}
        one["doubt"] = None

    paths = [
        spoil(file_of("colours"), lone, Path("lone")),
        spoil(file_of("rounds"), certain, Path("certain")),
    ]
    (found,) = rank(paths)
    assert [entry.label for entry in found.entries] == ["rounds", "colours"]
    assert list(found.together) == [False, True]


def test_an_overestimated_model_may_be_anything_below_what_was_found(runs: Path) -> None:
    """Measured 60 and found to be 40 at most: apart from 50, which is above, and not from 30."""

    def doubted(one: Any) -> None:
        one["worst"]["acc_percent"] = {"value": 60.0, "low": 59.0, "high": 61.0}
        opinion = {"acc_percent": 60.0, "found_percent": 40.0, "overestimated_by_points": 20.0}
        one["doubt"].update(opinion)

    def at(value: float) -> Callable[[Any], object]:
        figure = {"value": value, "low": value - 1.0, "high": value + 1.0}
        return lambda one: (
            one["worst"].update(acc_percent=figure),
            one["evidence"][1].update(sha256=f"{value:064.0f}"),
        )

    paths = [spoil(file_of("colours"), at(value), Path(f"at_{value:g}")) for value in (30.0, 50.0)]
    (found,) = rank([*paths, spoil(file_of("rounds"), doubted, Path("doubted"))])
    assert [entry.path.name for entry in found.entries] == ["at_50", "doubted", "at_30"]
    assert list(found.together) == [False, False, True]


def test_the_csv_s_columns_are_those_of_its_documentation(runs: Path) -> None:
    make_leaderboard(["runs/colours"], "board.html")
    page = Path(__file__).parents[2] / "docs" / "leaderboard.md"
    section = page.read_text().split("## The CSV\n")[1].split("\n## ")[0]
    named = [one for one in section.splitlines() if one.startswith("| `")]
    columns = [name for one in named for name in re.findall("`(.+?)`", one.split(" | ")[0])]
    assert columns == list(rows_of("board.csv")[0])


def test_the_paper_stands_beside_and_outside(runs: Path) -> None:
    """Its figures for VOC at 8/255, Table 3: ACC 71.2 of PIR-AT with ConvNeXt-T."""

    def of_voc(one: Any) -> None:
        one.update(dataset="voc", classes=21, eps_255=8.0)

    make_leaderboard([spoil(file_of("colours"), of_voc, Path("voc.json"))], "board.html")
    text = Path("board.md").read_text()
    assert "not measured, not ranked" in text
    assert "\n- “paper”: printed in arXiv 2306.12941, not measured here: " in text
    (line,) = (
        one for one in text.splitlines() if "pir\\_at\\_5\\_50ep\\_upernet\\_convnext\\_t" in one
    )
    assert line.startswith("| paper: ")
    assert line.split(" | ")[1:3] == ["71.2", "37.0"]
    rows = rows_of("board.csv")
    reported = [row for row in rows if row["source"] == "reported by the paper"]
    assert len(reported) == 7
    assert all(row["position"] == row["ranked_percent"] == "" for row in reported)
    assert [row["position"] for row in rows if row not in reported] == ["1"]


@pytest.mark.parametrize("key", ["dataset", "classes", "eps_255"])
def test_the_paper_is_left_out_where_it_is_of_something_else(runs: Path, key: str) -> None:
    other = {"dataset": "data", "classes": 20, "eps_255": 6.0}

    def changed(one: Any) -> None:
        one.update({"dataset": "voc", "classes": 21, "eps_255": 8.0, key: other[key]})

    (found,) = rank([spoil(file_of("colours"), changed, Path("voc.json"))])
    assert found.reported == {}


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("worst.acc_percent.value", lambda one: one["worst"]["acc_percent"].update(value=99.0)),
        ("clean.miou_percent.low", lambda one: one["clean"]["miou_percent"].update(low=1.0)),
        ("attack.iterations[0]", lambda one: one["attack"].update(iterations=[300])),
        ("model", lambda one: one.update(model="resnet")),
        ("warnings", lambda one: one.update(warnings=[])),
        ("doubt", lambda one: one.update(doubt=None)),
        ("evidence", lambda one: one["evidence"].pop()),
        ("evidence[1].sha256", lambda one: one["evidence"][1].update(sha256="0" * 64)),
        ("eps_255", lambda one: one.update(eps_255=7.0)),
    ],
)
def test_what_was_edited_beside_its_evidence_is_found_out(
    runs: Path, key: str, change: Callable[[Any], object]
) -> None:
    path = spoil(file_of("rounds"), change)
    with pytest.raises(RobustsegError) as error:
        rank([path])
    assert str(error.value).startswith(f"{path}: {key} ")


def test_evidence_that_is_gone_or_another_is_found_out(runs: Path) -> None:
    (sea,) = runs.glob("rounds/attacks/sea/**/eps40/*.parquet")
    (other,) = runs.glob("colours/attacks/sea/**/eps40/*.parquet")
    shutil.copy(other, sea)
    with pytest.raises(RobustsegError, match=r"evidence\[1\].sha256 is not that of .*eps40"):
        rank([file_of("rounds")])
    sea.unlink()
    with pytest.raises(RobustsegError, match=r"evidence\[1\].path is .*, which is gone"):
        rank([file_of("rounds")])


def test_a_file_away_from_its_evidence_is_not_taken_for_compared(runs: Path) -> None:
    away = Path(shutil.copy(file_of("colours"), "away.json"))
    assert [entry.compared for entry in rank([away])[0].entries] == [False]
    assert [entry.compared for entry in rank([file_of("colours")])[0].entries] == [True]
    with pytest.raises(RobustsegError, match=r"is of the same evidence as away\.json"):
        rank([away, file_of("colours")])


def test_models_of_one_name_are_told_apart(runs: Path) -> None:
    def renamed(one: Any) -> None:
        one.update(model="rounds", evidence=one["evidence"][:1])

    (found,) = rank([file_of("rounds"), spoil(file_of("colours"), renamed, Path("other.json"))])
    assert {entry.label for entry in found.entries} == {
        "rounds (runs/rounds)",
        "rounds (other.json)",
    }


DAMAGED: dict[str, tuple[str, object]] = {
    "model should be text": ("model", None),
    "worst.acc_percent.value should be a number": ("worst.acc_percent.value", "9"),
    "clean.miou_percent.value should be": ("clean.miou_percent.value", 101.0),
    "worst.acc_percent has an interval": ("worst.acc_percent.low", 99.0),
    "worst.acc_percent has one end": ("worst.acc_percent.low", None),
    "worst.acc_percent.value is 100, above": ("worst.acc_percent.value", 100.0),
    "worst.sponsor is not a known key": ("worst.sponsor", "none"),
    "norm should be 'l_inf'": ("norm", "l_2"),
    "format should be": ("format", "robustseg submission 3"),
    "warnings[0] should": ("warnings", ["a\nb"]),
    "evidence[0].sha256 should": ("evidence", [{"path": "a", "sha256": "12"}]),
    "evidence[0] has the path": ("evidence", [{"path": "../a", "sha256": "0" * 64}]),
    "evidence needs at least 1 entry": ("evidence", []),
    "doubt has the rating 'no sign', which": ("doubt.rating", "no sign"),
    "doubt has the rating 'good'; known are": ("doubt.rating", "good"),
    "doubt has overestimated_by_points 0": ("doubt.overestimated_by_points", 0.0),
}


@pytest.mark.parametrize("problem", DAMAGED)
def test_damage_is_one_sentence_with_file_and_key(
    runs: Path, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    key, value = DAMAGED[problem]
    *inside, last = key.split(".")

    def damage(one: Any) -> None:
        for name in inside:
            one = one[name]
        one[last] = value

    path = spoil(file_of("rounds"), damage, Path("damaged.json"))
    assert main(["rank", str(path), "--out", "board.html"]) == 1
    assert f"robustseg: error: damaged.json: {problem}" in capsys.readouterr().err
    assert not Path("board.html").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON (Expecting value: line 1 column 1 (char 0))"),
        ("{", "not JSON (Expecting property name enclosed in double quotes: line 1 column 2"),
        ('{"a": 1, "a": 1}', "not JSON (the key a is there twice); correct it or make it again"),
        ("[" * 100_000, "not JSON (nested too deep); correct it or make it again"),
        ("\0", "no text (it holds zeros); correct it or make it again"),
        ("[NaN]", "not JSON (NaN is no number of JSON); correct it or make it again"),
    ],
)
def test_what_is_no_json_is_one_sentence(runs: Path, text: str, said: str) -> None:
    Path("damaged.json").write_text(text)
    with pytest.raises(RobustsegError, match=rf"^damaged\.json is {re.escape(said)}"):
        rank([Path("damaged.json")])


def test_a_submission_of_an_earlier_version_is_to_be_made_again(runs: Path) -> None:
    path = spoil(file_of("rounds"), lambda one: one.update(format="robustseg submission 1"))
    with pytest.raises(RobustsegError, match="is of an earlier version; `robustseg report RUN --s"):
        read_submission(path)


def test_a_run_at_a_radius_that_no_name_holds_is_read_but_not_submitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As earlier versions made them."""
    with monkeypatch.context() as earlier:
        earlier.setattr("robustseg.evaluation.evaluate._in_six_digits", lambda value: value)
        evaluate(colours, DATA, 16 / 3, folder=tmp_path, iterations=3, pictures=0, progress=False)
    assert list(read_evaluation(tmp_path).robust) == [16 / 3]
    with pytest.raises(RobustsegError, match=r"5\.333.* six digits; make the run again with 5\.3"):
        make_submissions(tmp_path)


def test_runs_without_submissions_and_names_of_no_page(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree("runs/colours/report")
    assert main(["rank", "runs/colours", "--out", "board.html"]) == 1
    assert "`robustseg report runs/colours --submit` makes" in capsys.readouterr().err
    assert main(["rank", "runs/rounds", "--out", "board.csv"]) == 1
    assert "must end in .html" in capsys.readouterr().err
    assert main(["rank", "nowhere.json", "--out", "board.html"]) == 1
    assert "nowhere.json cannot be read" in capsys.readouterr().err


def test_report_submits_and_rank_reads(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = file_of("colours").read_text()
    stale = file_of("colours").with_name("colours_eps1.json")
    shutil.copy(file_of("colours"), stale)
    file_of("colours").unlink()
    assert main(["report", "runs/colours", "--submit"]) == 0
    assert file_of("colours").read_text() == before
    assert not stale.exists()
    assert main(["rank", "runs/colours", "runs/rounds", "--out", "board.html"]) == 0
    assert "data at 40/255: 2 models on 6 images, first " in capsys.readouterr().out


def test_what_others_write_is_no_markup(runs: Path) -> None:
    away = spoil(
        file_of("colours"),
        lambda one: one.update(warnings=["<script>alert(1)</script>"]),
        Path("x"),
    )
    make_leaderboard([away], "board.html")
    assert "<script>alert" not in Path("board.html").read_text()


def test_the_paper_s_data_sets_are_those_of_its_table() -> None:
    numbers = reported_numbers("table3", REPORTED)
    assert set(PAPER_CLASSES) == {dataset for dataset, *_ in numbers}
