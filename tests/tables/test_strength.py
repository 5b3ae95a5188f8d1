"""Which attacks are stronger, and at what price: three tables and a figure."""

import json
import re
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import sem, t

from robustseg.errors import RobustsegError
from robustseg.evidence.wording import signed
from robustseg.figures import making
from robustseg.figures.figure import Drawing
from robustseg.figures.making import make_figure
from robustseg.figures.registry import FIGURES
from robustseg.tables.making import make_table
from robustseg.tables.open_choices import standard_error
from robustseg.tables.registry import TABLES
from tests.synthetic import MODELS, synthetic_rows, write_jobs

MODEL, OTHER, SEEDS, EPS_255 = "fake_pir_5", "fake_at_5_long", (0, 1), (1.0, 8.0)
Rows = list[dict[str, Any]]


def reads_of(*suites: str, models: Sequence[str] = (MODEL,)) -> list[dict[str, Any]]:
    at = {"suites": list(suites), "eps_255": list(EPS_255), "seeds": list(SEEDS)}
    return [{"model": model, **at} for model in models]


READS = {
    "strength": reads_of("sea", "losses", "iterations"),
    "logit_scales": reads_of("sea", "scaled", "losses"),
    "open_choices": reads_of("sea", "open", models=[MODEL, OTHER]),
    "strength_by_passes": reads_of("sea", "losses", "iterations", models=[MODEL, OTHER]),
}


def make(name: str, folder: Path, **kwargs: Any) -> tuple[pd.DataFrame, str]:
    """Return the long form of a table of made-up evidence by its numbers, and what is printed."""
    reads = kwargs.pop("reads", READS[name])
    outputs = {kind: folder / f"{name}.{kind}" for kind in ("parquet", "md", "tex", "html")}
    paths = write_jobs(folder / "evidence", reads, **kwargs)
    make_table(TABLES[name], paths, reads, MODELS, outputs)
    frame = pd.read_parquet(outputs["parquet"])
    assert not frame.duplicated(["model", "training_seed", "attack", "eps_255", "metric"]).any()
    keys = ["model", "attack", "eps_255", "metric"]
    return frame.set_index(keys).sort_index(), outputs["md"].read_text("utf-8")


def rows_of(model: str, suites: Iterable[str], eps_255: float, seed: int) -> Rows:
    return [row for suite in suites for row in synthetic_rows(model, suite, eps_255, seed=seed)]


def share(row: dict[str, Any]) -> float:
    return row["pixels_correct"] / row["pixels"]


def worst(rows: Rows, model: str = MODEL, clean: bool = True) -> Rows:
    """Return of each image the row of its worst attack, or the clean one where none is worse.

    Of equal attacks the first by name, since their counts by class may differ.
    """
    found: dict[str, dict[str, Any]] = {}
    rows = sorted(rows, key=lambda row: (row["suite"], row["attack"]))
    for row in [*rows, *(synthetic_rows(model, "clean", 0.0) if clean else [])]:
        image = row["image_id"]
        if image not in found or share(row) < share(found[image]):
            found[image] = row
    return [found[image] for image in sorted(found)]


def accuracies(by_seed: Sequence[Rows]) -> list[float]:
    """Return the accuracy in percent of each image, the mean over seeds."""
    images = zip(*by_seed, strict=True)
    return [100 * sum(map(share, versions)) / len(by_seed) for versions in images]


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def check_interval(found: Any, values: Sequence[float]) -> None:
    """Compare with Student's interval, which is that on the side to which nothing is skewed."""
    low, high = t.interval(0.95, len(values) - 1, mean(values), sem(values))
    assert max(found["low"] - low, high - found["high"]) == pytest.approx(0, abs=1e-9)
    assert found["low"] <= low + 1e-9
    assert found["high"] >= high - 1e-9


SETS = {
    "sea/30": ("sea", 30),
    "losses/10": ("losses", 10),
    "iterations/5": ("iterations", 5),
    "iterations/10": ("iterations", 10),
    "iterations/50": ("iterations", 50),
}


def rows_of_set(model: str, attack: str, eps_255: float, seed: int) -> Rows:
    if attack == "all":
        return rows_of(model, ("sea", "losses", "iterations"), eps_255, seed)
    suite, iterations = SETS[attack]
    rows = rows_of(model, [suite], eps_255, seed)
    return [row for row in rows if row["iterations"] == iterations]


@pytest.mark.parametrize("eps_255", EPS_255)
def test_a_set_is_the_worst_case_of_each_seed_by_itself(tmp_path: Path, eps_255: float) -> None:
    frame, _ = make("strength", tmp_path)
    assert set(frame.loc[MODEL, :, eps_255].reset_index()["attack"]) == {*SETS, "all"}
    reference = [worst(rows_of_set(MODEL, "sea/30", eps_255, seed)) for seed in SEEDS]
    for attack in (*SETS, "all"):
        by_seed = [rows_of_set(MODEL, attack, eps_255, seed) for seed in SEEDS]
        attacked = [worst(rows) for rows in by_seed]
        acc = accuracies(attacked)
        found = frame.loc[MODEL, attack, eps_255]
        assert found.loc["acc", "value"] == pytest.approx(mean(acc))
        check_interval(found.loc["acc"], acc)
        spent = sum(r["forward_passes"] + r["backward_passes"] for rows in by_seed for r in rows)
        clean_pass = 1
        passes = spent / len(SEEDS) / len(acc) + clean_pass
        assert found.loc["passes", "value"] == pytest.approx(passes)
        mious = [slow_miou(rows) for rows in attacked]
        assert found.loc["miou", "value"] == pytest.approx(mean(mious))
        assert found.loc["miou", "low"] < mean(mious) < found.loc["miou", "high"]
        if attack != "sea/30":
            gaps = [a - b for a, b in zip(acc, accuracies(reference), strict=True)]
            assert found.loc["acc_difference", "value"] == pytest.approx(mean(gaps))
            check_interval(found.loc["acc_difference"], gaps)
    assert (MODEL, "sea/30", eps_255, "acc_difference") not in frame.index


def slow_miou(rows: Rows) -> float:
    sums = [
        [sum(map(int, counts)) for counts in zip(*column, strict=True)]
        for column in (
            [row["intersection"] for row in rows],
            [row["union"] for row in rows],
        )
    ]
    return 100 * mean([part / whole for part, whole in zip(*sums, strict=True)])


def test_the_clean_image_is_a_candidate_beside_a_single_attack(tmp_path: Path) -> None:
    rows = {
        ("losses", eps_255, seed): [
            row for row in rows_of(MODEL, ["losses"], eps_255, seed) if row["loss"] == "ce"
        ]
        for eps_255, seed in product(EPS_255, SEEDS)
    }
    frame = made_of(rows, "strength", tmp_path)
    attacked = [worst(rows["losses", 1.0, seed]) for seed in SEEDS]
    assert any(row["loss"] == "none" for some in attacked for row in some)
    found = frame.loc[(MODEL, "losses/10", 1.0, "acc"), "value"]
    assert found == pytest.approx(mean(accuracies(attacked)))


def test_an_attack_without_a_radius_is_no_set_at_the_largest(tmp_path: Path) -> None:
    sea = synthetic_rows(MODEL, "sea", 255.0, seed=0)
    words = {"suite": "alma", "attack": "alma_prox-0.99-50", "optimizer": "alma_prox"}
    alma = [row | words for row in sea if row["loss"] == "js"]
    at = {"model": MODEL, "suites": ["sea", "alma"], "eps_255": [255.0], "seeds": [0]}
    rows = {("sea", 255.0, 0): sea, ("alma", 255.0, 0): alma}
    frame = made_of(rows, "strength", tmp_path, [at])
    assert {attack for _, attack, _, _ in frame.index} == {"sea/30", "all"}
    assert (
        frame.loc[(MODEL, "all", 255.0, "passes"), "value"]
        == frame.loc[(MODEL, "sea/30", 255.0, "passes"), "value"]
    )
    assert frame.loc[(MODEL, "all", 255.0, "acc_difference"), "value"] == 0


def test_the_first_suite_that_is_listed_is_the_reference(tmp_path: Path) -> None:
    """At its largest budget: not the last in the order of names, nor the first."""
    _, printed = make("strength", tmp_path / "a")
    lines = re.findall(r"^\| (\S+) \| (\d+) \|.*$", printed, re.M)
    assert lines[:5] == [
        ("sea", "30"),
        ("losses", "10"),
        *[("iterations", n) for n in ["5", "10", "50"]],
    ]
    assert re.search(r"^\| sea \| 30 \|.*\| reference \|$", printed, re.M)
    frame, printed = make("strength", tmp_path / "b", reads=reads_of("iterations", "sea"))
    assert re.search(r"^\| iterations \| 50 \|.*\| reference \|$", printed, re.M)
    assert printed.count("reference |") == len(EPS_255)
    one = frame.loc[MODEL, "sea/30", 8.0, "acc_difference"]
    shown = f"{one['value']:+.2f} ({one['low']:+.2f} to {one['high']:+.2f})".replace("-", "−")
    assert shown in printed
    assert printed.count("| all together |") == len(EPS_255)


def test_each_radius_has_the_reference_of_its_own_entry(tmp_path: Path) -> None:
    at = [(1.0, ["losses", "sea"]), (8.0, ["sea", "losses"])]
    reads = [{"model": MODEL, "suites": suites, "eps_255": [eps]} for eps, suites in at]
    frame, _ = make("strength", tmp_path, reads=reads)
    compared = {
        (attack, eps) for _, attack, eps, metric in frame.index if metric == "acc_difference"
    }
    assert compared == {("sea/30", 1.0), ("losses/10", 8.0), ("all", 1.0), ("all", 8.0)}


def test_sets_over_training_seeds_show_their_spread(tmp_path: Path) -> None:
    reads = [{"model": MODEL, "suites": ["sea", "losses"], "eps_255": [8]}]
    frame, printed = make("strength", tmp_path, reads=reads, training_seeds=(0, 1, 2))
    gaps = frame.loc[(MODEL, "losses/10", 8.0, "acc_difference"), "value"]
    assert len(gaps) == 3
    assert f"{gaps.mean():+.2f} ± {gaps.std():.2f}".replace("-", "−") in printed


@pytest.mark.parametrize("name", ["strength", "logit_scales"])
def test_suites_with_other_attack_seeds_are_not_compared(tmp_path: Path, name: str) -> None:
    reads = [*reads_of("sea"), {"model": MODEL, "suites": ["scaled"], "eps_255": [8]}]
    reads[0]["eps_255"] = [8]
    with pytest.raises(
        RobustsegError, match=r"reads \[0, 1\] of sea and \[0\] of scaled on fake_p"
    ):
        make(name, tmp_path, reads=reads)


LINES = {
    "Bal-CE": {0: "bal_ce", 10: "bal_ce@10"},
    "JS": {0: "js", 3: "js@3", 10: "js@10"},
    "Mask-CE": {0: "mask_ce"},
    "Tsallis": {10: "tsallis@10"},
    "Tsallis, q = 0": {0: "tsallis:0:0", 10: "tsallis:0:0@10"},
}


def test_losses_stand_in_their_usual_order(tmp_path: Path) -> None:
    _, printed = make("logit_scales", tmp_path)
    block = printed.split("8/255: APGD, red-ε, 30 iterations** |")[1]
    found = re.findall(r"^\| ([A-Z][^|]*) \|", block, re.M)
    assert found == ["Bal-CE", "JS", "Mask-CE", "Mask-Sph.", "Tsallis", "Tsallis, q = 0"]


def test_scales_stand_beside_each_other_and_the_lowest_is_bold(tmp_path: Path) -> None:
    frame, printed = make("logit_scales", tmp_path)
    title = "| **UPerNet + ConvNeXt (demo size), PIR-AT, 5 steps, 5 epochs, trained for 4/255, "
    block = printed.split(f"{title}8/255: APGD, red-ε, 30 iterations** |")[1]
    rows = [row for seed in SEEDS for row in rows_of(MODEL, ("sea", "scaled"), 8.0, seed)]
    for label, members in LINES.items():
        accs = {}
        for margin, member in members.items():
            name = f"apgd-{member}-reduced-30"
            values = [share(row) for row in rows if row["attack"] == name]
            accs[margin] = round(100 * mean(values), 9)
            assert frame.loc[(MODEL, name, 8.0, "acc"), "value"] == pytest.approx(accs[margin])
        lowest = min(f"{acc:.1f}" for acc in accs.values()) if len(accs) > 1 else None
        texts = [f"{accs[margin]:.1f}" if margin in accs else "–" for margin in (0, 3, 10)]
        marked = [f"**{text}**" if text == lowest else text for text in texts]
        assert f"| {label} | {' | '.join(marked)} |" in block


@pytest.mark.parametrize("eps_255", EPS_255)
def test_the_worst_case_of_a_scale_is_over_losses_that_all_scales_have(
    tmp_path: Path, eps_255: float
) -> None:
    """JS alone was run at 3; a candidate more is the clean image."""
    frame, printed = make("logit_scales", tmp_path)
    for margin, member in LINES["JS"].items():
        rows = [rows_of(MODEL, ("sea", "scaled"), eps_255, seed) for seed in SEEDS]
        name = f"apgd-{member}-reduced-30"
        attacked = [worst([row for row in some if row["attack"] == name]) for some in rows]
        word = f"worst@{margin}-apgd-reduced-30-default"
        found = frame.loc[(MODEL, word, eps_255, "acc"), "value"]
        assert found == pytest.approx(mean(accuracies(attacked)))
    assert printed.count("| worst case |") == len(EPS_255)


def test_losses_at_one_scale_each_compare_nothing(tmp_path: Path) -> None:
    rows: dict[tuple[str, float, int], Rows] = {}
    for eps_255, seed in product(EPS_255, SEEDS):
        found = rows_of(MODEL, ["scaled"], eps_255, seed)
        kept = ("apgd-js@3-reduced-30", "apgd-bal_ce@10-reduced-30")
        rows["scaled", eps_255, seed] = [row for row in found if row["attack"] in kept]
    with pytest.raises(RobustsegError, match=r"of two scales on fake_pir_5 at 1/255; name js and"):
        made_of(rows, "logit_scales", tmp_path)


def test_losses_that_all_scales_have_are_taken_together(tmp_path: Path) -> None:
    """Without JS at 3, both Bal-CE, JS and Tsallis with q = 0 are at 0 and 10."""
    rows = {
        (suite, eps_255, seed): [
            row for row in (rows_of(MODEL, [suite], eps_255, seed)) if row["logit_margin"] != 3
        ]
        for suite, eps_255, seed in product(("sea", "scaled"), EPS_255, SEEDS)
    }
    common = ["bal_ce", "js", "tsallis:0:0"]
    frame = made_of(rows, "logit_scales", tmp_path)
    for margin, end in ((0, ""), (10, "@10")):
        names = {f"apgd-{member}{end}-reduced-30" for member in common}
        attacked = [
            worst(
                [
                    row
                    for suite in ("sea", "scaled")
                    for row in rows[suite, 8.0, seed]
                    if row["attack"] in names
                ]
            )
            for seed in SEEDS
        ]
        word = f"worst@{margin}-apgd-reduced-30-default"
        found = frame.loc[(MODEL, word, 8.0, "acc"), "value"]
        assert found == pytest.approx(mean(accuracies(attacked)))


def made_of(
    rows: dict[tuple[str, float, int], Rows],
    name: str,
    folder: Path,
    reads: list[dict[str, Any]] | None = None,
) -> pd.DataFrame:
    """Return the long form of a table of these rows and the clean ones."""
    from robustseg.evidence.writing import write_evidence

    reads = reads or reads_of(*dict.fromkeys(suite for suite, _, _ in rows))
    paths = []
    every = {**rows, ("clean", 0.0, 0): synthetic_rows(MODEL, "clean", 0.0)}
    for (suite, eps_255, seed), some in every.items():
        path = folder / suite / MODEL / "seed0" / f"eps{eps_255:g}" / f"seed{seed}-shard0.parquet"
        write_evidence(path, some, {})
        paths.append(path)
    out = folder / f"{name}.parquet"
    outputs = {"parquet": out, "md": folder / f"{name}.md"}
    make_table(TABLES[name], paths, reads, MODELS, outputs)
    return pd.read_parquet(out).set_index(["model", "attack", "eps_255", "metric"]).sort_index()


PAIRS = {
    f"apgd-{loss}-reduced-30-{choice}": f"apgd-{loss}-reduced-30"
    for loss, choice in product(("bal_ce", "js"), ("lambda_whole", "checkpoints_floor"))
}


def pairs_of(attack: str, model: str, eps_255: float) -> list[tuple[list[float], list[float]]]:
    """Return for each seed the accuracies of all images with the default, and with the choice."""
    found = []
    for seed in SEEDS:
        rows = rows_of(model, ("sea", "open"), eps_255, seed)
        both = ([row for row in rows if row["attack"] == name] for name in (PAIRS[attack], attack))
        before, after = (accuracies([worst(some, model, clean=False)]) for some in both)
        found.append((before, after))
    return found


def jackknife(gaps: Sequence[Sequence[float]]) -> float:
    """Return the standard error of the mean over images, all pairs of an image left out at once."""
    images = len(gaps[0])
    left = [
        mean([mean([v for at, v in enumerate(gap) if at != out]) for gap in gaps])
        for out in range(images)
    ]
    return float(np.sqrt((images - 1) * np.var(left)))


@pytest.mark.parametrize("attack", PAIRS)
def test_choices_are_compared_in_pairs(tmp_path: Path, attack: str) -> None:
    frame, printed = make("open_choices", tmp_path)
    every = []
    for model, eps_255 in product((OTHER, MODEL), EPS_255):
        pairs = pairs_of(attack, model, eps_255)
        every += pairs
        check_choice(frame.loc[model, attack, eps_255], pairs, printed)
    over_all = frame.loc[f"{OTHER}, {MODEL}", f"{attack}/all", 0.0]
    line = check_choice(over_all, every, printed)
    assert f"| all |  | {line}" in printed
    assert len(every) == 8


def check_choice(
    found: pd.DataFrame, pairs: Sequence[tuple[list[float], list[float]]], printed: str
) -> str:
    """Compare numbers with those of pairs, and return what must be printed of them."""
    before, after = (mean([mean(pair[side]) for pair in pairs]) for side in (0, 1))
    gaps = [[b - a for a, b in zip(*pair, strict=True)] for pair in pairs]
    more = sum(mean(gap) > 0 for gap in gaps)
    error = jackknife(gaps)
    value = found["value"]
    assert value["default_acc"] == pytest.approx(before)
    assert value["acc"] == pytest.approx(after)
    assert value["acc_difference"] == pytest.approx(after - before)
    assert value["difference_error"] == pytest.approx(error)
    assert value["more_often"] == pytest.approx(100 * more / len(pairs))
    texts = [f"{one:.1f}" for one in (before, after)]
    marked = [f"**{text}**" if text == min(texts) else text for text in texts]
    gap = f"{signed(after - before, 2)} ± {error:.2f}"
    line = f"{' | '.join(marked)} | {gap} | {more} of {len(pairs)} |"
    assert line in printed
    return line


def test_the_standard_error_knows_that_pairs_share_images() -> None:
    """Drawn many times, the mean spreads as much: images by data set, the same for its pairs."""
    draw = np.random.default_rng(0)
    sizes, pairs = {"a": 12, "b": 20}, {"a": 3, "b": 1}

    def gaps() -> list[list[Any]]:
        return [
            [image + draw.normal(0, 0.1, sizes[name]) for _ in range(pairs[name])]
            for name in sizes
            for image in [draw.normal(0, 1, sizes[name])]
        ]

    drawn = [gaps() for _ in range(4000)]
    means = [np.mean([gap.mean() for some in one for gap in some]) for one in drawn]
    errors = [standard_error(one) for one in drawn]
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(means), rel=0.05)


def test_a_single_image_has_no_standard_error(tmp_path: Path) -> None:
    frame, printed = make("open_choices", tmp_path, images=1)
    assert "difference_error" not in frame.reset_index()["metric"].to_list()
    assert "nan" not in printed


def test_a_choice_that_changes_nothing_has_one_line(tmp_path: Path) -> None:
    """Here all rows of Bal-CE with lambda_whole, and of JS at 1/255 alone."""
    rows = {
        (suite, eps_255, seed): rows_of(MODEL, [suite], eps_255, seed)
        for suite, eps_255, seed in product(("sea", "open"), EPS_255, SEEDS)
    }
    for (suite, eps_255, seed), some in rows.items():
        for row in some:
            same = row["loss"] == "bal_ce" or (row["loss"] == "js" and eps_255 == 1)
            if suite == "open" and row["choice"] == "lambda_whole" and same:
                name = row["attack"].removesuffix("-lambda_whole")
                (twin,) = (
                    other
                    for other in rows["sea", eps_255, seed]
                    if (other["attack"], other["image_id"]) == (name, row["image_id"])
                )
                counts = ("pixels_correct", "intersection", "union", "labelled")
                row |= {count: twin[count] for count in counts}
    made_of(rows, "open_choices", tmp_path)
    lines = (tmp_path / "open_choices.md").read_text("utf-8").split("\n")
    bal_ce, js = (
        lines.index(next(line for line in lines if f"**{label}, red" in line and "lambda" in line))
        for label in ("Bal-CE", "JS")
    )
    assert re.fullmatch(r"\| all \| .* 0\.00 ± 0\.00 \| 0 of 4 \|", lines[bal_ce + 1])
    assert lines[bal_ce + 2].startswith("| **JS")
    assert "| 1/255 |" in lines[js + 1]
    assert "| 0.00 ± 0.00 | 0 of 2 |" in lines[js + 1]
    assert lines[js + 3].startswith("| all |")


def test_attacks_without_a_choice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        RobustsegError, match=r"open_choices reads no attack on fake_pir_5 at 1/255 wit"
    ):
        make("open_choices", tmp_path, reads=reads_of("sea"))


FORMATS = ("pdf", "png", "svg", "csv", "json", "parquet")


@pytest.fixture(scope="module")
def figure(tmp_path_factory: pytest.TempPathFactory) -> tuple[Drawing, dict[str, Path]]:
    """Return the figure as it is drawn, and its files."""
    folder = tmp_path_factory.mktemp("figure")
    name, drawings = "strength_by_passes", []
    paths = write_jobs(folder / "evidence", READS[name])
    outputs = {kind: folder / f"{name}.{kind}" for kind in FORMATS}
    write = making.write_drawing

    def look(drawing: Drawing, *rest: Any) -> None:
        drawings.append(drawing)
        write(drawing, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making, "write_drawing", look)
        make_figure(FIGURES[name], paths, READS[name], MODELS, outputs)
    return drawings[0], outputs


def test_points_lie_at_passes_and_acc_of_the_sets(
    figure: tuple[Drawing, dict[str, Path]],
) -> None:
    drawing, outputs = figure
    long = pd.read_csv(outputs["csv"]).set_index(["model", "attack", "eps_255", "metric"])
    long = long.sort_index()
    frame = long["value"]
    panels = product((OTHER, MODEL), EPS_255)
    axes = drawing.canvas.axes
    for axis, (model, eps_255) in zip(axes, panels, strict=True):
        assert axis.get_title() == f"{model}, ε = {eps_255:g}/255"
        assert axis.get_xscale() == "log"
        expected, bars = [], {}
        other = accuracies([worst(rows_of_set(model, "sea/30", eps_255, s), model) for s in SEEDS])
        for attack, (_, budget) in SETS.items():
            by_seed = [worst(rows_of_set(model, attack, eps_255, s), model) for s in SEEDS]
            acc, passes = (frame[model, attack, eps_255, m] for m in ("acc", "passes"))
            assert acc == pytest.approx(mean(accuracies(by_seed)))
            expected.append((passes, acc, str(budget)))
            if attack == "sea/30":
                bars[passes] = [acc, acc]
            else:
                gap = long.loc[(model, attack, eps_255, "acc_difference")]
                bars[passes] = [mean(other) + gap["low"], mean(other) + gap["high"]]
        labels = [(*text.xy, text.get_text()) for text in axis.texts]
        assert labels == expected
        lines = [line.lines[0].get_xydata().tolist() for line in axis.containers]
        assert [point for line in lines for point in line] == [list(p[:2]) for p in expected]
        assert [len(line) for line in lines] == [1, 1, 3]
        for line in axis.containers:
            for (place, low), (_, high) in line.lines[2][0].get_segments():
                assert [low, high] == pytest.approx(bars[place])
        reference = axis.lines[-1].get_ydata()
        assert set(reference) == {frame[model, "sea/30", eps_255, "acc"]}
    (legend,) = drawing.canvas.legends
    assert [text.get_text() for text in legend.get_texts()] == ["sea", "losses", "iterations"]


def test_the_figure_says_in_words_what_it_shows(figure: tuple[Drawing, dict[str, Path]]) -> None:
    _, outputs = figure
    said = json.loads(outputs["json"].read_text("utf-8"))
    frame = pd.read_csv(outputs["csv"])
    for metric, value in zip(frame["metric"], frame["value"], strict=True):
        words = {"acc": f"ACC {value:.1f} %", "passes": f"after {value:,.0f} passes"}
        assert words.get(metric, "") in said["alt"]
    assert "attack seeds 0, 1" in said["caption"]
    assert outputs["pdf"].read_bytes().startswith(b"%PDF")
