"""What the README shows is what the workflow made."""

import pandas as pd
import pytest

from robustseg.claims.report import MEASURED
from robustseg.claims.verdicts import (
    CONTRADICTED,
    NOT_EVALUATED,
    SUPPORTED,
    UNDECIDED,
    overall_verdicts,
)
from tests.workflow.running import ROOT

REFERENCE = ROOT / "results" / "reference" / "demo"
README = (ROOT / "README.md").read_text()
WORDS = " ".join(README.split())


@pytest.mark.parametrize("run", ["demo", "street"])
def test_the_readme_shows_the_reference_tables(run: str) -> None:
    table = REFERENCE.parent / run / "tables" / "table4.md"
    rows = [line for line in table.read_text().splitlines() if line.startswith("|")]
    assert len(rows) > 4
    assert "\n".join(rows) in README


def test_the_readmes_means_over_training_seeds_are_those_of_the_reference() -> None:
    tables = [pd.read_csv(REFERENCE / "seeds" / f"{name}.csv") for name in ("table3", "table4")]
    seeds = pd.concat(tables)
    sea = seeds[(seeds["attack"] == "sea") & (seeds["metric"] == "acc") & (seeds["eps_255"] == 4)]
    said = {
        model: f"{values.mean():.1f} ± {values.std():.1f} %"
        for model, values in sea.groupby("model")["value"]
        if values.count() == 3
    }
    assert f"two-step PIR-AT keeps {said['pir_at_2']} at 4/255" in WORDS
    assert f"AT with the same epochs and steps {said['at_2']}, clean" in WORDS
    assert f"clean training {said['clean']}." in WORDS


def counted(run: str) -> tuple[int, ...]:
    """Return how many claims there are, and how many have each verdict, "not evaluated" last."""
    results = pd.read_csv(REFERENCE.parent / run / "claims" / "claims.csv")
    verdicts = list(overall_verdicts(results[results["numbers"] == MEASURED]).values())
    words = (SUPPORTED, CONTRADICTED, UNDECIDED, NOT_EVALUATED)
    return len(verdicts), *map(verdicts.count, words)


def test_claims_are_counted_as_in_the_references() -> None:
    claims, supported, contradicted, undecided, missing = counted("demo")
    assert (
        f"Of {claims} claims of the paper that the page checks, this run supports "
        f"{supported}, contradicts {contradicted}, leaves {undecided} undecided (96 images are "
        f"few) and cannot evaluate {missing}" in WORDS
    )
    claims, supported, contradicted, undecided, missing = counted("street")
    assert (
        f"Of {claims} claims of the paper, the photographs support {supported}, "
        f"contradict {contradicted}, leave {undecided} undecided (48 are few) "
        f"and cannot evaluate {missing}" in WORDS
    )
    assert (
        f"Of {claims} claims of the paper {supported} are supported, {contradicted} contradicted, "
        f"{undecided} undecided and {missing} not evaluated."
        in (REFERENCE.parent / "street" / "README.md").read_text()
    )


def test_pages_that_are_passed_on_tell_no_place_of_a_machine() -> None:
    pages = sorted(ROOT.glob("results/reference/*/report/*.html"))
    assert len(pages) >= 4
    for page in pages:
        text = page.read_text()
        assert "file://" not in text, page
        assert "&#34;root&#34;: &#34;" not in text, page
