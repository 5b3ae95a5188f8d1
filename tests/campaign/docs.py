"""The table in docs/reliability.md, made from the committed record of a campaign."""

import json
from typing import Any

from tests.campaign.campaign import table
from tests.workflow.running import ROOT

RECORD = ROOT / "results" / "reference" / "campaign.json"
PAGE = ROOT / "docs" / "reliability.md"
MOST_NUMBERS = 10
BEGIN, END = "<!-- counts: make campaign-docs -->", "<!-- end of counts -->"


def counts_in_words(record: dict[str, Any]) -> str:
    """Return the table of a record, with what it was made on and the faults that it names."""
    lines = [
        f"Seed {record['seed']}, {record['minutes']:g} minutes on {record['machine']}; disks: "
        f"{record['disks']}. Commit {record['commit']}.",
        "",
        table(record["counts"]),
    ]
    if record["faults"]:
        lines += ["", "Faults by class, and the numbers of their cases:", ""]
        by_class: dict[str, list[str]] = {}
        for fault in record["faults"]:
            by_class.setdefault(f"{fault['class']}, {fault['column']}", []).append(
                str(fault["number"])
            )
        for name, numbers in by_class.items():
            more = len(numbers) - MOST_NUMBERS
            rest = f" and {more:,} more" if more > 0 else ""
            lines.append(f"- {name}: {', '.join(numbers[:MOST_NUMBERS])}{rest}")
    return "\n".join(lines)


def page() -> str:
    """Return the page with the table of the committed record in it."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{counts_in_words(record)}\n\n{END}{after}"


def write_docs() -> None:
    """Write the page anew."""
    PAGE.write_text(page(), encoding="utf-8")
