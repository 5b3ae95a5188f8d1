"""Second opinions on the page."""

import re
from html import unescape
from pathlib import Path

import pytest

from robustseg.evidence.findings import CHECKS, Opinion
from robustseg.page.page import make_page
from robustseg.tables.making import make_table
from robustseg.tables.registry import TABLES
from tests.needs import BROWSER, needs
from tests.page.browser import Browser
from tests.page.parts import CONFIG
from tests.page.test_page import Outline
from tests.synthetic import MODELS, opinion_of, write_doubts, write_jobs

MODEL, OTHER = "fake_pir_5", "fake_clean"
GOOD = opinion_of(4)
BAD = opinion_of(8, 50.0, 37.5, random_corners=12.5, rounded_to_8_bits=3.0, alone=None)
UNSURE = opinion_of(0.5, 20.0, 19.5, zero_gradients=30.0)


def make(folder: Path, opinions: dict[str, tuple[Opinion, ...]]) -> Path:
    """Make a page of second opinions, by model, and return it."""
    reads = [
        {"model": model, "suites": ["doubt"], "eps_255": [one.eps_255 for one in some]}
        for model, some in opinions.items()
    ]
    paths = write_jobs(folder, [{**read, "suites": [], "eps_255": []} for read in reads])
    paths += [write_doubts(folder, model, *some) for model, some in opinions.items()]
    outputs = {kind: folder / f"table.{kind}" for kind in ("json", "parquet")}
    make_table(TABLES["second_opinions"], paths, reads, MODELS, outputs)
    out = folder / "index.html"
    layouts = {"second_opinions": outputs["json"]}
    make_page(layouts, {}, CONFIG, map(str, paths), [], out, numbers=[outputs["parquet"]])
    return out


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("doubted"), {MODEL: (GOOD, BAD), OTHER: (UNSURE,)})


@pytest.fixture(scope="module")
def box(page: Path) -> str:
    """Return the words of the box, without tags, one space between them."""
    (found,) = re.findall(r'<section class="doubts".*?</section>', page.read_text(), re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", found)).split())


def test_what_speaks_against_a_figure_comes_first(box: str) -> None:
    verdicts = re.findall(r"(\S) (fake_\w+) at ", box)
    assert verdicts == [("✗", MODEL), ("?", OTHER), ("✓", MODEL)]
    assert "✗ fake_pir_5 at 8/255: overestimated by at least 12.5 points." in box
    assert "? fake_clean at 0.5/255: may be overestimated, by an amount that no attack" in box
    assert "On 3 images 50.0 % of the pixels are right; the second opinion’s attacks leave" in box
    assert "✓ fake_pir_5 at 4/255: no sign of overestimation. On 3 images 50.0 % of the" in box


def test_a_failed_check_has_its_figure_and_its_advice(box: str) -> None:
    about = CHECKS["random_corners"]
    shown = f"{about.asks} 12.5 points less ({about.limit}): a <note>. → {about.advice}"
    assert shown in box
    assert box.count("→") == 2  # of two failed checks; what is noted needs no advice


def test_all_checks_are_there_with_their_status_in_words(box: str) -> None:
    for about in CHECKS.values():
        assert box.count(about.asks) >= 3
    assert f"All {len(CHECKS)} checks: 1 failed, 1 noted, {len(CHECKS) - 3} passed, 1 not" in box
    assert f"– not run {CHECKS['alone'].asks} no <need>" in box
    assert f"! noted {CHECKS['rounded_to_8_bits'].asks} 3 points more after" in box


def test_the_page_is_sound_and_says_it_in_its_first_answers(page: Path) -> None:
    text = page.read_text()
    parsed = Outline()
    parsed.feed(text)
    assert parsed.open == []
    assert len(parsed.ids) == len(set(parsed.ids))
    assert set(parsed.labels) <= set(parsed.ids)
    assert text.index('class="doubts"') < text.index('id="found"') < text.index("<nav")
    assert "<h3>Can the figures of “fake_clean (clean)” be trusted?</h3>" in text
    provenance = text[text.index('id="provenance"') :]
    assert "findings" not in provenance


def test_opinions_that_speak_against_nothing_come_after_the_answers(tmp_path: Path) -> None:
    text = make(tmp_path, {MODEL: (GOOD,)}).read_text()
    assert text.index('id="found"') < text.index('class="doubts"') < text.index("<nav")


def test_without_an_opinion_there_is_no_box(tmp_path: Path) -> None:
    paths = write_jobs(tmp_path, [{"model": MODEL, "suites": ["sea"], "eps_255": [4]}])
    make_page({}, {}, CONFIG, map(str, paths), [], tmp_path / "index.html")
    text = (tmp_path / "index.html").read_text()
    assert 'class="doubts"' not in text
    assert "be trusted?" not in text


@needs(BROWSER)
def test_a_reader_opens_the_checks_on_a_phone_in_both_themes(page: Path, tmp_path: Path) -> None:
    with Browser(tmp_path) as browser:
        browser.set_width(390, 844)
        browser.open(page)
        height = "return document.querySelector('.doubts').offsetHeight"
        closed = browser.run(height)
        browser.run("document.querySelector('.doubts summary').focus()")
        browser.type("Enter")
        assert browser.run(height) > closed + 10 * len(CHECKS)
        assert browser.run("return document.documentElement.scrollWidth") <= 390
        outside = browser.run(
            "return [...document.querySelectorAll('.doubts *')].filter(one => "
            "one.getBoundingClientRect().right > 390).map(one => one.outerHTML.slice(0, 80))"
        )
        assert outside == []
        seen = set()
        for theme in ("light", "dark"):
            browser.set_theme(theme)
            sides = browser.run(
                "return [...document.querySelectorAll('.doubts > ul > li')]"
                ".map(one => getComputedStyle(one).borderLeftColor)"
            )
            assert len(set(sides)) == 3
            seen |= set(sides)
        assert len(seen) == 6
        assert browser.complaints() == []
