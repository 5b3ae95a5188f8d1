"""What the README shows is what the workflow made."""

import re
from typing import Any

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


@pytest.mark.parametrize("table", ["table4"])
def test_the_readme_shows_the_reference_tables(table: str) -> None:
    rows = [
        line
        for line in (REFERENCE / "tables" / f"{table}.md").read_text().splitlines()
        if line.startswith("|")
    ]
    assert len(rows) > 4
    assert "\n".join(rows) in README


def test_the_readmes_files_exist() -> None:
    links = [part.split(")")[0].split("#")[0] for part in README.split("](")[1:]]
    missing = [link for link in links if "://" not in link and not (ROOT / link).exists()]
    assert not missing


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


def test_the_readmes_example_runs_as_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    found: dict[str, Any] = {}
    exec(code, found)
    printed = capsys.readouterr().out
    assert printed.splitlines()[0] in README
    for radius in ("4/255", "8/255"):
        shown, said = (
            next(line for line in text.splitlines() if line.startswith(f"| {radius} "))
            for text in (README.split("The same on the command line")[0], printed)
        )
        numbers = [[float(n) for n in re.findall(r"\d+(?:\.\d+)?", line)] for line in (shown, said)]
        # The last digit may be another on another processor.
        assert numbers[1] == pytest.approx(numbers[0], abs=0.5)


PAGE = (ROOT / "docs" / "own_model.md").read_text()


@pytest.mark.parametrize("code", re.findall(r"```python\n(import torch\n.*?)```", PAGE, re.DOTALL))
def test_the_examples_for_own_models_run_as_they_stand(code: str) -> None:
    for module in ("transformers", "segmentation_models_pytorch", "torchvision"):
        if module in code:
            pytest.importorskip(module)
    exec(code, {})


def test_docs_name_real_files() -> None:
    links = [part.split(")")[0].split("#")[0] for part in PAGE.split("](")[1:]]
    assert all("://" in link or (ROOT / "docs" / link).exists() for link in links)


def test_the_readmes_claims_are_counted_as_in_the_reference() -> None:
    results = pd.read_csv(REFERENCE / "claims" / "claims.csv")
    verdicts = list(overall_verdicts(results[results["numbers"] == MEASURED]).values())
    words = (SUPPORTED, CONTRADICTED, UNDECIDED, NOT_EVALUATED)
    supported, contradicted, undecided, missing = map(verdicts.count, words)
    assert (
        f"Of {len(verdicts)} claims of the paper that the page checks, this run supports "
        f"{supported}, contradicts {contradicted}, leaves {undecided} undecided (96 images are "
        f"few) and cannot evaluate {missing}" in WORDS
    )


def test_pages_that_are_passed_on_tell_no_place_of_a_machine() -> None:
    pages = sorted(ROOT.glob("results/reference/*/report/*.html"))
    assert len(pages) >= 4
    for page in pages:
        text = page.read_text()
        assert "file://" not in text, page
        assert "&#34;root&#34;: &#34;" not in text, page
