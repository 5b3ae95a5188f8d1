"""The page in a real browser: nothing to complain, and everything that a reader can do."""

import pytest

from robustseg.claims.report import make_claims
from robustseg.page.page import make_page
from robustseg.tables.making import make_table
from robustseg.tables.registry import TABLES
from tests.needs import BROWSER, needs
from tests.page.browser import Browser
from tests.page.parts import CONFIG, PAPER, claims_of_tests, make_parts
from tests.page.test_attack_viewer import shots, write
from tests.serving import serve
from tests.synthetic import MODELS, READS, write_jobs

pytestmark = needs(BROWSER)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browsed")
    names = ("table1", "table2", "table3", "table4", "table7", "table9", "figure2", "figure5")
    parts = make_parts(folder, *names)
    headlines, claims = claims_of_tests(folder / "claims.yaml"), folder / "claims.parquet"
    make_claims(headlines, parts.long, parts.evidence, READS, PAPER, {"parquet": claims})
    shots = {name: write(folder / f"{name}.npz") for name in ("fake_clean", "fake_pir_5")}
    out = folder / "index.html"
    more = {"numbers": parts.long, "headlines": headlines}
    make_page(parts.tables, parts.figures, CONFIG, parts.evidence, [], out, claims, shots, **more)
    return out


@pytest.fixture(scope="module")
def window(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def browser(window, page):
    window.set_width(1200, 900)
    window.open(page)
    yield window
    assert window.complaints() == []


def column(browser, index, body=0):
    return browser.run(
        "return [...document.querySelectorAll('#table2 tbody')[arguments[0]].rows]"
        ".filter(row => !row.classList.contains('group'))"
        ".map(row => row.cells[arguments[1]].textContent)",
        body,
        index,
    )


HEADS = "#table2 thead tr:last-child th"


def test_a_click_on_a_head_sorts_each_group_up_down_and_back(browser):
    before = [column(browser, 1, body) for body in (0, 1)]
    numbers = [list(map(float, texts)) for texts in before]
    assert numbers[1] != sorted(numbers[1])
    for direction, expected in (("ascending", False), ("descending", True), (None, None)):
        browser.click(f"{HEADS}:nth-child(1) .sort")
        for body in (0, 1):
            found = list(map(float, column(browser, 1, body)))
            wanted = numbers[body] if expected is None else sorted(numbers[body], reverse=expected)
            assert found == wanted
        head = browser.run(f"return document.querySelector('{HEADS}').getAttribute('aria-sort')")
        assert head == direction


def test_heads_sort_by_keyboard_and_the_first_column_by_number(browser):
    browser.run("document.querySelector('#table2 thead .sort').focus()")
    browser.type("Enter", "Enter")
    assert column(browser, 0, 1) == ["12/255", "8/255", "4/255"]
    browser.type("Tab", "Enter")
    assert column(browser, 1, 1) == sorted(column(browser, 1, 1), key=float)


def test_every_head_sorts_its_own_column(browser):
    """Heads over several columns and lines end up at the column that they name."""
    heads = browser.run(f"return document.querySelectorAll('{HEADS}').length")
    assert heads == 14
    for index in (1, 7, 14):
        browser.click(f"{HEADS}:nth-child({index}) .sort")
        found = list(map(float, column(browser, index, 1)))
        assert found == sorted(found)


def tip(browser):
    return browser.run(
        "const t = document.getElementById('tip'); return t.hidden ? '' : t.textContent"
    )


def test_pointing_at_a_number_shows_the_evidence_behind_it(browser):
    assert tip(browser) == ""
    browser.hover("#table2 tbody tr:nth-child(2) td")
    shown = tip(browser)
    for words in ("95 % interval", "6 images of fake_scenes", "suite losses: apgd-ce-constant-10"):
        assert words in shown
    assert "training seed 0, attack seed 0" in shown
    assert "66 forward and 60 backward passes" in shown
    assert "attacks/losses/fake_clean/seed0/eps0.25/seed0" in shown
    browser.hover("h1")
    assert tip(browser) == ""


def test_escape_hides_the_evidence_that_the_mouse_shows(browser):
    """Wherever the focus is: it may lie over the numbers that a reader wants to see."""
    browser.hover("#table2 tbody tr:nth-child(2) td")
    assert tip(browser) != ""
    browser.type("Escape")
    assert tip(browser) == ""


def test_arrow_keys_go_from_number_to_number(browser):
    browser.run("document.querySelector('#table2 td[data-note]').focus()")
    first = tip(browser)
    browser.type("ArrowRight")
    second = tip(browser)
    browser.type("ArrowDown", "ArrowLeft")
    below = tip(browser)
    assert len({first, second, below, ""}) == 4
    assert "eps0.5" in below
    browser.type("ArrowDown")  # over the title of the next group
    assert "fake_pir_5" in tip(browser)
    browser.type("Escape")
    assert tip(browser) == ""
    focusable = browser.run("return document.querySelectorAll('#table2 td[tabindex=\"0\"]').length")
    assert focusable == 1


def test_the_evidence_of_a_number_that_is_scrolled_away_goes_with_it(browser):
    browser.run("document.querySelector('#table2 td[data-note]').focus()")
    assert tip(browser) != ""
    browser.run("document.getElementById('provenance').scrollIntoView()")
    browser.run("return new Promise(requestAnimationFrame)")
    assert tip(browser) == ""


def claims_shown(browser):
    return browser.run(
        "return [...document.querySelectorAll('[data-claims=run] .claims > li')]"
        ".filter(claim => claim.offsetParent).map(claim => claim.dataset.verdict)"
    )


def test_claims_are_filtered_by_verdict_and_words(browser):
    everything = claims_shown(browser)
    assert len(everything) == 57
    browser.click("[data-claims=run] button[value='not evaluated']")
    assert set(claims_shown(browser)) == {"not evaluated"}
    browser.click("[data-claims=run] input[type=search]")
    browser.type("DDC-AT")
    assert 0 < len(claims_shown(browser)) < everything.count("not evaluated")
    said = browser.run(
        "return document.querySelector('[data-claims=run] [role=status]').textContent"
    )
    assert said == f"{len(claims_shown(browser))} of 57 shown"


def test_controls_that_need_a_script_are_hidden_without_one(browser):
    display = browser.run(
        "const controls = document.querySelector('[data-claims=run] .controls');"
        "const style = getComputedStyle(controls), before = style.display;"
        "controls.hidden = true;"
        "return [before, style.display]"
    )
    assert display == ["flex", "none"]


def test_the_papers_own_numbers_are_apart_and_folded_away(browser):
    closed = "return !document.querySelector('details.foreign').open"
    assert browser.run(closed)
    browser.click("details.foreign summary")
    assert not browser.run(closed)
    inside = "return document.querySelectorAll('details.foreign [data-claims=paper] li').length"
    assert browser.run(inside) == 57


def gallery(browser):
    return browser.run(
        "const part = (name) => document.getElementById('gallery-' + name);"
        "return {radius: part('radius').textContent, accuracy: part('accuracy').textContent,"
        "attacked: part('attacked').src, perturbation: part('perturbation').src,"
        "prediction: part('prediction').src, truth: part('truth').src,"
        "alt: part('prediction').alt, wide: part('prediction').naturalWidth,"
        "said: part('eps').getAttribute('aria-valuetext')}"
    )


def test_the_slider_changes_pictures_and_accuracy_by_keyboard(browser):
    browser.run("document.getElementById('gallery-eps').focus()")
    middle = gallery(browser)
    browser.type("ArrowRight")
    last = gallery(browser)
    browser.type("ArrowLeft", "ArrowLeft")
    first = gallery(browser)
    assert [one["radius"] for one in (first, middle, last)] == ["0/255", "4/255", "8/255"]
    for name in ("accuracy", "attacked", "perturbation", "prediction", "alt", "said"):
        assert len({one[name] for one in (first, middle, last)}) == 3, name
    assert first["truth"] == last["truth"]
    assert first["wide"] == 6


def test_the_viewer_begins_under_attack(tmp_path, window):
    """Of a run with one radius, too."""
    (path,) = write_jobs(tmp_path / "evidence", READS["table2"])[:1]
    shot = write(tmp_path / "net.npz", **shots(eps_255=(0.0, 4.0)))
    make_page({}, {}, CONFIG, [path], [], tmp_path / "x.html", gallery={"fake_clean": shot})
    window.open(tmp_path / "x.html")
    assert gallery(window)["radius"] == "4/255"


def test_the_slider_follows_the_mouse(browser):
    before = gallery(browser)
    browser.run("document.getElementById('gallery-eps').value = 0")
    browser.click("#gallery-eps")  # a click lands in the middle: 4/255 again
    assert gallery(browser) == before
    browser.run("document.getElementById('gallery-view').scrollIntoView()")
    browser.click("#gallery-image")
    browser.type("ArrowDown", "Enter")
    assert gallery(browser)["truth"] != before["truth"]


ANSWERS = (
    "return [...document.querySelectorAll('.answers > li')].map(answer => ({"
    "bottom: answer.getBoundingClientRect().bottom, text: answer.innerText,"
    "verdict: answer.querySelector('.verdict a').textContent.slice(2),"
    "colour: getComputedStyle(answer.querySelector('.verdict')).color,"
    "claim: answer.querySelector('.verdict a').hash}))"
)


def test_the_first_screen_holds_all_answers_and_the_picture(browser):
    browser.set_width(1280, 800)
    answers = browser.run(ANSWERS)
    assert len(answers) == 8
    assert max(answer["bottom"] for answer in answers) <= 800
    assert sum("points" in answer["text"] for answer in answers) >= 5
    pictures = browser.run(
        "return [...document.querySelectorAll('.attacked img')].map(one => "
        "[one.naturalWidth, one.getBoundingClientRect().bottom])"
    )
    assert len(pictures) == 6
    assert all(wide == 6 and bottom <= 800 for wide, bottom in pictures)
    caption = browser.run("return document.querySelector('.attacked figcaption').textContent")
    assert " This is image " in caption  # whose name may be a number


def test_verdicts_of_answers_are_those_of_their_claims_in_their_colours(browser):
    colour = "return getComputedStyle(document.querySelector('.claims > .{} .verdict')).color"
    answers = browser.run(ANSWERS)
    for answer in answers:
        verdict = answer["verdict"]
        listed = f"return document.querySelector('{answer['claim']}').dataset.verdict"
        assert browser.run(listed) == verdict
        assert answer["colour"] == browser.run(colour.format(verdict.replace(" ", "-")))
    assert len({answer["colour"] for answer in answers}) > 1


def test_no_verdict_is_explained_that_was_not_given(browser):
    found, lead = browser.run(
        "return ['#found', '.lead'].map(one => document.querySelector(one).textContent)"
    )
    assert {one: one in found for one in ("undecided", "contradicted")} == {
        one: f"“{one}”" in lead for one in ("undecided", "contradicted")
    }
    assert "contradicted" not in found


def test_a_verdict_leads_to_its_claim_by_keyboard(browser):
    browser.run("document.querySelector('.answers .verdict a').focus()")
    browser.type("Enter")
    top = "return document.querySelector(location.hash).getBoundingClientRect().top"
    assert abs(browser.run(top)) < 5


def test_what_decided_leads_to_its_names(browser):
    """Only where the page explains them: not those of the paper's own numbers."""
    browser.click("[data-claims=run] .numbers a")
    assert browser.run("return [location.hash, document.querySelector('#names').tagName]") == [
        "#names",
        "H2",
    ]
    assert not browser.run("return document.querySelectorAll('[data-claims=paper] a').length")


def test_a_verdict_leads_to_its_claim_even_if_that_is_filtered_out(browser):
    """Each time that its link is followed, and on the way back, which is no click."""
    link = "#found ~ * .verdict a"
    browser.run(f"document.querySelector('{link}').click()")
    target = browser.run("return location.hash")
    shown = "return document.querySelector(arguments[0]).offsetParent !== null"
    for follow in (
        f"document.querySelector('{link}').click()",
        "location.hash = '#claims'; location.hash = arguments[0]",
    ):
        browser.click("[data-claims=run] input[type=search]")
        browser.type("zzzz")
        assert not browser.run(shown, target)
        browser.run(follow, target)
        browser.run("return new Promise(requestAnimationFrame)")
        assert browser.run(shown, target)
        top = "return document.querySelector(location.hash).getBoundingClientRect().top"
        assert abs(browser.run(top)) < 5
    assert len(claims_shown(browser)) == 57


def test_bars_are_as_long_as_their_figures(browser):
    bars = browser.run(
        "return [...document.querySelectorAll('.bars i')].map(bar => [bar.clientWidth,"
        "parseFloat(getComputedStyle(bar, '::before').width), bar.nextElementSibling.textContent])"
    )
    assert len(bars) >= 10
    for whole, filled, figure in bars:
        assert filled / whole == pytest.approx(float(figure) / 100, abs=0.02)


def test_nothing_of_the_first_screen_leaves_a_phone(browser):
    browser.set_width(390, 844)
    outside = browser.run(
        "return [...document.querySelectorAll('.found *, header *')].filter(one => {"
        "const at = one.getBoundingClientRect(); return at.left < 0 || at.right > 390;"
        "}).map(one => one.outerHTML.slice(0, 80))"
    )
    cut = browser.run(
        "return [...document.querySelectorAll('.bars span, .bars b')]"
        ".filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.textContent)"
    )
    assert (outside, cut) == ([], [])


def test_a_phone_shows_the_page_without_scrolling_sideways(browser):
    browser.set_width(390, 844)
    wide, window = browser.run("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide <= window == 390


def test_names_without_a_space_stay_on_the_page(browser):
    """Of runs and models, images and classes: file systems take 255 letters."""
    named = ("h1", ".answers h3", ".attacked strong", ".attacked figcaption", "figcaption strong")
    named += ("#gallery-model option", "#gallery-image option", ".legend li", ".claims .numbers")
    for width in (390, 1200):
        browser.set_width(width, 844)
        browser.run(
            "for (const one of arguments[0]) document.querySelector(one).append('x'.repeat(255))",
            named,
        )
        assert browser.run("return document.documentElement.scrollWidth") <= width


def test_names_of_lines_and_groups_leave_room_for_numbers_on_a_phone(browser):
    """However long they are and however far a table is scrolled."""
    browser.set_width(390, 844)
    first, group = browser.run(
        "const table = document.querySelector('#table2 table'), box = table.parentElement;"
        "table.querySelector('tbody th[scope=row]').textContent = 'aerial_vehicle_'.repeat(12);"
        "table.querySelector('.group th span').textContent = 'A network, trained '.repeat(12);"
        "box.scrollLeft = 1e6;"
        "const at = (one) => table.querySelector(one).getBoundingClientRect();"
        "const seen = (one) => [at(one).left - box.getBoundingClientRect().left, at(one).width];"
        "return [seen('tbody th[scope=row]'), seen('.group th span')]"
    )
    for left, wide in (first, group):
        assert 0 <= left < 12
        assert 0 < wide <= 356
    assert first[1] <= 150


def test_words_in_tables_of_text_break_on_a_phone_only_if_they_must(browser):
    browser.set_width(390, 844)
    broken, widest = browser.run(
        "const cells = [...document.querySelectorAll('.text td')], line = document.createRange();"
        "const lines = (text, from, to) => {"
        " line.setStart(text, from); line.setEnd(text, to); return line.getClientRects().length; };"
        "const broken = cells.flatMap(cell =>"
        " [...cell.firstChild.data.matchAll(/[^\\s-]+/g)].filter(word => word[0].length < 16"
        "  && lines(cell.firstChild, word.index, word.index + word[0].length) > 1"
        ").map(String));"
        "cells[0].textContent = 'x'.repeat(300);"
        "return [broken, cells[0].getBoundingClientRect().width]"
    )
    assert broken == []
    assert widest <= 0.6 * 390 + 1


def test_light_and_dark_differ(browser):
    colours = []
    for theme in ("light", "dark"):
        browser.set_theme(theme)
        colours.append(browser.run("return getComputedStyle(document.body).backgroundColor"))
    assert len(set(colours)) == 2


def test_on_paper_no_table_is_cut_and_ink_is_dark(browser):
    """Also if the screen is dark; paper of 21 cm has 700 px between its margins."""
    browser.set_width(700, 990)
    browser.set_theme("dark", "print")
    ink = browser.run("return getComputedStyle(document.body).color")
    cut = browser.run(
        "return [...document.querySelectorAll('table, .pan svg')].filter(one =>"
        " one.getBoundingClientRect().right > 700).map(one => one.closest('[id]').id)"
    )
    bars = browser.run(
        "return getComputedStyle(document.querySelector('.bars i')).printColorAdjust"
    )
    browser.set_theme("light")
    assert (ink, cut, bars) == ("rgb(27, 30, 35)", [], "exact")


def test_on_paper_no_page_ends_between_a_heading_and_what_it_is_of(browser):
    browser.set_theme("light", "print")
    style = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
    for heading in ("h2", "h2 + p", ".table figcaption", ".table .group"):
        assert browser.run(style, heading, "breakAfter") == "avoid", heading
    for whole in (".table tbody tr", ".claims > li", ".drawing", "figcaption"):
        assert browser.run(style, whole, "breakInside") == "avoid", whole
    browser.set_theme("light")


def test_everything_has_a_name_for_those_who_do_not_see_it(browser):
    nameless = browser.run(
        "return [...document.querySelectorAll('img, button, select, input, svg[role=img]')]"
        ".filter(one => !(one.alt || one.ariaLabel || one.textContent.trim() ||"
        " one.labels?.length)).map(one => one.outerHTML.slice(0, 80))"
    )
    assert nameless == []


def test_a_table_and_the_claims_are_read_by_themselves(tmp_path, window):
    """Also from a server that does not say how text is encoded."""
    evidence = write_jobs(tmp_path / "evidence", READS["table2"])
    long, claims = tmp_path / "table2.parquet", tmp_path / "claims.html"
    files = {"html": tmp_path / "table2.html", "parquet": long}
    make_table(TABLES["table2"], evidence, READS["table2"], MODELS, files)
    headlines = claims_of_tests(tmp_path / "claims.yaml")
    make_claims(headlines, [long], evidence, READS, PAPER, {"html": claims})
    said = "return [document.querySelector(arguments[0]).textContent, document.compatMode,"
    said += "document.documentElement.lang, document.title !== '']"
    with serve(tmp_path) as server:
        server.page_type = "text/html"
        for path, place, words in (
            (files["html"], "thead th", "ε∞"),
            (claims, "h2", "Which of the paper’s claims hold?"),
        ):
            server.pages, server.page = {path.name}, path.read_bytes()
            window.open(server.url(path.name))
            assert window.run(said, place) == [words, "CSS1Compat", "en", True]
