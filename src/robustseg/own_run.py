"""Tables and the page of a run of `evaluate`, from its folder alone."""

from __future__ import annotations

from pathlib import Path

from robustseg.evaluation.evaluate import (
    PICTURES,
    evidence_files,
    own_models,
    read_records,
    reads_of,
)
from robustseg.evidence.enumerator import radius_of
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
    for name, wanted in SHOWN.items():
        suites = at_radii if wanted == [] else wanted
        if suites is not None and not (suites and set(suites) <= set(first["suites"])):
            continue
        kinds = ("parquet", "csv", "md", "tex", "html", "json")
        paths = {kind: root / "tables" / f"{name}.{kind}" for kind in kinds}
        reads, files = reads_of(records, suites), evidence_files(root, records, suites)
        make_table(TABLES[name], files, reads, models, paths)
        layouts[name], numbers[name] = paths["json"], paths["parquet"]
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
        evidence_files(root, records),
        [],
        page,
        gallery=gallery,
        numbers=numbers.values(),
    )
    return page
