"""Bad evidence, bad kept parts of attacks, and bad folders of runs."""

import base64
import io
import random
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from robustseg.cli import main
from robustseg.evaluation.evaluate import read_evaluation
from robustseg.evaluation.first_pictures import MADE_FROM
from robustseg.evidence.reading import read_opinions, read_provenance
from robustseg.evidence.schema import SCHEMA
from robustseg.evidence.writing import write_evidence
from robustseg.own_run import report as make_report
from tests.campaign.arguments import spoken
from tests.campaign.cases import RIGHT, WRONG, CaseClass, Verdict, judged
from tests.campaign.jobs import own_run
from tests.campaign.trees import Tree, difference, tree_of
from tests.evidence.edited import EDITED, PLACE, edit, everything
from tests.evidence.test_files import row
from tests.mutations import mutated
from tests.synthetic import opinion_of, write_doubts


def prepare(folder: Path) -> list[tuple[Path, Any]]:
    """Write evidence, and that of a second opinion; return each file with what it tells."""
    names = ["road", "sky", "tree"]
    plain = folder / PLACE
    write_evidence(plain, [row(image) for image in "abc"], {"device": "cpu"}, names)
    doubt = write_doubts(folder / "attacks", "fake_pir_5", opinion_of(4.0))
    return [(path, _told(path)) for path in (plain, doubt)]


def _told(path: Path) -> Any:
    """Return the rows of a file, in all ways that they are read, and what it says of itself."""
    about = {"provenance": read_provenance(path), "opinions": read_opinions(path)}
    rows, counts, frame, names = everything(path)
    return rows, counts, frame, about | {"class names": names}


def _unlike(expected: Any, found: Any) -> str | None:
    for place in (0, 2):
        for name in set(SCHEMA.names) & set(expected[place]):
            values = [[*map(_plain, told[place][name])] for told in (expected, found)]
            if values[0] != values[1]:
                return f"another {name}"
    if list(map(_plain, expected[1])) != list(map(_plain, found[1])):
        return "other counts"
    other = [what for what, said in expected[3].items() if found[3][what] != said]
    return f"other {other[0]}" if other else None


def _plain(value: Any) -> Any:
    return np.asarray(value).tolist()


def damage(made: list[tuple[Path, Any]], folder: Path, source: random.Random) -> Verdict:
    """Read evidence whose bytes were damaged."""
    whole, expected = source.choice(made)
    path = folder / Path(*whole.parts[-6:])
    path.parent.mkdir(parents=True)
    spoil = source.choice((mutated, _flipped))
    path.write_bytes(spoil(whole.read_bytes(), source))
    return judged(lambda: _told(path), r"shard0\.parquet", lambda found: _unlike(expected, found))


def _flipped(content: bytes, source: random.Random) -> bytes:
    """Return a file with another bit in what it says of itself, without a checksum of Parquet.

    Readers take that from Arrow's schema, which lies in the footer in base64.
    """
    about = pq.read_metadata(io.BytesIO(content)).metadata
    schema = about.pop(b"ARROW:schema")
    values = sorted(about.values())
    (said,) = source.choices(values, [*map(len, values)])
    place = base64.b64decode(schema).rindex(said) + source.randrange(len(said))
    flipped = bytearray(content)
    flipped[content.index(schema) + place * 4 // 3] ^= 1 << source.randrange(8)
    return bytes(flipped)


EDITS = [
    (column, value, at)
    for column, values in EDITED.items()
    for value in [*values, None]
    for at in range(3)
    if (value, at) != ("a", 0)  # as the first row is called
]
"""A column, a value that it cannot have, and a row."""


def edited(made: list[tuple[Path, Any]], folder: Path, change: tuple[str, Any, int]) -> Verdict:
    """Read evidence in which a value was replaced by an impossible one, or taken away."""
    path, (column, value, at) = folder / PLACE, change
    path.parent.mkdir(parents=True)
    shutil.copy(made[0][0], path)
    edit(path, column, value, at)
    return judged(
        lambda: everything(path), r"shard0\.parquet", lambda _: f"{column} may be {value}"
    )


def prepare_parts(folder: Path) -> tuple[Path, Tree]:
    """Return the folder of a run that has its parts, and what it leaves at its end."""
    own_run(folder)
    return folder, _results(folder)


def _results(folder: Path) -> Tree:
    """Return what a run leaves beside its parts, with the pictures as they are seen.

    Their file also says which parts of the model it was made with, which may have another number.
    """
    tree = tree_of(folder, lambda name: name.startswith(("parts", "gallery")))
    (path,) = (folder / "gallery").glob("*.npz")
    with np.load(path, allow_pickle=False) as arrays:
        seen = {name: repr(arrays[name].tolist()) for name in arrays.files if name != MADE_FROM}
    return tree | seen


def parts(made: tuple[Path, Tree], folder: Path, source: random.Random) -> Verdict:
    """Repeat an attack whose kept parts were damaged, exchanged or removed."""
    whole, tree = made
    run = folder / "run"
    shutil.copytree(whole, run)
    spoilt = _spoil_some(sorted((run / "parts").iterdir()), source)
    for path in sorted(run.glob("run-shard*")):
        path.unlink()

    def again() -> Tree:
        own_run(run)
        return _results(run)

    return judged(again, _named(spoilt, run), lambda found: difference(tree, found))


def _spoil_some(paths: list[Path], source: random.Random) -> list[Path]:
    """Damage, exchange, empty or remove some files, and return these."""
    contents = [path.read_bytes() for path in paths]
    spoilt = source.sample(paths, min(len(paths), source.randint(1, 3)))
    for path in spoilt:
        match source.randrange(5):
            case 0 | 1:
                path.write_bytes(mutated(path.read_bytes(), source))
            case 2:
                path.write_bytes(source.choice(contents))
            case 3:
                path.write_bytes(b"")
            case 4:
                path.unlink()
    return spoilt


def _named(spoilt: list[Path], run: Path) -> str:
    """Return a regular expression of spoilt files, and of any that a spoilt record contradicts."""
    names = [re.escape(str(path.relative_to(run))) for path in spoilt]
    of_record = any(path.match("run-shard*") for path in spoilt)
    return "|".join([*names, re.escape(str(run))] if of_record else names)


def prepare_run(folder: Path) -> tuple[Path, str]:
    """Return the folder of a finished run, and what is said of it."""
    own_run(folder / "run")
    return folder / "run", str(read_evaluation(folder / "run"))


def _spoilt_run(whole: Path, folder: Path, source: random.Random) -> tuple[Path, str]:
    """Return a copy of a run of which some files were spoilt, and what a sentence must name."""
    run = folder / "run"
    shutil.copytree(whole, run)
    files = [path for path in sorted(run.rglob("*")) if path.is_file()]
    spoilt = _spoil_some([path for path in files if "parts" not in path.parts], source)
    return run, _named(spoilt, run)


def run_folder(made: tuple[Path, str], folder: Path, source: random.Random) -> Verdict:
    """Read a run of which some file was damaged, exchanged or removed."""
    whole, right = made
    run, names = _spoilt_run(whole, folder, source)
    return judged(
        lambda: str(read_evaluation(run)),
        names,
        lambda said: _other_numbers(right, said),
    )


def _other_numbers(right: str, said: str) -> str | None:
    """Return whether a table differs where bytes are summed: the table itself."""
    tables = [text[: text.rfind("|")] for text in (right, said)]
    return None if tables[0] == tables[1] else f"another table: {said[:400]}"


def prepare_report(folder: Path) -> tuple[Path, Tree]:
    """Return the folder of a finished run, and the tables of its report."""
    own_run(folder / "run")
    shutil.copytree(folder / "run", folder / "reported")
    make_report(folder / "reported")
    return folder / "run", _tables(folder / "reported")


def _tables(run: Path) -> Tree:
    return tree_of(run / "tables", lambda name: not name.endswith(".csv"))


def report(made: tuple[Path, Tree], folder: Path, source: random.Random) -> Verdict:
    """Make the report, by the command, of a run of which some file was spoilt."""
    whole, right = made
    run, names = _spoilt_run(whole, folder, source)
    verdict = spoken(lambda: main(["report", str(run)]), names)
    why = difference(right, _tables(run)) if verdict.column == RIGHT else None
    return Verdict(WRONG, f"tables: {why}") if why else verdict


CLASSES = [
    CaseClass("evidence_damaged", "inputs", prepare, damage),
    CaseClass("evidence_edited", "inputs", prepare, edited, cases=EDITS),
    CaseClass("kept_parts", "inputs", prepare_parts, parts),
    CaseClass("runs", "inputs", prepare_run, run_folder),
    CaseClass("reports", "inputs", prepare_report, report),
]
