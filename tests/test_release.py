"""What is published: distributions that work away from the checkout, and one version everywhere."""

import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import robustseg
from robustseg import __version__
from tests.workflow.running import ROOT

SOURCES = {str(path.relative_to(ROOT / "src")) for path in ROOT.glob("src/robustseg/**/*.*")}


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the sdist and the wheel, by ending."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-d", folder]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    return {path.suffix: path for path in folder.iterdir()}


def test_distributions_have_the_library_and_nothing_else(distributions: dict[str, Path]) -> None:
    code = {name for name in SOURCES if "__pycache__" not in name}
    with zipfile.ZipFile(distributions[".whl"]) as wheel:
        found = set(wheel.namelist())
    about = f"robustseg-{__version__}.dist-info/"
    assert {name for name in found if not name.startswith(about)} == code
    with tarfile.open(distributions[".gz"]) as sdist:
        files = {name.partition("/")[2] for name in sdist.getnames()}
    beside = {"README.md", "LICENSE", "CHANGELOG.md", "pyproject.toml", ".gitignore", "PKG-INFO"}
    assert files == {f"src/{name}" for name in code} | beside


def unpacked(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_sdist_builds_the_same_wheel(distributions: dict[str, Path], tmp_path: Path) -> None:
    with tarfile.open(distributions[".gz"]) as sdist:
        sdist.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
    subprocess.run(build, cwd=folder, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert unpacked(wheel) == unpacked(distributions[".whl"])


@pytest.mark.timeout(900)
def test_the_wheel_works_away_from_the_checkout(
    distributions: dict[str, Path], tmp_path: Path
) -> None:
    """Its dependencies are those of the tests' environment, by a path that comes after its own."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "fresh"], check=True)
    bin_ = tmp_path / "fresh" / "bin"
    (packages,) = tmp_path.glob("fresh/lib/python*/site-packages")
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"))
    install = [
        bin_ / "python",
        "-m",
        "pip",
        "install",
        "--ignore-installed",
        "--no-deps",
        "--no-index",
    ]
    subprocess.run([*install, distributions[".whl"]], check=True, capture_output=True)
    where = [bin_ / "python", "-I", "-c", "import robustseg; print(robustseg.__file__)"]
    found = subprocess.run(where, check=True, capture_output=True, text=True).stdout
    assert str(packages) in found
    tried = subprocess.run([ROOT / ".ci" / "try_package", bin_], capture_output=True, text=True)
    assert tried.returncode == 0, tried.stderr
    for said in ("usage: robustseg", "worst case ACC", "clean"):
        assert said in tried.stdout


def test_the_changelog_begins_with_this_version() -> None:
    first, *_ = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert first.removesuffix(" (unreleased)") == __version__


def test_public_names_are_listed_before_they_are_loaded() -> None:
    assert set(robustseg.__all__) <= set(dir(robustseg))


def test_an_index_of_packages_is_told_what_it_is() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    trove = set(project["classifiers"])
    assert {"Typing :: Typed", "Intended Audience :: Science/Research"} <= trove
    tried = set(re.findall(r"\"(3\.\d+)\"", (ROOT / ".github/workflows/ci.yml").read_text()))
    versions = "Programming Language :: Python :: "
    assert {one.removeprefix(versions) for one in trove if one.startswith(versions + "3.")} == tried
