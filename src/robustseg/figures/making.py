"""From evidence to the files of a figure of numbers.

What reads evidence is imported where it is used, since `registry` imports all files of this folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from robustseg.evidence.enumerator import Read
from robustseg.evidence.numbers import Sources
from robustseg.evidence.runs import Models
from robustseg.figures.figure import Figure, style, write_drawing
from robustseg.files import atomic_path
from robustseg.numbers_shown import collect


def make_figure(
    figure: Figure,
    evidence_paths: Iterable[str | Path],
    reads: Sequence[Read],
    models: Models,
    out_paths: Mapping[str, str | Path],
) -> None:
    """Draw one figure from evidence and write it in every format asked for.

    Args:
        figure: one of `registry.FIGURES`.
        evidence_paths: evidence of all attacks that `reads` names and of the clean evaluations, of
            one training seed or several.
        reads: the figure's list in the configuration, see `tables.making.make_table`.
        models: the configuration's models.
        out_paths: files by format: any of pdf, png, svg, csv (the numbers drawn), parquet (the same
            with the runs behind each), json (title, caption and alternative text).

    Raises:
        RobustsegError: evidence is missing, incomplete or damaged; the sentence says which.
    """
    import matplotlib as mpl

    from robustseg.evidence.queries import Evidence

    mpl.use("Agg")
    paths = sorted(map(str, evidence_paths))
    with_classes = "miou" in figure.metrics
    evidence = Evidence.open(figure.id, paths, reads, models, with_classes)
    numbers = collect(figure, Sources(evidence, models))
    others = dict(out_paths)
    if "parquet" in others:
        with atomic_path(others.pop("parquet")) as temporary:
            numbers.write(temporary, paths)
    with mpl.rc_context(style(figure.id)):
        write_drawing(figure.draw(numbers.over_training_seeds()), numbers.frame(), others)
