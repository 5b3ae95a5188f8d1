"""Bad arguments of commands, model references and folders of data."""

import argparse
import io
import os
import random
import re
from collections.abc import Callable
from contextlib import chdir, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch

from robustseg.cli import main
from robustseg.data.folder import open_folder
from robustseg.models.references import load_reference
from tests.campaign.cases import RIGHT, TRACEBACK, WRONG, CaseClass, Verdict, judged, sentence
from tests.campaign.jobs import COMMAND, own_data
from tests.mutations import mutated

JUNK = (
    "", " ", "-1", "0", "nan", "inf", "1e999", "٣", "x", "3,", ",", "1-", "9-1", "/", "../..", "\n",
    "a\nb", "1/0", "-1/2", "0x10", "1_000", "9" * 400, "é", "\udc80", "/dev/null", "None", "{}",
    ":", "2", "5",
)  # fmt: skip
"""Values that somebody may type, or a script: some of them are right for some options."""
OPTIONS = (
    "--weights", "--classes", "--values", "--ignore", "--ids", "--resize", "--normalise", "--scale",
    "--output", "--divisor", "--eps", "--suites", "--iterations", "--images", "--batch-size",
    "--device", "--pictures", "--seed", "--shard", "--name", "--out", "--data",
)  # fmt: skip

PLACES = {
    **{"check": ("COMMAND",), "attack": ("COMMAND",), "mymodels.py:net": ("--model",)},
    **{"--eps": ("4",), "--iterations": ("3",), "--images": ("1",)},
}
"""What else a sentence may name where a word of the command is replaced."""
IMAGES, LOSSES_OF_SEA = 3, 4
TYPED = argparse.ArgumentParser(allow_abbrev=False)
"""Reads, of a command that succeeded, what its results must agree with, as it was typed."""
TYPED.add_argument("--eps", nargs="+", default=["4", "8"])
TYPED.add_argument("--iterations", default="300")
TYPED.add_argument("--images", default=str(IMAGES))
TYPED.add_argument("--seed", default="0")
TYPED.add_argument("--name", default="model")
TYPED.add_argument("--classes")
TYPED.add_argument("--out")


def spoken(run: Callable[[], int], names: str) -> Verdict:
    """Run a command and return how it ended, by its status and what it wrote to stderr.

    Of one that succeeds, what it printed is said; whether that is right is for the caller to judge.

    Args:
        run: returns the status, or ends by SystemExit.
        names: a regular expression that a sentence must contain.
    """
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status = run()
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 1
        except Exception as error:
            return Verdict(TRACEBACK, f"{type(error).__name__}: {error}"[:500])
    said = err.getvalue()
    if "Traceback" in said or "bug in robustseg" in said:
        return Verdict(TRACEBACK, said[-700:])
    if not status:
        return Verdict(RIGHT, out.getvalue())
    if status == 2:  # argparse repeats what was typed as it is, after its usage
        usage, _, error = said.partition(": error: ")
        if not usage or not error:
            return Verdict(TRACEBACK, said)
        return sentence(" ".join(f"error: {error}".splitlines()), names)
    errors = [line for line in said.splitlines() if ": error: " in line]
    if len(errors) != 1 or not said.rstrip().endswith(errors[0].rstrip()):
        return Verdict(TRACEBACK, f"status {status}, no single sentence: {said[-500:]}")
    return sentence(errors[0], names)


def prepare(folder: Path) -> Path:
    """Return a folder with photographs, masks and a model."""
    own_data(folder)
    return folder


def typed(made: Path, folder: Path, source: random.Random) -> Verdict:
    """Type a command that is right but for one or two values; it writes to the case's folder."""
    command = [source.choice(("check", "attack")), *COMMAND, "--iterations", "3", "--images", "1"]
    if command[0] == "attack":
        command += ["--seed", "7", "--name", "mine", "--out", str(folder / "out")]
    wrong: list[str] = []
    for _ in range(source.choice((1, 1, 2))):
        junk, place = source.choice(JUNK), source.randrange(len(command))
        if source.random() < 0.8:
            place = len(command) + 1
            command += [source.choice(OPTIONS), ""]
        replaced, options = command[place], [one for one in command[:place] if one[:2] == "--"]
        wrong += [*options[-1:], replaced] if replaced[:2] == "--" else options[-1:]
        command[place] = f"{folder}/x{junk}" if options[-1:] == ["--out"] and junk else junk
        wrong += [command[place], *PLACES.get(replaced, ())]
    with chdir(made):
        verdict = spoken(lambda: main(command), "|".join(map(_named, wrong)))
    if verdict.column == RIGHT:
        why = _other_than_typed(command, verdict.said)
        verdict = Verdict(WRONG, why) if why else verdict
    for path in sorted(made.iterdir()):
        if path.name not in ("mymodels.py", "images", "masks", "__pycache__"):
            return Verdict(WRONG, f"{command} wrote {path.name}")
    return Verdict(verdict.column, f"{command}: {verdict.said}")


def _other_than_typed(command: list[str], printed: str) -> str | None:
    """Return what a command that succeeded did that nobody typed; None if it did as typed."""
    said, _ = TYPED.parse_known_args(command)
    for text in (said.iterations, said.seed, said.images, said.classes):
        if not re.fullmatch("[0-9]+", text):
            return f"{text!r} was taken for a number"
    images = min(int(said.images), IMAGES)
    if command[0] == "check":
        passes = LOSSES_OF_SEA * int(said.iterations) * len(said.eps)
        wanted = rf"at {len(said.eps)} radi.* on {images} image.* \({passes:,} forward and backward"
        return None if re.search(wanted, printed) else f"it did not print {wanted}: {printed}"
    return _other_evidence(said, images)


def _other_evidence(said: argparse.Namespace, images: int) -> str | None:
    """Return which column of a run's evidence says what nobody typed; None if none does."""
    files = Path(said.out).glob("attacks/sea/**/*.parquet")
    rows = [row for path in sorted(files) for row in pq.read_table(path).to_pylist()]
    wanted = {"seed": {said.seed}, "iterations": {said.iterations}, "model": {said.name}}
    for column, values in {**wanted, "eps_255": set(said.eps)}.items():
        found = {f"{row[column]:g}" if column == "eps_255" else str(row[column]) for row in rows}
        if found != values:
            return f"{column} is {found or 'nowhere'}, where {values} was typed"
    found = {row["image_id"] for row in rows}
    return None if len(found) == images else f"it attacked {found}, not {images}"


def _named(word: str) -> str:
    """Return a regular expression of an option, as a key too, or of a value as it is shown."""
    if word.startswith("--"):
        key = word[2:].replace("-", "_")
        return rf"{word}\b|`{key}`|: {key}$|\b{key}(_255)?(=| (is|are|must|needs)\b)"
    ways, most = {repr(word)[1:-1], " ".join(word.split())} - {""}, 40
    ends = {one: "" if len(one) > most or one == "/" else r"(?!\w)" for one in sorted(ways)}
    bare = [rf"(?<![^\s']){re.escape(one[:most])}{end}" for one, end in ends.items()]
    return "|".join([re.escape(repr(word)), *bare])


def reference(made: Path, folder: Path, source: random.Random) -> Verdict:
    """Name a model that is not there, does not fit, or whose file is damaged."""
    file = folder / "mymodels.py"
    good = (made / "mymodels.py").read_bytes()
    damaged = source.random() < 0.5
    file.write_bytes(mutated(good, source) if damaged else good)
    names = ("net", "broken", "leaves", "nothing", "torch", "a.b", *JUNK)
    kinds = (str(file), "mymodels", "os", "hf", "torchvision", "smp", "no.such.module", *JUNK)
    text = f"{source.choice(kinds)}:{source.choice(names)}"
    if damaged:
        text = f"{file}:{source.choice(('net', 'second', 'leaves'))}"
    if text.endswith(":leaves") and damaged:
        text = text.replace("leaves", "net")

    def read() -> Any:
        torch.manual_seed(0)
        return _computed(load_reference(text).net)

    where, _, name = text.partition(":")
    names = [where] if where.endswith(".py") else [repr(text)[:60], text, f"{where} has no "]
    valid = text.startswith(f"{file}:") and name in ("net", "second")
    return judged(
        read,
        "|".join(map(re.escape, names)),
        lambda found: _unlike(file, name, found) if valid else f"{text} is no model",
    )


def _unlike(file: Path, name: str, found: Any) -> str | None:
    """Return whether a model computes what the text of its file says, None if it does."""
    torch.manual_seed(0)
    inside: dict[str, Any] = {"__name__": "read_by_hand"}
    try:
        exec(compile(file.read_bytes(), file, "exec"), inside)
        model = inside[name]
    except (Exception, SystemExit) as error:
        return f"a model of a file that ends in {error!r}"
    with suppress(TypeError):  # it takes images, and makes no model
        model = model()
    same = _computed(model) == found
    return None if same else f"another model than {name} of {file.name}"


def _computed(model: Any) -> Any:
    """Return what a model makes of an image, or the error that its code ends in."""
    image = torch.linspace(0, 1, 48).reshape(1, 3, 4, 4)
    try:
        with torch.no_grad():
            return re.sub("0x[0-9a-f]+", "", repr(model(image)))
    except Exception as error:
        return repr(error)


def data_folder(made: Path, folder: Path, source: random.Random) -> Verdict:
    """Open folders of images and masks of which something is missing, odd or damaged."""
    images, masks = folder / "images", folder / "masks"
    for part in (images, masks):
        part.mkdir()
        for path in (made / part.name).iterdir():
            (part / path.name).write_bytes(path.read_bytes())
    for _ in range(source.choice((1, 1, 2))):
        _spoil(source.choice((images, masks)), source)

    def read() -> list[str]:
        opened = open_folder(images, masks, classes=3)
        for place in range(len(opened)):
            pictures, labels, _ = opened.batch([place])
            assert pictures.shape[2:] == labels.shape[1:], "images and masks of different sizes"
            assert int(labels.max()) < 3, "a label of no class"
        return list(opened.image_ids)

    return judged(read, "photo|images|masks", lambda ids: None if ids else "no images")


def _spoil(folder: Path, source: random.Random) -> None:
    """Do one thing to a folder that makes it wrong, or merely odd."""
    paths = sorted(folder.iterdir())
    path = source.choice(paths) if paths else folder / "photo0.png"
    path = path if path.is_file() and not path.is_symlink() else folder / "photo9.png"
    content = path.read_bytes() if path.exists() else b"x"
    other = folder / source.choice(("photo1.jpg", "photo7.png", "a\nb.png", "PHOTO0.PNG", ".x.png"))
    match source.randrange(9):
        case 0:
            path.unlink(missing_ok=True)
        case 1 | 2 | 3:
            path.write_bytes(mutated(content, source))
        case 4:
            other.write_bytes(content)
        case 5:
            path.unlink(missing_ok=True)
            path.mkdir()
        case 6:
            path.unlink(missing_ok=True)
            path.symlink_to(source.choice(("loop", path.name, "/dev/null", "/nowhere", ".")))
        case 7:
            path.unlink(missing_ok=True)
            os.mkfifo(path)
        case 8:
            for one in folder.iterdir():
                if one.is_file() or one.is_symlink():
                    one.unlink()


CLASSES = [
    CaseClass("arguments", "inputs", prepare, typed),
    CaseClass("references", "inputs", prepare, reference),
    CaseClass("data_folders", "inputs", prepare, data_folder),
]
