"""Every Python example in a page runs as it stands, and prints what the page shows."""

import re
from contextlib import redirect_stdout
from io import StringIO

import pytest

from tests.docs.pages import PAGES, Block, blocks, python
from tests.docs.test_commands import How
from tests.workflow.running import ROOT

NOT_RUN = {
    ("docs/own_model.md", "import robustseg"): How.OWN,
    ("docs/data.md", "from robustseg.data.folder import open_folder"): How.OWN,
    ("examples/espnet_camvid/README.md", "import torch"): How.DOWNLOADS,
    ("docs/evidence.md", "from pathlib import Path"): How.TUTORIAL,
    ("docs/evidence.md", "import numpy as np"): How.TUTORIAL,
    ("docs/doubt.md", "from robustseg.evidence.reading import read_opinions"): How.TUTORIAL,
}
"""Examples that are not run here, by page and first line, and why."""
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def name_of(block: Block) -> tuple[str, str]:
    return block.page, block.text.splitlines()[0]


EXAMPLES = {
    page: [one for one in python(page) if name_of(one) not in NOT_RUN]
    for page in PAGES
    if python(page)
}


@pytest.mark.parametrize("page", [page for page, examples in EXAMPLES.items() if examples])
def test_examples_run_as_they_stand(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found: dict[str, object] = {}
    for example in EXAMPLES[page]:
        out = StringIO()
        with redirect_stdout(out):
            exec(example.text, found)
        said = iter(out.getvalue().splitlines())
        for line in shown_after(example):
            assert line == "..." or any(agree(line, one) for one in said), (line, out.getvalue())


def shown_after(example: Block) -> list[str]:
    """Return the lines that the page shows as an example's output; tables of Markdown too."""
    text = (ROOT / example.page).read_text(encoding="utf-8")
    after = text.partition(f"```python\n{example.text}```\n\n")[2]
    if after.startswith("```text\n"):
        return after.removeprefix("```text\n").partition("```")[0].splitlines()
    return re.findall(r"\A(?:\|.*\n)*", after)[0].splitlines()


def agree(shown: str, said: str) -> bool:
    """Whether two lines say the same; on other processors a number's last decimals may differ."""
    if NUMBER.sub("#", shown).split() != NUMBER.sub("#", said).split():
        return False
    pairs = zip(NUMBER.findall(shown), NUMBER.findall(said), strict=True)
    return all(abs(float(one) - float(other)) <= tolerance(one) for one, other in pairs)


def tolerance(shown: str) -> float:
    """Return 5 in the last decimal that is shown, or half a unit where there are none."""
    decimals = len(shown.partition(".")[2])
    return 5 * 10**-decimals if decimals else 0.5


@pytest.mark.parametrize(
    ("shown", "said", "same"),
    [
        ("greedy 0.45", "greedy 0.48", True),
        ("greedy 0.45", "greedy 0.51", False),
        ("| 1.0 | 32.4 |", "| 1.0 | 32.8 |", True),
        ("| 1.0 | 32.4 |", "| 1.0 | 33.0 |", False),
        ("16 images", "17 images", False),
        ("4/255: 2.5", "4/255: none", False),
    ],
)
def test_numbers_agree_but_for_their_last_decimal(shown: str, said: str, same: bool) -> None:
    assert agree(shown, said) == same


def test_every_example_that_is_not_run_is_there() -> None:
    assert {name_of(one) for page in PAGES for one in python(page)} >= set(NOT_RUN)


def test_outputs_are_found() -> None:
    assert sum(bool(shown_after(one)) for page in PAGES for one in python(page)) >= 14


@pytest.mark.parametrize(
    ("page", "sources"),
    [("overestimation", ("demo/tables/table1.md", "demo/tables/table7.md"))],
)
def test_figures_of_explanations_are_those_that_were_measured(
    page: str, sources: tuple[str, ...]
) -> None:
    kept = "".join((ROOT / "results" / "reference" / source).read_text() for source in sources)
    rows = re.findall(r"^\| \d+/255 .*$", (ROOT / "docs" / f"{page}.md").read_text(), re.M)
    assert len(rows) == 6
    assert [row for row in rows if row not in kept] == []


def test_the_memory_of_the_papers_networks_is_what_was_measured() -> None:
    kept = (ROOT / "results" / "reference" / "paper_sizes" / "cpu.md").read_text()
    rows = re.findall(r"^\| \S+px \| .*$", (ROOT / "docs" / "plan.md").read_text(), re.M)
    assert len(rows) == 12
    assert [row for row in rows if row not in kept] == []


def test_what_planning_takes_is_what_was_measured() -> None:
    shown, kept = (
        [block.text for block in blocks(page) if block.language == "text"]
        for page in ("docs/clusters.md", "results/reference/planning.md")
    )
    assert len(kept) == 1
    assert shown == kept


def test_no_page_has_examples_that_look_otherwise() -> None:
    """Shell and Python are written one way, so that none is overlooked."""
    known = {
        "bash",
        "python",
        "text",
        "yaml",
        "json",
        "bibtex",
        "snakemake",
        "indented",
        "",
        "{eval",
    }
    languages = {block.language for page in PAGES for block in blocks(page)}
    assert languages <= known
