"""Time the tables and figures, the claims and the page on made-up evidence: `make bench-report`.

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
from made_up_evidence import (
    BACKBONES,
    PICTURES,
    jobs,
    models,
    reads,
    shots_of,
    write_job,
    write_shots,
)

from robustseg.figures.registry import FIGURES
from robustseg.tables.registry import TABLES

CONFIG = Path(__file__).parents[2] / "config"
MAIN_CONFIG = CONFIG / "config.yaml"
DRAWN = ("svg", "pdf", "png", "csv", "json")


def build(name: str, folder: Path) -> None:
    """Make one output from its evidence."""
    if name == "claims":
        build_claims(folder)
    elif name == "page":
        build_page(folder)
    elif name in PICTURES:
        from robustseg.figures import picture, registry

        drawn, out = registry.PICTURES[name], _outputs(folder, name, *DRAWN)
        picture.make_picture(drawn, shots_of(folder, name), models(), out)
    elif name in FIGURES:
        from robustseg.figures.making import make_figure

        outputs = _outputs(folder, name, *DRAWN, "parquet")
        make_figure(FIGURES[name], _evidence(folder, name), reads()[name], models(), outputs)
    else:
        from robustseg.tables.making import make_table

        table, outputs = TABLES[name], _outputs(folder, name, "parquet", "csv", "md", "tex", "json")
        shown = _trainings() if table.select is None else models()
        paths = _evidence(folder, name)
        make_table(table, paths, reads()[name], shown, outputs, CONFIG / "paper")


def build_claims(folder: Path) -> None:
    """Make the claims from all tables and figures."""
    from robustseg.claims.report import make_claims

    claimed = [name for name in reads() if name in FIGURES or TABLES[name].in_paper]
    make_claims(
        CONFIG / "claims.yaml",
        _files(folder, "parquet", claimed).values(),
        _evidence(folder, *reads()),
        reads(),
        CONFIG / "paper",
        _outputs(folder, "claims", "html", "parquet"),
    )


def build_page(folder: Path) -> None:
    """Make the page of everything."""
    from robustseg.page.page import make_page

    tables, figures = _tables_and_figures()
    drawn = [*figures, *PICTURES]
    svg, words = (_files(folder, kind, drawn) for kind in ("svg", "json"))
    untargeted = [one for one in PICTURES if one != "figure1"]
    shown = {name: model for name, model in models().items() if name not in BACKBONES}
    make_page(
        _files(folder, "json", tables),
        {name: (svg[name], words[name]) for name in drawn},
        {"run": "bench", "attacks": {"suites": {}}, "models": shown},
        _evidence(folder, *reads()),
        [],
        folder / "out" / "index.html",
        folder / "out" / "claims.parquet",
        {m: path for one in untargeted for m, path in shots_of(folder, one).items()},
        numbers=_files(folder, "parquet", [*tables, *figures]).values(),
        headlines=CONFIG / "claims.yaml",
    )


def _tables_and_figures() -> tuple[list[str], list[str]]:
    names = list(reads())
    return [name for name in names if name in TABLES], [name for name in names if name in FIGURES]


def _evidence(folder: Path, *names: str) -> list[Path]:
    """Return the evidence behind some tables and figures."""
    wanted = {job for name in names for read in reads()[name] for job in jobs(read)}
    return sorted(folder / job.path for job in wanted)


def _files(folder: Path, kind: str, names: list[str]) -> dict[str, Path]:
    """Return one kind of output of several tables or figures, by name."""
    return {name: folder / "out" / f"{name}.{kind}" for name in names}


def _outputs(folder: Path, name: str, *kinds: str) -> dict[str, Path]:
    """Return several kinds of output of one, by kind."""
    return {kind: folder / "out" / f"{name}.{kind}" for kind in kinds}


def _trainings() -> dict[str, Any]:
    from robustseg.config import load_config

    settings = yaml.safe_load(MAIN_CONFIG.read_text(encoding="utf-8"))
    return load_config(settings, [MAIN_CONFIG]).trainings()


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
        path = folder / job.path
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
