"""Claims: each verb both ways, margins, intervals, and the paper's own numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from robustseg.claims.comparisons import NumberKey
from robustseg.claims.language import Cells, parse_claims, read_claims
from robustseg.claims.noise import Scores
from robustseg.claims.verdicts import evaluate_claims, overall_verdicts
from robustseg.errors import RobustsegError
from robustseg.evidence.reported import read_reported

CONFIG = Path(__file__).parents[2] / "config"
PLACES = [{"title": "toy", "dataset": "toy", "roles": {"weak": "m0", "strong": "m1"}}]
CELLS = {  # (model, attack, eps_255, metric): value
    ("m0", "clean", 0, "acc"): 90.0,
    ("m0", "sea", 4, "acc"): 40.0,
    ("m0", "sea", 8, "acc"): 10.0,
    ("m0", "js", 4, "acc"): 45.0,
    ("m0", "js", 8, "acc"): 10.0,
    ("m0", "ce", 4, "acc"): 60.0,
    ("m0", "ce", 8, "acc"): 9.0,
    ("m1", "clean", 0, "acc"): 80.0,
    ("m1", "sea", 4, "acc"): 60.0,
    ("m1", "sea", 8, "acc"): 30.0,
    ("m1", "sea", 4, "miou"): 20.0,
}


def toy_tables() -> pd.DataFrame:
    rows = [
        {"table": "table3", "dataset": "toy", "model": model, "attack": attack, "metric": metric}
        | {
            "training_seed": 0,
            "eps_255": float(eps),
            "value": value,
            "std": 0.2 if attack == "sea" else np.nan,
        }
        for (model, attack, eps, metric), value in CELLS.items()
    ]
    return pd.DataFrame(rows)


def parse(predicate: Any, places: Any = PLACES, **more: Any) -> tuple[Any, Any]:
    claim = {"id": "one", "sentence": "s", "source": "Table 3", "predicate": predicate} | more
    return parse_claims({"places": places, "claims": [claim]}, "claims.yaml")


def evaluate(predicate: Any, images: dict[NumberKey, Scores] | None = None) -> pd.Series:
    results = evaluate_claims(*parse(predicate), toy_tables(), (images or {}).get)
    assert len(results) == 1
    return results.iloc[0]


def sides(verb: str, left: Any, right: Any, **more: Any) -> dict[str, Any]:
    at = {"table": "table3", "metric": "acc"}
    return {"at": at, verb: left, "to" if verb == "close" else "than": right} | more


WEAK, STRONG = {"role": "weak", "attack": "sea"}, {"role": "strong", "attack": "sea"}
SEA, JS, CE = ({"role": "weak", "attack": name} for name in ("sea", "js", "ce"))
BOTH = {"role": "weak", "attack": ["js", "ce"]}


@pytest.mark.parametrize(
    ("predicate", "verdict", "margin", "holding", "comparisons"),
    [
        # each verb, both ways; cells meet at equal radii
        (sides("lower", WEAK, STRONG), "supported", 20, 2, 2),
        (sides("lower", STRONG, WEAK), "contradicted", -20, 0, 2),
        (sides("higher", STRONG, WEAK), "supported", 20, 2, 2),
        (sides("higher", WEAK, STRONG), "contradicted", -20, 0, 2),
        (sides("close", WEAK, STRONG, within=20), "supported", 0, 2, 2),
        (sides("close", WEAK, STRONG, within=19), "contradicted", -1, 0, 2),
        (sides("close", STRONG, WEAK, within=25), "supported", 5, 2, 2),
        # without a threshold equality does not do, with one of 0 it does
        (sides("lower", SEA, JS), "contradicted", 0, 1, 2),
        (sides("lower", SEA, JS, by_at_least=0), "supported", 0, 2, 2),
        (sides("higher", STRONG, WEAK, by_at_least=20), "supported", 0, 2, 2),
        (sides("higher", STRONG, WEAK, by_at_least=20.5), "contradicted", -0.5, 0, 2),
        (sides("lower", SEA, CE, by_at_least=-1), "supported", 0, 2, 2),
        # quantifiers: 40 < 45, 40 < 60, 10 = 10, 10 > 9
        (sides("lower", SEA, BOTH), "contradicted", -1, 2, 4),
        (sides("lower", SEA, BOTH, **{"in": "some"}), "supported", 20, 2, 4),
        (sides("lower", SEA, BOTH, **{"in": "most"}), "contradicted", 0, 2, 4),
        (sides("lower", SEA, BOTH, by_at_least=0, **{"in": "most"}), "supported", 0, 3, 4),
        # the lowest and the highest of several
        (sides("lower", SEA, BOTH | {"take": "lowest"}), "contradicted", -1, 1, 2),
        (sides("lower", SEA, BOTH | {"take": "highest"}), "contradicted", 0, 1, 2),
        (sides("higher", BOTH | {"take": "highest"}, SEA, by_at_least=0), "supported", 0, 2, 2),
        # against a number, at listed radii, another column
        (sides("lower", WEAK | {"eps_255": 8}, 10.5), "supported", 0.5, 1, 1),
        (sides("higher", WEAK | {"eps_255": [4, 8]}, 15), "contradicted", -5, 1, 2),
        (sides("lower", STRONG | {"column": "std"}, 0.2), "contradicted", 0, 0, 2),
        (sides("lower", STRONG | {"column": "std"}, 0.2, by_at_least=0), "supported", 0, 2, 2),
        # a side that names its own radius does not meet by radius
        (
            sides("lower", STRONG | {"eps_255": 4}, {"role": "strong", "attack": "clean"}),
            "supported",
            20,
            1,
            1,
        ),
        # several predicates: all must hold, the weakest decides
        (
            [sides("lower", WEAK, STRONG), sides("higher", WEAK | {"eps_255": 8}, 30)],
            "contradicted",
            -20,
            2,
            3,
        ),
    ],
)
def test_verbs(predicate: Any, verdict: str, margin: float, holding: int, comparisons: int) -> None:
    result = evaluate(predicate)
    assert (result.verdict, result.holding, result.comparisons) == (verdict, holding, comparisons)
    assert result.margin == pytest.approx(margin)


def test_the_deciding_comparison_is_shown() -> None:
    result = evaluate(sides("lower", SEA, BOTH))
    assert (result.left, result.right, result.place) == (10, 9, "toy")
    assert result.detail == "weak, sea 10 against weak, ce 9 (8/255, acc)"


@pytest.mark.parametrize(
    ("predicate", "reason"),
    [
        (sides("lower", {"attack": ["sea", "mask_ce"]}, 5), "table3 has no attack mask_ce"),
        (sides("lower", {"eps_255": [4, 12]}, 5), "table3 has no eps_255 12/255"),
        (sides("lower", WEAK, JS | {"eps_255": 0}), "table3 has no eps_255 0/255"),
        (sides("lower", {"table": "table11"}, 5), "there are no numbers of table11"),
        (
            sides("lower", {"table": "table3", "attack": "js", "column": "std"}, 5),
            "has no attack js",
        ),
        (
            sides("lower", STRONG, {"role": "strong", "attack": "clean"}),
            "no cell of table3 has its",
        ),
    ],
)
def test_not_evaluated_says_why(predicate: Any, reason: str) -> None:
    result = evaluate(predicate)
    assert (result.verdict, result.comparisons) == ("not evaluated", 0)
    assert reason in result.detail
    assert np.isnan(result.margin)


@pytest.mark.parametrize("column", ["value", "std"])
def test_a_table_without_a_number_is_not_evaluated(column: str) -> None:
    claims, places = parse({"lower": {"table": "table3", "column": column}, "than": 5})
    result = evaluate_claims(claims, places, toy_tables().assign(**{column: np.nan})).iloc[0]
    assert result.verdict == "not evaluated"
    assert result.detail == f"table3 has no number with a {column}"


def test_places_without_the_table_do_not_say_why_where_others_have_it() -> None:
    away = {"table": "table1", "dataset": "other", "model": "x"}
    numbers = pd.concat([toy_tables(), toy_tables().iloc[:1].assign(**away)])
    elsewhere = {"title": "elsewhere", "dataset": "other", "roles": {"weak": "x"}}
    swapped = {"title": "swapped", "dataset": "toy", "roles": {"weak": "m1", "strong": "m0"}}
    cases = [
        ({"attack": ["sea", "mask_ce"]}, "table3 has no attack mask_ce"),
        (
            JS | {"metric": "miou"},
            "toy: table3 has no metric miou; swapped: table3 has no attack js",
        ),
    ]
    for left, reason in cases:
        places = [*PLACES, swapped, elsewhere] if "metric" in left else [*PLACES, elsewhere]
        (detail,) = evaluate_claims(*parse(sides("lower", left, 5), places), numbers)["detail"]
        assert detail == reason


def test_each_place_is_judged_and_one_contradiction_decides() -> None:
    places = [
        *PLACES,
        {"title": "swapped", "dataset": "toy", "roles": {"weak": "m1", "strong": "m0"}},
    ]
    places.append({"title": "elsewhere", "dataset": "other", "roles": {"weak": "m0"}})
    predicate = sides("lower", WEAK, STRONG)
    results = evaluate_claims(*parse(predicate, places), toy_tables())
    assert results.set_index("place")["verdict"].to_dict() == {
        "toy": "supported",
        "swapped": "contradicted",
    }
    for order in (results, results.iloc[::-1]):
        assert overall_verdicts(order) == {"one": "contradicted"}
    about_other = evaluate_claims(*parse(predicate, places, datasets=["other"]), toy_tables())
    assert about_other["verdict"].tolist() == ["not evaluated"]
    assert about_other["detail"].tolist() == ["no table has numbers of other"]


def toy_images(gap: np.ndarray) -> dict[NumberKey, Scores]:
    """Return images of which the strong model has `gap` points more than the weak one at 8/255."""
    noise = np.random.default_rng(3).uniform(0, 60, len(gap))  # common to both models
    ids = np.array([f"i{n}" for n in range(len(gap))], dtype=object)
    strong = ids[::-1], (noise + gap)[::-1]  # images are matched by id, not by position
    return {
        NumberKey("table3", "toy", model, 0, "sea", 8.0, "acc"): Scores(*scores)
        for model, scores in (("m0", (ids, noise)), ("m1", strong))
    }


def test_the_interval_is_that_of_paired_images() -> None:
    gap = np.random.default_rng(1).normal(20, 6, 400)
    predicate = sides("lower", WEAK | {"eps_255": 8}, STRONG | {"eps_255": 8}, by_at_least=15)
    result = evaluate(predicate, toy_images(gap))
    half = 1.96 * gap.std(ddof=1) / np.sqrt(len(gap))  # the normal interval of a mean
    assert result.low == pytest.approx(result.margin - half, abs=0.05)
    assert result.high == pytest.approx(result.margin + half, abs=0.05)
    mirrored = sides("higher", STRONG | {"eps_255": 8}, WEAK | {"eps_255": 8}, by_at_least=15)
    assert evaluate(mirrored, toy_images(gap)).low == pytest.approx(result.low)


def test_an_interval_against_a_number() -> None:
    images = toy_images(np.full(50, 20.0))
    _, weak, _ = images[NumberKey("table3", "toy", "m0", 0, "sea", 8.0, "acc")]
    result = evaluate(sides("lower", WEAK | {"eps_255": 8}, 35), images)
    assert result.low < result.margin == 25 < result.high
    assert result.high - result.low == pytest.approx(4 * weak.std(ddof=1) / np.sqrt(50), rel=0.15)


@pytest.mark.parametrize(
    "left", [{"role": "strong", "eps_255": 4, "metric": "miou"}, STRONG | {"column": "std"}]
)
def test_no_interval_where_images_do_not_tell(left: Any) -> None:
    result = evaluate(sides("lower", left, 50), toy_images(np.zeros(5)))
    assert result.verdict == "supported"
    assert np.isnan([result.low, result.high]).all()


def test_tables_without_a_column_or_with_a_cell_twice_are_refused() -> None:
    tables = toy_tables()
    claims, places = parse(sides("lower", WEAK, STRONG))
    with pytest.raises(RobustsegError, match="no column 'std'"):
        evaluate_claims(claims, places, tables.drop(columns="std"))
    with pytest.raises(RobustsegError, match="a cell twice: table3, toy, m0, clean"):
        evaluate_claims(claims, places, pd.concat([tables, tables]))


@pytest.fixture(scope="module")
def on_paper() -> pd.DataFrame:
    claims, places = read_claims(CONFIG / "claims.yaml")
    return evaluate_claims(claims, places, read_reported(CONFIG / "paper"))


def test_what_the_papers_own_numbers_say(on_paper: pd.DataFrame) -> None:
    verdicts = overall_verdicts(on_paper)
    assert len(verdicts) >= 50
    contradicted = {name for name, verdict in verdicts.items() if verdict == "contradicted"}
    assert contradicted == {
        "gap_to_segpgd_ddc_at",  # says up to 4.5, Table 1 has 3.6
        "gap_to_segpgd_pir_at",  # says up to 4.1, Table 1 has 17.5
        "new_losses_always_better_on_clean",  # Mask-Sph. 75.8 against Bal-CE 74.0 at 0.25/255
        "four_losses_suffice_miou",  # 9.0 against 8.4 at 12/255
        "apgd_consistently_beats_pgd",  # 88.7 against 88.6, mIoU 41.3 against 39.4
        "apgd_as_strong_as_pgd",  # 88.7 against 88.6
        "mask_sph_needed_at_large_radii",  # Segmenter at 12/255: A is the best of the three
    }
    # figures print no numbers, and Table 3 has no clean model
    assert {name for name, verdict in verdicts.items() if verdict == "not evaluated"} == {
        "reduced_radius_beats_constant",
        "reduced_radius_lowers_the_worst_case",
        "reduced_radius_as_strong_as_constant",
        "clean_training_falls_to_near_zero",
        "iterations_help_up_to_300",
        "iterations_saturate_at_300",
        "alma_overestimates_on_robust_models",
    }


def row(results: pd.DataFrame, claim: str, place: str) -> pd.Series:
    chosen = results[(results["claim"] == claim) & results["place"].str.startswith(place)]
    assert len(chosen) == 1
    return chosen.iloc[0]


def test_each_place_of_the_paper_has_its_numbers(on_paper: pd.DataFrame) -> None:
    apgd = row(on_paper, "apgd_consistently_beats_pgd", "PASCAL-VOC")
    assert (apgd.holding, apgd.comparisons, apgd.margin) == (14, 16, -1.9)
    segmenter = row(on_paper, "mask_sph_needed_at_large_radii", "ADE20K, Segmenter")
    assert (segmenter.verdict, segmenter.left, segmenter.right) == ("contradicted", 8.2, 9.1)
    assert row(on_paper, "mask_sph_needed_at_large_radii", "PASCAL-VOC").verdict == "supported"
    robust = on_paper[on_paper["claim"] == "pir_at_more_robust_than_at"]
    assert robust["margin"].tolist() == [2.1, 2.4, 0.5, 1.0]


def test_claims_use_words_that_the_paper_numbers_have() -> None:
    claims, places = read_claims(CONFIG / "claims.yaml")
    reported = read_reported(CONFIG / "paper")
    attacks = set(zip(reported["table"], reported["attack"], strict=True))
    for claim in claims:
        for predicate in claim.predicates:
            for side in (predicate.left, predicate.right):
                if not isinstance(side, Cells) or side.table not in set(reported["table"]):
                    continue
                for attack in side.words.get("attack", ()):
                    assert (side.table, attack) in attacks, claim.id
    printed = set(zip(reported["dataset"], reported["model"], strict=True))
    paper_places = [place for place in places if place.dataset in ("voc", "ade20k", "imagenet")]
    used = {(place.dataset, model) for place in paper_places for model in place.roles.values()}
    assert used <= printed


def test_demo_roles_are_models_of_the_demo() -> None:
    import yaml

    demo = yaml.safe_load((CONFIG / "demo.yaml").read_text())
    _, places = read_claims(CONFIG / "claims.yaml")
    models = {place.dataset: set(place.roles.values()) for place in places}
    assert models["scenes"] <= set(demo["models"])
    assert models["shapes"] <= set(demo["backbones"])
