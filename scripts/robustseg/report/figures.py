"""The paper's figures from evidence."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from robustseg.report.tables import Models, Reads


def make_figure(
    figure_id: str,
    evidence_paths: Iterable[str | Path],
    reads: Reads,
    models: Models,
    out_paths: Mapping[str, str | Path],
) -> None:
    """Draw one figure ("figure2" to "figure5") to `out_paths`: any of pdf, png, svg, csv (its numbers)."""
    raise NotImplementedError
