"""One set of versions, wherever it is written down; one licence and one citation."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from robustseg import __version__
from tests.workflow.running import ROOT

ENVIRONMENTS = sorted(ROOT.glob("envs/*.yaml"))
PIN = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;]+)(?: ; (.*))?$", re.M)


def locked() -> dict[str, str]:
    """Return the locked versions for Python 3.11 by package."""
    pins = PIN.findall((ROOT / "envs" / "requirements.lock").read_text())
    return {name: version for name, version, marker in pins if ">= '3.12'" not in marker}


def wanted() -> list[str]:
    lines = (ROOT / "envs" / "requirements.in").read_text().splitlines()
    return [line.split("==")[0].lower() for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.name)
def test_conda_environments_agree_with_the_lock(path: Path) -> None:
    *_, from_pypi = yaml.safe_load(path.read_text())["dependencies"]
    pins = dict(pin.split("==") for pin in from_pypi["pip"])
    assert pins
    assert pins == {name: locked()[name] for name in pins}


def test_conda_environments_are_those_that_rules_name() -> None:
    rules = "".join(path.read_text() for path in ROOT.glob("rules/*.smk"))
    assert set(re.findall(r'"\.\./(envs/.*\.yaml)"', rules)) == {
        str(path.relative_to(ROOT)) for path in ENVIRONMENTS
    }


def test_the_lock_has_all_that_is_wanted() -> None:
    assert set(wanted()) <= set(locked())


def test_the_library_asks_for_nothing_that_is_not_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [name for names in project["optional-dependencies"].values() for name in names]
    assert set(project["dependencies"] + extras) <= set(locked())


def test_torch_is_no_local_build() -> None:
    # torch 2.13.0 resolves to a CPU build on some hosts, beside which torchvision does not import.
    assert locked()["torch"] != "2.13.0"


def test_citation_and_licence() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    paper = citation["references"][0]
    assert citation["version"] == __version__
    assert citation["license"] == "MIT"
    assert paper["identifiers"] == [{"type": "other", "value": "arXiv:2306.12941"}]
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")


def test_continuous_integration_runs_the_readmes_test_command() -> None:
    assert "make test" in (ROOT / ".ci" / "run").read_text()
