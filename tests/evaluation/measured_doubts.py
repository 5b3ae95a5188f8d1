"""What `robustseg.doubt` says of models where the truth is known: the tables of docs/doubt.md.

    python -m tests.evaluation.measured_doubts results/reference/doubt honest
    python -m tests.evaluation.measured_doubts results/reference/doubt defects

Networks are trained into a folder of their own (`--zoo`), once.
"""

import argparse
import csv
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import robustseg
from robustseg.evidence.findings import CHECKS, FAILED, Opinion, judged
from tests.evaluation.zoo import DEFECTS, HONEST, OTHER, honest, images

SPOILT = "demo_at_long"
"""The network that is given each defect."""


def findings_of(
    model: Any, eps_255: float, suite: str, iterations: int, count: int
) -> dict[str, Any]:
    """Return a line of the table: the verdict, what failed and the figure of each check."""
    started = time.monotonic()
    pixels, labels = images("val", count)
    found = robustseg.doubt(
        model, (pixels, labels), eps_255, suites=[suite], iterations=iterations, images=count,
        batch_size=count, progress=False,
    )  # fmt: skip
    (opinion,) = found.opinions
    figures = {one.check: one.figure for one in opinion.findings}
    return {
        "suite": suite,
        "eps_255": eps_255,
        "iterations": iterations,
        "images": opinion.images,
        "acc": round(opinion.acc, 2),
        "found": round(opinion.found, 2),
        "verdict": opinion.verdict,
        "failed": " ".join(one.check for one in opinion.failed),
        "notes": "; ".join(one.note for one in opinion.failed if one.note),
        "runtime_s": round(time.monotonic() - started, 1),
        **{check: figures.get(check) for check in CHECKS},
    }


def of_honest(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield a line for each honest network and suite."""
    for name in options.only or HONEST:
        recipe = HONEST[name]
        for suite in ("sea_plus", "sea"):
            net = honest(name, options.zoo)
            found = findings_of(net, recipe.eps_255, suite, options.iterations, options.images)
            yield {"model": name, "defect": "", **found}


def of_defects(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield a line for each defect, and for what is none."""
    changes = {name: (defect.apply, defect.needs) for name, defect in DEFECTS.items()}
    changes |= {f"none: {name}": (apply, torch.nn.Module) for name, apply in OTHER.items()}
    for name, (apply, needs) in changes.items():
        net = honest(SPOILT, options.zoo)
        wanted = SPOILT if any(isinstance(layer, needs) for layer in net.modules()) else "unet"
        spoilt = apply(honest(wanted, options.zoo))
        for suite in ("sea_plus", "sea"):
            found = findings_of(
                spoilt, HONEST[wanted].eps_255, suite, options.iterations, options.images
            )
            yield {"model": wanted, "defect": name, **found}


def as_markdown(folder: Path) -> str:
    """Return both files as the tables of docs/doubt.md, judged by the thresholds of today."""
    honest_rows, defect_rows = (
        [_judged(row) for row in _read(folder / f"{name}.csv")] for name in ("honest", "defects")
    )
    parts = [
        "| honest network | at | `sea_plus` leaves, and with the checks | verdict | SEA leaves, "
        "and with the checks | verdict |",
        "|---|---|---|---|---|---|",
    ]
    for plus, sea in zip(honest_rows[::2], honest_rows[1::2], strict=True):
        assert (plus["suite"], sea["suite"]) == ("sea_plus", "sea")
        where = f"| {plus['model']} | {plus['eps_255']}/255"
        parts.append(" | ".join([where, *_cells(plus), *_cells(sea)]) + " |")
    parts += [
        "",
        "| defect | `sea_plus` leaves, and with the checks | verdict | failed |",
        "|---|---|---|---|",
    ]
    for row in defect_rows:
        if row["suite"] == "sea_plus":
            failed = ", ".join(f"`{one}`" for one in row["failed"])
            parts.append(" | ".join([f"| {row['defect']}", *_cells(row), failed or "none"]) + " |")
    return "\n".join(parts)


def _read(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _judged(row: dict[str, Any]) -> dict[str, Any]:
    """Return a line with what fails by the thresholds of today, and the verdict."""
    figures = {check: row[check] for check in CHECKS if row.get(check)}
    findings = [judged(check, float(figure)) for check, figure in figures.items()]
    failed = [one.check for one in findings if one.status == FAILED]
    acc, found = float(row["acc"]), float(row["found"])
    opinion = Opinion(float(row["eps_255"]), int(row["images"]), acc, found, tuple(findings))
    return {**row, "failed": failed, "verdict": opinion.verdict}


def _cells(row: dict[str, Any]) -> list[str]:
    return [f"{float(row['acc']):.1f} → {float(row['found']):.1f}", row["verdict"]]


def main() -> None:
    """Write a file line by line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("which", choices=["honest", "defects", "docs"])
    parser.add_argument("--zoo", type=Path, default=Path("/tmp/robustseg_zoo"))
    parser.add_argument("--only", nargs="+", choices=HONEST, help="honest networks")
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--images", type=int, default=8)
    options = parser.parse_args()
    if options.which == "docs":
        print(as_markdown(options.folder))
        return
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    options.folder.mkdir(parents=True, exist_ok=True)
    options.zoo.mkdir(parents=True, exist_ok=True)
    with (options.folder / f"{options.which}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = None
        for line in (of_honest if options.which == "honest" else of_defects)(options):
            writer = writer or csv.DictWriter(file, list(line), lineterminator="\n")
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow(line)
            file.flush()
            print({key: value for key, value in line.items() if key not in CHECKS}, flush=True)


if __name__ == "__main__":
    main()
