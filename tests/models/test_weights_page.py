"""docs/weights.md names every file and every set of weights, and nothing else."""

import re

from robustseg.models.published import CLASSIFIERS, FILES, MODELS
from tests.workflow.running import ROOT

PAGE = (ROOT / "docs" / "weights.md").read_text()


def test_the_page_is_complete() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| ([^|]+) \|$", PAGE, re.M))
    assert set(rows) == {*CLASSIFIERS, *MODELS}
    for name, weights in (CLASSIFIERS | MODELS).items():
        known = FILES[weights.file].sha256 is not None
        assert rows[name] == ("known" if known else "at first use")
        assert f"`{weights.file}`" in PAGE


def test_shares_are_those_of_the_addresses() -> None:
    shares = set(re.findall(r"share `(\w+)`", PAGE))
    addresses = " ".join(url for file in FILES.values() for url in file.urls)
    assert shares == set(re.findall(r"/(?:s|files)/(\w+)/", addresses))
