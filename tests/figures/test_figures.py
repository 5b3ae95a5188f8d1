import json
import struct
from xml.etree import ElementTree

import pandas as pd
import pytest

from robustseg.attacks.losses import SEA_LOSSES
from robustseg.attacks.spec import SCHEDULES
from robustseg.errors import RobustsegError
from robustseg.figures import making
from robustseg.figures.making import make_figure
from robustseg.figures.registry import FIGURES
from tests.figures.reading import readable
from tests.synthetic import MODELS, READS, slow_acc, synthetic_rows, write_jobs

FORMATS = ("pdf", "png", "svg", "csv", "json", "parquet")
SVG = "{http://www.w3.org/2000/svg}"
MADE = [name for name in FIGURES if name in READS]
"""Those that synthetic evidence is written for."""


def draw(figure, folder, paths, reads=None):
    outputs = {kind: folder / f"{figure}.{kind}" for kind in FORMATS}
    make_figure(FIGURES[figure], paths, reads or READS[figure], MODELS, outputs)
    return outputs


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evidence")
    return {figure: write_jobs(folder / figure, READS[figure]) for figure in MADE}


@pytest.fixture(scope="module")
def drawn(jobs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    return {figure: draw(figure, folder, jobs[figure]) for figure in MADE}


@pytest.mark.parametrize("figure", MADE)
def test_every_figure_is_drawn_in_every_format(drawn, figure):
    outputs = drawn[figure]
    assert outputs["pdf"].read_bytes().startswith(b"%PDF")
    png = outputs["png"].read_bytes()
    width, height = struct.unpack(">II", png[16:24])
    assert png.startswith(b"\x89PNG")
    assert width > 1000
    assert height > 400
    root = ElementTree.fromstring(outputs["svg"].read_text(encoding="utf-8"))
    assert root.tag == f"{SVG}svg"
    assert len(list(root.iter(f"{SVG}path"))) > 10


@pytest.mark.parametrize("figure", MADE)
def test_a_figure_can_be_read_in_a_column_of_text(jobs, drawn, monkeypatch, tmp_path, figure):
    """As wide as the text of a paper, so that it is not made smaller there."""
    monkeypatch.setattr(making, "write_drawing", lambda drawing, *_: readable(drawing.canvas))
    draw(figure, tmp_path, jobs[figure])
    pdf = drawn[figure]["pdf"].read_bytes()
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf


@pytest.mark.parametrize(
    ("figure", "eps_255"), [("figure2", [8]), ("figure2", [4, 8, 12]), ("figure4", [0.25, 0.5])]
)
def test_any_number_of_panels_can_be_read(monkeypatch, tmp_path, figure, eps_255):
    monkeypatch.setattr(making, "write_drawing", lambda drawing, *_: readable(drawing.canvas))
    reads = [READS[figure][0] | {"eps_255": eps_255}]
    draw(figure, tmp_path, write_jobs(tmp_path / "e", reads), reads)


def test_the_same_evidence_gives_the_same_bytes(jobs, drawn, tmp_path):
    again = draw("figure4", tmp_path, jobs["figure4"][::-1])
    for kind in FORMATS:
        assert again[kind].read_bytes() == drawn["figure4"][kind].read_bytes()


@pytest.mark.parametrize("figure", MADE)
def test_no_clock_and_no_version_is_in_a_file(drawn, figure):
    for kind in ("pdf", "png", "svg"):
        data = drawn[figure][kind].read_bytes()
        for word in (b"CreationDate", b"dc:date", b"Software", b"Matplotlib v", b"Producer"):
            assert word not in data


def test_what_is_drawn_is_what_a_slow_loop_finds(drawn):
    numbers = pd.read_csv(drawn["figure2"]["csv"]).set_index(["attack", "eps_255"])["value"]
    schedules = synthetic_rows("fake_pir_5", "schedules", 12)
    sea = synthetic_rows("fake_pir_5", "sea", 12)
    for schedule, rows in (("constant", schedules), ("restarts", schedules), ("reduced", sea)):
        chosen = [row for row in rows if row["schedule"] == schedule]
        assert numbers[f"worst/{schedule}", 12] == pytest.approx(slow_acc(chosen))
        for loss in SEA_LOSSES:
            one = [row for row in chosen if row["loss"] == loss]
            assert numbers[f"{loss}/{schedule}", 12] == pytest.approx(slow_acc(one))


def test_figure5_counts_iterations(drawn):
    numbers = pd.read_csv(drawn["figure5"]["csv"])
    assert set(numbers["attack"]) == {"sea_5", "sea_10", "sea_30", "sea_50"}
    rows = [r for r in synthetic_rows("fake_pir_5", "iterations", 8) if r["iterations"] == 50]
    chosen = numbers.query("attack == 'sea_50' and eps_255 == 8 and metric == 'acc'")
    assert chosen["value"].item() == pytest.approx(slow_acc(rows))


def test_bars_are_as_high_as_their_numbers(jobs):
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    from robustseg.evidence.numbers import Sources
    from robustseg.evidence.queries import Evidence
    from robustseg.numbers_shown import collect

    mpl.use("Agg")
    evidence = Evidence.open("figure2", jobs["figure2"], READS["figure2"], MODELS)
    collected = collect(FIGURES["figure2"], Sources(evidence, MODELS))
    drawing = FIGURES["figure2"].draw(collected)
    numbers = collected.frame().set_index(["attack", "eps_255"])["value"]
    for axis, eps in zip(drawing.canvas.axes, (8.0, 12.0), strict=True):
        for container, schedule in zip(axis.containers, SCHEDULES, strict=True):
            heights = [bar.get_height() for bar in container]
            expected = [numbers[f"{loss}/{schedule}", eps] for loss in (*SEA_LOSSES, "worst")]
            assert heights == pytest.approx(expected)
    legend = drawing.canvas.legends[0]
    labels = [one.label for one in SCHEDULES.values()]
    assert [text.get_text() for text in legend.get_texts()] == labels
    plt.close(drawing.canvas)


@pytest.mark.parametrize("figure", MADE)
def test_title_caption_and_all_numbers_in_words_stand_beside_a_figure(drawn, figure):
    said = json.loads(drawn[figure]["json"].read_text(encoding="utf-8"))
    assert said["title"] in drawn[figure]["svg"].read_text(encoding="utf-8")
    assert "6 images of fake_scenes" in said["caption"]
    for value in pd.read_csv(drawn[figure]["csv"])["value"]:
        assert f"{value:.1f} %" in said["alt"]


def test_over_training_seeds_lines_are_as_long_as_the_spread(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(making, "write_drawing", lambda *what: seen.append(what[0]))
    paths = write_jobs(tmp_path / "e", READS["figure5"], training_seeds=(0, 1, 2))
    draw("figure5", tmp_path, paths)
    assert "Bars: one standard deviation over training seeds" in seen[0].caption
    assert "training seeds 0, 1, 2" in seen[0].caption
    frame = pd.read_parquet(tmp_path / "figure5.parquet").query("metric == 'acc'")
    wanted = frame.groupby(["eps_255", "attack"])["value"].agg(["mean", "std"])
    bars = seen[0].canvas.axes[0].collections
    found = sorted(
        ((low[1] + high[1]) / 2, (high[1] - low[1]) / 2)
        for lines in bars
        for low, high in lines.get_segments()
    )
    for one, expected in zip(found, sorted(wanted.to_numpy().tolist()), strict=True):
        assert one == pytest.approx(expected, abs=1e-6)


def test_two_models_in_one_figure_are_refused(tmp_path):
    reads = [*READS["figure2"], {**READS["figure4"][0], "eps_255": [8]}]
    with pytest.raises(
        RobustsegError, match=r"figure2 shows one model and reads fake_clean, fake_p"
    ):
        draw("figure2", tmp_path, write_jobs(tmp_path / "e", reads), reads)


def test_incomplete_evidence_is_named_and_leaves_nothing(jobs, tmp_path):
    with pytest.raises(RobustsegError, match="figure5 misses evidence of 1 job"):
        draw("figure5", tmp_path / "out", jobs["figure5"][:-1])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("figure", "labels"),
    [("figure2", ["ACC (%)"] * 2), ("figure4", ["ACC (%)", "mIoU (%)"])],
)
def test_panels_beside_each_other_have_one_scale_and_each_its_label(
    jobs, monkeypatch, tmp_path, figure, labels
):
    seen = []

    def look(drawing, numbers, out_paths):
        seen.extend((axis.get_ylim(), axis.yaxis.label) for axis in drawing.canvas.axes)

    monkeypatch.setattr(making, "write_drawing", look)
    draw(figure, tmp_path, jobs[figure])
    assert len({limits for limits, _ in seen}) == 1
    assert [label.get_text() for _, label in seen if label.get_visible()] == labels


def test_the_legend_covers_no_line(jobs, monkeypatch, tmp_path):
    def look(drawing, numbers, out_paths):
        drawing.canvas.draw_without_rendering()
        (legend,) = drawing.canvas.legends
        below = legend.get_window_extent().y1
        for axis in drawing.canvas.axes:
            assert axis.get_legend() is None
            assert axis.get_tightbbox().y0 >= below

    monkeypatch.setattr(making, "write_drawing", look)
    draw("figure5", tmp_path, jobs["figure5"])


def test_no_two_of_many_lines_look_alike(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(making, "write_drawing", lambda drawing, *_: seen.append(drawing.canvas))
    reads = [READS["figure5"][0] | {"eps_255": [0.25, 0.5, 1, 2, 4, 8, 12, 16]}]
    draw("figure5", tmp_path, write_jobs(tmp_path / "e", reads), reads)
    lines = [box.lines[0] for box in seen[0].axes[0].containers]
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 8
