"""Runs Snakemake as a person would, on a configuration and in a folder of the test's own."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from robustseg.config import load_config
from robustseg.config.schema import Config

ROOT = Path(__file__).parents[2]
MATCHBOX = ROOT / "tests" / "workflow" / "matchbox.yaml"


def snakemake(
    *arguments: str | Path, folder: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run Snakemake on the workflow with `folder` as its working directory; output is in stdout.

    `variables` are set in its environment.
    """
    return subprocess.run(
        command(*arguments, folder=folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env=environment() | variables,
        timeout=800,
    )


def command(*arguments: str | Path, folder: Path) -> list[str]:
    here = ["--snakefile", ROOT / "Snakefile", "--directory", folder]
    return [str(part) for part in (sys.executable, "-m", "snakemake", *here, *arguments)]


PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
"""As a person has it who has activated the environment that the tests run in."""


def environment() -> dict[str, str]:
    """The library must be found by the Snakefile alone, installed or not."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return {**kept, "PATH": PATH}


def load(name: str) -> Config:
    """Return one of the project's configurations, checked."""
    path = ROOT / "config" / f"{name}.yaml"
    return load_config(yaml.safe_load(path.read_text()), [path])


def planned(output: str) -> dict[str, int]:
    """Return the number of jobs by rule that Snakemake plans, without the targets themselves."""
    table = re.search(r"^Job stats:\n.*?\n-.*?\n(.*?)^total", output, re.M | re.S)
    if table is None:
        assert "Nothing to be done" in output, output
        return {}
    jobs = dict(line.split() for line in table[1].splitlines())
    doing = (
        "download",
        "unpack",
        "prepare",
        "fetch",
        "convert",
        "check",
        "generate",
        "pretrain",
        "train",
        "evaluate",
        "attack",
        "doubt",
        "make",
    )
    return {rule: int(count) for rule, count in jobs.items() if rule.startswith(doing)}


def matchbox(folder: Path, name: str = "config.yaml", **changes: Any) -> Path:
    """Write the matchbox configuration, with values replaced by dotted key, and return its path."""
    config = yaml.safe_load(MATCHBOX.read_text())
    for key, value in changes.items():
        replace(config, key, value)
    path = folder / name
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def replace(config: dict[str, Any], key: str, value: Any) -> None:
    """Set the value at a dotted key; numbers in it are places in a list."""
    *parents, last = [int(part) if part.isdigit() else part for part in key.split(".")]
    node: Any = config
    for part in parents:
        node = node[part]
    node[last] = value
