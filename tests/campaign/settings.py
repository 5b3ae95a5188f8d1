"""Bad configurations and claims."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from robustseg.claims.language import read_claims
from robustseg.config import load_config, read_yaml
from robustseg.errors import RobustsegError
from tests.campaign.cases import CaseClass, Verdict, judged
from tests.mutations import mutated
from tests.workflow.hostile import changed
from tests.workflow.running import MATCHBOX, ROOT

Files = list[tuple[bytes, Any]]


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
        path, misspelt = folder / "changed.yaml", False
        text, content = source.choice(good)
        if source.random() < 0.3:
            path.write_bytes(mutated(text, source))
        else:
            wrong = content
            for _ in range(source.choice((1, 1, 2))):
                wrong = changed(wrong, source)
            misspelt = not wrong.keys() <= content.keys()
            path.write_text(yaml.dump(wrong, Dumper=yaml.CSafeDumper, sort_keys=False))

        def as_one() -> Any:
            try:
                return read(path)
            except RobustsegError as error:  # a sentence for each problem, a line each
                raise RobustsegError("; ".join(str(error).split("\n"))[:1000]) from error

        return judged(as_one, r"changed\.yaml", lambda _: "a misspelt key" if misspelt else None)

    return attempt


def _config(path: Path) -> Any:
    return load_config(read_yaml(path), [path])


CONFIGS = (MATCHBOX, *(ROOT / "config" / f"{name}.yaml" for name in ("demo", "config", "own")))
CLASSES = [
    CaseClass("configurations", "inputs", prepare(CONFIGS), _attempt(_config), weight=1.5),
    CaseClass("claims", "inputs", prepare((ROOT / "config/claims.yaml",)), _attempt(read_claims)),
]
