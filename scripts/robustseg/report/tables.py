"""The paper's tables from evidence."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Reads = Sequence[Mapping[str, Any]]
Models = Mapping[str, Mapping[str, Any]]


def make_table(
    table_id: str,
    evidence_paths: Iterable[str | Path],
    reads: Reads,
    models: Models,
    out_paths: Mapping[str, str | Path],
) -> None:
    """Build one table from evidence and write it in every format asked for.

    Args:
        table_id: "table1", ..., "table10" or "seeds", see TABLES.
        evidence_paths: evidence of all attacks that `reads` names and of the clean evaluations.
        reads: the table's list in the configuration: mappings with model, suites, eps_255 and,
            optionally, seeds (of the attack; [0] by default).
        models: the configuration's models, each with `architecture` of its backbone added.
        out_paths: files by format: any of parquet, csv, md, tex, html (a fragment for the page).
    """
    raise NotImplementedError
