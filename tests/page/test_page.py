import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from robustseg.attacks.losses import SEA_LOSSES
from robustseg.claims.language import Place
from robustseg.claims.report import make_claims
from robustseg.exhibits import QUESTIONS
from robustseg.page.claim_names import key_of
from robustseg.page.page import (
    Cost,
    Passes,
    _model_row,
    costs_of,
    make_page,
    read_benchmark,
    read_benchmarks,
    read_passes,
)
from robustseg.tables.layout import from_json, to_html
from robustseg.tables.registry import TABLES
from robustseg.text_files import read_csv
from tests.page.parts import CONFIG, PAPER, claims_of_tests, make_parts
from tests.synthetic import MODELS, PROVENANCE, READS

HEAD = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
TABLE_IDS = ("table2", "table9")
FIGURE_IDS = ("figure2", "figure3", "figure4", "figure5")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    parts = make_parts(folder, *TABLE_IDS, *FIGURE_IDS)
    for stage, name, values in (
        ("models", "a", "40.5\t0:00:40\t700.2"),
        ("models", "b", "2.5\t0:00:02\tNA"),
        ("attacks", "c", "12.0\t0:00:12\t512"),
    ):
        path = folder / "benchmarks" / stage / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{HEAD}{values}\t1\t1\t1\t0\t0\t99\t12\n")
    put_together(parts, folder, folder / "index.html")
    return folder, parts


def put_together(parts, folder, out):
    benchmarks = [*sorted(folder.glob("benchmarks/*/*.tsv")), folder / "benchmarks/data/gone.tsv"]
    make_page(parts.tables, parts.figures, CONFIG, parts.evidence, benchmarks, out)


@pytest.fixture(scope="module")
def page(made):
    return (made[0] / "index.html").read_text(encoding="utf-8")


class Outline(HTMLParser):
    """Ids, links, and whether every tag that is opened is closed."""

    EMPTY = ("meta", "br", "hr", "img", "link", "input", "path", "use")

    def __init__(self):
        super().__init__()
        self.ids, self.links, self.open, self.labels = [], [], [], []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.links += [attrs[name] for name in ("href", "src", "xlink:href") if name in attrs]
        self.labels += [attrs["aria-labelledby"]] if "aria-labelledby" in attrs else []
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.EMPTY:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in self.EMPTY:
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def outline(page):
    parsed = Outline()
    parsed.feed(page)
    return parsed


def test_the_page_is_balanced_and_its_ids_are_unique(outline):
    assert outline.open == []
    assert len(outline.ids) == len(set(outline.ids))


def test_the_page_needs_nothing_but_itself(page, outline):
    outside = [link for link in outline.links if not link.startswith("#")]
    assert set(outside) == {"https://arxiv.org/abs/2306.12941"}
    assert not re.search(r"<script[^>]* src=", page)
    assert not re.search(r"\b(fetch|XMLHttpRequest|import)\(", page)
    assert not re.search(r"@import|url\((?!#)", page)


def test_links_and_labels_lead_somewhere(outline):
    for target in outline.links + [f"#{label}" for label in outline.labels]:
        if target.startswith("#"):
            assert target[1:] in outline.ids


def test_tables_figures_settings_and_provenance_are_on_it(made, page):
    _, parts = made
    for name, path in parts.tables.items():
        assert to_html(from_json(path.read_text(encoding="utf-8")), name) in page
    assert page.count("<svg") == len(FIGURE_IDS)
    for model in MODELS:
        assert f'<th scope="row">{model}</th>' in page
    for value in PROVENANCE.values():
        assert value in page
    assert f"{len(parts.evidence)} evidence files" in page
    assert "a run &lt;of&gt; tests" in page
    assert "<of>" not in page


def test_parts_come_in_reading_order(page):
    places = [page.index(f'id="{name}"') for name in ("table2", "table9", "figure2", "figure5")]
    assert places == sorted(places)


def test_figures_have_alternative_texts_captions_and_the_colours_of_the_page(page):
    assert len(re.findall(r'<svg role="img" aria-label="[^"]{100,}"', page)) == len(FIGURE_IDS)
    drawings = "".join(re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL))
    assert "currentColor" in drawings
    assert "#1b1e23" not in drawings
    assert "Figure 5: Influence of the number of iterations in SEA." in page
    assert page.count("<figcaption>") == len(FIGURE_IDS) + len(TABLE_IDS)


def test_light_and_dark_define_the_same_colours(page):
    light, dark = re.findall(r":root \{(.*?)\}", page, flags=re.DOTALL)
    names = [re.findall(r"(--\w+):", theme) for theme in (light, dark)]
    assert names[0] == names[1]
    used = set(re.findall(r"var\((--\w+)\)", page))
    assert used - {"--share", "--drawn", "--columns"} == set(names[0])


def contrast(one, other):
    """WCAG 2 contrast ratio of two colours given as #rrggbb."""

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def test_text_stands_out_from_its_background(page):
    for theme in re.findall(r":root \{(.*?)\}", page, flags=re.DOTALL):
        colours = dict(re.findall(r"--(\w+): (#\w{6})", theme))
        for text in ("ink", "soft", "link"):
            for background in ("paper", "raised"):
                assert contrast(colours[text], colours[background]) >= 4.5


def test_costs_are_summed_by_stage(made, page):
    costs = costs_of(read_benchmarks(made[0].glob("benchmarks/*/*.tsv")))
    assert costs == [Cost("attacks", 1, 12.0, 12.0, 512.0), Cost("models", 2, 43.0, 40.5, 700.2)]
    assert '<th scope="row">all</th><td>3</td><td>55.0</td><td>40.5</td><td>700</td>' in page
    assert "Time and memory of 3 of the 4 jobs behind this page" in page
    assert costs_of({}) == []


def test_a_benchmark_is_read_once(made, tmp_path, monkeypatch):
    folder, parts = made
    read = []

    def reading(path, **options):
        read.append(path)
        return read_csv(path, **options)

    monkeypatch.setattr("robustseg.page.page.read_csv", reading)
    paths = sorted(folder.glob("benchmarks/*/*.tsv"))
    make_page({}, {}, CONFIG, parts.evidence, paths, tmp_path / "page.html")
    assert sorted(read) == paths


def test_torn_benchmarks_are_left_out(tmp_path):
    """A killed job leaves half a line; what was measured before, or is NA, counts."""
    path = tmp_path / "attacks" / "job.tsv"
    path.parent.mkdir()
    header, row = "s\th:m:s\tmax_rss\n", "12.5\t0:00:12\t512.0\n"
    for text, jobs in {
        header + row: [(12.5, 512.0)],
        header + row + "13.": [(12.5, 512.0)],
        header + "7.0\t0:00:07\tNA\n" + "nan\t\t1.0\n" + "-3.0\t\t1.0\n": [(7.0, 0.0)],
        header + "1.2.3\t\t1.0\n": [],
        header: [],
        "": [],
        "other,columns\n1,2\n": [],
        "\xff": [],
    }.items():
        path.write_bytes(text.encode("latin-1"))
        assert read_benchmark(path) == jobs
        assert [cost.jobs for cost in costs_of(read_benchmarks([path]))] == (
            [len(jobs)] if jobs else []
        )


def test_passes_are_summed_by_suite(made):
    passes = {one.suite: one for one in read_passes(made[1].evidence)}
    # Figures 2, 4 and 5 and Tables 2 and 9: six images, ten iterations of six losses, five radii
    assert passes["losses"] == Passes("losses", 6 * 6 * 5, 6 * 6 * 5 * 11, 6 * 6 * 5 * 10)
    assert passes["clean"].backward == 0


def test_the_same_inputs_give_the_same_page(made, page, tmp_path):
    folder, parts = made
    put_together(parts._replace(evidence=parts.evidence[::-1]), folder, tmp_path / "p.html")
    assert (tmp_path / "p.html").read_text(encoding="utf-8") == page


def test_a_page_of_tables_alone_has_no_empty_section(made, tmp_path):
    _, parts = made
    table = {"table9": parts.tables["table9"]}
    make_page(table, {}, CONFIG, parts.evidence, [], tmp_path / "p.html")
    text = (tmp_path / "p.html").read_text(encoding="utf-8")
    assert text.count("<h2") == 4  # one question, settings, cost, provenance


def test_a_released_model_says_who_published_it():
    released = MODELS["fake_clean"] | {"scheme": "ddc_at", "publisher": "Xu et al. (2021)"}
    row = _model_row("released", released)
    assert row["Training"] == "DDC-AT, weights published by Xu et al. (2021)"
    assert "published" not in _model_row("trained", MODELS["fake_clean"])["Training"]


def test_sections_are_the_questions_of_what_is_shown(page):
    shown = [question.title for question in QUESTIONS if question.title in page]
    assert shown == [TABLES["table2"].question.title, "How should the iterations be spent?"]


def test_the_pages_of_one_training_seed_and_of_all_link_to_each_other(made, page, tmp_path):
    """And look for no file beside them: what a page shows is what its rule lists."""
    _, parts = made
    assert "seeds.html" not in page  # this configuration has none
    texts = []
    for over_seeds in (False, True):
        config = CONFIG | {"seeds": {"table9": []}}
        out = tmp_path / "page.html"
        make_page(parts.tables, {}, config, parts.evidence, [], out, over_seeds=over_seeds)
        texts.append(out.read_text(encoding="utf-8"))
    assert 'href="seeds.html"' in texts[0]
    assert "make\ndemo-seeds" in texts[0] or "make demo-seeds" in texts[0]
    assert 'href="index.html"' in texts[1]
    assert 'href="seeds.html"' not in texts[1]
    assert "over training seeds</h1>" in texts[1]


@pytest.fixture(scope="module")
def answered(made, tmp_path_factory):
    """Return the page with the answers to the paper's questions, and the claims' results."""
    _, parts = made
    folder = tmp_path_factory.mktemp("answered")
    headlines, claims = claims_of_tests(folder / "claims.yaml"), folder / "claims.parquet"
    make_claims(headlines, parts.long, parts.evidence, READS, PAPER, {"parquet": claims})
    out = folder / "index.html"
    more = {"claims": claims, "numbers": parts.long, "headlines": headlines}
    make_page(parts.tables, parts.figures, CONFIG, parts.evidence, [], out, **more)
    return out.read_text(encoding="utf-8"), pd.read_parquet(claims)


def test_answers_come_first_and_tables_before_the_claims(answered):
    text, _ = answered
    names = ("found", "table2", "figure5", "claims", "settings")
    places = [text.index(f'id="{name}"') for name in names]
    assert places == sorted(places)
    assert text.index('id="found"') < text.index("<nav")


def test_the_page_with_answers_is_balanced_and_its_links_lead_somewhere(answered):
    parsed = Outline()
    parsed.feed(answered[0])
    assert parsed.open == []
    assert len(parsed.ids) == len(set(parsed.ids))
    assert {link[1:] for link in parsed.links if link.startswith("#")} <= set(parsed.ids)


def test_verdicts_and_figures_of_the_answers_are_those_of_claims_and_tables(made, answered):
    text, results = answered
    results = results[results["numbers"] == "this run"].set_index("claim")["verdict"]
    said = re.findall(r'class="verdict ([\w-]+)"><a href="#run-(\w+)">', text)
    assert len(said) == 8
    assert {claim: verdict.replace("-", " ") for verdict, claim in said} == dict(
        results[[claim for _, claim in said]]
    )
    assert len({verdict for verdict, _ in said}) > 1
    table = pd.read_parquet(made[0] / "table9.parquet").set_index(
        ["model", "attack", "eps_255", "metric"]
    )["value"]
    eps = READS["table9"][0]["eps_255"][0]  # of two radii the smaller
    sea = table["fake_pir_5", "sea", eps, "acc"]
    best = min(table["fake_pir_5", loss, eps, "acc"] for loss in SEA_LOSSES)
    less = f"{abs(sea - best):.1f} points {'less' if sea < best else 'more'} than the best of them"
    assert f"At {eps}/255 four losses together leave {sea:.1f} %, {less} alone." in text


def test_names_of_models_and_attacks_in_verdicts_have_a_key(answered):
    text, results = answered
    _, _, key = text.partition('<h2 id="names">')
    lines = dict(re.findall(r'<th scope="row">(\w+)</th><td>\w+</td><td>(.*?)</td>', key))
    assert lines["pir_at_5"] == "PIR-AT, 5 steps, 5 epochs, trained for 4/255"
    judged = results[(results["numbers"] == "this run") & (results["verdict"] != "not evaluated")]
    said = set(re.findall(r"[A-Za-z]\w*", " ".join(judged["detail"])))
    assert said - set(lines) <= {"against", "acc", "miou"}


def test_the_key_has_what_is_named_and_no_more():
    place = Place(title="here", dataset="d", roles={"pir_at_5": "m", "at_5": "m", "other": "gone"})
    models = {"m": {"scheme": "clean", "epochs": 3}}
    details = ["sea 57.6 against A 57.7 (pir_at_5, 4/255, acc)", "no sea_300, and other"]
    lines = {line["Name"]: line["Meaning"] for line in key_of(details, [place], models)}
    assert list(lines) == ["pir_at_5", "sea", "A", "sea_300"]
    assert (lines["pir_at_5"], lines["A"]) == ("clean, 3 epochs", "SEA without Mask-Spherical")


def test_a_run_without_claims_has_no_key(page):
    assert 'id="names"' not in page


def test_a_run_without_claims_and_models_of_ones_own_has_no_first_screen(page):
    assert 'id="found"' not in page
