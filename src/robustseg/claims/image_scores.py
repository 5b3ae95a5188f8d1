"""The score of each image behind the cells of tables and figures, for intervals of differences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from robustseg.claims.verdicts import NumberKey, Scores
from robustseg.evidence.book import Book, Flags, Ids, Models, Reads, percent, printed
from robustseg.evidence.enumerator import check_files
from robustseg.evidence.queries import Evidence, Run
from robustseg.evidence.records import read_evidence
from robustseg.figures.figures import RECORDERS
from robustseg.tables.layout import Cell
from robustseg.tables.tables import TABLES


def image_scores(
    evidence_paths: Iterable[str | Path], reads: Mapping[str, Reads], models: Models
) -> dict[NumberKey, Scores]:
    """Return the score of each image in each cell whose number is the mean over images.

    Args:
        evidence_paths: evidence behind all of `reads`; read once, without counts of classes.
        reads: for each table (one of tables.TABLES) and figure (of figures.FIGURES) what it reads,
            as for tables.make_table.
        models: the configuration's models.

    Returns:
        Scores by number; its `get` is what verdicts.evaluate_claims asks. A table of means over
        seeds has none.
    """
    if not any(reads.values()):
        return {}  # a run of ablations alone
    paths = list(evidence_paths)
    check_files("claims", paths)
    frame = read_evidence(paths, counts=False)
    recorders: Mapping[str, Callable[[Book], object]] = {**TABLES, **RECORDERS}
    scores: dict[NumberKey, Scores] = {}
    for table_id, table_reads in reads.items():
        if not table_reads:
            continue  # a table of settings
        book = _ImageBook(table_id, Evidence(frame, table_reads, table_id, paths), models)
        recorders[table_id](book)
        scores |= book.scores
    return scores


@dataclass
class _ImageBook(Book):
    """A book that keeps images instead of intervals, which are most of a table's cost."""

    scores: dict[NumberKey, Scores] = field(default_factory=dict)

    def cells(self, attack: str, runs: Sequence[Run]) -> tuple[Cell, Cell]:
        first, attacked = runs[0], self.worst(runs)
        self.scores[self._key(attack, first, "acc")] = (
            attacked.image_ids,
            percent(1) * attacked.accuracy,
        )
        # The printed text decides what is bold, which no one reads here.
        return Cell(printed(percent(attacked.accuracy.mean()))), Cell(printed(0))

    def share(self, attack: str, run: Run, metric: str, image_ids: Ids, held: Flags) -> None:
        key = self._key(attack, run, metric)
        self.scores[key] = (image_ids, percent(1) * held.astype(np.float64))

    def _key(self, attack: str, run: Run, metric: str) -> NumberKey:
        return NumberKey(
            self.name, run.dataset, run.model, run.training_seed, attack, run.eps_255, metric
        )
