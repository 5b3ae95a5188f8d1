"""One self-contained page of a run: what was found, tables, figures, settings and cost."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from robustseg import __version__
from robustseg.claims.language import read_headlines
from robustseg.errors import RobustsegError
from robustseg.evidence.enumerator import check_files
from robustseg.evidence.numbers import LONG_COLUMNS
from robustseg.evidence.reading import merged_provenance
from robustseg.evidence.wording import MISSING, radius
from robustseg.exhibits import QUESTIONS, Shown
from robustseg.figures.figure import GRID, INK
from robustseg.figures.registry import EXHIBITS, FIGURES, PICTURES
from robustseg.files import write_text
from robustseg.html_files import render
from robustseg.names import SCHEME_LABELS
from robustseg.page.attack_viewer import encode_gallery
from robustseg.page.claim_names import key_of
from robustseg.page.doubts import doubts_of
from robustseg.page.drawings import lighter
from robustseg.page.first_screen import answers_of, picture_of
from robustseg.tables.layout import Layout, from_json, to_html
from robustseg.text_files import LONGEST_LIST_BYTES, read_csv, read_json, read_text

if TYPE_CHECKING:
    import pandas as pd

TEMPLATE = Path(__file__).with_name("page.html.j2")


MOST_ANSWERS = 12
"""That stand open: the paper's eight questions and a few models; a run may have forty."""


class Cost(NamedTuple):
    """What the jobs of one stage took, from Snakemake's benchmark files."""

    stage: str
    jobs: int
    total_s: float
    longest_s: float
    peak_mb: float


LOSSY = (
    "Photographs are kept with losses here; the figure's files in the run's folder have them exact."
)


class Passes(NamedTuple):
    """What the evidence of one suite took: (image, attack) rows, and passes of single images."""

    suite: str
    rows: int
    forward: int
    backward: int


def make_page(
    tables: Mapping[str, str | Path],
    figures: Mapping[str, tuple[str | Path, str | Path]],
    config: Mapping[str, Any],
    evidence_paths: Iterable[str | Path],
    benchmarks: Iterable[str | Path],
    out: str | Path,
    claims: str | Path | None = None,
    gallery: Mapping[str, str | Path] | None = None,
    over_seeds: bool = False,
    numbers: Iterable[str | Path] = (),
    headlines: str | Path | None = None,
) -> None:
    """Write the page of a run; it needs no other file and no network.

    Args:
        tables: layouts by table id (make_table's `json`).
        figures: drawing and words by figure id (make_figure's or make_picture's `svg` and `json`).
        config: the run's whole configuration.
        evidence_paths: the evidence behind them, for provenance and passes.
        benchmarks: Snakemake's benchmark TSVs of the jobs behind them, in one folder a stage; the
            page says how many are there.
        out: the page.
        claims: the claims' results (make_claims' `parquet`).
        gallery: files of attacked images by model.
        over_seeds: whether it is the page over all training seeds.
        numbers: what the first screen is made from: the long forms (make_table's and make_figure's
            `parquet`) of tables that tell something and of those that claims are about.
        headlines: config/claims.yaml, whose questions are answered first; needs `claims`.

    Raises:
        RobustsegError: evidence is missing, a file of the gallery or a second opinion damaged, or a
            headline wrong; it says which.
    """
    import pandas as pd

    from robustseg.claims.report import MEASURED, SIGNS, claims_html

    paths = sorted(map(str, evidence_paths))
    check_files("the page", paths)
    layouts = {name: _layout(path) for name, path in tables.items()}
    parts = {name: to_html(layout, name) for name, layout in layouts.items()}
    parts |= {name: _inline_figure(name, *files) for name, files in figures.items()}
    shown = encode_gallery(gallery or {})
    listed = list(map(Path, benchmarks))
    measured = read_benchmarks(listed)
    provenance = merged_provenance(paths)
    results = pd.read_parquet(claims) if claims else None
    of_run = None if results is None else results[results["numbers"] == MEASURED]
    answers = answers_of(_long_form(numbers), of_run, headlines, config["models"])
    names = _names(of_run, headlines, config["models"])
    said = [line for text in provenance.pop("warnings", []) for line in text.splitlines()]
    page = render(
        TEMPLATE,
        run=config["run"],
        over_seeds=over_seeds,
        has_seeds=bool(config.get("seeds")),
        answers=answers,
        most_answers=MOST_ANSWERS,
        counts=Counter(one.verdict for of_one in answers for one in of_one if one.verdict),
        places=list(dict.fromkeys(one.place for of_one in answers for one in of_one if one.place)),
        signs=SIGNS,
        picture=picture_of(shown, config["models"]),
        claims="" if results is None else claims_html(results, "names" if names else ""),
        names=names,
        claims_checked=0 if of_run is None else of_run["claim"].nunique(),
        beside=any(layout.has_reported for layout in layouts.values()),
        gallery=shown,
        gallery_json=_as_script(shown),
        sections=_sections(parts),
        models=[_model_row(name, model) for name, model in config["models"].items()],
        suites=[_suite_row(name, suite) for name, suite in config["attacks"]["suites"].items()],
        config=json.dumps(config, indent=2, sort_keys=True, default=str),
        provenance=provenance,
        warnings=list(dict.fromkeys(said)),
        doubts=doubts_of(paths),
        of_paper=any(EXHIBITS[name].in_paper for name in tables),
        files=len(paths),
        version=__version__,
        costs=costs_of(measured),
        measured=(len(measured), len(listed)),
        passes=read_passes(paths),
    )
    write_text(out, page)


def _names(
    results: pd.DataFrame | None, headlines: str | Path | None, models: Mapping[str, Any]
) -> list[dict[str, str]]:
    """Return the key to the names in the verdicts of a run."""
    if results is None or headlines is None:
        return []
    _, places = read_headlines(headlines)
    return key_of(results["detail"], places, models)


def _layout(path: str | Path) -> Layout:
    """Return the layout of a table from its file."""
    try:
        return from_json(read_text(path))
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise RobustsegError(f"{path} is damaged ({error}); delete it and run again") from error


def _long_form(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Return the numbers of several tables and figures, without the runs behind them."""
    import pandas as pd

    columns = list(LONG_COLUMNS)
    frames = [pd.read_parquet(path, columns=columns) for path in paths]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def _as_script(data: Any) -> str:
    """Return data as JSON that can stand in a script element, whatever words it holds."""
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")


def _inline_figure(name: str, svg: str | Path, words: str | Path) -> str:
    """Return a drawing as an HTML figure in the page's colours.

    Its ids get the figure's name as prefix, since several drawings share one page.

    Args:
        name: of the figure.
        svg: file that matplotlib has written.
        words: file, JSON with title, caption and alt.

    Raises:
        RobustsegError: one of them is damaged.
    """
    said = read_json(words)
    texts = isinstance(said, dict) and {key: said.get(key) for key in ("title", "caption", "alt")}
    if not texts or not all(isinstance(text, str) for text in texts.values()):
        raise RobustsegError(f"{words} lacks title, caption or alt; delete it and run again")
    _, begin, drawing = read_text(svg, LONGEST_LIST_BYTES).partition("<svg")
    if not begin:
        raise RobustsegError(f"{svg} is not a drawing; delete it and run again")
    drawing, lossy = lighter(begin + drawing, svg)
    drawing = re.sub(r"<metadata\b.*?</metadata>\s*", "", drawing, count=1, flags=re.DOTALL)
    drawing = re.sub(r'(<svg\b[^>]*?) width="[^"]*" height="[^"]*"', r"\1", drawing, count=1)
    drawing = re.sub(r'(\bid="|href="#|url\(#)', rf"\1{name}-", drawing)
    drawing = drawing.replace("*{", f"#{name} svg *{{")
    drawing = drawing.replace(INK, "currentColor").replace(GRID, "var(--grid)")
    drawing = drawing.replace("<svg", f'<svg role="img" aria-label="{escape(said["alt"])}"', 1)
    label = FIGURES[name].label if name in FIGURES else PICTURES[name].label
    heading = escape(f"{label}: {said['title']}")
    caption = f"{said['caption']} {LOSSY}" if lossy else str(said["caption"])
    return (
        f'<figure class="drawing" id="{name}">\n<figcaption><strong>{heading}.</strong> '
        f"{escape(caption)}</figcaption>\n"
        f'<div class="pan" tabindex="0" role="region" aria-label="{heading}">\n'
        f"{drawing.strip()}\n</div>\n</figure>\n"
    )


def read_benchmark(path: Path) -> list[tuple[float, float]]:
    """Return the seconds and the most memory, in MB, of the jobs that a benchmark file is of.

    What a killed job, or another program, left in it is left out: the page says how many jobs were
    measured.
    """
    try:
        (_, columns), *lines = read_csv(path, delimiter="\t") or [(1, [])]
    except RobustsegError:
        return []
    rows = [dict(zip(columns, fields, strict=False)) for _, fields in lines]
    words = [(row.get("s", ""), row.get("max_rss", "")) for row in rows]
    return [(_number(s), _number(rss)) for s, rss in words if _is_number(s) and _is_number(rss)]


def read_benchmarks(paths: Iterable[Path]) -> dict[Path, list[tuple[float, float]]]:
    """Return what `read_benchmark` returns of each file that is there and measured a job."""
    return {path: jobs for path in sorted(paths) if (jobs := read_benchmark(path))}


def costs_of(measured: Mapping[Path, Sequence[tuple[float, float]]]) -> list[Cost]:
    """Return what each stage took, sorted by name: the folders that benchmark files lie in.

    Args:
        measured: as from `read_benchmarks`.
    """
    stages: dict[str, list[tuple[float, float]]] = {}
    for path, jobs in measured.items():
        stages.setdefault(path.parent.name, []).extend(jobs)
    return [
        Cost(
            stage=stage,
            jobs=len(jobs),
            total_s=sum(seconds for seconds, _ in jobs),
            longest_s=max(seconds for seconds, _ in jobs),
            peak_mb=max(memory for _, memory in jobs),
        )
        for stage, jobs in sorted(stages.items())
    ]


def read_passes(paths: Sequence[str]) -> list[Passes]:
    """Return rows and passes of each suite of the evidence."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = ["suite", "forward_passes", "backward_passes"]
    table = pa.concat_tables(
        pq.ParquetFile(path, page_checksum_verification=True).read(columns) for path in paths
    )
    sums = (
        table.replace_schema_metadata(None)
        .group_by("suite")
        .aggregate([([], "count_all"), ("forward_passes", "sum"), ("backward_passes", "sum")])
    )
    return sorted(
        Passes(
            row["suite"], row["count_all"], row["forward_passes_sum"], row["backward_passes_sum"]
        )
        for row in sums.to_pylist()
    )


def _sections(parts: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the questions that tables and figures answer, with what there is of each."""
    known: dict[str, Shown] = {**EXHIBITS, **PICTURES}
    answers = [
        (question, [name for name in known if name in parts and known[name].question == question])
        for question in QUESTIONS
    ]
    return [
        {
            "id": f"section-{number}",
            "title": question.title,
            "text": question.text,
            "parts": [{"name": name, "html": parts[name]} for name in names],
        }
        for number, (question, names) in enumerate(answers, start=1)
        if names
    ]


def _model_row(name: str, model: Mapping[str, Any]) -> dict[str, str]:
    return {
        "Model": name,
        "Training": SCHEME_LABELS[model["scheme"]] + _by(model),
        "Data": str(model["dataset"]),
        "Decoder": str(model["decoder"] or MISSING),
        "Backbone": str(model["backbone"]),
        "Epochs": str(model["epochs"] or MISSING),
        "Attack steps": str(model.get("steps") or MISSING),
        "Radius": radius(model["eps_255"]) if model.get("eps_255") else MISSING,
    }


def _by(model: Mapping[str, Any]) -> str:
    """Return who has trained a model, if it was not this run."""
    return f", weights published by {model['publisher']}" if model.get("publisher") else ""


def _suite_row(name: str, suite: Mapping[str, Any]) -> dict[str, str]:
    return {
        "Suite": name,
        "Losses": _listed(suite.get("losses")),
        "Optimizer": str(suite.get("optimizer") or suite["kind"]),
        "Schedules": _listed(suite.get("schedules")),
        "Iterations": _listed(suite.get("iterations")),
    }


def _listed(values: Any) -> str:
    """Return one value, or several, in words; a dash where a kind of suite has none."""
    if values is None:
        return MISSING
    return ", ".join(map(str, values)) if isinstance(values, Sequence) else str(values)


def _number(text: str) -> float:
    return 0.0 if text in UNMEASURED else float(text)


def _is_number(text: str) -> bool:
    return text in UNMEASURED or re.fullmatch(r"[0-9]{1,12}(\.[0-9]+)?", text) is not None


UNMEASURED = ("NA", "-")
"""What Snakemake writes into a benchmark for what it could not measure."""
