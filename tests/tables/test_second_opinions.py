"""The table of second opinions, and how opinions are read from evidence."""

from dataclasses import replace
from math import nan
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from robustseg.errors import RobustsegError
from robustseg.evidence.findings import (
    CHECKS,
    DOUBTFUL,
    FINDINGS_KEY,
    NOT_RUN,
    SOUND,
    TOO_HIGH,
    Opinion,
    from_text,
    to_text,
)
from robustseg.evidence.reading import merged_provenance, read_opinions, read_provenance
from robustseg.tables.making import make_table
from robustseg.tables.registry import TABLES
from robustseg.tables.second_opinions import opinions_in
from tests.synthetic import MODELS, PROVENANCE, opinion_of, with_metadata, write_doubts, write_jobs

MODEL, OTHER = "fake_pir_5", "fake_clean"
GOOD = opinion_of(4)
BAD = opinion_of(
    8, 50.0, 37.5, random_corners=12.5, finite_gradients=nan, rounded_to_8_bits=3.0, alone=None
)
UNSURE = opinion_of(0.5, 20.0, 19.5, zero_gradients=30.0, transfer=None)


def make(folder: Path, *paths: Path, **kwargs: Any) -> tuple[pd.DataFrame, str]:
    """Return the long form of the table and what is printed."""
    reads = kwargs.pop("reads", [{"model": MODEL, "suites": ["doubt"], "eps_255": [4, 8]}])
    clean = write_jobs(folder, [{**read, "suites": [], "eps_255": []} for read in reads], **kwargs)
    outputs = {kind: folder / f"table.{kind}" for kind in ("parquet", "csv", "md", "tex", "html")}
    make_table(TABLES["second_opinions"], [*clean, *paths], reads, MODELS, outputs)
    return pd.read_parquet(outputs["parquet"]), outputs["md"].read_text()


def test_each_figure_and_check_has_its_number_and_its_cell(tmp_path: Path) -> None:
    frame, printed = make(tmp_path, write_doubts(tmp_path, MODEL, GOOD, BAD))
    numbers = frame.set_index(["eps_255", "attack", "metric"])["value"]
    assert numbers[8, "doubted", "acc"] == 50.0
    assert numbers[8, "found", "acc"] == 37.5
    assert numbers[8, "random_corners", "finding"] == 12.5
    assert set(frame["images"]) == {3}
    lines = {line.split("|")[1].strip(): line for line in printed.splitlines() if "|" in line}
    assert lines["too high by"].endswith("| 0.0 | 12.5 |")
    assert lines["verdict"].endswith("| no sign | **too high** |")
    for check, cells in {
        "random_corners": "0 | **12.5 failed**",
        "finite_gradients": "0 | **failed**",
        "rounded_to_8_bits": "0 | 3 noted",
        "alone": "0 | –",
        "finite_differences": "1 | 1",
    }.items():
        wanted = f"| {CHECKS[check].limit} | {cells} |"
        assert lines[check.replace("_", " ")].endswith(wanted), check
    assert "at 8/255: overestimated by at least 12.5 points; failed: finite gradients, " in printed
    assert r"3 images of fake\_scenes" in printed


def test_the_attacks_of_a_check_are_behind_its_number(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    make(tmp_path, write_doubts(tmp_path, MODEL, GOOD, BAD))
    runs = {
        (row["eps_255"], row["attack"]): {run["attack"] for run in row["runs"]}
        for row in pq.read_table(path).to_pylist()
    }
    assert runs[8, "random_corners"] == {"doubt-random_corners-10"}
    assert runs[8, "other_seed"] == {"doubt-other_seed-apgd-js-reduced-30"}
    assert len(runs[8, "found"]) == len(runs[8, "eval_mode"]) == 2


@pytest.mark.parametrize(
    ("opinion", "rating"), [(GOOD, SOUND), (BAD, TOO_HIGH), (UNSURE, DOUBTFUL)]
)
def test_numbers_alone_tell_the_opinion(tmp_path: Path, opinion: Opinion, rating: str) -> None:
    """All but the notes, so that layout and page can be made from them."""
    reads = [{"model": MODEL, "suites": ["doubt"], "eps_255": [opinion.eps_255]}]
    frame, _ = make(tmp_path, write_doubts(tmp_path, MODEL, opinion), reads=reads)
    columns = ["model", "eps_255", "attack", "value", "images"]
    found = opinions_in(frame[columns].itertuples(index=False, name=None))
    bare = replace(opinion, findings=tuple(replace(one, note="") for one in opinion.findings))
    assert found == {(MODEL, opinion.eps_255): bare}
    assert bare.rating == rating
    (told,) = TABLES["second_opinions"].tell(frame)
    assert told.sentence.startswith(f"At {opinion.eps_255:g}/255: {opinion.verdict}")
    assert told.bars == {
        f"{opinion.eps_255:g}/255": opinion.acc,
        f"{opinion.eps_255:g}/255 at most": opinion.found,
    }
    other_seed = frame.assign(value=frame["value"] + 4.0 * (frame["attack"] == "found"))
    (of_both,) = TABLES["second_opinions"].tell(pd.concat([frame, other_seed]))
    assert list(of_both.bars.values()) == pytest.approx([opinion.acc, opinion.found + 2.0])


def test_several_models_stand_side_by_side(tmp_path: Path) -> None:
    reads = [
        {"model": MODEL, "suites": ["sea", "doubt"], "eps_255": [4]},
        {"model": OTHER, "suites": ["doubt"], "eps_255": [0.5]},
    ]
    paths = write_jobs(tmp_path, [{"model": MODEL, "suites": ["sea"], "eps_255": [4]}])
    doubts = [write_doubts(tmp_path, MODEL, GOOD), write_doubts(tmp_path, OTHER, UNSURE)]
    frame, printed = make(tmp_path, paths[1], *doubts, reads=reads)
    assert set(frame["model"]) == {MODEL, OTHER}
    verdict = next(line for line in printed.splitlines() if line.startswith("| verdict"))
    assert verdict.endswith("| **may be too high** | no sign |")  # as the models are listed
    tolds = list(TABLES["second_opinions"].tell(frame))
    own = [{f"{radius}/255", f"{radius}/255 at most"} for radius in ("0.5", "4")]
    assert [set(told.bars) for told in tolds] == own


def test_one_opinion_stands_at_a_place(tmp_path: Path) -> None:
    reads = [{"model": MODEL, "suites": ["doubt"], "eps_255": [4], "seeds": [0, 1]}]
    paths = [write_doubts(tmp_path, MODEL, GOOD, seed=seed) for seed in (0, 1)]
    says = "reads 2 on fake_pir_5 at 4/255: doubt with attack seed 0 and doubt with attack seed 1"
    with pytest.raises(RobustsegError, match=says):
        make(tmp_path, *paths, reads=reads)


def test_opinions_are_no_provenance(tmp_path: Path) -> None:
    path = write_doubts(tmp_path, MODEL, GOOD, BAD)
    assert read_opinions(path) == [GOOD, BAD]
    assert FINDINGS_KEY not in read_provenance(path)
    assert FINDINGS_KEY not in merged_provenance([path])
    assert set(PROVENANCE) <= set(read_provenance(path))
    (clean,) = write_jobs(tmp_path, [{"model": MODEL, "suites": [], "eps_255": []}])
    assert read_opinions(clean) == []


def test_figures_are_judged_by_the_thresholds_of_today() -> None:
    kept = to_text([opinion_of(8, random_corners=12.5)])
    lenient = kept.replace('"status": "failed"', '"status": "passed"')
    assert lenient != kept
    assert from_text(lenient) == from_text(kept)
    assert [one.status for one in from_text(to_text([BAD]))[0].findings].count(NOT_RUN) == 1


@pytest.mark.parametrize(
    "text", ["", "[", "null", "[1]", "[{}]", '[{"findings": []}]', to_text([GOOD]), "\ud83d"]
)
def test_damaged_opinions_are_a_sentence(tmp_path: Path, text: str) -> None:
    text = text.replace('"random_corners"', '"random_corner"')
    path = write_doubts(tmp_path, MODEL, GOOD)
    with_metadata(path, FINDINGS_KEY.encode(), text.encode("utf-8", "surrogatepass"))
    with pytest.raises(RobustsegError) as refusal:
        read_opinions(path)
    (line,) = str(refusal.value).splitlines()
    assert str(path) in line
    assert "delete it and run its job again" in line


def test_a_radius_without_an_opinion_is_a_sentence(tmp_path: Path) -> None:
    path = write_doubts(tmp_path, MODEL, GOOD, BAD)
    with_metadata(path, FINDINGS_KEY.encode(), to_text([GOOD]).encode())
    with pytest.raises(RobustsegError, match=r"shard0.parquet holds no second opinion at 8/255; "):
        make(tmp_path, path)
