"""A table in LaTeX, as the paper sets its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from robustseg.tables.layout import Group, Layout, Row, head_spans, spans

PROSE = 1.1
"""Characters of prose that fit where one digit does."""
LONG_NOTE = 110
"""Characters of a note that takes more than a line, and is then set as a paragraph."""

LINES = 34
"""Lines of a table that fit on a page below a long caption."""


def to_latex(layout: Layout, label: str) -> str:
    """Return the table as a LaTeX float with booktabs rules, or several if it exceeds a page.

    Needs the packages booktabs, amsmath and graphicx; compiles with any engine since all text is
    ASCII but the names of one's own classes. A table wider than the text is scaled down to it.
    """
    first, *others = _pages(layout)
    caption = f"\\caption{{\\textbf{{{_tex(layout.title)}.}} {_tex(layout.caption)}}}"
    floats = [_float(first, [caption, f"\\label{{tab:{label}}}"])]
    again = f"\\caption{{\\textbf{{{_tex(layout.title)},}} continued.}}"
    floats += [_float(page, ["\\addtocounter{table}{-1}", again]) for page in others]
    return "\n".join(["% needs \\usepackage{booktabs,amsmath,graphicx}", *floats]) + "\n"


def _pages(layout: Layout) -> list[Layout]:
    """Return the parts of a table that fit on a page each; notes stand below the last one."""
    pages: list[list[Group]] = [[]]
    used, room = 0, PROSE * _room(_widths(layout))
    for group in layout.groups:
        title = len(_parts(group.title, room)) if group.title or group.heads else 0
        for rows in _chunks(group.rows, LINES - title):
            if used and used + title + len(rows) > LINES:
                pages.append([])
                used = 0
            pages[-1].append(replace(group, rows=rows))
            used += title + len(rows)
    *earlier, last = (replace(layout, groups=tuple(groups)) for groups in pages)
    return [*(replace(page, notes=()) for page in earlier), last]


def _chunks(rows: Sequence[Row], most: int) -> list[tuple[Row, ...]]:
    """Return lines in parts of about that many; those beside another stay below it."""
    chunks: list[list[Row]] = [[]]
    for row in rows:
        if len(chunks[-1]) >= most and not row.beside:
            chunks.append([])
        chunks[-1].append(row)
    return list(map(tuple, chunks))


def _float(layout: Layout, caption: Sequence[str]) -> str:
    widths = _widths(layout)
    lines = [
        "\\begin{table}[t]",
        "\\centering\\setlength{\\belowcaptionskip}{4pt}",
        *caption,
        "\\small\\setlength{\\tabcolsep}{4pt}%",
        "\\sbox0{%",
        f"\\begin{{tabular}}{{{'l' * len(layout.stub)}{'r' * len(layout.columns)}}}",
        "\\toprule",
        *_heads(layout, widths),
    ]
    for group in layout.groups:
        lines.append("\\midrule")
        lines.extend(_group(layout, group, widths))
    lines += [
        "\\bottomrule",
        "\\end{tabular}}",
        "\\ifdim\\wd0>\\linewidth\\resizebox{\\linewidth}{!}{\\usebox0}\\else\\usebox0\\fi",
    ]
    lines += [f"\\par\\smallskip {_note(note)}" for note in layout.notes]
    return "\n".join([*lines, "\\end{table}"])


def _note(note: str) -> str:
    text = f"{{\\footnotesize {_tex(note)}}}"
    return f"\\parbox{{\\linewidth}}{text}" if len(note) > LONG_NOTE else text


def _widths(layout: Layout) -> list[int]:
    """Return how many characters each column takes, without heads over several columns."""
    rows = [
        (*row.stub, *(c.text for c in row.cells)) for group in layout.groups for row in group.rows
    ]
    rows.append((*layout.stub, *(column[-1] for column in layout.columns)))
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def _room(widths: Sequence[int]) -> int:
    """Return how many characters fit over columns, of which two stand between any two."""
    return sum(widths) + 2 * (len(widths) - 1)


def _heads(layout: Layout, widths: Sequence[int]) -> list[str]:
    lines = []
    first = len(layout.stub)
    for level in range(layout.depth):
        last = level == layout.depth - 1
        cells = [_tex(text) if last else "" for text in layout.stub]
        merged, at = head_spans(layout, level), first
        for text, span in merged:
            cells.append(_span(_on_lines(text, _room(widths[at : at + span])), span))
            at += span
        lines.append(_row(cells))
        if not last:
            lines.append(_rules(merged, first + 1))
    return lines


def _on_lines(text: str, room: int) -> str:
    """Return a head, on two lines where it is wider than its columns and has a space to break at.

    A wider one would stretch the last of its columns.
    """
    breaks = [place for place, sign in enumerate(text) if sign == " "]
    if len(text) <= room or not breaks:
        return _tex(text)
    # Before a parenthesis if there is one, otherwise near the middle.
    middle = min(breaks, key=lambda place: (text[place + 1] != "(", abs(place - len(text) / 2)))
    return f"\\shortstack{{{_tex(text[:middle])}\\\\{_tex(text[middle + 1 :])}}}"


def _rules(merged: Sequence[tuple[str, int]], start: int) -> str:
    rules = []
    for text, span in merged:
        if text:
            rules.append(f"\\cmidrule(lr){{{start}-{start + span - 1}}}")
        start += span
    return "".join(rules)


def _group(layout: Layout, group: Group, widths: Sequence[int]) -> list[str]:
    lines = []
    if group.heads:
        cells = [f"\\textit{{{_tex(group.title)}}}", *[""] * (len(layout.stub) - 1)]
        cells += [_span(_tex(text), span) for text, span in spans(group.heads)]
        lines.append(_row(cells))
    elif group.title:
        for part in _parts(group.title, PROSE * _room(widths)):
            # Without a width of its own it stretches no column.
            title = f"\\rlap{{\\textit{{{_tex(part)}}}}}"
            lines.append(_row([f"\\multicolumn{{{len(widths)}}}{{l}}{{{title}}}"]))
    for row in group.rows:
        lines.append(_row(_texts(row)))
    return lines


def _parts(title: str, room: float) -> list[str]:
    """Return a title as lines that fit, broken behind commas."""
    lines = [""]
    for part in re.split(r"(?<=,) ", title):
        if lines[-1] and len(lines[-1]) + 1 + len(part) > room:
            lines.append("")
        lines[-1] = f"{lines[-1]} {part}".strip()
    return lines


def _texts(row: Row) -> list[str]:
    cells = [f"\\textbf{{{_tex(c.text)}}}" if c.bold else _tex(c.text) for c in row.cells]
    texts = [*map(_tex, row.stub), *cells]
    return [f"{{\\footnotesize\\itshape {t}}}" if t else "" for t in texts] if row.beside else texts


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + " \\\\"


def _span(text: str, span: int) -> str:
    return text if span == 1 else f"\\multicolumn{{{span}}}{{c}}{{{text}}}"


_TEX = {
    "\\": "\\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{sign: f"{{{sign}}}" for sign in "[*"},  # behind the end of a line they belong to that
    "|": "\\textbar{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "<": "\\ensuremath{<}",
    ">": "\\ensuremath{>}",
    "ε∞": "\\ensuremath{\\epsilon_\\infty}",
    "ε": "\\ensuremath{\\epsilon}",
    "ℓ∞": "\\ensuremath{\\ell_\\infty}",
    "∞": "\\ensuremath{\\infty}",
    "×": "\\ensuremath{\\times}",
    "±": "\\ensuremath{\\pm}",
    "−": "\\ensuremath{-}",
    "≤": "\\ensuremath{\\le}",
    "≥": "\\ensuremath{\\ge}",
    "∪": "\\ensuremath{\\cup}",
    "→": "\\ensuremath{\\to}",
    "–": "--",
    "“": "``",
    "”": "''",
    "’": "'",
    "\u00a0": "~",
}
_TEX_SIGNS = re.compile("|".join(map(re.escape, sorted(_TEX, key=len, reverse=True))))


def _tex(text: str) -> str:
    return _TEX_SIGNS.sub(lambda match: _TEX[match[0]], text)
