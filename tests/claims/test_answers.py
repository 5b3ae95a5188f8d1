"""The sentences that the page says first: true whichever way the numbers fall."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from robustseg.claims.answers import Answered, answer_headlines
from robustseg.claims.language import parse_file, read_claims, read_headlines
from robustseg.claims.verdicts import evaluate_claims
from robustseg.errors import RobustsegError
from robustseg.evidence.reported import read_reported

CLAIMS_FILE = Path(__file__).parents[2] / "config" / "claims.yaml"
PAPER = CLAIMS_FILE.parent / "paper"
PLACES = [
    {"title": "toy", "dataset": "toy", "roles": {"weak": "m0", "strong": "m1"}},
    {"title": "other toy", "dataset": "other", "roles": {"weak": "m0"}},
]
AT = {"table": "table3", "role": "weak", "metric": "acc"}
CLAIM = {
    "id": "sea_is_lower",
    "sentence": "SEA is lower.",
    "source": "Table 3",
    "predicate": {"at": AT, "lower": {"attack": "sea"}, "than": {"attack": ["js", "ce"]}},
}
ANSWER = {
    "claim": "sea_is_lower",
    "at": AT,
    "figures": {"SEA": {"attack": "sea"}, "others": {"attack": ["js", "ce"], "take": "lowest"}},
    "sentence": "At {radius} SEA leaves {SEA}, {SEA to others} the others.",
}
SEA = {4: 40.0, 8: 30.0, 12: 20.0, 16: 10.0}


def numbers(
    sea: dict[int, float], js: dict[int, float], seed: float = np.nan, dataset: str = "toy"
) -> pd.DataFrame:
    """Return ACC of the weak model under SEA, JS, and CE, which is always at 60."""
    cells = [("sea", sea), ("js", js), ("ce", dict.fromkeys(js, 60.0))]
    return pd.DataFrame(
        {"table": "table3", "dataset": dataset, "model": "m0", "training_seed": seed}
        | {"attack": attack, "eps_255": float(eps), "metric": "acc", "value": value, "std": np.nan}
        for attack, by_radius in cells
        for eps, value in by_radius.items()
    )


def answer(found: pd.DataFrame, *answers: dict[str, Any], question: str = "?") -> list[Answered]:
    headline = {"question": question, "answers": [*answers] or [ANSWER]}
    parsed = parse_file({"places": PLACES, "claims": [CLAIM], "headlines": [headline]}, "c.yaml")
    results = evaluate_claims(parsed.claims, parsed.places, found)
    return answer_headlines(parsed.headlines, parsed.places, found, results)


@pytest.mark.parametrize(
    ("js", "said", "verdict"),
    [
        (32.8, "2.8 points less than", "supported"),
        (28.5, "1.5 points more than", "contradicted"),
        (30.0, "as much as", "contradicted"),
        (30.04, "0.04 points less than", "supported"),
    ],
)
def test_a_sentence_is_true_whichever_way_the_numbers_fall(
    js: float, said: str, verdict: str
) -> None:
    (one,) = answer(numbers(SEA, {eps: js if eps == 8 else 50.0 for eps in SEA}))
    assert one.sentence == f"At 8/255 SEA leaves 30.0 %, {said} the others."
    assert one.verdict == verdict
    assert one.bars == {"SEA": 30.0, "others": js}
    assert one.comparisons == 8
    assert one.place == "toy"


def test_the_radius_is_the_middle_one_of_those_that_all_figures_have() -> None:
    (one,) = answer(numbers({**SEA, 2: 50.0, 1: 55.0}, dict.fromkeys(SEA, 70.0)))
    assert one.sentence.startswith("At 8/255 SEA leaves 30.0 %, 30.0 points less than")
    fixed = {name: cells | {"eps_255": 12} for name, cells in ANSWER["figures"].items()}  # type: ignore[attr-defined]
    (one,) = answer(numbers(SEA, dict.fromkeys(SEA, 70.0)), {**ANSWER, "figures": fixed})
    assert one.sentence == "At 12/255 SEA leaves 20.0 %, 40.0 points less than the others."


def test_over_training_seeds_stand_mean_and_standard_deviation_of_the_difference() -> None:
    seeds = [numbers({8: sea}, {8: js}, seed) for seed, (sea, js) in enumerate(GAPS)]
    (one,) = answer(pd.concat(seeds))
    gaps = [js - sea for sea, js in GAPS]
    spread = float(np.std(gaps, ddof=1))
    assert f"{np.mean(gaps):.1f} ± {spread:.1f} points less than" in one.sentence
    assert f"SEA leaves {np.mean([sea for sea, _ in GAPS]):.1f} ± 10.0 %" in one.sentence


GAPS = [(20.0, 22.0), (30.0, 33.0), (40.0, 46.0)]


def test_of_several_cells_the_lowest_mean_over_training_seeds_is_told() -> None:
    """CE is at 60 in both seeds, JS at 50 and 80: the lowest of each are lower than either."""
    seeds = [numbers({8: 30.0}, {8: js}, seed) for seed, js in enumerate((50.0, 80.0))]
    claim = {"claim": CLAIM["id"], "at": AT, "sentence": "{others}"}
    (one,) = answer(pd.concat(seeds), claim | {"figures": ANSWER["figures"]})
    assert (one.sentence, one.bars["others"]) == ("60.0 ± 0.0 %", 60.0)


def test_a_figure_may_be_a_standard_deviation() -> None:
    found = numbers(SEA, dict.fromkeys(SEA, 50.0)).assign(std=0.25)
    spread = {name: cells | {"column": "std"} for name, cells in ANSWER["figures"].items()}  # type: ignore[attr-defined]
    (one,) = answer(found, ANSWER | {"figures": spread, "sentence": "{SEA}"})
    assert one.sentence == "0.2 %"


def test_a_figure_may_have_the_word_between_two_in_its_name() -> None:
    figures = {"SEA": {"attack": "sea"}, "JS to CE": {"attack": ["js", "ce"], "take": "lowest"}}
    changes = {"figures": figures, "sentence": "{SEA to JS to CE}"}
    (one,) = answer(numbers(SEA, dict.fromkeys(SEA, 50.0)), ANSWER | changes)
    assert one.sentence == "20.0 points less than"


def test_each_place_has_its_own_sentence() -> None:
    found = [numbers(SEA, dict.fromkeys(SEA, 40.0), dataset=name) for name in ("toy", "other")]
    found[1]["value"] += 5.0 * (found[1]["attack"] == "sea")
    places = {one.place: one.sentence for one in answer(pd.concat(found))}
    assert "30.0 %, 10.0 points less than" in places["toy"]
    assert "35.0 %, 5.0 points less than" in places["other toy"]


def test_the_best_of_two_is_not_that_of_one() -> None:
    found = numbers(SEA, dict.fromkeys(SEA, 50.0))
    (one,) = answer(found[found["attack"] != "ce"])
    assert one.verdict == "not evaluated"
    assert one.sentence == "These numbers do not tell: table3 has no attack ce."
    assert one.bars == {}


def test_the_first_answer_counts_that_can_be_given() -> None:
    absent = {**ANSWER, "at": AT | {"table": "table4"}, "sentence": "never said"}
    absent |= {"claim": "other_claim"}
    claims = [CLAIM, CLAIM | {"id": "other_claim", "predicate": _of_table4()}]
    headline = {"question": "?", "answers": [absent, ANSWER]}
    parsed = parse_file({"places": PLACES, "claims": claims, "headlines": [headline]}, "c.yaml")
    found = numbers(SEA, dict.fromkeys(SEA, 50.0))
    results = evaluate_claims(parsed.claims, parsed.places, found)
    (one,) = answer_headlines(parsed.headlines, parsed.places, found, results)
    assert one.claim == "sea_is_lower"
    assert one.sentence.startswith("At 8/255")


def _of_table4() -> dict[str, Any]:
    predicate: dict[str, Any] = CLAIM["predicate"]  # type: ignore[assignment]
    return predicate | {"at": AT | {"table": "table4"}}


def test_a_verdict_without_the_figures_says_what_decided_it() -> None:
    other = {"attack": ["sea", "mask_ce"], "take": "lowest"}
    figures = {"SEA": {"attack": "sea"}, "others": other}
    found = numbers(SEA, dict.fromkeys(SEA, 50.0))
    (one,) = answer(found, {**ANSWER, "figures": figures})
    assert one.verdict == "supported"
    assert one.sentence.startswith("Decided by sea 40 against js 50 ")


def test_an_undecided_verdict_is_handed_on() -> None:
    headline = {"question": "?", "answers": [ANSWER]}
    parsed = parse_file({"places": PLACES, "claims": [CLAIM], "headlines": [headline]}, "c.yaml")
    found = numbers(SEA, dict.fromkeys(SEA, 50.0))
    results = evaluate_claims(parsed.claims, parsed.places, found).assign(verdict="undecided")
    (one,) = answer_headlines(parsed.headlines, parsed.places, found, results)
    assert one.verdict == "undecided"
    assert one.sentence.startswith("At 8/255")


def test_the_questions_on_the_papers_own_numbers() -> None:
    """Table 1, 8/255: SEA 71.2, SegPGD 75.3; Table 2: Mask-CE 74.6, Bal-CE 74.2; Table 3: 64.6."""
    headlines, places = read_headlines(CLAIMS_FILE)
    found = read_reported(PAPER)
    found["training_seed"] = np.nan
    results = evaluate_claims(*read_claims(CLAIMS_FILE), found)
    answers = answer_headlines(headlines, places, found, results)
    voc = [one for one in answers if one.place == "PASCAL-VOC, UPerNet + ConvNeXt-T"]
    assert [one.verdict for one in voc] == ["supported"] * 7
    said = " ".join(one.sentence for one in voc)
    for words in (
        "SEA leaves 71.2 %, 4.1 points less than",
        "new loss leaves 74.6 %, 0.4 points more than",
        "71.2 %, 6.6 points more than AT",
        "71.2 %, 0.2 points less than AT trained several times as long",
        "gets 93.4 % of pixels right, and in the worst case at 2/255 0.1 %",
    ):
        assert words in said
    untold = [one for one in answers if not one.place]
    assert [one.claim for one in untold] == ["reduced_radius_lowers_the_worst_case"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"claim": "nobody"}, r"answers\[0\]\.claim is 'nobody'; use one of sea_is_lower"),
        ({"sentence": "{SEA to other}"}, r"sentence is 'other'; use one of SEA, others"),
        ({"sentence": "{sea}"}, r"sentence is 'sea'; use one of SEA, others"),
        ({"at": AT | {"table": "table12"}}, r"at\.table is 'table12'; use one of table1"),
        ({"at": {"role": "weak", "metric": "acc"}}, r"figures\.SEA names no table"),
        ({"at": {"table": "table3", "metric": "acc"}}, r"figures\.SEA names 0 words as role"),
        (
            {"figures": {"SEA": {"attack": "sea"}, "others": {"attack": ["js", "ce"]}}},
            r"figures\.others names 2 words as attack, but a figure is one cell; name one",
        ),
        ({"at": AT | {"eps_255": [4, 8]}}, r"figures\.SEA names several radii"),
        ({"figures": {"SEA": {"attack": "sea"}}}, r"figures needs at least 2"),
        ({"sentence": "{SEA is {others}"}, r"sentence has a brace without its other one"),
        (
            {"figures": {"SEA": {"attack": "sea"}, "radius": {"attack": "js"}}, "sentence": "s"},
            r"figures\.radius is what {radius} is; give the figure another name",
        ),
        ({"figures": {"SEA": {}, "b": {"roles": "x"}}}, r"roles is not a known key"),
    ],
)
def test_a_slip_ends_in_a_sentence(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RobustsegError, match=sentence) as raised:
        answer(numbers(SEA, SEA), {**ANSWER, **changes})
    assert str(raised.value).startswith("c.yaml, headline 1: answers[0].")
