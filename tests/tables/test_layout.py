import re
import subprocess

from robustseg.tables.latex import to_latex
from robustseg.tables.layout import (
    Cell,
    Group,
    Layout,
    Row,
    head_spans,
    to_html,
    to_markdown,
    with_reported,
)
from robustseg.tables.making import make_table
from robustseg.tables.registry import TABLES
from tests.needs import LATEX, needs
from tests.synthetic import MODELS, READS, write_jobs
from tests.tables.test_experiments import MODELS as TRANSFER_MODELS
from tests.tables.test_experiments import (
    TRANSFER_READS,
    appendix_c3_inputs,
    table,
    table5_trainings,
    table6_inputs,
    transfer_rows,
)

LAYOUT = Layout(
    title="A <title> & more",
    caption="ACC in % at ε∞ = 4/255",
    stub=("who_ever",),
    columns=(("left", "ACC"), ("left", "mIoU"), ("right", "mIoU"), ("right", "mIoU")),
    groups=(
        Group("", (Row(("a|b",), (Cell("<1", bold=True), Cell("2"), Cell("3"), Cell("−4"))),)),
        Group("named", (Row(("c",), (Cell("5"),) * 4),), heads=("x", "x", "y", "")),
    ),
    notes=("A: all ≤ one",),
    label="Table 7",
)


def test_heads_merge_only_below_a_common_head():
    assert head_spans(LAYOUT, 0) == [("left", 2), ("right", 2)]
    assert head_spans(LAYOUT, 1) == [("ACC", 1), ("mIoU", 1), ("mIoU", 2)]


def test_markdown():
    assert to_markdown(LAYOUT).splitlines() == [
        "**Table 7: A \\<title\\> & more.** ACC in % at ε∞ = 4/255",
        "",
        "| who\\_ever | left ACC | left mIoU | right mIoU | right mIoU |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| a\\|b | **\\<1** | 2 | 3 | −4 |",
        "| **named** | x | x | y |  |",
        "| c | 5 | 5 | 5 | 5 |",
        "",
        "- A: all ≤ one",
    ]


def test_latex():
    lines = to_latex(LAYOUT, "seven").splitlines()
    assert lines[3] == (
        "\\caption{\\textbf{A \\ensuremath{<}title\\ensuremath{>} \\& more.} "
        "ACC in \\% at \\ensuremath{\\epsilon_\\infty} = 4/255}"
    )
    assert lines[4:-5] == [
        "\\label{tab:seven}",
        "\\small\\setlength{\\tabcolsep}{4pt}%",
        "\\sbox0{%",
        "\\begin{tabular}{lrrrr}",
        "\\toprule",
        " & \\multicolumn{2}{c}{left} & \\multicolumn{2}{c}{right} \\\\",
        "\\cmidrule(lr){2-3}\\cmidrule(lr){4-5}",
        "who\\_ever & ACC & mIoU & \\multicolumn{2}{c}{mIoU} \\\\",
        "\\midrule",
        "a\\textbar{}b & \\textbf{\\ensuremath{<}1} & 2 & 3 & \\ensuremath{-}4 \\\\",
        "\\midrule",
        "\\textit{named} & \\multicolumn{2}{c}{x} & y &  \\\\",
        "c & 5 & 5 & 5 & 5 \\\\",
    ]
    assert lines[-2] == "\\par\\smallskip {\\footnotesize A: all \\ensuremath{\\le} one}"


def test_latex_breaks_heads_and_titles_that_would_stretch_a_column():
    heads = (("SEA (4 × 300 iter.)", "a"), ("SEA (4 × 300 iter.)", "b"), ("whatever it is", "c"))
    title = "UPerNet, PIR-AT, 5 steps, 50 epochs"
    cells = (Cell("9.9"),) * 3
    layout = Layout("T", "", ("ε",), heads, (Group(title, (Row(("1",), cells),)),))
    text = to_latex(layout, "t")
    assert "\\multicolumn{2}{c}{\\shortstack{SEA\\\\(4 \\ensuremath{\\times} 300 iter.)}}" in text
    assert "\\shortstack{whatever\\\\it is}" in text
    titles = re.findall(r"multicolumn\{4\}\{l\}\{\\rlap\{\\textit\{(.*?)\}\}\}", text)
    assert titles == ["UPerNet, PIR-AT,", "5 steps,", "50 epochs"]


def test_latex_is_ascii():
    signs = "ε∞ ℓ∞ ∞ × ± − ≤ ≥ ∪ → – “a” ’ \u00a0"
    layout = Layout("T", signs, (signs,), ((signs,),), (Group(signs, ()),), (signs,))
    assert to_latex(layout, "t").isascii()


def test_html():
    text = to_html(LAYOUT, "seven")
    assert "<strong>Table 7: A &lt;title&gt; &amp; more.</strong>" in text
    assert "<td><strong>&lt;1</strong></td>" in text
    assert '<th scope="colgroup" colspan="2">left</th>' in text
    assert '<th scope="col" rowspan="2">who_ever</th>' in text
    assert "<li>A: all ≤ one</li>" in text


BESIDE = Layout(
    "T",
    "",
    ("who", "how"),
    (("x", "ACC"), ("x", "mIoU")),
    (
        Group(
            "",
            (
                Row(("net", "AT"), (Cell("88.7 ± 0.2", reported=89.0), Cell("3.0"))),
                Row(("other", "AT"), (Cell("1.0"), Cell("2.0"))),
            ),
        ),
    ),
)


def test_the_papers_numbers_stand_below_the_measured_ones_with_the_difference():
    (group,) = with_reported(BESIDE).groups
    lines = [(*row.stub, *(cell.text for cell in row.cells)) for row in group.rows]
    assert lines == [
        ("net", "AT", "88.7 ± 0.2", "3.0"),
        ("paper", "", "89.0", "–"),
        ("difference", "", "−0.3", "–"),
        ("other", "AT", "1.0", "2.0"),
    ]
    assert "not measured here" in with_reported(BESIDE).notes[-1]
    assert to_html(with_reported(BESIDE), "t").count('<tr class="beside">') == 2


def test_without_a_number_of_the_paper_a_table_stays_as_it_is():
    assert with_reported(LAYOUT) is LAYOUT


DOCUMENT = """\\documentclass{article}
\\usepackage[a4paper,margin=2.5cm]{geometry}
\\usepackage{booktabs,amsmath,graphicx}
\\begin{document}
%s
\\end{document}
"""


@needs(LATEX)
def test_all_tables_compile_and_fit_on_the_page(tmp_path):
    paper = {name for name, table in TABLES.items() if table.in_paper}
    names = [name for name in TABLES if name in paper & set(READS)]
    for name in names:
        paths = write_jobs(tmp_path / "evidence", READS[name])
        make_table(TABLES[name], paths, READS[name], MODELS, {"tex": tmp_path / f"{name}.tex"})
    for name, (rows, reads, models) in {
        "table6": table6_inputs(),
        "table11": (transfer_rows(), TRANSFER_READS, TRANSFER_MODELS),
        "appendix_c3": appendix_c3_inputs(),
    }.items():
        table(name, rows, reads, tmp_path, models)
        names.append(name)
    out = {"tex": tmp_path / "table5.tex"}
    make_table(TABLES["table5"], [], [], table5_trainings(), out)
    names.append("table5")
    assert set(names) == paper
    row = Row(("b",), (Cell("9.9"),) * 60)
    wide = Layout("W", "", ("a",), (("x",),) * 60, (Group("", (row,)),))
    signs = Layout("S", "", ("a",), (("x",),), (Group("", (Row(("[void]",), (Cell("*1"),)),) * 2),))
    more = {"odd": LAYOUT, "beside": with_reported(BESIDE), "wide": wide, "signs": signs}
    for name, layout in more.items():
        (tmp_path / f"{name}.tex").write_text(to_latex(layout, name))
        names.append(name)
    (tmp_path / "all.tex").write_text(
        DOCUMENT % "\n".join(f"\\input{{{name}}}\\clearpage" for name in names)
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert result.returncode == 0, result.stdout[-2000:]
    assert f"({len(names)} pages" in result.stdout
    assert not re.search(r"Overfull|undefined|too large", result.stdout)


def test_latex_of_many_classes_is_in_parts_that_fit_on_a_page():
    """Of one model and of two, of which each begins on a page where it fits."""
    rows = tuple(Row((f"class {n}",), (Cell("9.9"),)) for n in range(151))
    groups = (Group("net", rows), Group("b", rows[:20]))
    layout = Layout("T", "c", ("a",), (("x",),), groups, ("n",))
    *parts, end = to_latex(layout, "t").split("\\end{table}")
    assert end == "\n"
    assert [part.count("class") for part in parts] == [33, 33, 33, 33, 19, 20]
    assert [part.count("textit{net}") for part in parts] == [1, 1, 1, 1, 1, 0]
    assert [part.count("label{tab:t}") for part in parts] == [1, 0, 0, 0, 0, 0]
    assert [part.count("addtocounter{table}{-1}") for part in parts] == [0, 1, 1, 1, 1, 1]
    assert [part.count("footnotesize n") for part in parts] == [0, 0, 0, 0, 0, 1]


def test_latex_keeps_the_papers_numbers_below_their_line():
    group = with_reported(BESIDE).groups[0]
    layout = Layout("T", "", BESIDE.stub, BESIDE.columns, (Group("", group.rows * 20),))
    for part in to_latex(layout, "t").split("\\midrule")[1:]:
        assert not re.search("paper|difference", part.lstrip().splitlines()[0])


@needs(LATEX)
def test_a_table_of_many_lines_ends_on_the_page(tmp_path):
    rows = tuple(Row((f"class {n}",), (Cell("9.9"),)) for n in range(151))
    layout = Layout("T", "word " * 80, ("a",), (("x",),), (Group("net", rows),), ("note",))
    (tmp_path / "tall.tex").write_text(to_latex(layout, "tall"))
    (tmp_path / "all.tex").write_text(DOCUMENT % "\\input{tall}")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert result.returncode == 0, result.stdout[-2000:]
    assert not re.search(r"too large", result.stdout)
