"""Bad checkpoints and weights: own, published, TorchScript, pickles by hand, kept trainings."""

import io
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import torch

from robustseg.models.checkpoints import load_network
from robustseg.models.inert_pickle import read_inertly
from robustseg.models.unpickling import read_checkpoint
from tests.campaign.cases import WRONG, CaseClass, Verdict, judged
from tests.models.hostile import (
    ABSURD,
    BAD_STATES,
    FILES,
    VALID,
    WRITERS,
    network,
    own,
    payloads,
    pickled,
    published,
    resumed,
    storage,
    tensor,
    trained_trainer,
)
from tests.mutations import mutated


@dataclass
class Kind:
    """One kind of file: its name and bytes, what reads it and what was in it."""

    name: str
    content: bytes
    read: Callable[[Path], dict[str, torch.Tensor]]
    valid: dict[str, torch.Tensor]
    summed: bool


def prepare_files(folder: Path) -> list[Kind]:
    """Write one file of each kind."""
    made = list[Kind]()
    for number, (name, save, read, summed) in enumerate(FILES.values()):
        path = folder / str(number) / name
        path.parent.mkdir(parents=True)
        save(path)
        made.append(Kind(name, path.read_bytes(), read, read(path), summed))
    return made


def _unlike(valid: dict[str, torch.Tensor], summed: bool, found: Any) -> str | None:
    """Return how tensors differ from those that were written, None if they do not."""
    if found.keys() != valid.keys():
        return "other keys"
    for key, kept in valid.items():
        if (found[key].shape, found[key].dtype) != (kept.shape, kept.dtype):
            return f"{key} of another shape or type"
        if not found[key].isfinite().all():
            return f"{key} is not finite"
        if summed and not torch.equal(found[key], kept):
            return f"{key} has other numbers"
    return None


def damage(made: list[Kind], folder: Path, source: random.Random) -> Verdict:
    """Read a file with a few faults: whatever has a checksum must be as it was."""
    kind = source.choice(made)
    path = folder / kind.name
    path.write_bytes(mutated(kind.content, source))
    return judged(
        lambda: kind.read(path), kind.name, lambda found: _unlike(kind.valid, kind.summed, found)
    )


def swap(made: list[Kind], folder: Path, source: random.Random) -> Verdict:
    """Read a file of one kind as another: what is read must be what was in the file."""
    content, kind = source.sample(made, 2)
    path = folder / kind.name
    path.write_bytes(content.content)

    def right(found: Any) -> str | None:
        for one in (content, kind):  # a backbone is a part of its network
            part = {key: found[key] for key in one.valid if key in found}
            if not _unlike(one.valid, one.summed, part):
                return None
        return "of neither kind"

    return judged(lambda: kind.read(path), kind.name, right)


def prepare_script(folder: Path) -> bytes:
    """Return the bytes of a network that TorchScript has saved."""
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(network()), file)
    return file.getvalue()


def script(content: bytes, folder: Path, source: random.Random) -> Verdict:
    """Read a TorchScript file, whole or damaged, where a state dict is wanted."""
    path = folder / "w.pt"
    path.write_bytes(content if source.random() < 0.1 else mutated(content, source))
    read = source.choice((own, published, lambda path: load_network(path)[0].state_dict()))
    return judged(lambda: read(path), r"w\.pt", lambda found: "a program was taken for weights")


def by_hand(_: None, folder: Path, source: random.Random) -> Verdict:
    """Read a pickle that does something, is absurd, or has faults under a right checksum."""
    canary, path = folder / "canary", folder / "w.pth"
    what = source.randrange(3)
    payload = source.choice([*payloads(canary).values()])
    content = (
        pickled(payload),
        pickled(source.choice([*ABSURD.values()])),
        mutated(pickled(tensor(values=source.choice((storage(), payload)))), source),
    )[what]
    source.choice([*WRITERS.values()])(path, content)
    others = source.random() < 0.5
    verdict = judged(
        lambda: read_checkpoint(path, other_objects=others),
        r"w\.pth",
        lambda found: _invented(found, what == 2),
    )
    return Verdict(WRONG, "code of a file was run") if canary.exists() else verdict


def _invented(found: Any, may_be_right: bool) -> str | None:
    """Return why what was read cannot be right: numbers from elsewhere, or anything at all."""
    if not may_be_right:
        return f"accepted {sorted(found)}"
    numbers = {value for one in found.values() for value in one.flatten().tolist()}
    wrong = numbers - set(VALID["a"].flatten().tolist())
    return f"numbers that are in no file: {sorted(wrong)[:3]}" if wrong else None


STATES = [(one,) for one in BAD_STATES] + [*permutations(BAD_STATES, 2)]
"""One wrong thing or two, in either order."""


def prepare_training(folder: Path) -> Path:
    """Return the folder of a training at its end."""
    folder.mkdir()
    trained_trainer(folder)
    return folder / "checkpoint.pt"


def training(good: Path, folder: Path, changes: tuple[str, ...]) -> Verdict:
    """Resume a training from a state that it could not have saved."""
    content = read_inertly(good)
    for name in changes:
        # The first change may have taken away what the second one changes.
        with suppress(KeyError, TypeError, IndexError, AttributeError):
            BAD_STATES[name](content["state"])
    path = folder / "checkpoint.pt"
    torch.save(content, path)
    return judged(lambda: resumed(path), r"checkpoint\.pt", lambda _: "resumed")


def _nothing(folder: Path) -> None:
    folder.mkdir()


CLASSES = [
    CaseClass("weights_damaged", "inputs", prepare_files, damage),
    CaseClass("weights_swapped", "inputs", prepare_files, swap, weight=0.5),
    CaseClass("torchscript", "inputs", prepare_script, script, weight=0.5),
    CaseClass("pickles", "inputs", _nothing, by_hand),
    CaseClass("checkpoints", "inputs", prepare_training, training, cases=STATES),
]
