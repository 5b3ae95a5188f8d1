"""The site: every page of docs/ and what they link to, with nothing from other hosts.

`make site` builds it into site/. Its sources are the Markdown files as GitHub shows them, so the
root of the sources is the repository. Every other file that a page links to gets a page of its own
below site/files/, or is copied there, so that the site is whole without the repository.
"""

import shutil
from collections.abc import Iterator
from html import escape
from pathlib import Path
from posixpath import relpath
from typing import Any

from docutils import nodes
from pygments.lexers import PythonLexer
from sphinx.addnodes import download_reference
from sphinx.application import Sphinx
from sphinx.highlighting import lexers

import robustseg

ROOT = Path(__file__).parents[1]

project = "robustseg"
author = "the authors of robustseg"
release = robustseg.__version__
html_title = f"robustseg {release}"

lexers["snakemake"] = PythonLexer()
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
root_doc = "docs/index"
include_patterns = [
    "*.md",
    "docs/*.md",
    "config/*.md",
    "config/paper/*.md",
    "examples/*/*.md",
    "results/reference/*.md",
    "results/reference/**/*.md",
]
exclude_patterns = [".*", "data", "site", "src", "tests", "results/[!r]*"]

html_theme = "furo"
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
myst_heading_anchors = 4
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 80
napoleon_use_ivar = True
napoleon_attr_annotations = False
default_role = "code"

CONTENTS = {
    "Learn": ("tutorial",),
    "How to": (
        *("own_model", "leaderboard", "recipes", "rebuild", "several_machines", "clusters"),
        *("containers", "paper", "street", "gpu", "extend"),
    ),
    "Look up": (
        *("command_line", "config", "evidence", "exhibits", "claims", "api", "data", "weights"),
        *("plan", "training", "/CHANGELOG"),
    ),
    "Understand": ("overestimation", "worst_case", "doubt", "attacks", "reliability"),
}
"""What the site has, by what a reader wants."""


def add_contents(app: Sphinx, docname: str, source: list[str]) -> None:
    """Give the first page its table of contents, which GitHub would show as code."""
    listed = {page.removeprefix("/") for pages in CONTENTS.values() for page in pages}
    if docname == root_doc:
        for caption, pages in CONTENTS.items():
            lines = ["", "```{toctree}", ":hidden:", f":caption: {caption}", "", *pages, "```", ""]
            source[0] += "\n".join(lines)
    elif docname.removeprefix("docs/") not in listed:
        source[0] = f"---\norphan: true\n---\n\n{source[0]}"


def link_files(app: Sphinx, doctree: nodes.document) -> None:
    """Lead links to files that are no pages to their copies in the site."""
    docname = app.env.docname
    for link in list(doctree.findall(download_reference)):
        path = Path(app.env.relfn2path(link["reftarget"], docname)[1])
        name = path.resolve().relative_to(ROOT).as_posix()
        linked_files(app).add(name)
        page = name if is_copied(name) else f"{name}.html"
        uri = relpath(f"files/{page}", Path(docname).parent.as_posix())
        link.replace_self(nodes.reference("", "", *link.children, internal=True, refuri=uri))


def linked_files(app: Sphinx) -> set[str]:
    """Return the linked files, from the repository's root; kept from build to build."""
    if not hasattr(app.env, "linked_files"):
        app.env.linked_files = set()
    files: set[str] = app.env.linked_files
    return files


def is_copied(name: str) -> bool:
    """Whether a browser shows a file as it is."""
    return name.endswith((".html", ".png"))


def pages_of_files(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield a page for each linked file of text, and copy the others."""
    for name in sorted(linked_files(app)):
        if is_copied(name):
            # Pages of a run lead to each other.
            for file in (
                (ROOT / name).parent.glob("*.html") if name.endswith(".html") else [ROOT / name]
            ):
                copy = Path(app.outdir, "files", file.relative_to(ROOT))
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)
        else:
            text = (ROOT / name).read_text(encoding="utf-8")
            code = app.builder.highlighter.highlight_block(text, language_of(name), linenos=False)
            yield (
                f"files/{name}",
                {"title": name, "body": f"<h1>{escape(name)}</h1>{code}"},
                "page.html",
            )


def language_of(name: str) -> str:
    """Return what Pygments calls the language of a file."""
    return {".py": "python", ".yaml": "yaml", ".cff": "yaml", ".json": "json"}.get(
        Path(name).suffix, "text"
    )


def lead_to_first_page(app: Sphinx, exception: Exception | None) -> None:
    """Let the site's own address show its first page, which lies in a folder."""
    if exception is None and app.builder.format == "html":
        address = f"{root_doc}.html"
        Path(app.outdir, "index.html").write_text(
            f'<!doctype html><meta charset="utf-8"><title>{project}</title>'
            f'<meta http-equiv="refresh" content="0; url={address}">'
            f'<a href="{address}">{project}</a>\n',
            encoding="utf-8",
        )


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx what this file adds."""
    app.connect("source-read", add_contents)
    app.connect("doctree-read", link_files, priority=400)  # before downloads are collected
    app.connect("html-collect-pages", pages_of_files)
    app.connect("build-finished", lead_to_first_page)
    return {"parallel_read_safe": False}
