"""Submissions of two small runs, one of them overestimated, and the leaderboard made of them."""

import csv
import itertools
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
from robustseg.attacks.warning_signs import WarningSigns
from robustseg.cli import main
from robustseg.errors import RobustsegError
from robustseg.evaluation.evaluate import read_evaluation
from robustseg.evidence.findings import SOUND, TOO_HIGH, verdict_of
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
from robustseg.page.submission import FOLDER, make_submissions, read_submission
from tests.needs import BROWSER, needs
from tests.page.browser import Browser

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


def measured(value: float, width: float = 1.0) -> dict[str, float]:
    """Return a figure with an interval."""
    return {"value": value, "low": value - width, "high": value + width}


def opinion(acc: float, found: float, rating: str = TOO_HIGH) -> dict[str, Any]:
    """Return what a second opinion says, on four images."""
    points = max(acc - found, 0.0)
    return {
        **{"images": 4, "acc_percent": acc, "found_percent": found, "rating": rating},
        **{"overestimated_by_points": points, "verdict": verdict_of(rating, points)},
    }


def ask(one: Any, said: dict[str, Any] | None) -> None:
    """Change the second opinion of a submission, and whether its evidence has one."""
    others = [file for file in one["evidence"] if not file["path"].startswith("attacks/doubt/")]
    path = others[1]["path"].replace("/sea/", "/doubt/")
    file = {"path": path, "sha256": others[1]["sha256"][::-1]}
    one.update(doubt=said, evidence=[*others, file] if said else others)


def at_radius(one: Any, eps_255: float) -> None:
    """Change the radius of a submission, and that of its evidence."""
    for file in one["evidence"]:
        file["path"] = file["path"].replace(f"/eps{one['eps_255']:g}/", f"/eps{eps_255:g}/")
    one["eps_255"] = eps_255


def rename(one: Any, model: str) -> None:
    """Change the model of a submission, and that of its evidence."""
    for file in one["evidence"]:
        file["path"] = file["path"].replace(f"/{one['model']}/", f"/{model}/")
    one["model"] = model


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
        (62.0, 60.0, "may be too high", 60.0),  # by no more than POINTS
        (62.0, 62.0, "no sign", 60.0),
    ],
)
def test_an_overestimated_figure_ranks_at_what_was_found(
    runs: Path, acc: float, found: float, rating: str, ranked: float
) -> None:
    def said(one: Any) -> None:
        one["worst"]["acc_percent"] = measured(60.0)
        one["doubt"] = opinion(acc, found, rating)

    path = spoil(file_of("rounds"), said, Path("rounds.json"))
    assert read_submission(path).ranked_percent == ranked


def test_an_overestimated_figure_may_lose_its_place(runs: Path) -> None:
    def at(value: float) -> Callable[[Any], None]:
        return lambda one: one["worst"].update(acc_percent=measured(value))

    def doubted(one: Any) -> None:
        one["doubt"] = opinion(70.0, 10.0)
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
        assert "✗ ! rounds" in said
        assert "✗ too high by\N{NO-BREAK SPACE}≥" in said
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
        one["attack"].update(passes_an_image={"forward": 1000.0, "backward": 1.0}, iterations=[50])
        one["attack"]["attacks"] = [f"{name}0" for name in one["attack"]["attacks"]]
        one["doubt"] = opinion(70.0, 10.0)

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
    shared["too_high_at_255"] = ""
    doubted = {
        **{"position": "2", "model": "rounds", "file": "rounds", "passes_an_image": "1001.0"},
        **{"ranked_percent": "10.0", "separated_from_above": "True"},
        **{"second_opinion": "too high", "overestimated_by_points": "60.0", "iterations": "50"},
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
        "| 2. ✗ ! rounds | ≤ 10.0 | – | ✗ too high by\N{NO-BREAK SPACE}≥\N{NO-BREAK SPACE}60.0 "
        "| not there "
        "| 95.0 | 85.0 | sea: 4 × 50 iterations | 1,001 |",
    ]


def test_a_bar_is_as_long_as_what_it_ranks_at(board: Path) -> None:
    page = board.read_text()
    assert '<span>1. colours</span><i style="--share: 50.0%"></i><b>50.0</b>' in page
    doubted = '<i class="doubted" style="--share: 10.0%"></i><b>≤ 10.0</b>'
    assert f"<span>2. ✗ ! rounds</span>{doubted}" in page


def notes_of(page: Path) -> list[str]:
    lines = page.with_suffix(".md").read_text().splitlines()
    return [one.removeprefix("- ") for one in lines if one.startswith("- ")]


def test_each_note_is_said_where_it_holds(board: Path) -> None:
    assert notes_of(board) == [
        "✗ rounds: measured 75.0 (74.0 to 77.0), overestimated by at least 60.0 points on 4 "
        "images, where 10.0 are left; it ranks at 10.0, an upper bound without an interval. No "
        "mIoU is shown: the second opinion counts only ACC.",
        "The attacks differ: a weaker attack leaves more, and says less.",
        "! rounds: it rounds.",
        "Evidence “not there”: the figures are as the file says. With evidence beside the "
        "file, they were computed from it again and agree.",
    ]


def test_the_page_says_first_who_leads_and_how_surely(board: Path) -> None:
    def answer(*paths: str) -> str:
        make_leaderboard(paths, "board.html")
        found = re.search(r"<li><a href[^>]*>data at 40/255</a>: (.*)</li>", board.read_text())
        assert found
        return found[1]

    def close(one: Any) -> None:
        one["worst"]["acc_percent"] = measured(48.5)
        one["evidence"][1]["sha256"] = "0" * 64

    spoil(Path("colours"), close, Path("close"))
    assert (
        answer("colours", "rounds") == "colours keeps 50.0 % (49.0 to 52.0), the most of 2 models."
    )
    assert answer("colours", "close") == (
        "colours (colours) keeps 50.0 % (49.0 to 52.0), the most of 2 models, not separated from "
        "the second."
    )
    assert answer("rounds") == "rounds keeps at most 10.0 %, the only model here, found too high."


def test_a_warning_of_several_models_is_said_once(board: Path) -> None:
    for name in ("colours", "rounds"):
        spoil(Path(name), lambda one: one.update(warnings=["few images"]))
    make_leaderboard(["colours", "rounds"], board)
    assert [one for one in notes_of(board) if "few" in one] == ["! colours, rounds: few images."]


def test_a_run_found_too_high_is_marked_at_radii_where_nobody_asked(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rank", "runs/rounds", "--out", "board.html"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "data at 8/255: 1 model on 6 images, first rounds, found too high at 40/255"
    assert said[1] == "data at 40/255: 1 model on 6 images, first rounds, found too high"
    make_leaderboard(["runs/colours", "runs/rounds"], "board.html")
    lines = Path("board.md").read_text().replace("\N{NO-BREAK SPACE}", " ").splitlines()
    assert sum("| not asked for; ✗ at 40/255 |" in one for one in lines) == 1
    (line,) = (one for one in lines if "(✗) ! rounds |" in one)
    acc = read_submission(file_of("rounds", 8.0)).worst.acc_percent.value
    assert line.split(" | ")[1].startswith(f"{acc:.1f} (")  # no figure is changed
    assert "\n- (✗) rounds: nobody asked" in Path("board.md").read_text()
    assert '(✗) ! rounds</span><i class="doubted"' in Path("board.html").read_text()
    found = {(row["model"], row["eps_255"]): row["too_high_at_255"] for row in rows_of("board.csv")}
    assert found.pop(("rounds", "8.0")) == "40"
    assert set(found.values()) == {""}


def test_a_figure_with_a_second_opinion_of_its_own_has_no_mark_of_another(runs: Path) -> None:
    acc = read_submission(file_of("rounds", 8.0)).worst.acc_percent.value
    asked = spoil(
        file_of("rounds", 8.0),
        lambda one: ask(one, opinion(acc, acc, SOUND)),
        Path("asked.json"),
    )
    (at_8, _) = rank([asked, file_of("rounds")])
    assert at_8.entries[0].too_high_at == []


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
        "radius": lambda one: at_radius(one, 7.0),
        "dataset": lambda one: one.update(dataset="voc"),
        "images": lambda one: one.update(images=7),
        "others": lambda one: one.update(images_sha256="0" * 64),
        "classes": lambda one: one.update(classes=4),
    }
    paths = [spoil(file_of("colours"), change, Path(key)) for key, change in changed.items()]
    found = rank([file_of("colours"), file_of("rounds"), *paths])
    assert len(found) == 1 + len(changed)
    assert {one.title for one in found} == {
        "data at 7/255",
        "data at 40/255, 3 classes, 6 images, images " + found[2].setting.images_sha256[:8] + "…",
        "data at 40/255, 3 classes, 6 images, images 00000000…",
        "data at 40/255, 3 classes, 7 images",
        "data at 40/255, 4 classes, 6 images",
        "voc at 40/255",
    }
    assert sorted(len(one.entries) for one in found) == [1] * len(changed) + [2]


def test_models_whose_intervals_overlap_are_marked(runs: Path) -> None:
    def at(value: float) -> Callable[[Any], object]:
        return lambda one: (
            one["worst"].update(acc_percent=measured(value)),
            rename(one, f"at_{value:.0f}"),
            one["evidence"][0].update(sha256=f"{value:064.0f}"),
        )

    paths = [spoil(file_of("colours"), at(value), Path(f"{value}")) for value in (50.0, 60.0, 51.0)]
    (found,) = rank(paths)
    assert [entry.label for entry in found.entries] == ["at_60", "at_51", "at_50"]
    assert list(found.together) == [False, False, True]
    make_leaderboard(paths, "board.html")
    lines = Path("board.md").read_text()
    assert "| 3. ≈ at\\_50 |" in lines
    assert "| 2. at\\_51 |" in lines
    assert "\n- ≈: not separated from the model above: " in lines
    separated = [row["separated_from_above"] for row in rows_of("board.csv")]
    assert separated == ["", "True", "False"]


def test_equal_models_share_their_place(runs: Path) -> None:
    """At a large radius many keep nothing, and none of them leads."""

    def at(place: int, value: float) -> Callable[[Any], object]:
        return lambda one: (
            one["worst"].update(acc_percent=measured(value, 0.0)),
            rename(one, f"model_{place}"),
            one["evidence"][0].update(sha256=f"{place:064d}"),
        )

    def board(*values: float) -> str:
        paths = [
            spoil(file_of("colours"), at(*one), Path(f"{one[0]}")) for one in enumerate(values)
        ]
        make_leaderboard(paths, "board.html")
        assert re.findall(r"^\| (\d)\.", Path("board.md").read_text(), re.M) == places()
        return Path("board.html").read_text()

    def places() -> list[str]:
        return [row["position"] for row in rows_of("board.csv")]

    page = board(0.0, 0.0, 0.0)
    assert places() == ["1", "1", "1"]
    assert "model_0 and 2 others keep 0.0 %, the most of 3 models" in page
    page = board(0.0, 7.0, 0.0, 6.0)
    assert places() == ["1", "2", "3", "3"]
    assert "model_1 keeps 7.0 % (7.0 to 7.0), the most of 4 models" in page


def test_without_an_interval_a_model_is_separated_from_none(runs: Path) -> None:
    def lone(one: Any) -> None:
        one["worst"]["acc_percent"] = {"value": 40.0, "low": None, "high": None}

    def certain(one: Any) -> None:
        one["worst"]["acc_percent"] = measured(50.0)
        ask(one, None)

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
        one["worst"]["acc_percent"] = measured(60.0)
        one["doubt"] = opinion(60.0, 40.0)

    def at(value: float) -> Callable[[Any], object]:
        return lambda one: (
            one["worst"].update(acc_percent=measured(value)),
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
        one.update(dataset="voc", classes=21)
        at_radius(one, 8.0)

    make_leaderboard([spoil(file_of("colours"), of_voc, Path("voc.json"))], "board.html")
    text = Path("board.md").read_text()
    assert "not measured, not ranked" in text
    assert "\n- “paper”: printed in arXiv 2306.12941, not measured here: " in text
    named = "| paper: PIR-AT, 5 steps, 50 epochs, UPerNet + ConvNeXt-T |"
    (line,) = (one for one in text.splitlines() if one.startswith(named))
    assert line.split(" | ")[1:3] == ["71.2", "37.0"]
    rows = rows_of("board.csv")
    reported = [row for row in rows if row["source"] == "reported by the paper"]
    assert len(reported) == 7
    assert "pir_at_5_50ep_upernet_convnext_t" in {row["model"] for row in reported}
    assert all(row["position"] == row["ranked_percent"] == "" for row in reported)
    assert [row["position"] for row in rows if row not in reported] == ["1"]


@pytest.mark.parametrize("key", ["dataset", "classes", "eps_255"])
def test_the_paper_is_left_out_where_it_is_of_something_else(runs: Path, key: str) -> None:
    other: dict[str, Any] = {"dataset": "data", "classes": 20, "eps_255": 6.0}

    def changed(one: Any) -> None:
        said = {"dataset": "voc", "classes": 21, "eps_255": 8.0, key: other[key]}
        at_radius(one, said.pop("eps_255"))
        one.update(said)

    (found,) = rank([spoil(file_of("colours"), changed, Path("voc.json"))])
    assert found.reported == {}


@pytest.mark.parametrize(
    ("key", "change"),
    [
        (
            "worst.acc_percent.value",
            lambda one: one["worst"]["acc_percent"].update(low=1.0, value=2.0),
        ),
        ("clean.miou_percent.low", lambda one: one["clean"]["miou_percent"].update(low=1.0)),
        (
            "worst.acc_percent.low",
            lambda one: one["worst"]["acc_percent"].update(low=None, high=None),
        ),
        ("attack", lambda one: one["attack"].update(iterations=[300])),
        (
            "attack.passes_an_image.forward",
            lambda one: one["attack"]["passes_an_image"].update(forward=9.5),
        ),
        ("model", lambda one: one.update(model="resnet")),
        ("warnings", lambda one: one.update(warnings=[])),
        ("doubt", lambda one: ask(one, None)),
        ("evidence", lambda one: one.update(doubt=None)),
        ("architecture", lambda one: one.update(architecture="another")),
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


def test_evidence_at_a_radius_that_its_run_has_not_is_found_out(runs: Path) -> None:
    (sea,) = runs.glob("colours/attacks/sea/**/eps40/*.parquet")
    shutil.copytree(sea.parent, sea.parent.with_name("eps9"))
    path = spoil(file_of("colours"), lambda one: at_radius(one, 9.0))
    with pytest.raises(RobustsegError, match=r"colours_eps40\.json: eps_255 is 9, no radius of"):
        rank([path])


def test_a_second_opinion_is_one_file_beside_any_number_of_shards(runs: Path) -> None:
    def cut(one: Any) -> None:
        one["evidence"] += [
            {"path": file["path"].replace("shard0", "shard1"), "sha256": f"{place:064}"}
            for place, file in enumerate(one["evidence"])
            if "/doubt/" not in file["path"]
        ]

    one = read_submission(spoil(file_of("rounds"), cut, Path("cut.json")))
    assert len(one.evidence) == 5


def test_attacks_without_a_radius_are_nothing_to_rank(tmp_path: Path) -> None:
    evaluate(
        colours, DATA, EPS_255, folder=tmp_path, suites=["alma"], iterations=3, pictures=0,
        progress=False,
    )  # fmt: skip
    with pytest.raises(RobustsegError, match="holds no attack with a radius, so there is nothing"):
        make_submissions(tmp_path)


def test_a_warning_taken_out_of_the_record_is_found_out(runs: Path) -> None:
    (record,) = runs.glob("rounds/run-*.json")
    spoil(record, lambda one: one.update(warnings=one["warnings"][1:]))
    with pytest.raises(RobustsegError, match=r"clean/.* has other warnings than .*run-shard0"):
        make_submissions(runs / "rounds")


def test_a_file_away_from_its_evidence_is_not_taken_for_compared(runs: Path) -> None:
    away = Path(shutil.copy(file_of("colours"), "away.json"))
    assert [entry.compared for entry in rank([away])[0].entries] == [False]
    assert [entry.compared for entry in rank([file_of("colours")])[0].entries] == [True]
    with pytest.raises(RobustsegError, match=r"is of the same evidence as away\.json"):
        rank([away, file_of("colours")])


def test_the_folder_of_submissions_stands_for_its_run(runs: Path) -> None:
    named = [
        make_leaderboard([runs / one / rest for one in ("colours", "rounds")], Path("a.html"))
        for rest in ("", FOLDER)
    ]
    assert named[0] == named[1]


@pytest.mark.parametrize("suffix", [".html", ".md", ".csv"])
def test_what_rank_did_not_write_is_not_replaced(
    board: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rank", "runs/rounds", "--out", str(board)]) == 0  # its own it does replace
    written = board.with_suffix(suffix)
    written.write_text("mine")
    before = {path.name: path.read_bytes() for path in Path().glob("board.*")}
    capsys.readouterr()
    assert main(["rank", "nowhere.json", "--out", str(board)]) == 1
    assert f"error: {written} would be replaced, but `robustseg rank`" in capsys.readouterr().err
    assert before == {path.name: path.read_bytes() for path in Path().glob("board.*")}


def test_a_folder_of_the_page_s_name_is_not_replaced(runs: Path) -> None:
    Path("board.html").mkdir()
    with pytest.raises(RobustsegError, match=r"board\.html would be replaced"):
        make_leaderboard(["runs/rounds"], "board.html")


def test_no_cell_of_the_csv_is_a_formula(runs: Path) -> None:
    path = spoil(file_of("colours"), lambda one: None, Path("-1+1.json"))
    make_leaderboard([path], "board.html")
    (row,) = rows_of("board.csv")
    assert row["file"] == "'-1+1.json"
    assert float(row["eps_255"]) == EPS_255


def many(count: int) -> list[Path]:
    """Return submissions of models with long names, the second one of them overestimated."""

    def named(place: int) -> Callable[[Any], object]:
        return lambda one: (
            rename(one, f"m{'x' * 90}{place:03d}"),
            one["worst"].update(acc_percent=measured(68.0 - place / 10)),
            ask(one, opinion(70.0, 9.5) if place == 1 else None),
            [file.update(sha256=f"{place:060d}{n:04d}") for n, file in enumerate(one["evidence"])],
        )

    return [spoil(file_of("rounds"), named(n), Path(f"{n}.json")) for n in range(count)]


def test_the_first_twenty_have_bars_and_all_have_lines(runs: Path) -> None:
    make_leaderboard(many(23), "board.html")
    page = Path("board.html").read_text()
    assert page.count('<i style="--share') == 20
    assert "The first 20 of 23 models; the table has all." in page
    assert page.count('<th scope="row">') > 23


@needs(BROWSER)
def test_in_a_browser(runs: Path, tmp_path: Path) -> None:
    """Long names leave neither window nor table, and bounds sort as the numbers that they are."""
    make_leaderboard(many(5), "board.html")
    make_leaderboard(["runs/colours", "runs/rounds"], "both.html")
    with Browser(tmp_path / "profile") as browser:
        for page, width in itertools.product(("board.html", "both.html"), (1400, 390)):
            browser.set_width(width, 900)
            browser.open(Path(page).resolve())
            assert browser.run("return document.documentElement.scrollWidth") <= width
            cut = "return [...document.querySelectorAll('.scroll, .bars span')]" + (
                ".filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.className)"
            )
            assert set(browser.run(cut)) <= ({"scroll"} if width == 390 else set())
        browser.set_width(1400, 900)
        browser.open(Path("board.html").resolve())
        browser.click(".ranking thead tr:last-child th .sort")
        shown = browser.run(
            "return [...document.querySelectorAll('figure tbody tr')]"
            ".map(row => row.cells[1].textContent)"
        )
        assert [one.split(" (")[0] for one in shown] == ["≤ 7.4", "67.6", "67.7", "67.8", "68.0"]
        browser.click(".ranking thead tr:last-child th:nth-child(2) .sort")
        last = browser.run(
            "return [...document.querySelectorAll('figure tbody tr')].at(-1).innerText"
        )
        assert "≤ 7.4" in last  # whose mIoU is not known
        assert browser.complaints() == []


def test_models_of_one_name_are_told_apart(runs: Path) -> None:
    other = spoil(file_of("colours"), lambda one: rename(one, "rounds"), Path("other.json"))
    (found,) = rank([file_of("rounds"), other])
    assert {entry.label for entry in found.entries} == {
        "rounds (runs/rounds)",
        "rounds (other.json)",
    }


DAMAGED: dict[str, tuple[str, object]] = {
    "model should be text": ("model", None),
    "worst.acc_percent.value should be a number, not '9' (write numbers without quotes": (
        *("worst.acc_percent.value", "9"),
    ),
    "clean.miou_percent.value should be": ("clean.miou_percent.value", 101.0),
    "worst.acc_percent has the value 69.8": ("worst.acc_percent.low", 99.0),
    "worst.miou_percent has the value 1 outside its": ("worst.miou_percent.value", 1.0),
    "worst.acc_percent has one end": ("worst.acc_percent.low", None),
    "worst.acc_percent has the value 90 outside its": ("worst.acc_percent.value", 90.0),
    "worst.acc_percent.value is 100, above": ("worst.acc_percent", measured(100.0, 0.0)),
    "worst.sponsor is not a known key": ("worst.sponsor", "none"),
    "norm should be 'l_inf'": ("norm", "l_2"),
    "format should be": ("format", "robustseg submission 3"),
    "warnings[0] has the hidden character U+000A": ("warnings", ["a\nb"]),
    "architecture has the hidden character U+202E": (
        "architecture",
        "a\N{RIGHT-TO-LEFT OVERRIDE}b",
    ),
    "attack.suites[0] has the hidden character U+2028": (
        *("attack.suites", ["a\N{LINE SEPARATOR}b"]),
    ),
    "architecture should have at most 300 characters": ("architecture", "a" * 301),
    "warnings has room for 100 entries": ("warnings", ["it rounds"] * 101),
    "provenance has the key 'file'; known here: config_hash, ": ("provenance", {"file": ["a"]}),
    "provenance.torch[0] should have at most 300": ("provenance", {"torch": ["a" * 301]}),
    "attack.passes_an_image.forward should be less": ("attack.passes_an_image.forward", 1e308),
    "attack has passes_an_image.forward 0, where each of its 4": (
        *("attack.passes_an_image.forward", 0.0),
    ),
    "attack has the attack apgd-bal_ce-reduced-5, which is of none of its iterations": (
        *("attack.iterations", [300]),
    ),
    "attack has iterations 300, of which none of its": ("attack.iterations", [5, 300]),
    "attack has the attack apgd-bal_ce-reduced-5, which is of none of its losses": (
        *("attack.losses", ["js"]),
    ),
    "attack.suites has sea_plus, of which": ("attack.suites", ["sea", "sea_plus"]),
    "attack.seeds has 1, of which evidence": ("attack.seeds", [0, 1]),
    "evidence has a second opinion, and doubt has none": ("doubt", None),
    "evidence[0].sha256 should": ("evidence", [{"path": "a", "sha256": "12"}]),
    "evidence[0] has the path": ("evidence", [{"path": "../a", "sha256": "0" * 64}]),
    "evidence needs at least 1 entry": ("evidence", []),
    "doubt has the rating 'no sign', which": ("doubt.rating", "no sign"),
    "doubt has the rating 'good'; known are": ("doubt.rating", "good"),
    "doubt has the verdict 'no sign of overestimation', where rating and points say": (
        *("doubt.verdict", "no sign of overestimation"),
    ),
    "doubt.images is 7, where images is 6": ("doubt.images", 7),
    "doubt.acc_percent is ": ("doubt.images", 6),
    "clean has an interval, where images is 1": ("images", 1),
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
    ("problem", "change"),
    [
        ("evidence lists a file twice, by its path", lambda files: files + files[:1]),
        (
            "evidence lists a file twice, by its sha256",
            lambda files: [*files, {**files[0], "path": files[0]["path"].replace("0-sh", "1-sh")}],
        ),
        (
            "evidence has not all 1 shards of sea",
            lambda files: [
                *files[:2],
                {"path": files[1]["path"].replace("shard0", "shard2"), "sha256": "0" * 64},
                *files[2:],
            ],
        ),
        ("doubt has a second opinion, and evidence has none", lambda files: files[:2]),
        ("evidence has no file of an attack", lambda files: [files[0], files[2]]),
        ("evidence has no file of the clean images", lambda files: files[1:]),
        (
            "eps_255 is 40, but evidence[1].path is of 8",
            lambda files: [files[0], {**files[1], "path": files[1]["path"].replace("40", "8")}],
        ),
        (
            "model is rounds, but evidence[2].path is of other",
            lambda files: [
                *files[:2],
                {**files[2], "path": files[2]["path"].replace("rounds", "other")},
            ],
        ),
        (
            "evidence[0] has the path",
            lambda files: [{**files[0], "path": f"elsewhere/{files[0]['path']}"}, *files[1:]],
        ),
    ],
)
def test_evidence_that_is_not_the_figure_s_is_refused(
    runs: Path, problem: str, change: Callable[[Any], object]
) -> None:
    path = spoil(
        file_of("rounds"), lambda one: one.update(evidence=change(one["evidence"])), Path("x.json")
    )
    with pytest.raises(RobustsegError, match=rf"^x\.json: {re.escape(problem)}"):
        read_submission(path)


def test_a_run_with_long_names_hands_on_what_a_submission_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "a\N{RIGHT-TO-LEFT OVERRIDE}" + "b" * 400
    monkeypatch.setattr(colours, "__name__", text)
    monkeypatch.setattr(WarningSigns, "found", lambda signs: [text])
    evaluate(colours, DATA, EPS_255, folder=tmp_path, iterations=3, pictures=0, progress=False)
    (path,) = make_submissions(tmp_path)
    one = read_submission(path)
    for shown in (one.architecture, *one.warnings):
        assert shown.startswith("a\\u202ebbb")
        assert (len(shown), shown[-1]) == (300, "…")
    assert rank([path])[0].entries[0].compared


def test_a_run_of_more_than_a_submission_holds_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WarningSigns, "found", lambda signs: [f"{n}" for n in range(101)])
    evaluate(colours, DATA, EPS_255, folder=tmp_path, iterations=3, pictures=0, progress=False)
    with pytest.raises(RobustsegError, match=": warnings has room for 100 entries"):
        make_submissions(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON (Expecting value: line 1 column 1 (char 0))"),
        ("{", "not JSON (Expecting property name enclosed in double quotes: line 1 column 2"),
        ('{"a": 1, "a": 1}', "not JSON (the key a is there twice); correct it or make it again"),
        ("[" * 100_000, "not JSON (nested too deep); correct it or make it again"),
        ("\0", "not text (it holds zeros); correct it or make it again"),
        ("[NaN]", "not JSON (NaN is not a JSON number); correct it or make it again"),
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
        earlier.setattr("robustseg.evaluation.arguments._in_six_digits", lambda value: value)
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
    other = shutil.copy(file_of("rounds"), stale.with_name("rounds_eps1.json"))
    file_of("colours").unlink()
    assert main(["report", "runs/colours", "--submit"]) == 0
    assert file_of("colours").read_text() == before
    assert not stale.exists()
    other.unlink()  # which is another's, and was left
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
