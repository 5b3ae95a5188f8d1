"""The images behind a number, from the runs that the number names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from robustseg import metrics
from robustseg.claims.comparisons import NumberKey
from robustseg.claims.noise import ImageScores, Scores
from robustseg.evidence.enumerator import Read, check_files
from robustseg.evidence.numbers import Number, Sources, evidence_in
from robustseg.evidence.queries import Evidence
from robustseg.evidence.reading import CountsReader, read_evidence
from robustseg.evidence.runs import Run
from robustseg.evidence.wording import percent
from robustseg.figures.registry import EXHIBITS

if TYPE_CHECKING:
    import pandas as pd


KEPT_SOURCES = 4
"""Tables whose outcomes are kept, with counts of classes or without: these are the memory."""


def image_scores(
    numbers: pd.DataFrame,
    evidence_paths: Iterable[str | Path],
    reads: Mapping[str, Sequence[Read]],
) -> ImageScores:
    """Return what gives the images behind a number; None for one that they do not tell.

    Args:
        numbers: long form of tables and figures, with the column `runs` of their Parquet files.
        evidence_paths: evidence behind all of `reads`; read once, and the counts of classes of
            what has mIoU.
        reads: what each table and figure reads, as for `tables.making.make_table`.
    """
    paths = list(evidence_paths)
    check_files("claims", paths)
    frame = read_evidence(paths, counts=False) if paths else None
    by_key = {NumberKey.of(row): row for row in numbers.to_dict("records")}

    @lru_cache(KEPT_SOURCES)
    def sources(name: str, with_classes: bool) -> Sources:
        assert frame is not None  # a number with runs has evidence
        counts = CountsReader() if with_classes else None
        return Sources(Evidence(frame, reads[name], name, {}, paths, counts), {})

    @cache
    def scores_of(key: NumberKey) -> Scores | None:
        if key.training_seed != key.training_seed:  # NaN, which no key is found by
            return None  # a setting, which has no runs
        exhibit = EXHIBITS[key.table]
        row = by_key[key]
        runs = tuple(Run(**run) for run in row["runs"])
        evidence = sources(key.table, key.metric == "miou")
        if exhibit.scores is not None:
            what = key._asdict()
            del what["table"]
            return Scores(*exhibit.scores(evidence, Number(**what, value=row["value"], runs=runs)))
        return None if exhibit.measure else _worst_case(evidence, runs, key.metric)

    return scores_of


def _worst_case(sources: Sources, runs: tuple[Run, ...], metric: str) -> Scores:
    """Return the images of an image-wise worst case over runs, but those without labels."""
    attacked = evidence_in(sources).worst(runs)
    labelled = attacked.pixels > 0
    if metric == "acc":
        values, candidates = attacked.accuracy[labelled], frozenset(runs)
    else:
        counts = (attacked.intersection[labelled], attacked.union[labelled])
        values, candidates = metrics.miou_pseudo_values(*counts), frozenset()
    return Scores(attacked.image_ids[labelled], percent(1) * values, candidates)
