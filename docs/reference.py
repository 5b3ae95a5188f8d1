"""Writes the pages that list what the code has: `make docs`.

The options of the command line, and all tables, figures and claims, each from the object that
defines it.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from robustseg.claims.language import read_claims
from robustseg.cli import parser
from robustseg.exhibits import QUESTIONS, Shown
from robustseg.figures.registry import FIGURES, PICTURES
from robustseg.tables.registry import TABLES

DOCS = Path(__file__).parent
REFERENCE = Path("results", "reference")
RUNS = ("demo", "street", "strength", "camvid")
"""Runs of which a copy is kept, the first that has a table or figure is shown."""
NOTE = "<!-- `make docs` writes this page from the code. -->"


def command_line() -> str:
    """Return docs/command_line.md."""
    lines = ["# Command line", "", *paragraphs(parser()), NOTE, ""]
    lines += [
        "The workflow has no command of its own: its targets are Snakemake's, and those of",
        "`make help`. [Rebuild one table, or resume](rebuild.md) shows how they are used.",
        "",
    ]
    for command, one in commands().items():
        lines += [f"## robustseg {command}", "", *paragraphs(one)]
        lines += ["| | default | meaning |", "|---|---|---|"]
        lines += [row(action) for action in one._actions if action.dest != "help"]
        lines += [""]
    lines += [
        "## Exit status",
        "",
        "0: done. 1: something that you can fix; one sentence says what. 2: wrong usage.",
        "130: stopped by Ctrl-C; the same command continues.",
        "141: nobody reads what is printed any more, as after `| head`.",
    ]
    return "\n".join(lines) + "\n"


def commands() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each command by name."""
    (found,) = (one for one in parser()._actions if isinstance(one, argparse._SubParsersAction))
    return dict(found.choices)


def paragraphs(one: argparse.ArgumentParser) -> Iterator[str]:
    """Yield what a parser says before and after its options."""
    for text in (one.description, one.epilog):
        if text:
            yield " ".join(text.split())
            yield ""


def row(action: argparse.Action) -> str:
    """Return the line of an option or argument."""
    names = ", ".join(f"`{name}`" for name in action.option_strings) or f"`{action.dest}`"
    if action.required and action.option_strings:
        names += " (required)"
    default = "" if action.default in (None, []) else f"`{shown(action.default)}`"
    return f"| {names} | {default} | {(action.help or '').replace('|', chr(92) + '|')} |"


def shown(default: object) -> str:
    """Return a default as it would be typed."""
    if isinstance(default, tuple):
        return "/".join(map(str, default))
    if isinstance(default, list):
        return " ".join(f"{one:g}" if isinstance(one, float) else str(one) for one in default)
    return f"{default:g}" if isinstance(default, float) else str(default)


def exhibits() -> str:
    """Return docs/exhibits.md."""
    everything: list[Shown] = [*TABLES.values(), *FIGURES.values(), *PICTURES.values()]
    lines = ["# Tables, figures and claims", ""]
    lines += [
        "The first column is the name in configurations and the target of `snakemake NAME`; a link",
        "leads to one that was made here. What each reads is a key of `tables`, `figures` or",
        "`pictures` in the [configuration](config.md).",
        "",
        NOTE,
    ]
    for question in QUESTIONS:
        lines += ["", f"## {question.title}", "", *([question.text, ""] if question.text else [])]
        lines += ["| name | in print | what it shows |", "|---|---|---|"]
        for one in everything:
            if one.question == question:
                lines.append(f"| {linked(one.id)} | {one.label} | {one.shows} |")
    claims, _ = read_claims(DOCS.parent / "config" / "claims.yaml")
    lines += ["", "## Claims of the paper", ""]
    lines += [
        f"{len(claims)} predicates over these tables: [how they are judged](claims.md),",
        "verdicts on [the demo](../results/reference/demo/claims/claims.md) and on",
        "[photographs](../results/reference/street/claims/claims.md).",
        "",
        "| claim | what the paper says | where |",
        "|---|---|---|",
    ]
    lines += [f"| `{one.id}` | {one.sentence} | {one.source} |" for one in claims]
    return "\n".join(lines) + "\n"


def linked(name: str) -> str:
    """Return a name, with a link if a copy of what it names is kept."""
    for run in RUNS:
        for path in (
            REFERENCE / run / "tables" / f"{name}.md",
            REFERENCE / run / "figures" / f"{name}.png",
        ):
            if (DOCS.parent / path).exists():
                return f"[`{name}`](../{path.as_posix()})"
    return f"`{name}`"


PAGES = {"command_line.md": command_line, "exhibits.md": exhibits}

if __name__ == "__main__":
    for page, text in PAGES.items():
        (DOCS / page).write_text(text(), encoding="utf-8")
