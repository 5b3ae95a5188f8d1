"""Files are whole or absent, and what prevents one is a sentence."""

from pathlib import Path

import pytest

from robustseg.errors import RobustsegError
from robustseg.files import atomic_path


def test_a_file_takes_its_name_only_when_whole(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "result.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
    assert path.read_text() == "half"
    assert [p.name for p in path.parent.iterdir()] == ["result.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "result.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_path(path) as temporary:
        _ = temporary.write_text("new") / 0
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_a_file_ends_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("in the way")
    with (
        pytest.raises(RobustsegError, match=r"could not write .*results/table\.csv"),
        atomic_path(tmp_path / "results" / "table.csv"),
    ):
        pass
