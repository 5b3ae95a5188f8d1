"""The whole workflow for real, on next to nothing: results, reruns, killed jobs, damaged files.

The tests share one run and follow one another: those that change it are at the end.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from robustseg.attacks.losses import SEA_LOSSES
from robustseg.config import load_config
from robustseg.evidence.findings import CHECKS, FINDINGS_KEY
from robustseg.evidence.reading import read_evidence, read_opinions, read_provenance
from robustseg.figures.registry import FIGURES
from robustseg.plan.costs import jobs_of
from tests.workflow.running import (
    MATCHBOX,
    command,
    environment,
    matchbox,
    planned,
    snakemake,
)

pytestmark = pytest.mark.timeout(900)  # the first test waits for the whole run

RUN = Path("results", "matchbox")
TABLES_MADE = [*yaml.safe_load(MATCHBOX.read_text())["tables"]]
CPU = ["--cores", "2", "--quiet", "reason"]
CLEAN = Path("attacks", "clean", "pir_at_5", "seed0", "eps0", "seed0-shard0.parquet")
SEA = RUN / "attacks" / "sea" / "pir_at_5" / "seed0" / "eps4" / "seed0-shard0.parquet"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run everything once and return the folder."""
    folder = tmp_path_factory.mktemp("matchbox")
    run = snakemake(*CPU, "--configfile", MATCHBOX, "--", "all", "seeds", folder=folder)
    assert run.returncode == 0, run.stdout
    return folder


def plan(folder: Path, config: Path = MATCHBOX, target: str = "all") -> dict[str, int]:
    run = snakemake("--dry-run", "--configfile", config, "--", target, folder=folder)
    assert run.returncode == 0, run.stdout
    return planned(run.stdout)


def test_everything_is_there(finished: Path) -> None:
    run = finished / RUN
    for folder, tables, figures in (
        ("tables", TABLES_MADE, []),
        ("figures", [], FIGURES),
        ("seeds", ["table4"], ["figure2"]),
    ):
        for table in tables:
            for suffix in ("parquet", "csv", "md", "tex", "html", "json"):
                assert (run / folder / f"{table}.{suffix}").stat().st_size > 0
        for figure in figures:
            for suffix in ("pdf", "png", "svg", "csv", "json", "parquet"):
                assert (run / folder / f"{figure}.{suffix}").stat().st_size > 0
    for folder in ("claims", "seeds"):
        for suffix in ("parquet", "csv", "md", "html"):
            assert (run / folder / f"claims.{suffix}").stat().st_size > 0
    over_seeds = (run / "report" / "seeds.html").read_text()
    assert "Table 4" in over_seeds
    assert "over training seeds" in over_seeds
    page = (run / "report" / "index.html").read_text()
    assert "<table" in page
    assert "<svg" in page
    assert not list(run.rglob("checkpoint.pt"))
    assert not list(run.rglob("*.part*"))


def test_every_job_left_a_log_and_its_cost(finished: Path) -> None:
    run = finished / RUN
    jobs = len(list(run.glob("attacks/**/*.parquet")))
    assert len(list(run.glob("logs/attacks/*.log"))) == jobs
    assert len(list(run.glob("benchmarks/attacks/*.tsv"))) == jobs
    log = (run / "logs" / "models" / "pir_at_5-seed0.log").read_text()
    assert "[train pir_at_5, seed 0]" in log
    for kind in ("backbones", "models", "attacks", "gallery"):
        logs = list(run.glob(f"logs/{kind}/*.log"))
        assert logs
        assert all("100%" in path.read_text() for path in logs), logs


def test_evidence_is_what_was_asked_for(finished: Path) -> None:
    rows = read_evidence([finished / SEA])
    assert set(rows["loss"]) == set(SEA_LOSSES)
    assert set(rows["eps_255"]) == {4.0}
    assert set(rows["model"]) == {"pir_at_5"}
    assert len(rows) == 4 * 2
    assert read_provenance(finished / SEA)["device"] == "cpu"


def test_tables_hold_numbers_of_the_evidence(finished: Path) -> None:
    table = pq.read_table(finished / RUN / "tables" / "table9.parquet").to_pandas()
    evidence = read_evidence([finished / SEA])
    worst = evidence.assign(acc=evidence["pixels_correct"] / evidence["pixels"])
    expected = 100 * worst.groupby("image_id", observed=True)["acc"].min().mean()
    shown = table[(table["attack"] == "sea") & (table["metric"] == "acc") & (table["eps_255"] == 4)]
    assert isinstance(shown, pd.DataFrame)
    assert shown["value"].tolist() == pytest.approx([expected])


def test_the_plan_knows_the_passes_on_record(finished: Path) -> None:
    config = load_config(yaml.safe_load(MATCHBOX.read_text()), [MATCHBOX])
    checked = 0
    for name in [*config.tables, *config.figures]:
        for job in jobs_of(config, name):
            if job.rule != "attack_model":
                continue
            path = Path(RUN, "attacks", "{suite}/{model}/seed{training_seed}/eps{eps_255}")
            file = path / "seed{seed}-shard{shard}.parquet"
            rows = read_evidence([finished / str(file).format(**dict(job.wildcards))])
            forward = sum(work.forward + work.attack for work in job.work)
            backward = sum(work.attack for work in job.work)
            spent = rows["forward_passes"].sum(), rows["backward_passes"].sum()
            if (rows["pixels_correct"] > 0).all():  # no image left early
                assert spent == (forward, backward), job
                checked += 1
            assert spent <= (forward, backward), job
    assert checked > 10


DOUBT = RUN / "attacks" / "doubt" / "pir_at_5" / "seed0" / "eps4" / "seed0-shard0.parquet"


def test_a_second_opinion_is_on_record_in_the_table_and_on_the_page(finished: Path) -> None:
    rows = read_evidence([finished / DOUBT])
    assert {"doubt-random_corners-10", "doubt-transfer-clean-apgd-"} <= {
        re.sub(r"(transfer-clean-apgd-).*", r"\1", name) for name in rows["attack"].unique()
    }
    assert set(rows["suite"]) == {"doubt"}
    (opinion,) = read_opinions(finished / DOUBT)
    assert (opinion.eps_255, opinion.images, len(opinion.findings)) == (4, 2, len(CHECKS))
    sea, clean = (
        read_evidence([path]).groupby("image_id", observed=True)["pixels_correct"].min()
        for path in (finished / SEA, finished / RUN / CLEAN)
    )
    shares = np.minimum(sea, clean) / (32 * 32)
    assert opinion.acc == pytest.approx(100 * shares.mean())
    numbers = pd.read_parquet(finished / RUN / "tables" / "second_opinions.parquet")
    shown = numbers.set_index(["attack", "metric"])["value"]
    assert shown["doubted", "acc"] == opinion.acc
    assert shown["found", "acc"] == opinion.found
    page = (finished / RUN / "report" / "index.html").read_text()
    assert f"pir_at_5 at 4/255: {opinion.verdict}." in page


def test_a_second_opinion_costs_about_what_the_plan_says(finished: Path) -> None:
    """Of rows on record; the attack without a radius is not among them."""
    config = load_config(yaml.safe_load(MATCHBOX.read_text()), [MATCHBOX])
    (job,) = (job for job in jobs_of(config, "second_opinions") if job.rule == "doubt_model")
    rows = read_evidence([finished / DOUBT])
    spent = rows["forward_passes"].sum() + rows["backward_passes"].sum()
    wanted = sum(work.forward + 2 * work.attack for work in job.work)
    assert 0.4 * wanted < spent < 1.5 * wanted


def test_the_plan_tells_what_is_done(finished: Path) -> None:
    run = snakemake(*CPU, "--configfile", MATCHBOX, "--", "plan", folder=finished)
    assert run.returncode == 0, run.stdout
    table = (finished / RUN / "plan" / "plan.md").read_text()
    (everything,) = [line for line in table.splitlines() if line.startswith("| everything")]
    _, _, jobs, done, _, _, left, *_ = (part.strip() for part in everything.split("|"))
    assert jobs == done != "0"
    assert left == "0"
    assert everything in run.stdout


def test_a_second_run_does_nothing(finished: Path) -> None:
    run = snakemake(*CPU, "--configfile", MATCHBOX, "--", "all", folder=finished)
    assert run.returncode == 0
    assert "Nothing to be done" in run.stdout


def test_a_report_has_captions_and_needs_no_network(finished: Path, tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    nowhere = {f"{kind}_proxy": "http://127.0.0.1:9" for kind in ("http", "https", "all")}
    arguments = ["--configfile", MATCHBOX, "--report", target, "--", "all", "seeds"]
    run = snakemake(*arguments, folder=finished, **nowhere)
    assert run.returncode == 0, run.stdout
    report = target.read_text(encoding="utf-8")
    assert "the run &quot;matchbox&quot;" in report
    start = re.search(r'var results = (?={"results)', report)
    assert start
    results, _ = json.JSONDecoder().raw_decode(report, start.end())
    captions = {Path(path).stem: result["caption"] for path, result in results.items()}
    others = {"figure1", "figure8", "claims", "index", "seeds"}
    assert set(captions) >= {*TABLES_MADE, *FIGURES, *others}
    for name, caption in captions.items():
        assert re.match(r"<p>\w[^<]{40,}", caption), (name, caption)
        assert "{" not in caption
    assert "pir_at_5</tt>: iterations, sea at 4/255</li>" in captions["figure5"]
    assert "pir_at_5</tt>: sea at 4/255; attack seeds 0, 1" in captions["table10"]
    assert "pir_at_5</tt>: alma<" in captions["figure6"]


SHOWN = {"make_claims": 1, "make_page": 1}


@pytest.mark.parametrize(
    ("key", "value", "jobs"),
    [
        # One suite: its attacks, and what reads them; nothing is trained.
        (
            "attacks.suites.iterations.iterations",
            [5],
            {"attack_model": 1, "make_figure": 1, **SHOWN},
        ),
        # PGD's step at a radius: two models are attacked with it, for Table 1.
        (
            "attacks.suites.baselines.step_size",
            {4: 5e-3},
            {"attack_model": 2, "make_table": 1, **SHOWN},
        ),
        # A step at a radius that nobody asks for is only shown on the page.
        ("attacks.suites.baselines.step_size", {4: 4e-3, 8: 5e-3}, {"make_page": 1}),
        # Memory, not results.
        ("attacks.batch_size", 1, {"make_page": 1}),
        # A second opinion, of which the paper claims nothing.
        (
            "attacks.suites.doubt.iterations",
            4,
            {"doubt_model": 1, "make_table": 1, "make_page": 1},
        ),
        # A training seed that what is made for one seed does not read.
        ("training_seeds", [0, 1, 2], {"make_page": 1}),
        # A model: it alone is trained again, attacked, and shown.
        (
            "models.half_at_3.epochs",
            2,
            # Two tables: the one that reads it, and that of the configuration.
            {"train_model": 1, "evaluate_clean": 1, "attack_model": 2, "make_table": 2, **SHOWN},
        ),
        # The source of a transfer attack: what is carried over from it is found again.
        (
            "attacks.suites.transfer.sources",
            ["half_at_3"],
            {"attack_model": 1, "make_table": 1, **SHOWN},
        ),
        (
            "attacks.suites.alma.iterations",
            4,
            {"attack_model": 1, "make_figure": 1, **SHOWN},
        ),
        (
            "gallery.iterations",
            4,
            {"attack_gallery": 1, "make_picture": 1, "make_page": 1},
        ),
        # A table of its own.
        ("tables.table9.0.eps_255", [4, 8], {"attack_model": 1, "make_table": 1, **SHOWN}),
    ],
)
def test_a_change_repeats_what_depends_on_it(
    finished: Path, tmp_path: Path, key: str, value: object, jobs: dict[str, int]
) -> None:
    assert plan(finished, matchbox(tmp_path, **{key: value})) == jobs


def test_a_comment_repeats_nothing(finished: Path, tmp_path: Path) -> None:
    commented = tmp_path / "commented.yaml"
    commented.write_text("# a comment\n" + MATCHBOX.read_text())
    assert plan(finished, commented) == {}


def test_one_table_after_another_shares_evidence(finished: Path) -> None:
    assert plan(finished, target="table9") == {}
    removed = finished / RUN / "tables" / "table9.tex"
    removed.rename(removed.with_suffix(".kept"))
    assert plan(finished, target="table9") == {"make_table": 1}
    assert plan(finished, target="table10") == {}
    removed.with_suffix(".kept").rename(removed)


def test_a_changed_attack_that_is_killed_continues_to_the_same_evidence(
    finished: Path, tmp_path: Path
) -> None:
    changed = matchbox(tmp_path, **{"attacks.suites.iterations.iterations": [300]})
    arguments = [*CPU, "--configfile", changed, "--"]
    evidence = finished / RUN / "attacks/iterations/pir_at_5/seed0/eps4/seed0-shard0.parquet"
    weights = finished / RUN / "models/pir_at_5/seed0/weights.safetensors"
    trained = weights.stat().st_mtime_ns
    parts = evidence.with_suffix(".parts")

    kill_when(lambda: len(list(parts.glob("*.json"))) >= 2, *arguments, "figure5", folder=finished)
    assert 2 <= len(list(parts.glob("*.json"))) < 4
    assert not evidence.exists()

    run = snakemake(*arguments, "figure5", folder=finished)
    assert run.returncode == 0, run.stdout
    assert planned(run.stdout) == {"attack_model": 1, "make_figure": 1}
    assert not parts.exists()
    continued = pq.read_table(evidence)
    assert set(continued["iterations"].to_pylist()) == {300}
    assert weights.stat().st_mtime_ns == trained

    run = snakemake("--force", *arguments, evidence.relative_to(finished), folder=finished)
    assert run.returncode == 0, run.stdout
    assert pq.read_table(evidence) == continued


def test_second_opinions_that_are_killed_go_on_and_radii_together_say_what_radii_apart_do(
    finished: Path, tmp_path: Path
) -> None:
    changes = {
        "tables.second_opinions.0.eps_255": [2, 6],  # of no other test
        "attacks.suites.doubt.iterations": 200,
    }
    apart = matchbox(tmp_path, "apart.yaml", **changes)
    together = tmp_path / "together.yaml"
    together.write_text(apart.read_text().replace("shards: 1", "shards: 1\n  radii: together"))
    run = snakemake(*CPU, "--configfile", apart, "--", "second_opinions", folder=finished)
    assert run.returncode == 0, run.stdout
    assert planned(run.stdout) == {"attack_model": 2, "doubt_model": 2, "make_table": 1}
    table = (finished / RUN / "tables" / "second_opinions.csv").read_text()

    folder = finished / DOUBT.parents[1]
    whole = folder / "eps2,6" / DOUBT.name
    parts = whole.with_suffix(".parts")
    arguments = [*CPU, "--configfile", together, "--", "second_opinions"]
    kill_when(lambda: len(list(parts.glob("*.json"))) >= 9, *arguments, folder=finished)
    assert not whole.exists()
    run = snakemake(*arguments, folder=finished)
    assert run.returncode == 0, run.stdout
    assert planned(run.stdout)["doubt_model"] == 1
    assert not parts.exists()
    files = [folder / f"eps{eps_255}" / DOUBT.name for eps_255 in (2, 6)]
    assert pq.read_table(whole).equals(pa.concat_tables(map(pq.read_table, files)))
    assert read_opinions(whole) == [one for file in files for one in read_opinions(file)]
    compared = {one.check: one for one in read_opinions(whole)[0].findings}["falls_with_radius"]
    assert compared.figure is not None
    assert FINDINGS_KEY not in read_provenance(whole)
    assert (finished / RUN / "tables" / "second_opinions.csv").read_text() == table


def test_radii_together_hold_the_rows_of_radii_apart(finished: Path, tmp_path: Path) -> None:
    """Also where the one job was killed at its second radius."""
    changes = {
        "figures.figure5.0.eps_255": [4, 8],
        "attacks.suites.iterations.iterations": [100],
    }
    apart = matchbox(tmp_path, "apart.yaml", **changes)
    together = tmp_path / "together.yaml"
    together.write_text(apart.read_text().replace("shards: 1", "shards: 1\n  radii: together"))
    folder = finished / RUN / "attacks/iterations/pir_at_5/seed0"
    name = "seed0-shard0.parquet"
    run = snakemake(*CPU, "--configfile", apart, "--", "figure5", folder=finished)
    assert run.returncode == 0, run.stdout
    drawn = (finished / RUN / "figures" / "figure5.csv").read_text()

    arguments = [*CPU, "--configfile", together, "--"]
    parts = folder / "eps4,8" / Path(name).with_suffix(".parts")
    kill_when(lambda: len(list(parts.glob("*.json"))) >= 5, *arguments, "figure5", folder=finished)
    assert len(list(parts.glob("*.json"))) < 8
    run = snakemake(*arguments, "figure5", folder=finished)
    assert run.returncode == 0, run.stdout
    assert not parts.exists()
    whole = pq.read_table(folder / "eps4,8" / name)
    cut = pa.concat_tables(pq.read_table(folder / f"eps{eps_255}" / name) for eps_255 in (4, 8))
    assert len(whole) == 8 * 2
    assert whole.equals(cut)
    assert (finished / RUN / "figures" / "figure5.csv").read_text() == drawn
    # A table that reads SEA at one of its radii finds it there.
    assert plan(finished, together, "table9") == {"make_table": 1}


def kill_when(condition: Callable[[], bool], *arguments: str | Path, folder: Path) -> None:
    """Start Snakemake, and kill it and its jobs without warning as soon as the condition holds."""
    process = subprocess.Popen(
        command(*arguments, folder=folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=environment(),
    )
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline, "it never got so far"
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for lock in (folder / ".snakemake" / "locks").glob("*"):
        lock.unlink()


def test_shards_hold_the_rows_of_an_attack_that_was_not_cut(finished: Path, tmp_path: Path) -> None:
    changes = {"tables.table9.0.eps_255": [7], "attacks.batch_size": 1}  # of no other test
    folder = (finished / SEA).parents[1] / "eps7"
    tables = []
    for shards in (1, 2):
        config = matchbox(tmp_path, **changes, **{"attacks.shards": shards})
        run = snakemake(*CPU, "--configfile", config, "--", "table9", folder=finished)
        assert run.returncode == 0, run.stdout
        assert planned(run.stdout)["attack_model"] == shards
        paths = [folder / f"seed0-shard{shard}.parquet" for shard in range(shards)]
        tables.append(pa.concat_tables(pq.read_table(path) for path in paths))
    whole, cut = (
        table.sort_by([(key, "ascending") for key in ("attack", "image_id")]) for table in tables
    )
    assert len(whole) == 4 * 2
    assert cut.equals(whole)


def test_truncated_evidence_is_a_sentence(finished: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept.parquet"
    shutil.copy2(finished / SEA, kept)
    (finished / SEA).write_bytes(kept.read_bytes()[:1000])
    run = snakemake(*CPU, "--configfile", MATCHBOX, "--", "table9", folder=finished)
    assert run.returncode == 1
    assert f"[table9] error: evidence file {SEA} is truncated or damaged" in run.stdout
    assert "Traceback (most recent call last)" not in run.stdout
    shutil.copy2(kept, finished / SEA)
    run = snakemake(*CPU, "--configfile", MATCHBOX, "--", "table9", folder=finished)
    assert run.returncode == 0, run.stdout


def test_a_table_without_its_jobs_names_what_is_missing(finished: Path, tmp_path: Path) -> None:
    """With rules restricted, for example where there is no GPU, nothing is run instead."""
    table = finished / RUN / "tables" / "table3.md"
    gone = [SEA, RUN / "attacks" / "clean" / "at_5" / "seed0" / "eps0" / SEA.name]
    for number, path in enumerate([table, *(finished / path for path in gone)]):
        path.rename(tmp_path / str(number))
    restricted = [*CPU, "--configfile", MATCHBOX, "--allowed-rules", "make_table", "table3"]
    run = snakemake(*restricted, "--", "table3", folder=finished)
    assert run.returncode == 1
    for path in gone:
        assert str(path) in run.stdout
    assert "Traceback (most recent call last)" not in run.stdout
