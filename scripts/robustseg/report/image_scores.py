"""The accuracy of each image behind the cells of a table, for intervals of differences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustseg.records import read_evidence
from robustseg.report.book import Book, Models, Reads, percent, printed
from robustseg.report.layout import Cell
from robustseg.report.queries import Evidence, Run, score
from robustseg.report.tables import TABLES

if TYPE_CHECKING:
    import pandas as pd


def image_scores(
    table_id: str, evidence_paths: Iterable[str | Path], reads: Reads, models: Models
) -> pd.DataFrame:
    """Return the accuracy of each image in each cell of metric acc of a table.

    Args:
        table_id: one of tables.TABLES.
        evidence_paths, reads, models: as for tables.make_table.

    Returns:
        table, dataset, model, attack, eps_255 (1/255), image_id, acc (percent). A table of
        means over seeds has no rows.
    """
    import pandas as pd

    book = _ImageBook(table_id, Evidence(read_evidence(evidence_paths), reads, table_id), models)
    TABLES[table_id](book)
    return pd.concat(book.images.values(), ignore_index=True) if book.images else pd.DataFrame()


@dataclass
class _ImageBook(Book):
    """A book that keeps images instead of intervals, which are most of a table's cost."""

    images: dict[tuple[Any, ...], pd.DataFrame] = field(default_factory=dict)

    def cells(self, attack: str, runs: Sequence[Run]) -> tuple[Cell, Cell]:
        import pandas as pd

        first, attacked = runs[0], self.worst(runs)
        cell = {
            "table": self.name,
            "dataset": first.dataset,
            "model": first.model,
            "attack": attack,
            "eps_255": first.eps_255,
        }
        scores = {"image_id": attacked.image_ids, "acc": percent(1) * attacked.accuracy}
        self.images[tuple(cell.values())] = pd.DataFrame({**cell, **scores})
        value = score(attacked)
        return Cell(printed(percent(value.acc))), Cell(printed(percent(value.miou)))
