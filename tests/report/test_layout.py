from robustseg.report.layout import (
    Cell,
    Group,
    Layout,
    Row,
    head_spans,
    to_html,
    to_latex,
    to_markdown,
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
    assert lines[4:-4] == [
        "\\label{tab:seven}",
        "\\begin{tabular}{lrrrr}",
        "\\toprule",
        " & \\multicolumn{2}{c}{left} & \\multicolumn{2}{c}{right} \\\\",
        "\\cmidrule(lr){2-3}\\cmidrule(lr){4-5}",
        "who\\_ever & ACC & mIoU & \\multicolumn{2}{c}{mIoU} \\\\",
        "\\midrule",
        "a|b & \\textbf{\\ensuremath{<}1} & 2 & 3 & \\ensuremath{-}4 \\\\",
        "\\midrule",
        "\\textit{named} & \\multicolumn{2}{c}{x} & y &  \\\\",
        "c & 5 & 5 & 5 & 5 \\\\",
    ]
    assert lines[-2] == "\\par\\smallskip {\\footnotesize A: all \\ensuremath{\\le} one}"


def test_html():
    text = to_html(LAYOUT, "seven")
    assert "<strong>Table 7: A &lt;title&gt; &amp; more.</strong>" in text
    assert "<td><strong>&lt;1</strong></td>" in text
    assert '<th scope="colgroup" colspan="2">left</th>' in text
    assert '<th scope="col" rowspan="2">who_ever</th>' in text
    assert "<li>A: all ≤ one</li>" in text
