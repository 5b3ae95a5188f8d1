import os
import random
import re
import resource
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from robustseg.attacks.losses import LOSSES
from robustseg.errors import RobustsegError
from robustseg.evidence import schema
from robustseg.evidence.reading import (
    merged_provenance,
    read_class_names,
    read_evidence,
    read_provenance,
)
from robustseg.evidence.schema import SCHEMA_VERSION, WORDS
from robustseg.evidence.writing import write_evidence
from tests.campaign.disks import can_mount, small_disk

ROOT = Path(__file__).parents[2]
PROVENANCE = {"robustseg": "1", "device": "cpu"}


def row(image="a", attack="apgd-ce-constant-10", **changes):
    return {
        "dataset": "scenes",
        "model": "clean",
        "training_seed": 0,
        "suite": "losses",
        "attack": attack,
        "loss": "ce",
        "optimizer": "apgd",
        "schedule": "constant",
        "iterations": 10,
        "logit_margin": 0.0,
        "choice": "default",
        "eps_255": 4.0,
        "seed": 0,
        "image_id": image,
        "pixels": 10,
        "pixels_correct": 6,
        "labelled": [6, 3, 1],
        "intersection": [4, 2, 0],
        "union": [7, 4, 3],
        "linf_255": 4.0,
        "forward_passes": 11,
        "backward_passes": 10,
    } | changes


def test_only_counts_are_compressed(tmp_path):
    write_evidence(tmp_path / "e.parquet", [row()], PROVENANCE)
    group = pq.read_metadata(tmp_path / "e.parquet").row_group(0)
    columns = [group.column(index) for index in range(group.num_columns)]
    compressed = {c.path_in_schema.split(".")[0] for c in columns if c.compression == "ZSTD"}
    assert compressed == set(schema.COUNTED)
    assert {c.compression for c in columns} == {"ZSTD", "UNCOMPRESSED"}


@pytest.mark.parametrize("counts", [True, False])
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"loss": "dice"}, "loss is 'dice', which evidence does not know"),
        (
            {"linf_255": 5.0},
            "image c under apgd-ce-constant-10 has a perturbation outside its radius",
        ),
    ],
)
def test_of_several_files_the_wrong_one_is_named(tmp_path, counts, changes, said):
    for name in "abcd":
        wrong = changes if name == "c" else {}
        table = pa.Table.from_pylist([row(name, **wrong)], schema.SCHEMA)
        about = {schema.VERSION_KEY: SCHEMA_VERSION}
        pq.write_table(table.replace_schema_metadata(about), tmp_path / f"{name}.parquet")
    with pytest.raises(RobustsegError, match=re.escape(said)) as refused:
        read_evidence(tmp_path.glob("*.parquet"), counts)
    assert str(tmp_path / "c.parquet") in str(refused.value)


def test_of_several_files_the_one_with_wrong_counts_is_named(tmp_path):
    for name, classes in (("a", 3), ("b", 2), ("c", 3)):
        counts = {"labelled": [7, 3, 0], "intersection": [4, 2, 0], "union": [7, 6, 0]}
        counts = {key: values[:classes] for key, values in counts.items()}
        right = {"c": 5}.get(name, 6)  # of 6 in the intersections
        table = pa.Table.from_pylist(
            [row(name, dataset=name, pixels_correct=right, **counts)], schema.SCHEMA
        )
        about = {schema.VERSION_KEY: SCHEMA_VERSION}
        pq.write_table(table.replace_schema_metadata(about), tmp_path / f"{name}.parquet")
    with pytest.raises(RobustsegError, match=r"c\.parquet .*row 0 has pixels_correct unlike"):
        read_evidence(tmp_path.glob("*.parquet"))
    (tmp_path / "c.parquet").unlink()
    assert [len(one) for one in read_evidence(tmp_path.glob("*.parquet"))["union"]] == [3, 2]


def test_what_is_written_is_read(tmp_path):
    rows = [row("b", union=np.array([7, 4, 3])), row("a", pixels_correct=np.int64(6))]
    write_evidence(tmp_path / "e.parquet", rows, PROVENANCE)
    frame = read_evidence([tmp_path / "e.parquet"])
    assert list(frame.columns) == schema.SCHEMA.names
    assert frame["image_id"].tolist() == ["a", "b"]
    assert frame["linf_255"].tolist() == [4.0, 4.0]
    expected = {"labelled": [6, 3, 1], "intersection": [4, 2, 0], "union": [7, 4, 3]}
    for name, counts in expected.items():
        assert [vector.tolist() for vector in frame[name]] == [counts, counts]
    assert read_provenance(tmp_path / "e.parquet") == PROVENANCE | {
        "schema_version": SCHEMA_VERSION
    }


def test_the_same_rows_give_the_same_bytes(tmp_path):
    for name in "ab":
        about = {"torch": "1", "device": "2"}
        write_evidence(tmp_path / name, [row("x"), row("y")], about)
    write_evidence(tmp_path / "c", [row("x"), row("y")], dict(reversed(about.items())))
    assert len({(tmp_path / name).read_bytes() for name in "abc"}) == 1


def test_order_and_sharding_do_not_matter(tmp_path):
    rows = [row(image, attack) for image in "abcdef" for attack in ("one", "two")]
    write_evidence(tmp_path / "whole", rows, {})
    random.Random(1).shuffle(rows)
    for shard in range(3):
        write_evidence(tmp_path / f"shard{shard}", rows[shard::3], {})
    whole = read_evidence([tmp_path / "whole"])
    parts = read_evidence([tmp_path / f"shard{shard}" for shard in (2, 0, 1)])
    assert whole.equals(parts)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"linf_255": 4.01}, "a perturbation outside its radius"),
        ({"linf_255": float("nan")}, "a perturbation that is not finite"),
        ({"linf_255": float("inf")}, "a perturbation that is not finite"),
        ({"eps_255": -1.0, "linf_255": 0.0}, "eps_255 outside 0..255"),
        ({"eps_255": 256.0}, "eps_255 outside 0..255"),
        ({"pixels_correct": 5}, "pixels_correct unlike the sum of intersections"),
        ({"pixels": 5, "labelled": [4, 1, 0]}, "more correct than labelled pixels"),
        ({"pixels": 9, "labelled": [4, 4, 1]}, "unions that add up to less than"),
        ({"labelled": [5, 3, 1]}, "pixels unlike the sum of labelled ones"),
        ({"labelled": [3, 6, 1]}, "labelled pixels below the intersections or above the unions"),
        ({"labelled": [8, 2, 0]}, "labelled pixels below the intersections or above the unions"),
        ({"intersection": [7, -1, 0]}, "intersections below 0 or above the unions"),
        ({"loss": "hinge"}, "loss is 'hinge', which is none of the words that evidence knows"),
        ({"optimizer": "adam"}, "optimizer is 'adam', which is none of the words"),
        ({"schedule": "cosine"}, "schedule is 'cosine', which is none of the words"),
        (
            {"intersection": [3, 2, 1], "union": [9, 5, 0]},
            "intersections below 0 or above the unions",
        ),
        ({"forward_passes": -1}, "negative forward_passes"),
        ({"union": [7, 7]}, "different numbers of classes"),
        ({"attack": None}, "no value in column attack"),
        ({"seed": "first"}, "wrong type"),
        ({"pixels": 2**70}, "wrong type"),
        ({"surprise": 1}, r"unknown columns: \['surprise'\]"),
    ],
)
def test_a_bad_row_is_refused_and_nothing_is_left(tmp_path, changes, says):
    with pytest.raises(RobustsegError, match=says):
        write_evidence(tmp_path / "e.parquet", [row("good"), row("bad") | changes], {})
    assert list(tmp_path.iterdir()) == []


def test_the_image_of_a_bad_row_is_named(tmp_path):
    rows = [row("good"), row("the_bad_one", linf_255=9.0)]
    with pytest.raises(RobustsegError, match="image the_bad_one under apgd-ce-constant-10"):
        write_evidence(tmp_path / "e.parquet", rows, {})


def test_rounding_of_the_norm_is_allowed(tmp_path):
    write_evidence(tmp_path / "e.parquet", [row(linf_255=4.0 + 255 * 1.2e-7)], {})


def test_no_rows_are_refused(tmp_path):
    with pytest.raises(RobustsegError, match="no rows to write"):
        write_evidence(tmp_path / "e.parquet", [], {})


def test_a_row_twice_is_refused_on_writing_and_across_files(tmp_path):
    with pytest.raises(RobustsegError, match=r"a row is there twice .*image_id x"):
        write_evidence(tmp_path / "e.parquet", [row("x"), row("y"), row("x")], {})
    write_evidence(tmp_path / "one", [row("x"), row("y")], {})
    write_evidence(tmp_path / "two", [row("z"), row("y")], {})
    with pytest.raises(RobustsegError, match=r"one and 1 more: .*eps_255 4\.0, seed 0, image_id y"):
        read_evidence([tmp_path / "one", tmp_path / "two"])
    with pytest.raises(RobustsegError, match="one was given twice; list each evidence file once"):
        read_evidence([tmp_path / "one", tmp_path / "two", str(tmp_path / "one")])


def test_rows_that_differ_in_the_seed_alone_are_two(tmp_path):
    write_evidence(tmp_path / "e", [row("x", seed=0), row("x", seed=1)], {})
    assert len(read_evidence([tmp_path / "e"])) == 2


@pytest.mark.parametrize("kept", [0, 3, 0.3, 0.9, -1])
def test_a_truncated_file_is_named(tmp_path, kept):
    path = tmp_path / "short.parquet"
    write_evidence(path, [row(str(index)) for index in range(50)], {})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if 0 < kept < 1 else kept])
    with pytest.raises(RobustsegError, match=r"short\.parquet is truncated or damaged"):
        read_evidence([path])


def test_a_file_damaged_inside_is_named(tmp_path):
    path = tmp_path / "hurt.parquet"
    write_evidence(path, [row(str(index)) for index in range(50)], {})
    data = bytearray(path.read_bytes())
    data[20:200] = os.urandom(180)
    path.write_bytes(bytes(data))
    with pytest.raises(RobustsegError, match=r"hurt\.parquet is truncated or damaged"):
        read_evidence([path])


def test_missing_foreign_and_no_files_are_refused(tmp_path):
    with pytest.raises(RobustsegError, match=r"gone\.parquet is missing"):
        read_evidence([tmp_path / "gone.parquet"])
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(RobustsegError, match=r"other\.parquet is not an evidence file"):
        read_evidence([tmp_path / "other.parquet"])
    with pytest.raises(RobustsegError, match="no evidence file"):
        read_evidence([])


def test_one_data_set_has_one_number_of_classes(tmp_path):
    write_evidence(tmp_path / "three", [row("x")], {})
    two = {"labelled": [6, 4], "intersection": [4, 2], "union": [8, 6]}
    write_evidence(tmp_path / "two", [row("y") | two], {})
    with pytest.raises(RobustsegError, match=r"data set scenes counts \[2, 3\] classes"):
        read_evidence([tmp_path / "three", tmp_path / "two"])
    write_evidence(tmp_path / "two", [row("y", dataset="other") | two], {})
    assert len(read_evidence([tmp_path / "three", tmp_path / "two"])) == 2


WRITE_MUCH = """
import random, resource, signal, sys
sys.path.insert(0, {root!r})
from tests.evidence.test_files import row
from robustseg.errors import RobustsegError
from robustseg.evidence.writing import write_evidence
rows = [row(random.Random(index).randbytes(40).hex()) for index in range(20000)]
write_evidence({old!r}, rows[:3], dict())
if {limit}:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
for path in ({old!r}, {new!r}):
    try:
        write_evidence(path, rows, dict())
    except RobustsegError as error:
        print(error)
"""


def write_much(folder, limit):
    code = WRITE_MUCH.format(
        root=str(ROOT),
        old=str(folder / "old.parquet"),
        new=str(folder / "new.parquet"),
        limit=limit,
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return result.stdout.splitlines()


@pytest.mark.parametrize("how", ["full disk", "file size limit"])
def test_a_full_disk_is_one_sentence_and_no_half_file(tmp_path, how):
    if how == "full disk" and not can_mount():
        pytest.skip("a small file system cannot be mounted here; the size limit stands in for it")
    folder = tmp_path / "disk"
    with small_disk(folder, 300_000) if how == "full disk" else nullcontext(folder.mkdir()):
        said = write_much(folder, limit=100_000 if how == "file size limit" else 0)
        names = sorted(path.name for path in folder.iterdir())
        assert [line.split(":")[0] for line in said] == [
            f"could not write {folder / name}.parquet" for name in ("old", "new")
        ]
        assert names == ["old.parquet"]
        assert len(read_evidence([folder / "old.parquet"])) == 3


def test_provenance_names_versions_and_commit():
    made_by = schema.provenance("abc", "cpu", "float32")
    assert made_by["config_hash"] == "abc"
    assert made_by["numpy"] == np.__version__
    git = ["git", "-c", "safe.directory=*", "rev-parse", "HEAD"]
    head = subprocess.run(git, cwd=ROOT, capture_output=True, text=True)
    assert made_by["git_commit"].removesuffix("-dirty") == head.stdout.strip()
    assert all(isinstance(value, str) and value for value in made_by.values())


def test_provenance_of_several_files_lists_what_differs(tmp_path):
    paths = [tmp_path / name for name in ("a", "b", "c")]
    for path, device in zip(paths, ("gpu", "cpu", "gpu"), strict=True):
        write_evidence(path, [row()], PROVENANCE | {"device": device})
    merged = merged_provenance(paths)
    assert (merged["robustseg"], merged["device"]) == (["1"], ["cpu", "gpu"])


def test_class_names_stand_in_the_file_and_in_no_provenance(tmp_path):
    write_evidence(tmp_path / "named", [row()], PROVENANCE, ["sky", "road", "void <of> form"])
    assert read_class_names(tmp_path / "named") == ["sky", "road", "void <of> form"]
    assert "class_names" not in read_provenance(tmp_path / "named")
    write_evidence(tmp_path / "unnamed", [row()], PROVENANCE)
    assert read_class_names(tmp_path / "unnamed") is None
    with pytest.raises(RobustsegError, match="2 class names for counts of 3 classes"):
        write_evidence(tmp_path / "wrong", [row()], PROVENANCE, ["sky", "road"])


def as_version(path, version):
    """Rewrite a file as evidence of another schema version."""
    table = pq.read_table(path)
    metadata = {b"schema_version": version} if version else {}
    if not version:
        table = table.drop_columns("labelled").append_column("inherited", pa.array([False]))
    pq.write_table(table.replace_schema_metadata(metadata), path)


@pytest.mark.parametrize(("version", "named"), [(None, "1"), (b"2", "2"), (b"4", "4")])
def test_evidence_of_another_schema_is_refused_by_name(tmp_path, version, named):
    path = tmp_path / "old.parquet"
    write_evidence(path, [row()], {})
    as_version(path, version)
    says = rf"old\.parquet is evidence of schema version {named}, and this code reads version 3"
    with pytest.raises(RobustsegError, match=says):
        read_evidence([path])


def test_evidence_of_an_earlier_schema_that_lacks_columns_is_refused_by_name():
    """The evidence that comes with the project is of version 2, see docs/recipes.md."""
    paths = (Path(__file__).parents[2] / "results/reference/camvid/attacks").rglob("*.parquet")
    with pytest.raises(RobustsegError, match="is evidence of schema version 2, and this code"):
        read_evidence(paths)


def test_every_word_is_documented():
    text = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")
    for column, words in WORDS.items():
        for word, meaning in words.items():
            if word in LOSSES:
                continue  # docs/config.md lists them
            assert f"| `{column}` | `{word}` | {meaning} |" in text, f"{column} {word}"


def test_the_documentation_is_that_of_the_schema():
    text = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")
    lines = ["| column | type | unit | what |", "|---|---|---|---|"]
    for field in schema.SCHEMA:
        is_list = pa.types.is_list(field.type)
        kind = "list of int32, one a class" if is_list else str(field.type)
        unit, description = (field.metadata[key].decode() for key in (b"unit", b"description"))
        assert all((unit, description))
        lines.append(f"| `{field.name}` | {kind} | {unit} | {description} |")
    assert "\n".join([*lines, "", ""]) in text


def one_class(right):
    """Return the counts of an image of one class, of which some pixels are predicted as another."""
    counts = {"intersection": [right, 0, 0], "union": [10, 10 - right, 0]}
    return {"pixels_correct": right, "labelled": [10, 0, 0], **counts}


def test_the_documented_queries_run_and_read_one_seed(tmp_path, monkeypatch, capsys):
    """Other seeds lie in the same folder; scored as one they would be refused."""
    text = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    attacks = tmp_path / "runs/first/attacks"
    folder = attacks / "sea/model/seed0/eps8"
    run = {"suite": "sea", "model": "model", "eps_255": 8.0}
    for seed in (0, 1, 2):
        rows = [
            row(image, attack, seed=seed, **run, **one_class(right))
            for attack, right in (("one", 6), ("two", 2 + seed))
            for image in "ab"
        ]
        write_evidence(folder / f"seed{seed}-shard0.parquet", rows, {})
    clean = {"suite": "clean", "model": "model", "eps_255": 0.0, "linf_255": 0.0}
    unharmed = [row(image, "clean", **clean, **one_class(9)) for image in "ab"]
    write_evidence(attacks / "clean/model/seed0/eps0/seed0-shard0.parquet", unharmed, {})
    monkeypatch.chdir(tmp_path)
    exec("".join(code), {})
    each, worst, miou, by_size = capsys.readouterr().out.splitlines()
    assert [float(acc) for acc in re.findall(r"acc=([\d.]+)", each)] == [0.6, 0.2]
    assert worst.startswith("Score(acc=0.2,")
    greedy, bound, image_wise = map(float, miou.split())
    assert greedy == image_wise == pytest.approx(0.1)
    assert 0 < bound <= greedy
    assert by_size == "[nan nan nan 0.2]"


def test_reading_grows_with_the_files_and_not_with_their_square(tmp_path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    for index in range(300):
        write_evidence(tmp_path / f"{index}", [row(f"{index}")], {})
    assert len(read_evidence(tmp_path.iterdir())) == 300
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - before < 10
