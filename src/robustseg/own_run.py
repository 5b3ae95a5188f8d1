"""Tables and the page of a run of `evaluate`, from its folder alone."""

from __future__ import annotations

from pathlib import Path

from robustseg.evaluation.evaluate import evidence_files, own_models, read_records, reads_of
from robustseg.page.page import make_page
from robustseg.tables.making import make_table
from robustseg.tables.registry import TABLES

SHOWN = ("robustness", "each_attack", "by_class")
"""Tables that any model has; `by_class` where SEA was run."""


def report(folder: str | Path) -> Path:
    """Make the tables and the page of a run, of all its shards, and return the page's path.

    Args:
        folder: of `evaluate`, or of `robustseg attack --out`.

    Raises:
        RobustsegError: no run, or parts of it or of its evidence are missing or damaged.
    """
    root = Path(folder)
    records = read_records(root)
    first, reads = records[0], reads_of(records)
    files, models = evidence_files(root, records), own_models(records)
    shown = [name for name in SHOWN if name != "by_class" or "sea" in first["suites"]]
    layouts = {}
    for name in shown:
        kinds = ("parquet", "csv", "md", "tex", "html", "json")
        paths = {kind: root / "tables" / f"{name}.{kind}" for kind in kinds}
        table = TABLES[name]
        # Classes are those of SEA: other suites may have other losses, and no worst case of four.
        own = [{**read, "suites": ["sea"]} for read in reads if "sea" in read["suites"]]
        read = own if name == "by_class" else reads
        wanted = {path for path in files if name != "by_class" or _is_of(path, ("sea", "clean"))}
        make_table(table, sorted(wanted), read, models, paths)
        layouts[name] = paths["json"]
    config = {
        "run": first["name"],
        "models": models,
        "attacks": {"suites": first["suites"]},
        "settings": records,
    }
    page = root / "report" / "index.html"
    make_page(layouts, {}, config, files, [], page)
    return page


def _is_of(path: Path, suites: tuple[str, ...]) -> bool:
    return path.parents[3].name in suites
