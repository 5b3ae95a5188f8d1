"""The claims on a run's tables and on the paper's numbers, written for readers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustseg.claims.language import read_claims
from robustseg.claims.verdicts import (
    CONTRADICTED,
    NOT_EVALUATED,
    RESULT_COLUMNS,
    SUPPORTED,
    UNDECIDED,
    evaluate_claims,
    overall_verdicts,
)
from robustseg.errors import RobustsegError
from robustseg.evidence.enumerator import Read
from robustseg.evidence.reported import read_reported
from robustseg.evidence.wording import MISSING, printed, signed
from robustseg.files import atomic_path
from robustseg.html_files import html_document, render
from robustseg.tables.layout import Cell, Group, Layout, Row, to_markdown

if TYPE_CHECKING:
    import pandas as pd

TEMPLATE = Path(__file__).with_name("claims.html.j2")
MEASURED, REPORTED = "this run", "the paper's own numbers"

SEEDS_CAPTION = (
    " Over training seeds the margin is mean ± sample standard deviation, the interval allows for "
    "other seeds, and training seeds says in how many the comparison that decides holds."
)
SIGNS = {SUPPORTED: "✓", CONTRADICTED: "✗", UNDECIDED: "?", NOT_EVALUATED: "–"}


def make_claims(
    claims_path: str | Path,
    number_paths: Iterable[str | Path],
    evidence_paths: Iterable[str | Path],
    reads: Mapping[str, Sequence[Read]],
    reported_folder: str | Path,
    out_paths: Mapping[str, str | Path],
) -> None:
    """Evaluate all claims on a run and on the paper and write the results as asked for.

    Args:
        claims_path: config/claims.yaml.
        number_paths: numbers of the run's tables and figures (their parquet), of one training seed
            or several.
        evidence_paths: evidence behind the tables and figures of `reads`.
        reads: what each table and figure reads, as for `tables.making.make_table`.
        reported_folder: config/paper.
        out_paths: files by format: any of parquet, csv, md, html.

    Raises:
        RobustsegError: a claim, table, or reported number is wrong; the sentence names it.
    """
    import pandas as pd

    from robustseg.claims.image_scores import image_scores

    claims, places = read_claims(claims_path)
    numbers = _read_numbers(number_paths)
    images = image_scores(numbers, evidence_paths, reads)
    measured = evaluate_claims(claims, places, numbers, images)
    reported = evaluate_claims(claims, places, read_reported(reported_folder))
    results = pd.concat(
        [measured.assign(numbers=MEASURED), reported.assign(numbers=REPORTED)], ignore_index=True
    )
    numbers_at = RESULT_COLUMNS.index("seeds")
    results = results[[*RESULT_COLUMNS[:numbers_at], "numbers", *RESULT_COLUMNS[numbers_at:]]]
    texts = {
        "csv": lambda: results.to_csv(index=False, lineterminator="\n"),
        "md": lambda: to_markdown(claims_layout(results)),
        "html": lambda: html_document("Claims", claims_html(results)),
    }
    for kind, path in out_paths.items():
        with atomic_path(path) as temporary:
            if kind == "parquet":
                results.to_parquet(temporary, index=False)
            else:
                temporary.write_text(texts[kind](), encoding="utf-8")


def claims_html(results: pd.DataFrame, names: str = "") -> str:
    """Return the results as a section of the page: this run's, and apart the paper's own.

    Args:
        results: as `make_claims` writes them.
        names: id of the page's section on the names that decide this run's verdicts; "": has none.
    """
    parts = {
        key: _part(key, numbers, results[results["numbers"] == numbers])
        for key, numbers in (("run", MEASURED), ("paper", REPORTED))
    }
    parts["run"]["names"] = names
    several_seeds = bool((results["seeds"] > 1).any())
    return render(TEMPLATE, signs=SIGNS, several_seeds=several_seeds, **parts)


def _part(key: str, numbers: str, results: pd.DataFrame) -> dict[str, Any]:
    """Return the claims on one kind of numbers as the template wants them."""
    verdicts = overall_verdicts(results)
    of_claim: dict[str, list[Mapping[Any, Any]]] = {claim: [] for claim in verdicts}
    for result in results.to_dict("records"):
        of_claim[result["claim"]].append(result)
    claims = [
        {
            "id": claim,
            "verdict": verdict,
            "sentence": of_claim[claim][0]["sentence"],
            "source": of_claim[claim][0]["source"],
            "results": [_shown(result) for result in of_claim[claim]],
        }
        for claim, verdict in verdicts.items()
    ]
    claims.sort(key=lambda claim: claim["verdict"] == NOT_EVALUATED)  # those last
    listed = list(verdicts.values())
    counts = {word: listed.count(word) for word in SIGNS}
    return {"key": key, "about": f"on {numbers}", "claims": claims, "counts": counts}


def _shown(result: Mapping[Any, Any]) -> dict[str, Any]:
    """Return one result with its numbers as they are printed, and a plot of its interval."""
    low, high, margin = (result[name] for name in ("low", "high", "margin"))
    has_interval = low == low  # NaN is unlike itself
    widest = max(abs(low), abs(high), abs(margin)) or 1.0
    plot = {name: round(60 + 54 * result[name] / widest, 1) for name in ("low", "high", "margin")}
    return {
        **result,
        "margin": _margin(result),
        "interval": f"{_signed(low)} to {_signed(high)}" if has_interval else "",
        "plot": plot,
    }


def _margin(result: Mapping[Any, Any] | pd.Series[Any]) -> str:
    """Return the margin of a result; over several training seeds "+1.2 ± 0.3"."""
    margin = _signed(result["margin"])
    return f"{margin} ± {printed(result['std'])}" if result["seeds"] > 1 else margin


def _signed(value: float) -> str:
    """Return a margin with its sign, with as many decimals as show on which side of 0 it is."""
    decimals = next((d for d in (1, 2, 3) if round(value, d)), 1)
    return signed(value, decimals)


def claims_layout(results: pd.DataFrame) -> Layout:
    """Return the results as a table: one line for each claim and place, first this run's."""
    several_seeds = bool((results["seeds"] > 1).any())
    groups = []
    for numbers, chosen in results.groupby("numbers", sort=False):
        verdicts = list(overall_verdicts(chosen).values())
        counts = ", ".join(f"{verdicts.count(word)} {word}" for word in SIGNS)
        first = ~chosen["claim"].duplicated()
        lines = [
            _line(result, named, several_seeds)
            for (_, result), named in zip(chosen.iterrows(), first, strict=True)
        ]
        groups.append(Group(f"On {numbers}: {counts}", tuple(lines)))
    return Layout(
        "Claims of the paper",
        "Each claim is a predicate over tables (docs/claims.md). The margin is what the comparison "
        "that decides has left beyond what the claim asks, in points of a percent, with the 95 % "
        "interval of what truly decides: a claim is undecided where other images could give "
        "either verdict. Without an interval the verdict is that of the margin as it is."
        + SEEDS_CAPTION
        * several_seeds,
        ("Claim", "Where the paper says so", "Checked on"),
        (
            *(("verdict",), ("margin",), ("95 % interval",), ("hold",)),
            *((("training seeds",),) if several_seeds else ()),
            ("decided by",),
        ),
        tuple(groups),
    )


def _line(result: pd.Series[Any], named: bool, several_seeds: bool) -> Row:
    """Return one line; a claim's sentence stands at its first place only."""
    about = (result["sentence"], result["source"]) if named else ("", "")
    verdict = Cell(result["verdict"], bold=result["verdict"] == CONTRADICTED, note=result["claim"])
    if result["verdict"] == NOT_EVALUATED:
        empty = [Cell(MISSING)] * (3 + several_seeds)
        return Row((*about, MISSING), (verdict, *empty, Cell(result["detail"])))
    has_interval = result["low"] == result["low"]
    span = f"{_signed(result['low'])} to {_signed(result['high'])}" if has_interval else MISSING
    seeds = f"{result['seeds_holding']} of {result['seeds']}"
    return Row(
        (*about, result["place"]),
        (
            verdict,
            Cell(_margin(result)),
            Cell(span),
            Cell(f"{result['holding']} of {result['comparisons']}"),
            *([Cell(seeds)] if several_seeds else []),
            Cell(result["detail"]),
        ),
    )


def _read_numbers(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Return the numbers of several tables and figures as one long form."""
    import pandas as pd

    frames = [pd.read_parquet(path) for path in paths]
    if not frames:
        raise RobustsegError("claims need the run's tables and were given none; make some first")
    return pd.concat(frames, ignore_index=True)
