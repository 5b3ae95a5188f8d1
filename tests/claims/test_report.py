"""The claims on a whole run of made-up evidence: its words meet those of the claims."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from robustseg.claims.comparisons import NumberKey
from robustseg.claims.image_scores import image_scores
from robustseg.claims.report import make_claims
from robustseg.claims.verdicts import evaluate_claims
from robustseg.errors import RobustsegError
from robustseg.evidence.reading import read_evidence
from robustseg.figures.making import make_figure
from robustseg.figures.registry import FIGURES
from robustseg.tables import registry
from robustseg.tables.making import make_table
from tests.claims.test_verdicts import parse
from tests.synthetic import MODELS, write_jobs

CONFIG = Path(__file__).parents[2] / "config"
CLAIMS, PAPER = CONFIG / "claims.yaml", CONFIG / "paper"
TABLES = ("table1", "table2", "table3", "table4", "table7", "table8", "table9", "table10")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the files of a run with the demo's models and reads; its numbers are made up."""
    folder = tmp_path_factory.mktemp("run")
    demo = yaml.safe_load((CONFIG / "demo.yaml").read_text())
    models = {name: {**settings, "dataset": "scenes"} for name, settings in demo["models"].items()}
    reads = demo["tables"] | {"figure2": demo["figures"]["figure2"]}
    reads = {name: reads[name] for name in (*TABLES, "figure2")}
    with pytest.MonkeyPatch.context() as patch:
        for name, settings in models.items():
            patch.setitem(MODELS, name, settings)
        every_read = [read for table in reads.values() for read in table]
        write_jobs(folder / "evidence", every_read, images=8)
    evidence = {name: (_evidence(folder, table), table) for name, table in reads.items()}
    tables = []
    for name, (paths, table) in evidence.items():
        tables.append(folder / f"{name}.parquet")
        if name == "figure2":
            make_figure(FIGURES[name], paths, table, models, {"parquet": tables[-1]})
        else:
            make_table(registry.TABLES[name], paths, table, models, {"parquet": tables[-1]})
    return {"folder": folder, "models": models, "evidence": evidence, "tables": tables}


def _evidence(folder: Path, reads: list[dict[str, Any]]) -> list[Path]:
    suites = {(read["model"], suite) for read in reads for suite in (*read["suites"], "clean")}
    return [
        path
        for model, suite in sorted(suites)
        for path in sorted((folder / "evidence" / suite / model).rglob("*.parquet"))
    ]


@pytest.fixture(scope="module")
def results(run: dict[str, Any]) -> pd.DataFrame:
    out = {kind: run["folder"] / f"claims.{kind}" for kind in ("parquet", "csv", "md", "html")}
    reads = {name: table for name, (_, table) in run["evidence"].items()}
    paths = {path for some, _ in run["evidence"].values() for path in some}
    make_claims(CLAIMS, run["tables"], paths, reads, PAPER, out)
    return pd.read_parquet(out["parquet"])


def test_every_claim_about_the_demo_can_be_evaluated(results: pd.DataFrame) -> None:
    measured = results[results["numbers"] == "this run"].set_index("claim")
    claims = yaml.safe_load(CLAIMS.read_text())["claims"]
    missing = set(measured.index[measured["verdict"] == "not evaluated"])
    about_the_paper = {claim["id"] for claim in claims if "datasets" in claim}
    assert missing == about_the_paper | {
        # models or evidence that the demo does not have
        "iterations_help_up_to_300",
        "iterations_saturate_at_300",
        "short_pir_at_beats_at",
        "pir_at_beats_segpgd_at",
        "earlier_at_is_not_robust",
        "robust_backbones_trade_accuracy",
        "convnext_more_robust_than_resnet",
        "transfer_is_far_weaker",
        "transfer_from_at_is_stronger",
        "alma_overestimates_on_robust_models",
        "background_class_costs_nothing",
    }
    assert set(measured.loc[~measured.index.isin(missing), "place"]) == {"scenes (demo)"}


def test_the_papers_numbers_stand_beside_and_are_named(results: pd.DataFrame) -> None:
    assert set(results["numbers"]) == {"this run", "the paper's own numbers"}
    paper = results[results["numbers"] == "the paper's own numbers"]
    assert not paper["place"].str.contains("demo").any()
    assert paper[["low", "high"]].isna().all(axis=None)


def test_intervals_are_where_images_are(results: pd.DataFrame) -> None:
    measured = results[results["numbers"] == "this run"].set_index("claim")
    sea = measured.loc["sea_below_its_best_loss"]
    assert sea.low <= sea.margin <= sea.high
    drawn = measured.loc["reduced_radius_lowers_the_worst_case"]
    assert drawn.low <= drawn.margin <= drawn.high
    spread = measured.loc["sea_stable_over_seeds"]
    assert spread.low < spread.margin < spread.high


def test_image_scores_are_those_of_the_evidence(run: dict[str, Any]) -> None:
    paths, reads = run["evidence"]["table9"]
    numbers = pd.read_parquet(run["folder"] / "table9.parquet")
    images = image_scores(numbers, paths, {"table9": reads})
    evidence = read_evidence(paths)
    model = evidence["model"].eq("pir_at_5")
    evidence = evidence[model & evidence["eps_255"].eq(8) & evidence["seed"].eq(0)]
    share = evidence.assign(acc=100 * evidence["pixels_correct"] / evidence["pixels"])
    by_image = share.groupby(["loss", "image_id"], observed=True)["acc"].sum().unstack(0)
    for attack, losses in {"js": ["js"], "sea": ["mask_ce", "bal_ce", "js", "mask_sph"]}.items():
        dataset = evidence["dataset"].iloc[0]
        ids, found, _ = images(NumberKey("table9", dataset, "pir_at_5", 0, attack, 8.0, "acc"))
        expected = by_image[losses].min(axis=1)
        assert dict(zip(ids, found, strict=True)) == pytest.approx(expected.to_dict())
    mean = numbers.set_index(["attack", "eps_255", "metric"])["value"]
    assert found.mean() == pytest.approx(mean["sea", 8.0, "acc"])


def test_settings_have_no_images_behind_them() -> None:
    cells = {"table": "table5", "dataset": "toy", "training_seed": np.nan, "attack": "clean"}
    cells |= {"eps_255": 0.0, "metric": "epochs", "std": np.nan, "runs": []}
    numbers = pd.DataFrame(
        [cells | {"model": m, "value": v} for m, v in (("m0", 5.0), ("m1", 9.0))]
    )
    less = {"at": {"table": "table5"}, "lower": {"role": "weak"}, "than": {"role": "strong"}}
    (result,) = evaluate_claims(*parse(less), numbers, image_scores(numbers, [], {})).itertuples()
    assert (result.verdict, result.margin, np.isnan(result.low)) == ("supported", 4.0, True)


def test_the_written_tables_read_well(run: dict[str, Any], results: pd.DataFrame) -> None:
    text = (run["folder"] / "claims.md").read_text()
    assert (
        "On the paper's own numbers: 43 supported, 7 contradicted, 0 undecided, 7 not evaluated"
        in text
    )
    assert "On this run: " in text
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.replace("\\|", "").count("|") == 9
    html = (run["folder"] / "claims.html").read_text()
    assert html.index("the dotted line 0") < html.index("stroke-dasharray")
    assert '<span class="verdict supported">43 supported</span>' not in html.split("<details")[0]
    assert (
        "43 supported, 7 contradicted, 0 undecided, 7 not evaluated." in html.split("<details")[1]
    )
    written = pd.read_csv(run["folder"] / "claims.csv")
    assert len(written) == len(results)
    assert written.columns[-4:].tolist() == ["numbers", "seeds", "seeds_holding", "std"]
    assert set(written["seeds"]) == {0, 1}


def test_claims_without_tables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RobustsegError, match="were given none"):
        make_claims(CLAIMS, [], [], {}, PAPER, {"csv": tmp_path / "claims.csv"})
