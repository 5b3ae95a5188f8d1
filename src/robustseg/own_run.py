"""Tables and the page of a run of `evaluate`, from its folder alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from robustseg.evaluation.run_folder import (
    PICTURES,
    doubt_files,
    evidence_files,
    own_models,
    read_records,
    reads_of,
)
from robustseg.evidence.enumerator import Read, radius_of
from robustseg.evidence.findings import SUITE
from robustseg.page.page import make_page
from robustseg.tables.making import make_table
from robustseg.tables.registry import TABLES

SHOWN = {
    "robustness": None,
    "each_attack": None,
    "worst_miou": [],
    "by_class": ["sea"],
    "by_size": [],
    "eccv_2024": ["sea_eccv"],
    "black_box": ["blackbox", "sea"],
}
"""Tables that any model has, each with the suites that it reads; None: all that were run, and []:
all that have a radius."""

DOUBTS_SHOWN = "second_opinions"
"""The table of what `doubt` has found, for the radii where it was asked."""


def report(folder: str | Path) -> Path:
    """Make the tables and the page of a run, of all its shards, and return the page's path.

    Args:
        folder: of `evaluate`, or of `robustseg attack --out`.

    Raises:
        RobustsegError: no run, or parts of it or of its evidence are missing or damaged.
    """
    root = Path(folder)
    records = read_records(root)
    first, models = records[0], own_models(records)
    layouts, numbers = {}, {}
    at_radii = [name for name, suite in first["suites"].items() if radius_of(suite) is None]

    def add(name: str, files: Sequence[Path], reads: Sequence[Read]) -> None:
        kinds = ("parquet", "csv", "md", "tex", "html", "json")
        paths = {kind: root / "tables" / f"{name}.{kind}" for kind in kinds}
        make_table(TABLES[name], files, reads, models, paths)
        layouts[name], numbers[name] = paths["json"], paths["parquet"]

    for name, wanted in SHOWN.items():
        suites = at_radii if wanted == [] else wanted
        if suites is None or (suites and set(suites) <= set(first["suites"])):
            add(name, evidence_files(root, records, suites), reads_of(records, suites))
    doubts = doubt_files(root, records)
    if doubts:
        clean, read = evidence_files(root, records, []), reads_of(records, [])[0]
        doubted = {**read, "suites": [SUITE], "eps_255": list(doubts)}
        add(DOUBTS_SHOWN, [*clean, *doubts.values()], [doubted])
    else:  # one may be left from a run that was here before
        for path in (root / "tables").glob(f"{DOUBTS_SHOWN}.*"):
            path.unlink()
    config = {
        "run": first["name"],
        "models": models,
        "attacks": {"suites": first["suites"]},
        "settings": records,
    }
    page = root / "report" / "index.html"
    shown = root / PICTURES.format(name=first["name"])
    gallery = {first["name"]: shown} if shown.exists() else {}
    make_page(
        layouts,
        {},
        config,
        [*evidence_files(root, records), *doubts.values()],
        [],
        page,
        gallery=gallery,
        numbers=numbers.values(),
    )
    return page
