"""What a table looks like, and its Markdown, LaTeX (booktabs) and HTML.

Text is Unicode throughout; each renderer escapes it for its own language.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from typing import Any

from robustseg.evidence.wording import MISSING, signed


@dataclass(frozen=True)
class Cell:
    """One printed value; `note` is shown when a reader of the page points at it.

    `reported` is what the paper prints there, where data set and model are the paper's.
    """

    text: str
    bold: bool = False
    note: str = ""
    reported: float | None = None

    @property
    def number(self) -> float:
        """The number of "27.4" or of "27.4 ± 0.1"."""
        return float(self.text.split()[0])


@dataclass(frozen=True)
class Row:
    """A line: what it is about (`stub`), then its values.

    `beside` marks a line that belongs to the one above it: the paper's numbers, the difference.
    """

    stub: tuple[str, ...]
    cells: tuple[Cell, ...]
    beside: bool = False


@dataclass(frozen=True)
class Group:
    """Lines under one title; `heads` are column heads of this group alone, above the table's."""

    title: str
    rows: tuple[Row, ...]
    heads: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """A table as it is printed.

    Attributes:
        stub: heads of the columns that say what a line is about.
        columns: for each column of values its heads from top to bottom, all of the same depth;
            equal neighbours are printed once, across their columns.
        groups: the lines.
        notes: sentences below.
        label: "Table 2" where the paper has one; LaTeX numbers its tables itself.
    """

    title: str
    caption: str
    stub: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]
    groups: tuple[Group, ...]
    notes: tuple[str, ...] = field(default=())
    label: str = ""

    @property
    def heading(self) -> str:
        """Title, with the number of the paper's table that it is laid out like."""
        return ": ".join(filter(None, (self.label, self.title)))

    @property
    def depth(self) -> int:
        """Number of head lines."""
        return len(self.columns[0])

    @property
    def has_reported(self) -> bool:
        """Whether numbers of the paper stand beside measured ones."""
        return any(row.beside for group in self.groups for row in group.rows)


def to_json(layout: Layout) -> str:
    """Return the layout as JSON, for the page."""
    return json.dumps(asdict(layout), ensure_ascii=False, indent=1) + "\n"


def from_json(text: str) -> Layout:
    """Return the layout that `to_json` wrote."""
    content: dict[str, Any] = json.loads(text)
    groups = tuple(
        Group(
            group["title"],
            tuple(
                Row(tuple(row["stub"]), tuple(Cell(**cell) for cell in row["cells"]), row["beside"])
                for row in group["rows"]
            ),
            tuple(group["heads"]),
        )
        for group in content["groups"]
    )
    columns = tuple(map(tuple, content["columns"]))
    stub, notes = tuple(content["stub"]), tuple(content["notes"])
    return Layout(
        content["title"], content["caption"], stub, columns, groups, notes, content["label"]
    )


REPORTED_NOTE = (
    "“paper”: printed in arXiv 2306.12941, not measured here; “difference”: measured minus paper."
)


def with_reported(layout: Layout) -> Layout:
    """Return the table with the paper's numbers and the difference below each measured line.

    Lines without a number of the paper stay alone; a table without any is returned as it is.
    """
    groups = tuple(
        replace(group, rows=tuple(line for row in group.rows for line in _lines_beside(row)))
        for group in layout.groups
    )
    if groups == layout.groups:
        return layout
    return replace(layout, groups=groups, notes=(*layout.notes, REPORTED_NOTE))


def _lines_beside(row: Row) -> tuple[Row, ...]:
    if all(cell.reported is None for cell in row.cells):
        return (row,)
    paper = (MISSING if c.reported is None else f"{c.reported:.1f}" for c in row.cells)
    gaps = (MISSING if c.reported is None else signed(c.number - c.reported) for c in row.cells)
    rest = ("",) * (len(row.stub) - 1)
    return (
        row,
        Row(("paper", *rest), tuple(map(Cell, paper)), beside=True),
        Row(("difference", *rest), tuple(map(Cell, gaps)), beside=True),
    )


def spans(texts: Sequence[str]) -> list[tuple[str, int]]:
    """Return runs of equal neighbours with their lengths."""
    return [(text, len(list(run))) for text, run in groupby(texts)]


def head_spans(layout: Layout, level: int) -> list[tuple[str, int]]:
    """Return one head line; heads merge only below a common head."""
    paths = [column[: level + 1] for column in layout.columns]
    return [(path[-1], len(list(run))) for path, run in groupby(paths)]


def to_markdown(layout: Layout) -> str:
    """Return the table in Markdown: heads joined to one line, group titles as lines."""
    heads = [*layout.stub, *(" ".join(filter(None, column)) for column in layout.columns)]
    lines = [_markdown_row(map(_markdown_text, heads))]
    lines.append(_markdown_row(["---"] * len(layout.stub) + ["---:"] * len(layout.columns)))
    for group in layout.groups:
        lines.extend(_markdown_group(layout, group))
    notes = "".join(f"\n- {_markdown_text(note)}" for note in layout.notes)
    caption = f"**{_markdown_text(layout.heading)}.** {_markdown_text(layout.caption)}"
    return "\n".join([caption, "", *lines]) + (f"\n{notes}" if notes else "") + "\n"


def _markdown_group(layout: Layout, group: Group) -> list[str]:
    lines = []
    if group.title or group.heads:
        title = f"**{_markdown_text(group.title)}**" if group.title else ""
        heads = group.heads or ("",) * len(layout.columns)
        padding = [""] * (len(layout.stub) - 1)
        lines.append(_markdown_row([title, *padding, *map(_markdown_text, heads)]))
    for row in group.rows:
        cells = [_markdown_text(cell.text) for cell in row.cells]
        marked = [f"**{t}**" if c.bold else t for t, c in zip(cells, row.cells, strict=True)]
        lines.append(_markdown_row([*map(_markdown_text, row.stub), *marked]))
    return lines


def _markdown_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown_text(text: str) -> str:
    return re.sub(r"([\\|*_`<>\[\]])", r"\\\1", text)


def to_html(layout: Layout, name: str) -> str:
    """Return the table as an HTML fragment: a figure with a caption, heads with their scope."""
    heads = "\n".join(_html_head(layout, level) for level in range(layout.depth))
    bodies = "\n".join(_html_group(layout, group) for group in layout.groups)
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in layout.notes)
    return (
        f'<figure class="table" id="{html.escape(name)}">\n'
        f"<figcaption><strong>{html.escape(layout.heading)}.</strong> "
        f"{html.escape(layout.caption)}</figcaption>\n"
        '<div class="scroll" tabindex="0" role="region" '
        f'aria-label="{html.escape(layout.heading)}">\n'
        f"<table>\n<thead>\n{heads}\n</thead>\n{bodies}\n</table>\n</div>\n"
        + (f'<ul class="notes">{notes}</ul>\n' if notes else "")
        + "</figure>\n"
    )


def _html_head(layout: Layout, level: int) -> str:
    cells = []
    if level == 0:
        cells = [
            f'<th scope="col" rowspan="{layout.depth}">{html.escape(text)}</th>'
            for text in layout.stub
        ]
    for text, span in head_spans(layout, level):
        scope = f' scope="colgroup" colspan="{span}"' if span > 1 else ' scope="col"'
        cells.append(
            f"<th{scope}>{html.escape(text)}</th>" if text else f'<td colspan="{span}"></td>'
        )
    return f"<tr>{''.join(cells)}</tr>"


def _html_group(layout: Layout, group: Group) -> str:
    lines = ["<tbody>"]
    stub, width = len(layout.stub), len(layout.stub) + len(layout.columns)
    title = f"<span>{html.escape(group.title)}</span>"
    if group.heads:
        heads = "".join(
            f'<th scope="colgroup" colspan="{span}">{html.escape(text)}</th>'
            for text, span in spans(group.heads)
        )
        lines.append(f'<tr class="group"><th colspan="{stub}">{title}</th>{heads}</tr>')
    elif group.title:
        lines.append(f'<tr class="group"><th scope="rowgroup" colspan="{width}">{title}</th></tr>')
    lines += [_html_row(row) for row in group.rows]
    return "\n".join([*lines, "</tbody>"])


def _html_row(row: Row) -> str:
    stub = "".join(f'<th scope="row">{html.escape(text)}</th>' for text in row.stub)
    kind = ' class="beside"' if row.beside else ""
    return f"<tr{kind}>{stub}{''.join(map(_html_cell, row.cells))}</tr>"


def _html_cell(cell: Cell) -> str:
    note = f' title="{html.escape(cell.note)}"' if cell.note else ""
    text = html.escape(cell.text)
    return f"<td{note}>{f'<strong>{text}</strong>' if cell.bold else text}</td>"
