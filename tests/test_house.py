"""The house: which file knows which, that no arrow runs in a circle or back up, what loads fast."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[1] / "src" / "robustseg"
MATCHBOX = Path(__file__).parent / "workflow" / "matchbox.yaml"

FLOORS = [
    {"data", "models", "attacks"},
    {"evidence"},
    {"evaluation", "training", "tables", "figures"},
    {"claims"},
    {"page"},
    {"config"},
    {"plan"},
]
"""Folders from the bottom to the top; a file knows those of its own floor and of lower ones.

Files beside the folders (errors, files, names, metrics, ...) are known to all, and know no folder
but for what is listed in STAIRS.
"""

STAIRS = {
    # What a table or figure is, its numbers, and what is exported.
    "exhibits",
    "numbers_shown",
    "__init__",
    # What people call.
    "cli",
    "own_run",
    "__main__",
}


def modules() -> dict[str, Path]:
    """Return the library's files by dotted name, without `robustseg`."""
    paths = sorted(LIBRARY.rglob("*.py"))
    return {".".join(path.relative_to(LIBRARY).with_suffix("").parts): path for path in paths}


def imported(tree: ast.AST, known: dict[str, Path]) -> Iterator[str]:
    """Yield the library's files that a file imports, in functions and for types too."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("robustseg"):
            base = (node.module or "").removeprefix("robustseg").removeprefix(".")
            for alias in node.names:
                full = f"{base}.{alias.name}".removeprefix(".")
                if full in known:
                    yield full
                elif base in known:
                    yield base
        waiting += ast.iter_child_nodes(node)


@pytest.fixture(scope="module")
def knows() -> dict[str, set[str]]:
    known = modules()
    return {
        name: set(imported(ast.parse(path.read_text(encoding="utf-8")), known)) - {name}
        for name, path in known.items()
    }


def test_no_files_know_each_other_in_a_circle(knows: dict[str, set[str]]) -> None:
    state: dict[str, int] = {}
    path: list[str] = []

    def visit(name: str) -> None:
        state[name] = 1
        path.append(name)
        for other in sorted(knows[name]):
            assert state.get(other) != 1, " -> ".join([*path[path.index(other) :], other])
            if other not in state:
                visit(other)
        path.pop()
        state[name] = 2

    for name in knows:
        if name not in state:
            visit(name)


def test_no_arrow_runs_back_up(knows: dict[str, set[str]]) -> None:
    floor = {folder: number for number, folders in enumerate(FLOORS) for folder in folders}
    up = []
    for name, others in knows.items():
        own = floor.get(name.partition(".")[0], -1) if "." in name else -1
        for other in others:
            theirs = floor.get(other.partition(".")[0], -1) if "." in other else -1
            if theirs > own and name not in STAIRS:
                up.append(f"{name} -> {other}")
    assert not up, "arrows that run up:\n" + "\n".join(sorted(up))


def test_every_folder_has_its_floor() -> None:
    folders = {path.name for path in LIBRARY.iterdir() if path.is_dir()} - {"__pycache__"}
    assert folders == set.union(*FLOORS)


def test_attacks_know_no_disk(knows: dict[str, set[str]]) -> None:
    """Tensors in, tensors out: of data sets they know the interface alone."""
    for name, others in knows.items():
        if name.startswith("attacks."):
            assert "files" not in others, name
            data = {other for other in others if other.startswith("data.")}
            assert data <= {"data.interface"}, (name, data)
            text = modules()[name].read_text(encoding="utf-8")
            assert "import pathlib" not in text, name
            assert "from pathlib" not in text, name


def test_the_interface_of_data_sets_imports_nothing_of_its_own(knows: dict[str, set[str]]) -> None:
    assert knows["data.interface"] == set()


def test_no_folder_is_the_whole_house() -> None:
    lines = {
        name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in modules().items()
    }
    whole = sum(lines.values())
    for folder in set.union(*FLOORS):
        share = sum(n for name, n in lines.items() if name.startswith(f"{folder}.")) / whole
        assert share <= 0.15, f"{folder} has {share:.0%} of the library's lines"


DRAWS = {"matplotlib", "seaborn", "jinja2"}
WITHOUT = {
    "import robustseg.attacks.spec, robustseg.evidence.findings": {"torch"},
    "import robustseg.metrics, robustseg.evidence.reading": {"torch", "timm", "pandas"},
    "import robustseg.tables.registry, robustseg.tables.making": {
        *DRAWS, "torch", "pydantic", "snakemake", "pandas",
    },
    "import robustseg.page.page, robustseg.claims.report": {"torch", "timm", "snakemake"},
    "from robustseg.config import load_config, read_yaml; "
    f"load_config(read_yaml({str(MATCHBOX)!r}), [])": {
        *DRAWS, "torch", "timm", "pandas", "pyarrow",
    },
}  # fmt: skip
"""What is slow, and not loaded by some code: every job of the workflow reads the configuration."""


@pytest.mark.parametrize("code", WITHOUT)
def test_what_is_slow_is_loaded_where_it_is_used(code: str) -> None:
    program = f"{code}; import sys; print({WITHOUT[code]!r} & set(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "set()"
