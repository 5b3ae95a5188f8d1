"""The claims on a run's tables and on the paper's numbers, written for readers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustseg.errors import RobustsegError
from robustseg.files import atomic_path
from robustseg.report.book import Models, Reads, printed
from robustseg.report.claims import (
    CONTRADICTED,
    NOT_EVALUATED,
    SUPPORTED,
    evaluate_claims,
    overall_verdicts,
)
from robustseg.report.layout import MISSING, Cell, Group, Layout, Row, to_html, to_markdown
from robustseg.report.predicates import read_claims
from robustseg.report.reported import read_reported

if TYPE_CHECKING:
    import pandas as pd

MEASURED, REPORTED = "this run", "the paper's own numbers"


def make_claims(
    claims_path: str | Path,
    table_paths: Iterable[str | Path],
    evidence: Mapping[str, tuple[Iterable[str | Path], Reads]],
    models: Models,
    reported_folder: str | Path,
    out_paths: Mapping[str, str | Path],
) -> None:
    """Evaluate all claims on a run and on the paper and write the results as asked for.

    Args:
        claims_path: config/claims.yaml.
        table_paths: long forms of the run's tables (parquet or csv) and figures (csv).
        evidence: for each table whose claims shall have intervals its evidence files and `reads`,
            as tables.make_table takes them; may be empty.
        models: the configuration's models.
        reported_folder: config/paper.
        out_paths: files by format: any of parquet, csv, md, html (a fragment for the page).

    Raises:
        RobustsegError: a claim, table, or reported number is wrong; the sentence names it.
    """
    import pandas as pd

    from robustseg.report.image_scores import image_scores

    claims, places = read_claims(claims_path)
    images = [
        image_scores(table, paths, reads, models) for table, (paths, reads) in evidence.items()
    ]
    measured = evaluate_claims(
        claims, places, _read_tables(table_paths), pd.concat(images) if images else None
    )
    reported = evaluate_claims(claims, places, read_reported(reported_folder))
    results = pd.concat(
        [measured.assign(numbers=MEASURED), reported.assign(numbers=REPORTED)], ignore_index=True
    )
    layout = claims_layout(results)
    for kind, path in out_paths.items():
        with atomic_path(path) as temporary:
            if kind == "parquet":
                results.to_parquet(temporary, index=False)
            elif kind == "csv":
                results.to_csv(temporary, index=False, lineterminator="\n")
            else:
                text = to_markdown(layout) if kind == "md" else to_html(layout, "claims")
                temporary.write_text(text, encoding="utf-8")


def claims_layout(results: pd.DataFrame) -> Layout:
    """Return the results as a table: one line for each claim and place, first this run's."""
    groups = []
    for numbers, chosen in results.groupby("numbers", sort=False):
        verdicts = list(overall_verdicts(chosen).values())
        counts = ", ".join(
            f"{verdicts.count(word)} {word}" for word in (SUPPORTED, CONTRADICTED, NOT_EVALUATED)
        )
        first = ~chosen["claim"].duplicated()
        lines = [
            _line(result, named)
            for (_, result), named in zip(chosen.iterrows(), first, strict=True)
        ]
        groups.append(Group(f"On {numbers}: {counts}", tuple(lines)))
    return Layout(
        "Claims of the paper",
        "Each claim is a predicate over tables (docs/claims.md). The margin is what the comparison "
        "that decides has left beyond what the claim asks, in points of a percent, with its 95 % "
        "bootstrap interval over pairs of images where there is one.",
        ("Claim", "Where the paper says so", "Checked on"),
        (("verdict",), ("margin",), ("95 % interval",), ("hold",), ("decided by",)),
        tuple(groups),
    )


def _line(result: pd.Series[Any], named: bool) -> Row:
    """Return one line; a claim's sentence stands at its first place only."""
    about = (result["sentence"], result["source"]) if named else ("", "")
    verdict = Cell(result["verdict"], bold=result["verdict"] == CONTRADICTED, note=result["claim"])
    if result["verdict"] == NOT_EVALUATED:
        return Row((*about, MISSING), (verdict, *[Cell(MISSING)] * 3, Cell(result["detail"])))
    has_interval = result["low"] == result["low"]
    span = f"{printed(result['low'])} to {printed(result['high'])}" if has_interval else MISSING
    return Row(
        (*about, result["place"]),
        (
            verdict,
            Cell(f"{result['margin']:+.1f}"),
            Cell(span),
            Cell(f"{result['holding']} of {result['comparisons']}"),
            Cell(result["detail"]),
        ),
    )


def _read_tables(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Return the long forms of several tables as one."""
    import pandas as pd

    frames = [
        pd.read_parquet(path) if Path(path).suffix == ".parquet" else pd.read_csv(path)
        for path in map(str, paths)
    ]
    if not frames:
        raise RobustsegError("claims need the run's tables and were given none; make some first")
    # the table over all training seeds repeats cells of the others, one for each seed
    return pd.concat([frame[frame["table"] != "seeds"] for frame in frames], ignore_index=True)
