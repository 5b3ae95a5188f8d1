"""Bad configurations and claims."""

import copy
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from robustseg.claims.language import read_claims
from robustseg.config import load_config, read_yaml
from robustseg.errors import RobustsegError
from tests.campaign.cases import CaseClass, Verdict, judged
from tests.mutations import mutated
from tests.workflow.running import MATCHBOX, ROOT

JUNK: tuple[Any, ...] = (
    None, True, -1, 0, 1e400, float("nan"), 10**30, "", "x", "a\nb", [], {}, [[]], [None], {"x": 1},
    [1, "a"], "٣", -0.0, "../x", 0.5, ["sea", "sea"], {1: 2}, "2024-02-31",
)  # fmt: skip
Place = tuple[Any, ...]
Files = list[tuple[bytes, Any]]


def places(content: Any, place: Place = ()) -> Iterator[Place]:
    """Yield the place of each value in nested dictionaries and lists."""
    pairs = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in pairs:
        yield (*place, key)
        if isinstance(value, dict | list):
            yield from places(value, (*place, key))


def change(content: Any, source: random.Random) -> tuple[Any, bool]:
    """Return a changed copy, and whether it must be refused whatever stood there."""
    content = copy.deepcopy(content)
    place = source.choice([*places(content)])
    around = content
    for key in place[:-1]:
        around = around[key]
    last = place[-1]
    match source.randrange(6):
        case 0:
            del around[last]
        case 1 if isinstance(around, dict) and len(place) != 2:
            around[f"{last}x"] = around.pop(last)
            return content, len(place) == 1
        case 2 if isinstance(around, dict):
            around[source.choice(("", "x", "no_such_key"))] = source.choice(JUNK)
        case 3:
            others = [*places(content)]
            value = content
            for key in source.choice(others):
                value = value[key]
            around[last] = copy.deepcopy(value)
        case _:
            around[last] = source.choice(JUNK)
    return content, False


def prepare(paths: tuple[Path, ...]) -> Callable[[Path], Files]:
    """Return what reads some files, their bytes and their content."""

    def read(folder: Path) -> Files:
        folder.mkdir()
        texts = [path.read_bytes() for path in paths]
        return [(text, yaml.load(text, yaml.CSafeLoader)) for text in texts]

    return read


def _attempt(read: Callable[[Path], Any]) -> Callable[[Files, Path, random.Random], Verdict]:
    """Return what tries a file whose text or content was changed."""

    def attempt(good: Files, folder: Path, source: random.Random) -> Verdict:
        path, refused = folder / "changed.yaml", False
        text, changed = source.choice(good)
        if source.random() < 0.3:
            path.write_bytes(mutated(text, source))
        else:
            for _ in range(source.choice((1, 1, 2))):
                changed, one = change(changed, source)
                refused = refused or one
            path.write_text(yaml.dump(changed, Dumper=yaml.CSafeDumper, sort_keys=False))

        def as_one() -> Any:
            try:
                return read(path)
            except RobustsegError as error:  # a sentence for each problem, a line each
                raise RobustsegError("; ".join(str(error).split("\n"))[:1000]) from error

        return judged(as_one, r"changed\.yaml", lambda _: "a misspelt key" if refused else None)

    return attempt


def _config(path: Path) -> Any:
    return load_config(read_yaml(path), [path])


CONFIGS = (MATCHBOX, *(ROOT / "config" / f"{name}.yaml" for name in ("demo", "config", "own")))
CLASSES = [
    CaseClass("configurations", "inputs", prepare(CONFIGS), _attempt(_config), weight=1.5),
    CaseClass("claims", "inputs", prepare((ROOT / "config/claims.yaml",)), _attempt(read_claims)),
]
