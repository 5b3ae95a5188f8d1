"""The commit of this code: in anybody's checkout, and as it was when the process began."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from robustseg import commit


@pytest.fixture(autouse=True)
def _not_known() -> Iterator[None]:
    """Let each test find it anew, and those of other files the true one."""
    commit.git_commit.cache_clear()
    yield
    commit.git_commit.cache_clear()


def test_a_checkout_of_another_user_has_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    own = commit.git_commit()
    assert own != commit.UNKNOWN
    commit.git_commit.cache_clear()
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    assert commit.git_commit() == own


def test_outside_its_repository_it_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "commit.py").touch()
    monkeypatch.setattr(commit, "__file__", str(tmp_path / "commit.py"))
    assert commit.git_commit() == commit.UNKNOWN
    commit.git_commit.cache_clear()
    _commit(tmp_path, "of another project")
    assert commit.git_commit() == commit.UNKNOWN


def test_a_process_has_the_commit_that_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "commit.py").touch()
    monkeypatch.setattr(commit, "__file__", str(tmp_path / "commit.py"))
    _commit(tmp_path, "first", "commit.py")
    first = commit.git_commit()
    _commit(tmp_path, "second")
    assert commit.git_commit() == first
    commit.git_commit.cache_clear()
    assert commit.git_commit() not in (first, commit.UNKNOWN)


def test_what_other_code_has_left_is_said_where_both_are_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(commit, "git_commit", lambda: "abc")
    assert commit.other_code("def") == "which commit def left, and this code is abc"
    assert not any(map(commit.other_code, ("abc", commit.UNKNOWN, None, 3)))
    monkeypatch.setattr(commit, "git_commit", lambda: commit.UNKNOWN)
    assert not commit.other_code("def")


def _commit(folder: Path, message: str, *files: str) -> None:
    """Make a commit of these files in a folder, which becomes a repository."""
    git = ["git", "-C", str(folder), "-c", "user.name=n", "-c", "user.email=e"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", *files], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", message], check=True)
