"""What a page says of a table of the kept demo is what the table has."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import FENCE, PAGES
from tests.workflow.running import ROOT

TABLE = re.compile(r"\]\(\.\./(results/reference/demo/(?:tables|seeds)/\w+\.md)\)")
NUMBER = re.compile(r"(?<![\w./-])\d+\.\d+(?![\w.])")
NOT_MEASURED = re.compile(r"\(arXiv [^)]*\)|Sec\. [\d.]+")


def paragraphs(text: str) -> Iterator[tuple[str, set[str]]]:
    """Yield the paragraphs of a page that name tables of the demo, with the tables."""
    for paragraph in re.split(r"\n\s*\n", FENCE.sub("", text)):
        if tables := set(TABLE.findall(paragraph)):
            yield NOT_MEASURED.sub("", paragraph), tables


SAID = [
    pytest.param(words, tables, id=f"{Path(page).stem}-{number}")
    for page in PAGES
    for number, (words, tables) in enumerate(paragraphs((ROOT / page).read_text()))
    if page.startswith("docs/") and NUMBER.search(words)
]


@pytest.mark.parametrize(("words", "tables"), SAID)
def test_decimals_beside_a_link_to_a_table_are_in_it(words: str, tables: set[str]) -> None:
    there = {number for table in tables for number in NUMBER.findall((ROOT / table).read_text())}
    assert set(NUMBER.findall(words)) <= there
