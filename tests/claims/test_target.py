"""Claims that cannot be checked stop the workflow while it is parsed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


def plan(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "snakemake", "-n", "claims", "--cores", "1"]
    command += ["--directory", str(folder), "--snakefile", str(folder / "Snakefile")]
    command += ["--configfile", str(folder / "config" / "demo.yaml")]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a copy of the workflow, whose claims a test may change."""
    shutil.copy(REPOSITORY / "Snakefile", tmp_path)
    for name in ("config", "rules", "scripts", "src", "envs"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=ignored)
    return tmp_path


def test_a_claim_about_an_unknown_table_stops_the_plan_with_one_sentence(copy: Path) -> None:
    claims = copy / "config" / "claims.yaml"
    wrong = claims.read_text().replace("{table: table1, metric: [", "{table: table99, metric: [", 1)
    claims.write_text(wrong)
    result = plan(copy)
    assert result.returncode == 1
    said = [line for line in (result.stdout + result.stderr).splitlines() if "table99" in line]
    assert len(said) == 1
    sentence = (
        "claim sea_beats_previous_attacks: predicate.at.table is 'table99'; use one of table1,"
    )
    assert sentence in said[0]
    assert "Traceback" not in result.stderr


def test_the_target_makes_the_claims(copy: Path) -> None:
    result = plan(copy)
    assert result.returncode == 0, result.stderr
    assert "make_claims" in result.stdout + result.stderr
