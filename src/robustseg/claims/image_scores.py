"""The score of each image behind a number, from the runs that the number names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from robustseg.claims.verdicts import ImageScores, NumberKey, Scores
from robustseg.evidence.enumerator import Read, check_files
from robustseg.evidence.numbers import Number, Sources, worst_case_scores
from robustseg.evidence.queries import Evidence
from robustseg.evidence.reading import read_evidence
from robustseg.evidence.runs import Run
from robustseg.exhibits import Exhibit
from robustseg.figures.registry import FIGURES
from robustseg.tables.registry import TABLES

if TYPE_CHECKING:
    import pandas as pd


def image_scores(
    numbers: pd.DataFrame,
    evidence_paths: Iterable[str | Path],
    reads: Mapping[str, Sequence[Read]],
) -> ImageScores:
    """Return what gives the images whose mean score a number is; None where it is no such mean.

    Args:
        numbers: long form of tables and figures, with the column `runs` of their Parquet files.
        evidence_paths: evidence behind all of `reads`; read once, without counts of classes.
        reads: what each table and figure reads, as for `tables.making.make_table`.
    """
    paths = list(evidence_paths)
    check_files("claims", paths)
    frame = read_evidence(paths, counts=False) if paths else None
    by_key = {
        NumberKey(*(row[name] for name in NumberKey._fields)): row
        for row in numbers.to_dict("records")
    }

    @cache
    def sources(name: str) -> Sources:
        assert frame is not None  # a number with runs has evidence
        return Sources(Evidence(frame, reads[name], name, {}, paths), {})

    def scores_of(key: NumberKey) -> Scores | None:
        exhibit: Exhibit = {**TABLES, **FIGURES}[key.table]
        if exhibit.scores is None and (exhibit.measure is not None or key.metric != "acc"):
            return None
        row = by_key[key]
        if not len(row["runs"]):
            return None  # a setting
        runs = tuple(Run(**run) for run in row["runs"])
        what = key._asdict()
        del what["table"]
        one = Number(**what, value=row["value"], runs=runs)
        return (exhibit.scores or worst_case_scores)(sources(key.table), one)

    return scores_of
