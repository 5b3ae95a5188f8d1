"""What the README shows is what the workflow made."""

import pytest

from tests.workflow.running import ROOT

REFERENCE = ROOT / "results" / "reference" / "demo"
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("table", ["table1", "table4"])
def test_the_readme_shows_the_reference_tables(table: str) -> None:
    rows = [
        line
        for line in (REFERENCE / "tables" / f"{table}.md").read_text().splitlines()
        if line.startswith("|")
    ]
    assert len(rows) > 4
    assert "\n".join(rows) in README


def test_the_readmes_files_exist() -> None:
    links = [part.split(")")[0] for part in README.split("](")[1:]]
    missing = [link for link in links if "://" not in link and not (ROOT / link).exists()]
    assert not missing
