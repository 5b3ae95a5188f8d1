"""The accuracy of each image behind the cells of a table, for intervals of differences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from robustseg.records import read_evidence
from robustseg.report.book import Book, Models, Reads, percent, printed
from robustseg.report.claims import Scores
from robustseg.report.completeness import check_files
from robustseg.report.layout import Cell
from robustseg.report.queries import Evidence, Run
from robustseg.report.tables import TABLES


def image_scores(
    evidence_paths: Iterable[str | Path], reads: Mapping[str, Reads], models: Models
) -> Scores:
    """Return the accuracy of each image in each cell of metric acc of tables.

    Args:
        evidence_paths: evidence behind all of the tables; read once, without counts of classes.
        reads: for each table (one of tables.TABLES) what it reads, as for tables.make_table.
        models: the configuration's models.

    Returns:
        Scores by cell, see claims.Scores. A table of means over seeds has none.
    """
    paths = list(evidence_paths)
    check_files("claims", paths)
    frame = read_evidence(paths, counts=False)
    scores: Scores = {}
    for table_id, table_reads in reads.items():
        if not table_reads:
            continue  # a table of settings
        book = _ImageBook(table_id, Evidence(frame, table_reads, table_id, paths), models)
        TABLES[table_id](book)
        scores |= book.scores
    return scores


@dataclass
class _ImageBook(Book):
    """A book that keeps images instead of intervals, which are most of a table's cost."""

    scores: Scores = field(default_factory=dict)

    def cells(self, attack: str, runs: Sequence[Run]) -> tuple[Cell, Cell]:
        first, attacked = runs[0], self.worst(runs)
        cell = (self.name, first.dataset, first.model, attack, first.eps_255, "acc")
        self.scores[cell] = (attacked.image_ids, percent(1) * attacked.accuracy)
        # The printed text decides what is bold, which no one reads here.
        return Cell(printed(percent(attacked.accuracy.mean()))), Cell(printed(0))
