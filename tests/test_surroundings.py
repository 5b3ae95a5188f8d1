"""A user without a name or a home, and full disks, are said before Snakemake starts."""

import getpass
import resource
from pathlib import Path

import pytest

from robustseg.errors import RobustsegError
from robustseg.surroundings import PLAN_BYTES, check_surroundings


def test_ours_will_do(tmp_path: Path) -> None:
    check_surroundings(tmp_path / "cache")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [KeyError, OSError])
def test_a_user_whom_the_machine_does_not_know_is_told_what_to_set(
    kind: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody() -> str:
        raise kind("getpwuid(): uid not found")

    monkeypatch.setattr(getpass, "getuser", nobody)
    with pytest.raises(RobustsegError, match="set USER"):
        check_surroundings(tmp_path)


def test_a_home_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.touch()
    with pytest.raises(RobustsegError, match=f"XDG_CACHE_HOME can change: .* {home} is no folder"):
        check_surroundings(home / ".cache" / "snakemake")


def test_a_full_disk_of_temporary_files_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TMP", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (PLAN_BYTES // 2, before[1]))
    try:
        with pytest.raises(RobustsegError, match=f"{tmp_path}: .*free some space there"):
            check_surroundings(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))  # Snakemake does without
    check_surroundings(tmp_path)
