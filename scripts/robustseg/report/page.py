"""One self-contained page of a run."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def make_page(
    tables: Mapping[str, str | Path],
    figures: Mapping[str, str | Path],
    config: Mapping[str, Any],
    evidence_paths: Iterable[str | Path],
    benchmarks_dir: str | Path,
    out: str | Path,
) -> None:
    """Write the page of a run.

    Args:
        tables: HTML fragments by table id, in reading order (make_table's `html`).
        figures: SVG files by figure id, in reading order (make_figure's `svg`).
        config: the run's whole configuration.
        evidence_paths: the run's evidence, for provenance and passes spent.
        benchmarks_dir: folder of Snakemake's benchmark TSVs, one sub-folder a stage.
        out: index.html.
    """
    raise NotImplementedError
