"""All classes, how they share the time, and what is kept of a campaign: counts and faults."""

import json
import os
import platform
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robustseg.files import atomic_path
from tests.campaign import (
    archived,
    arguments,
    disks,
    evidence,
    image_files,
    images,
    kills,
    settings,
    small_files,
    weights,
    workflows,
)
from tests.campaign.cases import COLUMNS, FAULTS, CaseClass, Verdict
from tests.campaign.watch import Share, run_shares
from tests.workflow.running import ROOT

MODULES = (
    kills, workflows, disks, weights, evidence, images, image_files, archived, settings,
    small_files, arguments,
)  # fmt: skip
CLASSES: dict[str, CaseClass] = {one.name: one for module in MODULES for one in module.CLASSES}
"""By name, in the order of the table."""
LONGEST_SAID = 300
"""Characters that are kept of what is said of a fault: its end, where a traceback has its error."""
MOST_SAID = 5
"""Faults of a class, and of one column, of which more is kept than the number."""
MOST_NAMED = 50
"""Faults that are named as soon as they are found; the record and the end name all."""
FAMILIES = {"kills": "Kills", "disks": "Full disks", "inputs": "Bad inputs"}


@dataclass
class Found:
    """What a campaign has found: how cases ended by class, and its faults."""

    seed: int
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    faults: list[dict[str, Any]] = field(default_factory=list)

    def add(self, of: CaseClass, number: int, verdict: Verdict) -> None:
        """Count a case, and keep it if the project is at fault."""
        self.counts.setdefault(of.name, Counter())[verdict.column] += 1
        if verdict.is_fault:
            fault = {"class": of.name, "number": number, "column": verdict.column}
            if self.counts[of.name][verdict.column] <= MOST_SAID:
                fault["said"] = " ".join(verdict.said.split())[-LONGEST_SAID:]
            self.faults.append(fault)


def chosen(names: Sequence[str]) -> list[CaseClass]:
    """Return the classes of some names, or of whole families; all of no names.

    Raises:
        SystemExit: there is none of a name.
    """
    for name in names:
        if not any(_is_called(one, name) for one in CLASSES.values()):
            raise SystemExit(f"there is no class {name}; known are {', '.join(CLASSES)}")
    called = [one for one in CLASSES.values() if any(_is_called(one, name) for name in names)]
    return called or [*CLASSES.values()]


def _is_called(one: CaseClass, name: str) -> bool:
    return name in (one.name, one.family)


def run(
    classes: Sequence[CaseClass], seed: int, minutes: float, most: int = 10**9, lanes: int = 0
) -> Found:
    """Run classes for so many minutes altogether; those that find faults have their share twice.

    Args:
        classes: to be run.
        seed: from which, with class and number, each case follows.
        minutes: that the classes share by their weights, each with one case at least.
        most: cases of each class, at most; there may be fewer.
        lanes: how many run side by side; by default one on each processor.
    """
    lanes = lanes or os.cpu_count() or 1
    found, whole = Found(seed), sum(one.weight for one in classes)
    shares = [
        Share(
            one, 60 * minutes * lanes * one.weight / whole, most=min(most, len(one.cases) or most)
        )
        for one in classes
    ]
    _run(shares, found, lanes)
    finders = {fault["class"] for fault in found.faults}
    again = [
        Share(one.of, one.seconds, tried, one.most - tried)
        for one in shares
        if one.of.name in finders and (tried := found.counts[one.of.name].total()) < one.most
    ]
    _run(again, found, lanes)
    return found


def _run(shares: Sequence[Share], found: Found, lanes: int) -> None:
    # Those that take long begin first, so that all end at about the same time.
    longest_first = sorted(shares, key=lambda one: -one.seconds)
    for of, number, verdict in run_shares(longest_first, found.seed, lanes):
        found.add(of, number, verdict)
        if verdict.is_fault and len(found.faults) <= MOST_NAMED:
            print(f"{verdict.column}: {command(of.name, found.seed, number)}", file=sys.stderr)


def command(name: str, seed: int, number: int) -> str:
    """Return what repeats a case."""
    return f".venv/bin/python -m tests.campaign --only {name} --seed {seed} --number {number}"


def table(counts: dict[str, Any]) -> str:
    """Return the counts of each class, family by family, as Markdown."""
    lines = [f"| class | tried | {' | '.join(COLUMNS)} |", "|---|" + "---:|" * (len(COLUMNS) + 1)]
    for family, title in FAMILIES.items():
        of_family = [name for name in counts if _family(name) == family]
        if not of_family:
            continue
        lines += [_line(name, [counts[name]]) for name in of_family]
        lines.append(_line(f"**{title}**", [counts[name] for name in of_family]))
    return "\n".join(lines)


def _family(name: str) -> str:
    return CLASSES[name].family if name in CLASSES else "inputs"


def _line(name: str, counts: Iterable[dict[str, int]]) -> str:
    sums: Counter[str] = sum(map(Counter, counts), Counter())
    numbers = [sums.total(), *(sums[column] for column in COLUMNS)]
    return f"| {name} | {' | '.join(f'{number:,}' for number in numbers)} |"


def record_of(found: Found, minutes: float) -> dict[str, Any]:
    """Return what is kept of a campaign: its commit, counts by class, and all faults."""
    git = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "seed": found.seed,
        "minutes": round(minutes, 1),
        "machine": f"{os.cpu_count()} processors, Linux {platform.release().split('-')[0]}",
        "disks": "tmpfs" if disks.can_mount() else "a limit on the size of each file",
        "commit": git.stdout.strip() or "unknown",
        "counts": {name: dict(found.counts[name]) for name in CLASSES if name in found.counts},
        "faults": sorted(found.faults, key=lambda one: (one["class"], one["number"])),
    }


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write what is kept of a campaign."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", "utf-8")


def say(record: dict[str, Any]) -> str:
    """Return the table of a record, and each fault with what repeats it."""
    lines = [table(record["counts"])]
    for fault in record["faults"]:
        again = command(fault["class"], record["seed"], fault["number"])
        said = f"\n    {fault['said']}" if "said" in fault else ""
        lines.append(f"{fault['column']}: {again}{said}")
    return "\n".join(lines)


def campaign(names: Sequence[str], seed: int, minutes: float, record: Path) -> int:
    """Run a campaign, print and keep what it finds, and return the exit status."""
    began = time.monotonic()
    found = run(chosen(names), seed, minutes)
    kept = record_of(found, (time.monotonic() - began) / 60)
    write_record(record, kept)
    print(say(kept))
    return int(any(fault["column"] in FAULTS for fault in kept["faults"]))


def repeat(name: str, seed: int, number: int) -> int:
    """Try one case again, say how it ended, and return the exit status."""
    if name not in CLASSES:
        raise SystemExit(f"{name} is not one class; known are {', '.join(CLASSES)}")
    of = CLASSES[name]
    if of.cases and number not in range(len(of.cases)):
        raise SystemExit(f"{name} has cases 0 to {len(of.cases) - 1:,}, and no {number:,}")
    ((_, _, verdict),) = run_shares([Share(of, 1e9, number, 1)], seed, 1)
    print(f"{verdict.column}: {verdict.said}")
    return int(verdict.is_fault)
