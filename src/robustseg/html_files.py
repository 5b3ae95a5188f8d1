"""A part of the page as a file of its own, which any browser and server shows as it is meant."""

from html import escape

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
