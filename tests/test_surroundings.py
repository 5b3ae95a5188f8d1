"""A user without a name or a home is said before Snakemake starts."""

import getpass
from pathlib import Path

import pytest

from robustseg.errors import RobustsegError
from robustseg.surroundings import check_surroundings


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
