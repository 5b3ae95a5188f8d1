"""What a reader may type: the commands and Python examples in all pages of the project."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from tests.workflow.running import ROOT

PAGES = sorted(
    page.relative_to(ROOT).as_posix()
    for pattern in (
        "*.md",
        "docs/*.md",
        "config/**/*.md",
        "examples/*/*.md",
        "results/reference/**/*.md",
    )
    for page in ROOT.glob(pattern)
)
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.M | re.S)
INDENTED = re.compile(r"(?:^|\n\n)((?: {4,}\S.*\n(?:\n(?= {4}))?)+)")
CELL = re.compile(r"\| `([^`|]+)` (?=\|)")
PROGRAMS = ("make", "snakemake", ".venv/bin/snakemake", "robustseg", "python", "pip")
"""What a table's cell begins with if it is a command."""


class Block(NamedTuple):
    """A block of code.

    Attributes:
        page: its path.
        language: said at its fence; "indented" without one.
        text: without the page's own indentation.
    """

    page: str
    language: str
    text: str


def blocks(page: str) -> list[Block]:
    """Return the blocks of a page in their order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = [(fence.start(), fence[2], dedented(fence[3])) for fence in FENCE.finditer(text)]
    # Blanks in place of fenced blocks, so that places stay as they are.
    rest = FENCE.sub(lambda fence: re.sub(r"[^\n]", " ", fence[0]), text)
    found += [(one.start(), "indented", dedented(one[1])) for one in INDENTED.finditer(rest)]
    return [Block(page, language, code) for _, language, code in sorted(found)]


def dedented(code: str) -> str:
    margin = min(len(line) - len(line.lstrip()) for line in code.splitlines() if line.strip())
    return "".join(f"{line[margin:]}\n" for line in code.splitlines())


def commands(page: str) -> Iterator[str]:
    """Yield the commands of a page: in shell blocks, in indented ones, and in cells of tables."""
    for block in blocks(page):
        if block.language in ("bash", "indented"):
            yield from lines_of(block.text)
    for cell in CELL.findall((ROOT / page).read_text(encoding="utf-8")):
        if cell.split()[0] in PROGRAMS and " " in cell:
            yield cell


def lines_of(script: str) -> Iterator[str]:
    """Yield the commands of a shell script without comments, a here-document as one of them."""
    script = re.sub(r" *\\\n *", " ", script)
    for line in re.findall(r"^.*<<(?:\w+)\n(?:.*\n)*?^\w+$|^.+$", script, re.M):
        command = re.sub(r"(^|\s+)# .*", "", line).strip()
        if command:
            yield command


def python(page: str) -> list[Block]:
    """Return the Python examples of a page in their order."""
    return [block for block in blocks(page) if block.language == "python"]
