"""From evidence to the files of a table.

What reads evidence is imported where it is used, since `registry` imports all files of this folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from robustseg.evidence.enumerator import Read
from robustseg.evidence.numbers import Sources
from robustseg.evidence.runs import Models
from robustseg.files import atomic_path
from robustseg.html_files import html_document
from robustseg.numbers_shown import Numbers, collect
from robustseg.tables.latex import to_latex
from robustseg.tables.layout import to_html, to_json, to_markdown, with_reported
from robustseg.tables.table import Table


def make_table(
    table: Table,
    evidence_paths: Iterable[str | Path],
    reads: Sequence[Read],
    models: Models,
    out_paths: Mapping[str, str | Path],
    reported_folder: str | Path | None = None,
    manifests: Mapping[str, str | Path] | None = None,
) -> None:
    """Build one table from evidence and write it in every format asked for.

    Args:
        table: one of `registry.TABLES`.
        evidence_paths: evidence of all attacks that `reads` names and of the clean evaluations, of
            one training seed or several.
        reads: the table's list in the configuration: mappings with model, suites, eps_255 and,
            optionally, seeds (of the attack; [0] by default).
        models: the configuration's models, for tables of settings with their trainings.
        out_paths: files by format: any of parquet (the numbers, each with the runs behind it),
            csv (the same without the runs), md, tex, html, json (the layout, for the page).
        reported_folder: the paper's numbers, config/paper; shown below measured ones where data set
            and model are the paper's.
        manifests: manifests of its data sets, for a table that reads which images training has
            seen.

    Raises:
        RobustsegError: evidence is missing, incomplete or damaged; the sentence says which.
    """
    paths = sorted(map(str, evidence_paths))
    numbers = _numbers(table, paths, reads, models, reported_folder, manifests or {})
    layout = with_reported(replace(table.layout(numbers.over_training_seeds()), label=table.label))
    texts: dict[str, Callable[[], str]] = {
        "md": lambda: to_markdown(layout),
        "tex": lambda: to_latex(layout, table.id),
        "html": lambda: html_document(layout.heading, to_html(layout, table.id)),
        "json": lambda: to_json(layout),
        "csv": lambda: numbers.frame().to_csv(index=False, lineterminator="\n"),
    }
    for kind, path in out_paths.items():
        with atomic_path(path) as temporary:
            if kind == "parquet":
                numbers.write(temporary, paths, caption=layout.caption)
            else:
                temporary.write_text(texts[kind](), encoding="utf-8")


def _numbers(
    table: Table,
    paths: Sequence[str],
    reads: Sequence[Read],
    models: Models,
    reported_folder: str | Path | None,
    manifests: Mapping[str, str | Path],
) -> Numbers:
    from robustseg.evidence.queries import Evidence
    from robustseg.evidence.reported import reported_numbers

    if table.own_numbers is not None:
        return table.own_numbers(table, Sources(None, models))
    with_classes = table.metrics != ("acc",)
    evidence = Evidence.open(table.id, paths, reads, models, with_classes)
    reported = reported_numbers(table.id, reported_folder) if reported_folder else {}
    return collect(table, Sources(evidence, models, manifests), reported)
