"""One set of versions, wherever it is written down; one licence and one citation."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.version import Version

from robustseg import __version__
from tests.workflow.running import ROOT

ENVIRONMENTS = sorted(ROOT.glob("envs/*.yaml"))
WORKFLOWS = sorted(ROOT.glob(".github/workflows/*.yml"))
PACKAGES = packages_distributions()
"""By module."""
OTHERS = {"transformers", "segmentation-models-pytorch", "segmentation_models_pytorch"}
"""Libraries of models, which a person installs who names one of their models."""
UNREACHED = {
    "envs/report.yaml": {
        *("numba", "requests", "safetensors", "timm", "torch", "torchvision", "urllib3"),
        *OTHERS,
    },
    "envs/robustseg.yaml": OTHERS,
}
"""By environment, what is imported only in functions that its jobs do not call."""
PIN = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;]+)(?: ; (.*?))?(?: \\)?$", re.M)


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


def scripts_by_environment() -> list[tuple[str, str]]:
    """Return (environment, script) of each rule."""
    found = set()
    for path in ROOT.glob("rules/*.smk"):
        for rule in re.split(r"^rule ", path.read_text(), flags=re.M)[1:]:
            environment, script = re.findall(r'"\.\./((?:envs|scripts)/\S+)"', rule)
            found.add((environment, script))
    return sorted(found)


def imported(module: Path) -> set[str]:
    """Return the dotted names that a file imports, in functions too but not for types alone."""
    names, waiting = set(), list(ast.parse(module.read_text()).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            waiting += ast.iter_child_nodes(node)
    return names


def packages_of(script: Path) -> set[str]:
    """Return the packages of others that a script imports, itself or through the library."""
    waiting, seen, packages = [script], set(), set()
    while waiting:
        for name in imported(waiting.pop()):
            top, *inner = name.split(".")
            if top == "robustseg":
                places = [ROOT.joinpath("src", top, *inner[:n]) for n in range(len(inner) + 1)]
                files = {
                    file for one in places for file in (one / "__init__.py", Path(f"{one}.py"))
                }
                new = {file for file in files if file.exists()} - seen
                seen |= new
                waiting += new
            elif top not in sys.stdlib_module_names:
                packages |= {package.lower() for package in PACKAGES[top]}
    return packages


@pytest.mark.parametrize(("environment", "script"), scripts_by_environment())
def test_a_rule_s_environment_has_what_its_script_imports(environment: str, script: str) -> None:
    *_, from_pypi = yaml.safe_load((ROOT / environment).read_text())["dependencies"]
    listed = {pin.split("==")[0] for pin in from_pypi["pip"]}
    needed = packages_of(ROOT / script) - UNREACHED.get(environment, set())
    assert needed
    assert needed <= listed, f"{environment} lacks {', '.join(sorted(needed - listed))}"


def test_the_lock_has_all_that_is_wanted() -> None:
    assert set(wanted()) <= set(locked())


def test_the_library_asks_for_nothing_that_is_not_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [one for several in project["optional-dependencies"].values() for one in several]
    for wanted_one in [*project["dependencies"], *extras]:
        name, _, oldest = wanted_one.partition(">=")
        if not name.startswith("robustseg["):
            assert oldest, f"{name} has no oldest version"
            assert Version(oldest) <= Version(locked()[name])


def test_each_package_of_the_lock_has_hashes() -> None:
    text = (ROOT / "envs" / "requirements.lock").read_text()
    for name, *_ in PIN.findall(text):
        assert re.search(rf"^{re.escape(name)}==\S+.* \\\n    --hash=sha256:", text, re.M), name


@pytest.mark.parametrize(
    "path", ["Makefile", "envs/Dockerfile", "envs/robustseg.def", "CONTRIBUTING.md"]
)
def test_the_lock_is_installed_by_its_hashes(path: str) -> None:
    installs = r"--require-hashes (?:--requirement|-r) (?:envs|/opt/robustseg)/requirements\.lock"
    text = re.sub(r"\s*\\\n\s*", " ", (ROOT / path).read_text())
    assert re.search(installs, text)


def test_both_recipes_of_the_container_do_the_same() -> None:
    docker, apptainer = (
        (ROOT / "envs" / name).read_text() for name in ("Dockerfile", "robustseg.def")
    )
    joined = re.sub(r"\s*\\\n\s*", " ", docker)
    run = [one for line in re.findall(r"^RUN (.*)$", joined, re.M) for one in line.split(" && ")]
    post = re.sub(r"\s*\\\n\s*", " ", apptainer.split("%post\n")[1].split("\n\n%")[0])
    assert [line.strip() for line in post.splitlines()] == ["set -e", *run]
    (base,) = re.findall(r"^FROM docker.io/library/(.*)$", docker, re.M)
    assert f"\nFrom: {base}\n" in apptainer
    assert re.search(r"^USER 1000:1000$", docker, re.M)
    # Whom /etc/passwd does not know, and Snakemake asks for by name.
    assert re.search(r"^ENV .*\bUSER=\w+", docker, re.M)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit_and_keep_no_credentials(path: Path) -> None:
    text = path.read_text()
    assert yaml.safe_load(text)["permissions"] == {"contents": "read"}
    used = re.findall(r"uses: (\S+)", text)
    assert used
    assert [one for one in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", one)] == []
    kept = text.count("with: {persist-credentials: false}")
    assert kept == sum(one.startswith("actions/checkout@") for one in used)


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
