"""Time every table and figure, the claims and the page on made-up evidence: `make bench-report`.

Of the paper's size: 20 models (half on 1449 images of 21 classes, half on 2000 of 151), 4 radii,
10 attacks on each, and beside them the evidence that single tables and figures read. Each output
is made by a process of its own, as the workflow does. Prints seconds and peak memory of each.
"""

import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from bench_evidence import (
    BACKBONES,
    PICTURES,
    evidence_path,
    jobs,
    models,
    reads,
    shots_of,
    write_job,
    write_shots,
)

CONFIG = Path(__file__).parents[1] / "config"
MAIN_CONFIG = CONFIG / "config.yaml"


def build(name: str, folder: Path) -> None:
    """Make one output from its evidence."""
    asked, out = reads(), folder / "out"

    def paths(*names: str) -> list[Path]:
        wanted = {job for one in names for read in asked[one] for job in jobs(read)}
        return sorted(evidence_path(folder, job) for job in wanted)

    def files(kind: str, *names: str) -> dict[str, Path]:
        return {one: out / f"{one}.{kind}" for one in names}

    def outputs(*kinds: str) -> dict[str, Path]:
        return {kind: out / f"{name}.{kind}" for kind in kinds}

    tables = [one for one in asked if not one.startswith("figure")]
    figures = [one for one in asked if one.startswith("figure")]
    if name == "claims":
        from robustseg.report.claims_report import make_claims

        long = [*files("parquet", *tables).values(), *files("csv", *figures).values()]
        claims = CONFIG / "claims.yaml"
        kinds = outputs("html", "parquet")
        make_claims(claims, long, paths(*asked), asked, models(), CONFIG / "paper", kinds)
    elif name == "page":
        from robustseg.report.page import make_page

        shown = {
            m: path
            for one in PICTURES
            if one != "figure1"
            for m, path in shots_of(folder, one).items()
        }
        config = {"run": "bench", "attacks": {"suites": {}}}
        config["models"] = {m: s for m, s in models().items() if m not in BACKBONES}
        fragments, drawings = files("html", *tables), files("svg", *figures, *PICTURES)
        page = out / "index.html"
        make_page(
            fragments,
            drawings,
            config,
            paths(*asked),
            folder / "none",
            page,
            out / "claims.html",
            shown,
        )
    elif name in PICTURES:
        from robustseg.report.pictures import make_picture

        make_picture(name, shots_of(folder, name), models(), outputs("svg", "pdf", "png", "csv"))
    elif name in figures:
        from robustseg.report.figures import make_figure

        kinds = outputs("svg", "pdf", "png", "csv")
        make_figure(name, paths(name), asked[name], models(), kinds)
    else:
        from robustseg.report.tables import make_table

        kinds = outputs("parquet", "csv", "md", "tex", "html")
        recipes = _recipes() if name == "table5" else None
        make_table(name, paths(name), asked[name], models(), kinds, CONFIG / "paper", recipes)


def _recipes() -> dict[str, Any]:
    from robustseg.config import load_config

    settings = yaml.safe_load(MAIN_CONFIG.read_text(encoding="utf-8"))
    return load_config(settings, [MAIN_CONFIG]).recipes()


def measure(work: Callable[..., None], *arguments: Any) -> tuple[float, float, float]:
    """Return seconds, processor seconds and peak memory (GB) of work in a process of its own."""
    parent, child = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(
        target=_measured, args=(child, work, *arguments)
    )
    started = time.perf_counter()
    process.start()
    child.close()
    try:
        processor_s, peak_gb = parent.recv()
    except EOFError:
        sys.exit(f"{work.__name__} of {arguments[0]} failed")
    process.join()
    return time.perf_counter() - started, processor_s, peak_gb


def _measured(answer: Any, work: Callable[..., None], *arguments: Any) -> None:
    work(*arguments)
    used = resource.getrusage(resource.RUSAGE_SELF)
    answer.send((used.ru_utime + used.ru_stime, used.ru_maxrss / 1e6))


def write_all(folder: Path) -> None:
    """Write the evidence and the attacked images that are not there yet."""
    wanted = sorted({job for read in chain(*reads().values()) for job in jobs(read)})
    for index, job in enumerate(wanted):
        path = evidence_path(folder, job)
        if not path.exists():
            write_job(path, job, index)
    for figure in PICTURES:
        for model, path in shots_of(folder, figure).items():
            if not path.exists():
                write_shots(path, model, targets=figure == "figure1")
    size = sum(path.stat().st_size for path in folder.rglob("*shard0.parquet"))
    print(f"{len(wanted)} evidence files, {size / 1e6:.0f} MB", flush=True)


def main() -> None:
    """Make every output as a job of its own, and print what each took."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary if len(sys.argv) < 2 else sys.argv[1])
        measure(write_all, folder)  # so that its memory is not inherited by what is measured
        taken = []
        for name in [*reads(), *PICTURES, "claims", "page"]:
            taken.append(measure(build, name, folder))
            print_line(name, *taken[-1])
        seconds, processor_s, peaks_gb = zip(*taken, strict=True)
        print_line("in all", sum(seconds), sum(processor_s), max(peaks_gb))
        page = folder / "out" / "index.html"
        print(f"the page has {page.stat().st_size / 1e6:.1f} MB")


def print_line(name: str, seconds: float, processor_s: float, peak_gb: float) -> None:
    """Print what one output took."""
    took = f"{seconds:6.1f} s  processor {processor_s:6.1f} s  peak {peak_gb:5.2f} GB"
    print(f"{name:11} {took}", flush=True)


if __name__ == "__main__":
    main()
