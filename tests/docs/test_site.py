"""The site is built without a warning, leads nowhere that is not there, and needs no other host."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from docs.reference import PAGES

import robustseg
from tests.workflow.running import ROOT, environment

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site as `make site` does."""
    out = tmp_path_factory.mktemp("site")
    (line,) = re.findall(
        r"\$\(BIN\)/sphinx-build (.*) \. site$", (ROOT / "Makefile").read_text(), re.M
    )
    options = line.replace(".site_cache", str(out / "cache")).split()
    run = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, ROOT, out / "site"],
        cwd=ROOT,
        env=environment() | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "--fail-on-warning" in options
    assert run.returncode == 0, run.stderr
    return out / "site"


class Page(HTMLParser):
    """What a page of HTML points to, what may be pointed to in it, and what it loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.loads: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.ids |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        self.loads += [found["src"]] if "src" in found else []
        self.loads += [found["href"]] if tag == "link" else []


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    found = {path: Page(path) for path in site.rglob("*.html")}
    assert len(found) > 60
    return found


def test_every_link_inside_leads_somewhere(site: Path, pages: dict[Path, Page]) -> None:
    broken = []
    for path, page in pages.items():
        for link in [*page.links, *page.loads]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            # Pages of runs make some of their places by script.
            places = pages[target].ids if target in pages and "files" not in target.parts else None
            if not target.is_file():
                broken.append(f"{path.relative_to(site)}: {link}")
            elif parts.fragment and places is not None and unquote(parts.fragment) not in places:
                broken.append(f"{path.relative_to(site)}: {link} has no such place")
    assert broken == []


def test_nothing_is_loaded_from_another_host(site: Path, pages: dict[Path, Page]) -> None:
    foreign = [
        f"{path.relative_to(site)}: {load}"
        for path, page in pages.items()
        for load in page.loads
        if urlsplit(load).netloc
    ]
    assert foreign == []
    for path in site.rglob("*.css"):
        assert re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", path.read_text()) == [], path


def test_the_site_s_own_address_shows_the_first_page(site: Path, pages: dict[Path, Page]) -> None:
    assert pages[site / "index.html"].links == ["docs/index.html"]
    first = pages[site / "docs" / "index.html"]
    assert {"tutorial.html", "api.html", "overestimation.html"} <= set(first.links)
    assert "Copyright" not in (site / "docs" / "index.html").read_text()  # of nobody, it would say


def test_public_names_are_described(site: Path, pages: dict[Path, Page]) -> None:
    described = pages[site / "docs" / "api.html"].ids
    names = {f"robustseg.{name}" for name in robustseg.__all__ if name != "__version__"}
    assert names - described == set()


@pytest.mark.parametrize("page", PAGES)
def test_pages_from_code_are_up_to_date(page: str) -> None:
    same = (ROOT / "docs" / page).read_text(encoding="utf-8") == PAGES[page]()
    assert same, f"docs/{page} is out of date: run `make docs`"


def test_the_site_is_built_and_published_on_github() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    assert any(step.get("run") == "make site" for step in jobs["site"]["steps"])
    assert jobs["site"]["steps"][-1]["with"] == {"path": "site"}
    assert "site" in jobs["publish"]["needs"]
    assert "vars.PUBLISH_SITE" in jobs["publish"]["if"]
