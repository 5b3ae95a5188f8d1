"""Pages from templates, and parts of a page as files of their own, for any browser and server."""

from html import escape
from pathlib import Path
from typing import Any

from robustseg.names import amount

STYLE = """\
:root { color-scheme: light dark; }
body { margin: 1rem; font: 1rem system-ui, sans-serif; }
figure { margin: 0; }
figcaption, p { max-width: 46rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .6rem 0; }
th, td { padding: .2rem .6rem; text-align: right; white-space: nowrap; }
thead th { text-align: center; }
tbody { border-top: 1px solid; }
tbody th { text-align: left; font-weight: 400; }
.group th, .beside > * { font-style: italic; }
.group th[scope="colgroup"] { text-align: center; font-style: normal; }
.numbers svg { width: 7.5rem; height: 1rem; vertical-align: middle; }
"""


def html_document(title: str, part: str) -> str:
    """Return a part, in HTML, as a document in UTF-8."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
        f"<title>{escape(title)}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n"
        f"{part}</body>\n</html>\n"
    )


def render(template: Path, **values: Any) -> str:
    """Return what a template becomes; it escapes what it is not told to trust."""
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(
        loader=FileSystemLoader(template.parent), autoescape=True, trim_blocks=True
    )
    return environment.get_template(template.name).render(amount=amount, **values)
