"""A short campaign finds nothing, and a campaign on a broken product finds that."""

import json
import os
import random
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import ANY

import numpy as np
import pytest
from PIL import Image

from robustseg.data.arrays import ArrayDataset
from robustseg.errors import RobustsegError
from robustseg.evidence.writing import write_evidence
from robustseg.models.references import Referred
from tests.campaign import archived, campaign, docs, kills, weights
from tests.campaign.cases import (
    DAMAGED,
    FAULTS,
    HUNG,
    RIGHT,
    SENTENCE,
    TRACEBACK,
    WRONG,
    CaseClass,
    Verdict,
    judged,
)
from tests.campaign.jobs import JOBS
from tests.campaign.processes import Moment, run_forked
from tests.campaign.watch import Share, run_shares
from tests.evidence.edited import edit, everything
from tests.evidence.test_files import row
from tests.workflow.running import ROOT

pytestmark = pytest.mark.timeout(600)


def test_a_short_campaign_finds_nothing(tmp_path: Path) -> None:
    """As a person runs it, but for what takes minutes to prepare."""
    record = tmp_path / "campaign.json"
    slow = ("kill_workflow", "kill_doubt", "kill_attack", "disk_")
    names = [name for name in campaign.CLASSES if not name.startswith(slow)] + ["disk_unpack"]
    names = [name for name in campaign.CLASSES if name in names]
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "tests.campaign", "--minutes", "0.5", "--seed", "1"),
            *("--record", record, "--only", *names),
        ],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    kept = json.loads(record.read_text())
    assert list(kept["counts"]) == names
    assert not kept["faults"]
    assert f"| {names[0]} |" in ended.stdout


def ended(one: CaseClass, most: int, seed: int = 0) -> campaign.Found:
    return campaign.run([one], seed, minutes=5, most=most, lanes=1)


def columns(found: campaign.Found) -> set[str]:
    return {column for counts in found.counts.values() for column in counts}


@pytest.fixture
def quick_job() -> CaseClass:
    (one,) = (one for one in kills.CLASSES if one.name == "kill_generate")
    return one


def test_a_writer_in_place_is_found(quick_job: CaseClass, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is killed while it writes under the final name leaves a part with that name."""

    @contextmanager
    def in_place(path):
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        yield path.with_suffix(".whole")
        content = path.with_suffix(".whole").read_bytes()
        path.with_suffix(".whole").unlink()
        for place in range(0, len(content), 1000):
            with path.open("ab" if place else "wb") as file:
                file.write(content[place : place + 1000])

    assert columns(ended(quick_job, 10)) <= {RIGHT, SENTENCE}
    monkeypatch.setattr("robustseg.array_files.atomic_path", in_place)
    found = ended(quick_job, 10)
    assert DAMAGED in columns(found)
    assert any("has its name, but not its bytes" in fault["said"] for fault in found.faults)


def test_litter_is_found(quick_job: CaseClass, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robustseg.files._remove_left", lambda path: None)
    found = ended(quick_job, 10)
    assert any("litter" in fault["said"] for fault in found.faults)


def throw(*arguments: object) -> None:
    raise ValueError("bad")


def accept(*arguments: object) -> None:
    """Refuse nothing."""


def never_end(*arguments: object) -> None:
    while True:
        time.sleep(1)


def die(*arguments: object) -> None:
    os._exit(3)


@pytest.mark.parametrize(
    ("place", "broken", "column"),
    [
        ("_impossible", throw, TRACEBACK),
        ("_problem", accept, WRONG),
        ("_impossible", never_end, HUNG),
        ("_impossible", die, TRACEBACK),
    ],
)
def test_a_broken_reader_is_found(
    place: str, broken: object, column: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that throws what it likes, takes anything, never ends, or takes the process with it."""

    def attempt(made: None, folder: Path, source: random.Random) -> Verdict:
        path = folder / "seed0-shard0.parquet"
        write_evidence(path, [row("a"), row("b")], {})
        wrong = source.random() < 0.5
        if wrong:
            edit(path, "eps_255", -4.0)
        return judged(
            lambda: everything(path), "shard0", lambda _: "a negative radius" if wrong else None
        )

    one = CaseClass("reads", "inputs", lambda folder: None, attempt, limit_s=5)
    assert ended(one, 6).counts["reads"].keys() == {RIGHT, SENTENCE}
    monkeypatch.setattr(f"robustseg.evidence.reading.{place}", broken)
    assert ended(one, 6).counts["reads"].keys() == {RIGHT, column}


def test_a_sentence_must_name_the_file_in_one_line() -> None:
    def refuse(said: str) -> Verdict:
        def read() -> None:
            raise RobustsegError(said)

        return judged(read, "w.pth", lambda found: None)

    assert refuse("the file w.pth is damaged").column == SENTENCE
    assert refuse("the file is damaged somewhere").column == TRACEBACK
    assert refuse("w.pth is damaged:\nbadly").column == TRACEBACK
    assert refuse("w.pth" * 1000).column == TRACEBACK


def refuse(*arguments: object) -> None:
    raise RobustsegError("something is wrong somewhere in it")


@pytest.mark.parametrize(
    ("name", "place", "broken", "column"),
    [
        ("reports", "robustseg.own_run.report", refuse, TRACEBACK),
        ("reports", "robustseg.own_run.report", lambda folder: folder, WRONG),
        ("references", "tests.campaign.arguments.load_reference", refuse, TRACEBACK),
        ("references", "tests.campaign.arguments.load_reference", lambda _: Referred(abs), WRONG),
        ("arguments", "tests.campaign.arguments.main", lambda _: 0, WRONG),
    ],
)
def test_a_sentence_that_names_nothing_and_a_wrong_result_are_found(
    name: str, place: str, broken: object, column: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = campaign.CLASSES[name]
    assert columns(ended(one, 12)) <= {RIGHT, SENTENCE}
    monkeypatch.setattr(place, broken)
    assert columns(ended(one, 12)) - {RIGHT, SENTENCE} == {column}


READ_WITHOUT_LOOKING = {
    "read_image": Image.new("RGB", (31, 43)),
    "read_any_mask": np.zeros((31, 43, 3), np.uint8),
    "read_mask": np.zeros((43, 31), np.uint8),
    "unturned_size_px": (43, 31),
    "load_arrays": ArrayDataset(
        np.zeros((1, 1, 1, 3), np.uint8), np.zeros((1, 1, 1), np.uint8), [], [], []
    ),
    "read_arrays": {"images": np.zeros((1, 1, 1, 3)), "labels": np.zeros((1, 1, 1))},
    "read_ids": ["another"],
    "read_list": ["another"],
    "read_classes": ["another"],
}


def test_readers_of_images_that_do_not_look_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    one = campaign.CLASSES["image_files"]
    assert columns(ended(one, 60)) == {RIGHT, SENTENCE}
    for name, found in READ_WITHOUT_LOOKING.items():
        monkeypatch.setattr(f"tests.campaign.image_files.{name}", lambda *_, found=found: found)
    assert columns(ended(one, 200)) == {WRONG}


def test_evidence_that_tells_other_findings_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a flipped bit may, where nothing looks at the hash of what a file says of itself."""
    one = campaign.CLASSES["evidence_damaged"]
    assert columns(ended(one, 200)) == {RIGHT, SENTENCE}
    monkeypatch.setattr("robustseg.evidence.reading.metadata_hash", lambda _: ANY)
    faults = {fault["said"] for fault in ended(one, 200).faults if "said" in fault}
    assert faults
    assert faults <= {"other opinions", "other provenance", "other class names"}


def test_words_that_options_share_with_english_name_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(command: list[str]) -> int:
        said = "the images have other names than the output of a model of these data says"
        print(f"robustseg: error: {said}", file=sys.stderr)
        return 1

    monkeypatch.setattr("tests.campaign.arguments.main", refuse)
    assert columns(ended(campaign.CLASSES["arguments"], 100)) == {TRACEBACK}


def test_a_case_follows_from_class_seed_and_number_alone() -> None:
    (one,) = (one for one in archived.CLASSES if one.name == "archives")

    def verdicts(first: int, most: int, seed: int = 3) -> dict[int, str]:
        shares = [Share(one, 1e9, first, most)]
        return {number: verdict.column for _, number, verdict in run_shares(shares, seed, 1)}

    together = verdicts(0, 30)
    assert len(set(together.values())) == 2
    assert {**verdicts(20, 10), **verdicts(0, 20)} == together
    assert verdicts(0, 30, seed=4) != together


def test_a_process_that_dies_costs_one_case() -> None:
    def attempt(made: None, folder: Path, source: random.Random) -> Verdict:
        if folder.name == "case2":
            os._exit(3)
        return Verdict(RIGHT)

    one = CaseClass("dies", "inputs", lambda folder: None, attempt)
    found = ended(one, 5)
    assert found.counts["dies"] == {RIGHT: 4, TRACEBACK: 1}
    assert [fault["number"] for fault in found.faults] == [2]


def test_a_class_that_cannot_be_prepared_is_a_fault() -> None:
    def prepare(folder: Path) -> None:
        raise OSError("no room")

    found = ended(CaseClass("never", "inputs", prepare, lambda *_: Verdict(RIGHT)), 1)
    assert [(fault["number"], fault["column"]) for fault in found.faults] == [(0, TRACEBACK)]
    assert "no room" in found.faults[0]["said"]


def test_memory_has_a_limit() -> None:
    def attempt(made: None, folder: Path, source: random.Random) -> Verdict:
        return judged(lambda: bytes(64 * 2**30), "", lambda found: None)

    found = ended(CaseClass("eats", "inputs", lambda folder: None, attempt), 1)
    assert found.faults[0]["column"] == TRACEBACK
    assert "MemoryError" in found.faults[0]["said"]


def test_a_step_on_files_is_a_moment(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()

    def work() -> None:
        for number in range(5):
            (out / f"{number}").write_text("x")

    whole = run_forked(work, out)
    assert (whole.status, whole.steps) == (0, 5)
    for path in out.iterdir():
        path.unlink()
    killed = run_forked(work, out, Moment(9, step=3))
    assert killed.status == -9
    assert sorted(path.name for path in out.iterdir()) == ["0", "1"]


def test_every_stage_is_killed_and_starved() -> None:
    names = set(campaign.CLASSES)
    assert {f"{family}_{job}" for family in ("kill", "disk") for job in JOBS} < names
    assert len(names) == sum(len(module.CLASSES) for module in campaign.MODULES)


def test_a_class_that_finds_something_has_its_share_twice() -> None:
    def attempt(made: None, folder: Path, source: random.Random) -> Verdict:
        return Verdict(WRONG, "this") if folder.name == "case3" else Verdict(RIGHT)

    classes = [
        CaseClass(name, "inputs", lambda folder: None, one)
        for name, one in (("finds", attempt), ("finds_nothing", lambda *_: Verdict(RIGHT)))
    ]
    found = campaign.run(classes, 0, minutes=0.02, lanes=2)
    assert found.counts["finds"].total() > 1.3 * found.counts["finds_nothing"].total() / 2
    numbers = [fault["number"] for fault in found.faults]
    assert numbers == [3]


def test_a_class_of_few_cases_tries_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def attempt(made: None, folder: Path, case: str) -> Verdict:
        return Verdict(WRONG, case)

    one = CaseClass("few", "inputs", lambda folder: None, attempt, cases="abcde")
    orders = ["".join(fault["said"] for fault in ended(one, 9, seed).faults) for seed in (0, 1)]
    assert [sorted(order) for order in orders] == [[*"abcde"], [*"abcde"]]
    assert orders[0] != orders[1]
    monkeypatch.setitem(campaign.CLASSES, "few", one)
    with pytest.raises(SystemExit, match="few has cases 0 to 4, and no 5"):
        campaign.repeat("few", 0, 5)


def test_an_unknown_class_is_said() -> None:
    with pytest.raises(SystemExit, match="there is no class kils; known are kill_generate"):
        campaign.chosen(["kils"])


def test_a_number_is_of_one_class() -> None:
    with pytest.raises(SystemExit, match="kills is not one class; known are kill_generate"):
        campaign.repeat("kills", 0, 1)


def test_a_fault_is_named_with_what_repeats_it() -> None:
    found = campaign.Found(7)
    found.add(weights.CLASSES[0], 41, Verdict(WRONG, "numbers that are in no file"))
    said = campaign.say(campaign.record_of(found, 1.0))
    assert "-m tests.campaign --only weights_damaged --seed 7 --number 41" in said
    assert "| weights_damaged | 1 | 0 | 0 | 0 | 1 | 0 | 0 |" in said


def test_the_page_shows_the_record() -> None:
    """`make campaign-docs` writes it."""
    assert docs.PAGE.read_text(encoding="utf-8") == docs.page()
    kept = json.loads(docs.RECORD.read_text(encoding="utf-8"))
    assert kept["counts"].keys() == campaign.CLASSES.keys()
    tried = {name: sum(counts.values()) for name, counts in kept["counts"].items()}
    assert sum(n for name, n in tried.items() if name.startswith("kill_")) >= 200
    assert sum(n for name, n in tried.items() if not name.startswith(("kill_", "disk_"))) >= 3000
    few = {name: len(one.cases) for name, one in campaign.CLASSES.items() if one.cases}
    assert {name: tried[name] for name in few if tried[name] > few[name]} == {}
    counted = [
        (name, column)
        for name, counts in kept["counts"].items()
        for column in FAULTS
        for _ in range(counts.get(column, 0))
    ]
    faults = [(fault["class"], fault["column"]) for fault in kept["faults"]]
    assert sorted(counted) == sorted(faults)
