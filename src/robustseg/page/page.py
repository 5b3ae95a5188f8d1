"""One self-contained page of a run: tables, figures, settings, versions and cost."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape, unescape
from pathlib import Path
from typing import Any, NamedTuple

from robustseg import __version__
from robustseg.evidence.book import merged_provenance, radius
from robustseg.evidence.enumerator import check_files
from robustseg.figures.figures import GRID, INK
from robustseg.files import atomic_path
from robustseg.names import SCHEME_LABELS
from robustseg.page.gallery import encode_gallery
from robustseg.page.sections import REST, SECTIONS, label_of

TEMPLATE = "page.html.j2"


class Cost(NamedTuple):
    """What the jobs of one stage took, from Snakemake's benchmark files."""

    stage: str
    jobs: int
    total_s: float
    longest_s: float
    peak_mb: float


class Passes(NamedTuple):
    """What the evidence of one suite took: (image, attack) rows, and passes of single images."""

    suite: str
    rows: int
    forward: int
    backward: int


def make_page(
    tables: Mapping[str, str | Path],
    figures: Mapping[str, str | Path],
    config: Mapping[str, Any],
    evidence_paths: Iterable[str | Path],
    benchmarks_dir: str | Path,
    out: str | Path,
    claims: str | Path | None = None,
    gallery: Mapping[str, str | Path] | None = None,
) -> None:
    """Write the page of a run; it needs no other file and no network.

    Args:
        tables: HTML fragments by table id (make_table's `html`).
        figures: SVG files by figure id (make_figure's `svg`).
        config: the run's whole configuration.
        evidence_paths: the evidence behind them, for provenance and passes.
        benchmarks_dir: Snakemake's benchmark TSVs, in one folder a stage; may be missing.
        out: the page.
        claims: HTML fragment of claims_report.make_claims.
        gallery: files of attacked images by model, see gallery.ARRAYS.

    Raises:
        RobustsegError: evidence is missing or a file of the gallery damaged; it says which.
    """
    from jinja2 import Environment, FileSystemLoader

    paths = sorted(map(str, evidence_paths))
    check_files("the page", paths)
    parts = {name: Path(path).read_text(encoding="utf-8") for name, path in tables.items()}
    parts |= {
        name: inline_figure(name, Path(path).read_text("utf-8")) for name, path in figures.items()
    }
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True
    )
    shown = encode_gallery(gallery or {})
    page = environment.get_template(TEMPLATE).render(
        run=config["run"],
        seeds=bool(config.get("seeds")) and "seeds" not in tables,
        seeds_beside=Path(out).with_name("seeds.html").exists(),
        claims=Path(claims).read_text(encoding="utf-8") if claims else "",
        beside=any('<tr class="beside">' in part for part in parts.values()),
        gallery=shown,
        gallery_json=_as_script(shown),
        sections=_sections(parts),
        models=[_model_row(name, model) for name, model in config["models"].items()],
        suites=[_suite_row(name, suite) for name, suite in config["attacks"]["suites"].items()],
        config=json.dumps(config, indent=2, sort_keys=True, default=str),
        provenance=merged_provenance(paths),
        files=len(paths),
        version=__version__,
        costs=read_costs(benchmarks_dir),
        passes=read_passes(paths),
    )
    with atomic_path(out) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _as_script(data: Any) -> str:
    """Return data as JSON that can stand in a script element, whatever words it holds."""
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")


def inline_figure(name: str, svg: str) -> str:
    """Return an SVG of figures.make_figure as an HTML figure in the page's colours.

    Title, alternative text and caption come from the SVG. Its ids get the figure's name as prefix,
    since several SVGs share one page.
    """
    said = {tag: unescape(_between(svg, f"<{tag}>", f"</{tag}>")) for tag in ("title", "desc")} | {
        "caption": unescape(_between(svg, '<metadata id="caption">', "</metadata>"))
    }
    drawing = svg[svg.index("<svg") :]
    drawing = re.sub(r"<(title|desc|metadata)\b.*?</\1>\s*", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r'(<svg\b[^>]*?) width="[^"]*" height="[^"]*"', r"\1", drawing, count=1)
    drawing = re.sub(r'(\bid="|href="#|url\(#)', rf"\1{name}-", drawing)
    drawing = drawing.replace("*{", f"#{name} svg *{{")
    drawing = drawing.replace(INK, "currentColor").replace(GRID, "var(--grid)")
    label = escape(said["desc"])
    drawing = drawing.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
    heading = f"{label_of(name)}: {said['title']}"
    return (
        f'<figure class="drawing" id="{name}">\n<figcaption><strong>{escape(heading)}.</strong> '
        f"{escape(said['caption'])}</figcaption>\n"
        f'<div class="pan" tabindex="0" role="region" aria-label="{escape(heading)}">\n'
        f"{drawing.strip()}\n</div>\n</figure>\n"
    )


def read_costs(benchmarks_dir: str | Path) -> list[Cost]:
    """Return what each stage took, from `{benchmarks_dir}/{stage}/**/*.tsv`, sorted by name."""
    stages: dict[str, list[tuple[float, float]]] = {}
    root = Path(benchmarks_dir)
    for path in sorted(root.rglob("*.tsv")):
        with path.open(newline="", encoding="utf-8") as file:
            jobs = [
                (_number(row["s"]), _number(row["max_rss"]))
                for row in csv.DictReader(file, delimiter="\t")
            ]
        stages.setdefault(path.relative_to(root).parts[0], []).extend(jobs)
    return [
        Cost(
            stage=stage,
            jobs=len(jobs),
            total_s=sum(seconds for seconds, _ in jobs),
            longest_s=max(seconds for seconds, _ in jobs),
            peak_mb=max(memory for _, memory in jobs),
        )
        for stage, jobs in stages.items()
        if jobs
    ]


def read_passes(paths: Sequence[str]) -> list[Passes]:
    """Return rows and passes of each suite of the evidence."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = ["suite", "forward_passes", "backward_passes"]
    table = pa.concat_tables(pq.ParquetFile(path).read(columns=columns) for path in paths)
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
    """Return the sections that have something to show; what no section names comes last."""
    named = {name for _, _, names in SECTIONS for name in names}
    rest = tuple(name for name in parts if name not in named)
    sections = [*SECTIONS, (REST, "", rest)]
    return [
        {
            "id": f"section-{number}",
            "title": title,
            "text": text,
            "parts": [{"name": name, "html": parts[name]} for name in names if name in parts],
        }
        for number, (title, text, names) in enumerate(sections, start=1)
        if any(name in parts for name in names)
    ]


def _model_row(name: str, model: Mapping[str, Any]) -> dict[str, str]:
    return {
        "Model": name,
        "Training": SCHEME_LABELS[model["scheme"]] + _by(model),
        "Data": str(model["dataset"]),
        "Decoder": str(model["decoder"]),
        "Backbone": str(model["backbone"]),
        "Epochs": str(model["epochs"]),
        "Attack steps": str(model.get("steps") or "–"),
        "Radius": radius(model["eps_255"]) if model.get("eps_255") else "–",
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
        return "–"
    return ", ".join(map(str, values)) if isinstance(values, Sequence) else str(values)


def _between(text: str, start: str, end: str) -> str:
    return text.partition(start)[2].partition(end)[0]


def _number(text: str) -> float:
    """Read a benchmark's number; Snakemake writes NA or - for what it could not measure."""
    return float(text) if re.fullmatch(r"[\d.]+", text) else 0.0
