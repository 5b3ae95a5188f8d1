"""Every command in a block or a table is run, or planned or read as its program reads it, or says
why not.
"""

import re
import shlex
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from snakemake.cli import get_argument_parser
from snakemake.utils import update_config

from robustseg.cli import parser
from robustseg.config import load_config
from robustseg.exhibits import Shown
from robustseg.figures.registry import FIGURES, PICTURES
from robustseg.tables.registry import TABLES
from robustseg.yaml_files import read_yaml
from tests.docs.pages import PAGES, commands
from tests.workflow.running import ROOT, snakemake
from tests.workflow.test_dag import STAGES


class How(StrEnum):
    """What becomes of a command here. The last seven say why it is not run as it stands."""

    TUTORIAL = "run by test_tutorial.py"
    PLANNED = "planned: its dry run"
    RUN = "run"
    MINUTES = "takes minutes or hours"
    CLUSTER = "needs a cluster"
    GPU = "needs a GPU, or several"
    DOWNLOADS = "needs what is downloaded"
    OWN = "needs a model, photographs or a run of the reader's"
    INSTALLS = "changes the environment"
    CONTAINER = "needs a container's engine"


DECISIONS = {
    r"(python|robustseg) .*(first|rounding|pictures).*|robustseg --version": How.TUTORIAL,
    r"head -n 8 results/demo/\S+": How.MINUTES,  # needs the demo
    r"export OMP_NUM_THREADS=1": How.INSTALLS,
    r"source .venv/bin/activate|make .venv/.complete|pip install .*": How.INSTALLS,
    r"uv venv && .*": How.INSTALLS,
    r"make container|docker run .*": How.CONTAINER,
    r"make street.*": How.DOWNLOADS,
    r"make (test|format|docs|site|bench|bench-demo)": How.MINUTES,
    r"make campaign|.venv/bin/python -m tests.campaign .*": How.MINUTES,
    r"make (demo|demo-seeds|ablation|bigger-demo|strength)": How.MINUTES,
    r"robustseg .*(mymodels\.py:net|runs/net).*--device cuda.*": How.GPU,
    r"robustseg .*(mymodels\.py:net|runs/net).*": How.OWN,
    r"robustseg .*espnet.*": How.DOWNLOADS,
    r"(\S*/)?snakemake --profile profiles/demo (?!.*--(configfile|report|unlock)).*": How.PLANNED,
    r"(\S*/)?snakemake (-n table3|claims)": How.PLANNED,
    r"snakemake --profile slurm --until .*": How.PLANNED,
    r"(\S*/)?snakemake --profile profiles/demo (--report report.zip all|--unlock)": How.OWN,
    r"(\S*/)?snakemake .*(demo_tuning|config/demo.yaml longer).yaml.*": How.MINUTES,
    r"(\S*/)?snakemake (?!.*profiles/gpu).*config/(street|camvid).*": How.DOWNLOADS,
    r"(\S*/)?snakemake --cores 2 --configfile (config/)?own.yaml -- all": How.OWN,
    r"snakemake --cores 4 data": How.DOWNLOADS,
    r"(\S*/)?snakemake --profile (slurm|profiles/lsf) .*": How.CLUSTER,
    r"snakemake --profile profiles/(gpu|multi_gpu) .*": How.GPU,
    r"cat > street_180.yaml .*|sed .* > demo_tuning.yaml|printf .* > longer.yaml": How.RUN,
    r"mkdir -p results/demo_300 && cp .*": How.OWN,
    r"(python -m|torchrun .*) robustseg.training job.json": How.OWN,
    r"python scripts/bench/simulate_cluster.py .*": How.MINUTES,
    r"ROBUSTSEG_CAMVID=\S+ .venv/bin/pytest tests/examples": How.DOWNLOADS,
}
"""By what the whole command looks like; the first that fits counts."""
SIZES = {"resize_px": 180, "crop_px": 180, "base_px": 180}
FULL = {"iterations": [300]}
WRITTEN: dict[str, tuple[list[str], dict[str, Any]]] = {
    "street_180.yaml": (
        ["street.yaml", "street_pictures.yaml"],
        {"run": "street_180", "data": {"camvid": SIZES, "camvid_16": SIZES}},
    ),
    "demo_tuning.yaml": (
        ["demo.yaml"],
        {"run": "demo_tuning", "data": {"scenes": {"seed": 100}, "shapes": {"seed": 100}}},
    ),
    "longer.yaml": (
        ["demo.yaml"],
        {"run": "demo_300", "attacks": {"suites": {"sea": FULL, "schedules": FULL}}},
    ),
}
"""What commands write: the configurations below it, and what is meant to be other than there."""

FOUND = sorted({command for page in PAGES for command in commands(page)})
EXHIBITS: list[Shown] = [*TABLES.values(), *FIGURES.values(), *PICTURES.values()]
TARGETS = {"all", "seeds", *STAGES, *(one.id for one in EXHIBITS)}
RULES = set(
    re.findall(r"^rule (\w+):", "".join(p.read_text() for p in ROOT.glob("rules/*.smk")), re.M)
)


def decision(command: str) -> How | None:
    return next(
        (how for looks, how in DECISIONS.items() if re.fullmatch(looks, command, re.S)), None
    )


def chosen(program: str, *hows: How) -> list[str]:
    return [
        one
        for one in FOUND
        if re.match(rf"(\S*/)?{program}\b", one) and (not hows or decision(one) in hows)
    ]


def test_every_command_has_a_decision() -> None:
    assert [command for command in FOUND if decision(command) is None] == []


def test_every_decision_is_about_a_command() -> None:
    used = {
        next(looks for looks in DECISIONS if re.fullmatch(looks, command, re.S))
        for command in FOUND
        if decision(command)
    }
    assert set(DECISIONS) - used == set()


@pytest.mark.parametrize("command", chosen("robustseg"))
def test_the_command_line_reads_its_commands(command: str) -> None:
    if command != "robustseg --version":  # which ends there
        parser().parse_args(shlex.split(command)[1:])


@pytest.mark.parametrize("command", chosen("make"))
def test_make_knows_its_targets(command: str) -> None:
    run = subprocess.run(
        [*shlex.split(command), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("command", chosen("snakemake"))
def test_snakemake_reads_its_commands(command: str) -> None:
    """Without planning them: that each configuration can be planned is seen in tests/workflow."""
    options = get_argument_parser().parse_args(shlex.split(command)[1:])
    for profile in options.profile or []:
        assert (ROOT / profile / "config.yaml").exists()
    made = " ".join(FOUND)
    for path in options.configfile or []:
        assert (ROOT / path).exists() or f"> {path}" in made or path == Path("own.yaml"), path
    assert set(options.targets) <= TARGETS
    assert options.targets or options.unlock
    named = {*(options.until or ()), *(options.allowed_rules or ()), *(options.forcerun or ())}
    assert named <= RULES | TARGETS


def by_options() -> dict[tuple[str, ...], list[str]]:
    """Return the targets of commands to plan by what stands before them."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for command in chosen("snakemake", How.PLANNED):
        _, *words = shlex.split(command)
        targets = get_argument_parser().parse_args(words).targets
        before = tuple(
            word for word in words[: len(words) - len(targets)] if word not in ("-n", "--")
        )
        groups.setdefault(before, []).extend(targets)
    return groups


@pytest.mark.parametrize(("options", "targets"), by_options().items())
def test_snakemake_plans(options: tuple[str, ...], targets: list[str], tmp_path: Path) -> None:
    placed = [str(ROOT / one) if (ROOT / one / "config.yaml").exists() else one for one in options]
    run = snakemake("--dry-run", "--quiet", *placed, "--", *targets, folder=tmp_path)
    if "--allowed-rules" in options:  # which names the evidence that is not there
        assert "Missing input files" in run.stdout
    else:
        assert run.returncode == 0, run.stdout


@pytest.mark.parametrize("command", [one for one in FOUND if decision(one) == How.RUN])
def test_scripts_write_what_they_are_for(command: str, tmp_path: Path) -> None:
    (tmp_path / "config").symlink_to(ROOT / "config")
    subprocess.run(["bash", "-ec", command], cwd=tmp_path, check=True)
    (written,) = tmp_path.glob("*.yaml")
    names, changes = WRITTEN[written.name]
    below = [ROOT / "config" / name for name in names]
    found = merged(*map(read_yaml, [*below, written]))
    assert found == merged(*map(read_yaml, below), changes)
    load_config(found, [*below, written])


def merged(*layers: dict[str, Any]) -> dict[str, Any]:
    """Return what Snakemake makes of several configuration files."""
    found: dict[str, Any] = {}
    for layer in layers:
        update_config(found, layer)
    return found


@pytest.mark.parametrize("command", chosen("python", How.MINUTES))
def test_scripts_know_their_options(command: str) -> None:
    _, *words = shlex.split(command)
    options = [word for word in words if word.startswith("--")]
    script = words[: words.index(options[0])] if options else words
    run = subprocess.run(
        [sys.executable, *script, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert [one for one in options if one not in run.stdout] == []
