"""Evidence that was edited, damaged or exchanged is refused in a sentence that names its file."""

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from robustseg.errors import RobustsegError
from robustseg.evidence.queries import Evidence
from robustseg.evidence.reading import read_class_names, read_opinions, read_provenance
from robustseg.evidence.schema import CLASSES_KEY, COUNTED, KEY, SCHEMA, SCHEMA_VERSION
from robustseg.evidence.writing import write_evidence
from tests.evidence.edited import EDITED, PLACE, edit, everything
from tests.evidence.test_files import row
from tests.mutations import mutated
from tests.synthetic import opinion_of, with_metadata, write_doubts


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / PLACE
    names = ["road", "sky", "tree"]
    write_evidence(path, [row("a"), row("b"), row("c")], {"device": "cpu"}, names)
    return path


def tried(path: Path) -> tuple[Any, str]:
    """Return what is read, or how it is refused."""
    try:
        return everything(path)[2], ""
    except RobustsegError as error:
        return None, str(error)


@pytest.mark.parametrize(
    ("column", "value"),
    [(column, value) for column, values in EDITED.items() for value in values],
)
def test_an_edited_row_is_refused_by_its_file(file: Path, column: str, value: Any) -> None:
    everything(file)
    edit(file, column, value)
    with pytest.raises(RobustsegError) as refused:
        everything(file)
    said = str(refused.value)
    assert str(file) in said
    assert "\n" not in said


@pytest.mark.parametrize("column", SCHEMA.names)
def test_a_row_without_a_value_is_refused(file: Path, column: str) -> None:
    edit(file, column, None)
    with pytest.raises(RobustsegError, match=r"seed0-shard0\.parquet"):
        everything(file)


def test_every_column_is_tried() -> None:
    free = {"dataset", "attack"}  # any text may be a name; what they contradict is found elsewhere
    assert set(EDITED) | free == set(SCHEMA.names)
    assert set(COUNTED) | set(KEY) <= set(EDITED) | free


def test_no_rows_are_no_evidence(file: Path) -> None:
    pq.write_table(pq.read_table(file).slice(0, 0), file)
    with pytest.raises(RobustsegError, match="has no rows; delete it and run its job again"):
        everything(file)


def test_evidence_in_anothers_place_is_named_itself(file: Path) -> None:
    other = file.parents[3] / "robust/seed0/eps4/seed0-shard0.parquet"
    other.parent.mkdir(parents=True)
    other.write_bytes(file.read_bytes())
    with pytest.raises(RobustsegError, match=r"robust/seed0.*suite losses, model clean"):
        everything(other)
    everything(file)
    moved = file.with_name("copy.parquet")  # elsewhere a file may be called anything
    moved.write_bytes(file.read_bytes())
    everything(moved)


@pytest.mark.parametrize("other", [{"model": "robust"}, {"suite": "sea"}])
def test_evidence_of_another_job_in_a_place_is_refused(file: Path, other: dict[str, str]) -> None:
    reads = [{"model": "clean", "suites": ["losses"], "eps_255": [4.0]}]
    write_evidence(file, [row(image, **other) for image in "abc"], {})
    with pytest.raises(RobustsegError, match=r"parquet was changed or is another's"):
        Evidence.open("table2", [file], reads, {"clean": {"dataset": "voc"}})


def test_several_radii_in_one_file_are_those_of_its_name(tmp_path: Path) -> None:
    path = tmp_path / PLACE.replace("eps4", "eps4,8")
    rows = [row("a"), row("a", eps_255=8.0)]
    write_evidence(path, rows, {})
    everything(path)
    write_evidence(path, [*rows, row("a", eps_255=12.0)], {})
    with pytest.raises(RobustsegError, match="12/255"):
        everything(path)


def test_evidence_of_another_data_set_is_refused(file: Path) -> None:
    clean = file.parents[4] / "clean/clean/seed0/eps0/seed0-shard0.parquet"
    none = {"suite": "clean", "eps_255": 0.0, "linf_255": 0.0}
    write_evidence(clean, [row(image, **none) for image in "abc"], {})
    reads = [{"model": "clean", "suites": ["losses"], "eps_255": [4.0]}]
    Evidence.open("table2", [file, clean], reads, {"clean": {"dataset": "scenes"}})
    with pytest.raises(RobustsegError, match=r"parquet is evidence of clean .* scenes, .* is voc"):
        Evidence.open("table2", [file, clean], reads, {"clean": {"dataset": "voc"}})


@pytest.mark.parametrize("names", [b"{", b"[1", b"5", b"\xff\xfe", b"null"])
def test_damaged_names_of_classes(file: Path, names: bytes) -> None:
    with_metadata(file, CLASSES_KEY.encode(), names)
    with pytest.raises(RobustsegError, match=r"seed0-shard0\.parquet"):
        read_class_names(file)


def test_a_flipped_bit_never_tells_another_story(tmp_path: Path) -> None:
    """Checksums of pages leave out what a file says of itself: opinions, classes, its making."""
    path = write_doubts(tmp_path, "fake_pir_5", opinion_of(4.0))
    whole, source, refused = path.read_bytes(), random.Random(0), 0
    footer = int.from_bytes(whole[-8:-4], "little")

    def told() -> Any:
        return read_opinions(path), read_class_names(path), read_provenance(path)

    right = told()
    for _ in range(600):
        damaged = bytearray(whole)
        damaged[len(whole) - 8 - source.randrange(footer)] ^= 1 << source.randrange(8)
        path.write_bytes(damaged)
        try:
            assert told() == right
        except RobustsegError:
            refused += 1
    assert refused > 300


def test_metadata_that_are_no_text(file: Path) -> None:
    with_metadata(file, b"\xff", b"\xfe")
    with pytest.raises(RobustsegError, match=r"seed0-shard0\.parquet"):
        read_provenance(file)


def test_names_of_columns_that_are_no_text(file: Path) -> None:
    # In Parquet's own schema, which comes before Arrow's; old pyarrows read Arrow's alone.
    right, _ = tried(file)
    file.write_bytes(file.read_bytes().replace(b"labelled", b"\xffabelled", 1))
    read, said = tried(file)
    assert "seed0-shard0.parquet is truncated or damaged" in said or right.equals(read)


def test_bytes_at_random(file: Path) -> None:
    """Flipped, cut and inserted bytes: refused by name, or read as they were."""
    good, source = file.read_bytes(), random.Random(0)
    expected = everything(file)[2]
    kept = 0
    for _ in range(300):
        file.write_bytes(mutated(good, source))
        found, refused = tried(file)
        if refused:
            assert str(file) in refused
            assert "\n" not in refused
            continue
        kept += 1
        for name in SCHEMA.names:
            assert found[name].astype(str).tolist() == expected[name].astype(str).tolist(), name
    assert kept < 200


def test_a_foreign_parquet_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "numbers.parquet"
    pq.write_table(pa.table({"x": [1, 2]}), path)
    with pytest.raises(RobustsegError, match=r"numbers\.parquet is not an evidence file"):
        everything(path)
    path.write_text(json.dumps({"schema": SCHEMA_VERSION}))
    with pytest.raises(RobustsegError, match=r"numbers\.parquet"):
        everything(path)
