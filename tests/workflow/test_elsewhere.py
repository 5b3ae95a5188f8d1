"""The workflow used from elsewhere: as a module, from another folder, beside another checkout."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.workflow.running import MATCHBOX, ROOT, command, environment, planned, snakemake

OUTER = """
import yaml

module robust:
    snakefile: "{snakefile}"
    config: yaml.safe_load(open("{config}"))

use rule * from robust as robust_*

rule mine:
    default_target: True
    input:
        rules.robust_table9.input,
        rules.robust_figure8.input,
        rules.robust_seeds.input,
    output:
        touch("mine.done"),
"""


def test_another_workflow_plans_it_as_a_module(tmp_path: Path) -> None:
    text = OUTER.format(snakefile=ROOT / "Snakefile", config=MATCHBOX)
    (tmp_path / "Snakefile").write_text(text)
    arguments = ["--snakefile", tmp_path / "Snakefile", "--directory", tmp_path, "--cores", "1"]
    run = subprocess.run(
        [sys.executable, "-m", "snakemake", *map(str, arguments), "--dry-run"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
        timeout=100,
    )
    assert run.returncode == 0, run.stdout
    jobs = planned(run.stdout.replace("robust_", ""))
    assert jobs["make_table"] == jobs["make_picture"] == jobs["make_page_over_seeds"] == 1
    assert jobs["train_model"] == 4  # two models, each with two training seeds
    assert not (tmp_path / "results").exists()


def test_a_job_of_a_module_on_a_cluster_must_get_its_gpu(tmp_path: Path) -> None:
    text = OUTER.format(snakefile=ROOT / "Snakefile", config=MATCHBOX)
    (tmp_path / "Snakefile").write_text(text)
    here = ["--snakefile", tmp_path / "Snakefile", "--directory", tmp_path, "--cores", "1"]
    sent = ["--mode", "remote", "--", "results/matchbox/plan/throughput.json"]
    run = subprocess.run(
        [sys.executable, "-m", "snakemake", *map(str, [*here, *sent])],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**environment(), "CUDA_VISIBLE_DEVICES": ""},
        timeout=100,
    )
    assert "this job asked for 1 GPU and torch sees none on" in run.stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a second checkout whose library says that it is another."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("config", "rules", "scripts", "src", "envs", "profiles"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", folder)
    source = folder / "src" / "robustseg" / "data" / "generate.py"
    said = 'print("the second checkout generates")\n'
    source.write_text(source.read_text(encoding="utf-8") + said, encoding="utf-8")
    return folder


def generate(checkout: Path, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Generate a data set with a checkout, in an environment that another one is installed in."""
    config = yaml.safe_load(MATCHBOX.read_text())
    (folder / "own.yaml").write_text(yaml.safe_dump(config))
    arguments = [
        *("--snakefile", checkout / "Snakefile", "--directory", folder),
        *("--configfile", folder / "own.yaml", "--cores", "1"),
        "results/matchbox/data/shapes/train.npz",
    ]
    return subprocess.run(
        [sys.executable, "-m", "snakemake", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment() | variables,
        timeout=200,
    )


def test_the_code_that_runs_is_the_checkouts(checkout: Path, tmp_path: Path) -> None:
    """Also where this one comes first on the path that Python searches."""
    run = generate(checkout, tmp_path, PYTHONPATH=str(ROOT / "src"))
    assert run.returncode == 0, run.stdout
    assert "the second checkout generates" in run.stdout


def test_a_job_that_finds_another_library_says_which_and_stops(
    checkout: Path, tmp_path: Path
) -> None:
    snakefile = checkout / "Snakefile"
    text = snakefile.read_text()
    # As where the path does not travel to the job: the first library found is another's.
    assert "dict.fromkeys([SOURCE," in text
    other = f'dict.fromkeys(["{ROOT / "src"}", SOURCE,'
    snakefile.write_text(text.replace("dict.fromkeys([SOURCE,", other))
    run = generate(checkout, tmp_path)
    assert run.returncode == 1
    found = f"the workflow is that of {checkout}/src, but this job found the library in {ROOT}/src"
    assert found in run.stdout
    assert "Traceback" not in run.stdout
    assert not (tmp_path / "results/matchbox/data/shapes/train.npz").exists()


@pytest.mark.parametrize("name", ["demo", "default"])
def test_profiles_are_found_by_their_whole_path_from_any_folder(name: str, tmp_path: Path) -> None:
    profile = ROOT / "profiles" / name
    run = snakemake("--dry-run", "--profile", profile, "--", "table5", folder=tmp_path)
    assert run.returncode == 0, run.stdout
    assert planned(run.stdout) == {"make_table": 1}


def test_the_workflow_passes_snakemakes_own_lint() -> None:
    run = subprocess.run(
        [*command("--lint", "--configfile", MATCHBOX, folder=ROOT)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=environment(),
        timeout=100,
    )
    assert "your workflow is in a good condition" in run.stdout, run.stdout


@pytest.mark.parametrize(
    "script", sorted((ROOT / "scripts").glob("*.py")), ids=lambda path: path.stem
)
def test_scripts_do_not_ask_for_the_name_of_their_rule(script: Path) -> None:
    """It is another where a workflow uses this one as a module, under names of its own."""
    assert "snakemake.rule" not in script.read_text()
