"""What lies in a folder, to be compared with what should."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

Tree = dict[str, str]
"""Hash by path; folders end in a slash and have none."""
COSTS = re.compile(rb'<tr><th scope="row">\w+</th>(<td>[\d.,]+</td>){4}</tr>')
"""What stages took, on a page: jobs, seconds, the longest, and memory."""


def tree_of(folder: Path, leave_out: Callable[[str], bool] = lambda _: False) -> Tree:
    """Return what lies in a folder, with times that a record says taken out."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix() + ("/" if path.is_dir() else "")
        if not leave_out(name):
            found[name] = "" if path.is_dir() else _hash(path)
    return found


def _hash(path: Path) -> str:
    content = path.read_bytes()
    if path.name.startswith("run-shard"):
        record = json.loads(content)
        content = json.dumps({**record, "runtime_s": 0}).encode()
    if path.suffix == ".html":
        content = COSTS.sub(b"", content)
    return hashlib.sha256(content).hexdigest()


def difference(wanted: Tree, found: Tree) -> str | None:
    """Return how a tree differs from the wanted one; None if it does not."""
    lost, litter = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    other = sorted(name for name in wanted.keys() & found.keys() if wanted[name] != found[name])
    said = [
        f"{what} {', '.join(names[:5])}"
        for what, names in (("lost", lost), ("litter", litter), ("other bytes in", other))
        if names
    ]
    return "; ".join(said) or None


def half_written(wanted: Tree, folder: Path) -> str | None:
    """Return which file has its final name and not its final bytes; None if none has."""
    for name, digest in wanted.items():
        path = folder / name
        if path.is_file() and not _is(path, digest):
            return f"{name} has its name, but not its bytes"
    return None


def _is(path: Path, digest: str) -> bool:
    try:
        return _hash(path) == digest
    except ValueError:  # a record that is cut short
        return False
