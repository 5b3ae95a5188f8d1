"""What a page is put together from: tables and figures of made-up evidence, and a configuration."""

from pathlib import Path
from typing import Any, NamedTuple

import yaml

from robustseg.figures.making import make_figure
from robustseg.figures.registry import FIGURES
from robustseg.tables.making import make_table
from robustseg.tables.registry import TABLES
from tests.synthetic import MODELS, READS, SUITES, write_jobs

CONFIG_FOLDER = Path(__file__).parents[2] / "config"
PAPER = CONFIG_FOLDER / "paper"
ROLES = {
    "clean": "fake_clean",
    "half_at": "fake_half_3",
    "at_2": "fake_at_2",
    "pir_at_2": "fake_pir_2",
    "at_5_long": "fake_at_5_long",
    "pir_at_5": "fake_pir_5",
}
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
    """Make tables and figures, for the page and their numbers, from evidence of their own."""
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
            parts.long.append(folder / f"{name}.parquet")
            outputs = dict(zip(("svg", "json"), parts.figures[name], strict=True))
            outputs["parquet"] = parts.long[-1]
            make_figure(FIGURES[name], paths, READS[name], MODELS, outputs)
    return parts._replace(evidence=sorted(map(str, evidence)))


def claims_of_tests(out: Path) -> Path:
    """Write config/claims.yaml with the made-up models as one more place."""
    claims = yaml.safe_load((CONFIG_FOLDER / "claims.yaml").read_text(encoding="utf-8"))
    claims["places"].append({"title": "made up", "dataset": "fake_scenes", "roles": ROLES})
    out.write_text(yaml.safe_dump(claims, sort_keys=False), encoding="utf-8")
    return out
