"""What a page is put together from: tables and figures of made-up evidence, and a configuration."""

from pathlib import Path
from typing import Any, NamedTuple

from robustseg.figures.making import make_figure
from robustseg.figures.registry import FIGURES
from robustseg.tables.making import make_table
from robustseg.tables.registry import TABLES
from tests.synthetic import MODELS, READS, SUITES, write_jobs

CONFIG: dict[str, Any] = {
    "run": "a run <of> tests",
    "models": MODELS,
    "attacks": {
        "suites": {
            name: {"optimizer": "apgd", "schedules": ["constant"]} | suite
            for name, suite in SUITES.items()
        }
    },
}


class Parts(NamedTuple):
    """Files by table or figure, and the evidence behind them."""

    tables: dict[str, Path]
    long: list[Path]
    figures: dict[str, tuple[Path, Path]]
    evidence: list[str]


def make_parts(folder: Path, *names: str) -> Parts:
    """Make tables (for the page, and their numbers) and figures from evidence of their own."""
    parts = Parts({}, [], {}, [])
    evidence: set[Path] = set()
    for name in names:
        paths = write_jobs(folder / "evidence", READS[name])
        evidence |= set(paths)
        if name.startswith("table"):
            parts.tables[name] = folder / f"{name}.json"
            parts.long.append(folder / f"{name}.parquet")
            outputs = {"json": parts.tables[name], "parquet": parts.long[-1]}
            make_table(TABLES[name], paths, READS[name], MODELS, outputs)
        else:
            parts.figures[name] = (folder / f"{name}.svg", folder / f"{name}.json")
            outputs = dict(zip(("svg", "json"), parts.figures[name], strict=True))
            make_figure(FIGURES[name], paths, READS[name], MODELS, outputs)
    return parts._replace(evidence=sorted(map(str, evidence)))
