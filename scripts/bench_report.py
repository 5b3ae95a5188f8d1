"""Time all tables, figures and claims on made-up evidence of the paper's size: `make bench-report`.

20 models (half on 1449 images of 21 classes, half on 2000 of 151), 4 radii, 10 attacks on each, and
beside them the evidence that single tables read. Prints seconds and peak memory of each output.
"""

import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from robustseg.names import LOSSES, SEA_LOSSES
from robustseg.records import SCHEMA

DATASETS = {"voc": (1449, 21), "ade20k": (2000, 151)}
"""Images and classes."""
EPS_255 = (4.0, 8.0, 12.0, 16.0)
PIXELS = 512 * 512
CLASSES_AN_IMAGE = 8
REPORTED = Path(__file__).parents[1] / "config"

SUITES: dict[str, list[tuple[str, str, str, int]]] = {
    "clean": [("none", "none", "none", 0)],
    "sea": [(loss, "apgd", "reduced", 300) for loss in SEA_LOSSES],
    "losses": [(loss, "apgd", "constant", 100) for loss in LOSSES],
    "baselines": [(loss, "pgd", "constant", 300) for loss in ("cossim_ce", "bal_ce")],
    "baselines_100": [(loss, "pgd", "constant", 100) for loss in ("bal_ce", "cossim_ce")],
    "schedules": [
        (loss, "apgd", schedule, 300)
        for loss in SEA_LOSSES
        for schedule in ("constant", "restarts")
    ],
    "iterations": [
        (loss, "apgd", "reduced", count) for loss in SEA_LOSSES for count in (50, 100, 500)
    ],
}


def models() -> dict[str, dict[str, Any]]:
    """Return 20 models, ten a data set, in pairs of AT and PIR-AT."""
    settings = {"decoder": "upernet", "backbone": "convnext_tiny", "eps_255": 4}
    return {
        f"{scheme}_{steps}_{dataset}": {
            **settings,
            "dataset": dataset,
            "scheme": scheme,
            "steps": steps,
            "epochs": 50,
        }
        for dataset in DATASETS
        for scheme in ("at", "pir_at")
        for steps in (1, 2, 3, 5, 7)
    }


def reads() -> dict[str, list[dict[str, Any]]]:
    """Return what each table and figure reads: those over losses and SEA all 20 models."""

    def of(names: Iterable[str], *suites: str, **rest: Any) -> list[dict[str, Any]]:
        return [{"model": m, "suites": list(suites), "eps_255": EPS_255, **rest} for m in names]

    every, one = list(models()), ["pir_at_5_voc"]
    return {
        "table1": of(one, "baselines", "sea"),
        **{name: of(every, "losses") for name in ("table2", "table8")},
        **{name: of(every, "sea") for name in ("table3", "table4", "table9")},
        "table7": of(one, "baselines_100", "losses"),
        "table10": of(one, "sea", seeds=[0, 1, 2, 3, 4]),
        **{name: of(one, "schedules", "sea") for name in ("figure2", "figure3", "figure4")},
        "figure5": of(one, "iterations", "sea"),
    }


def jobs(read: Mapping[str, Any]) -> Iterator[tuple[str, str, float, int]]:
    """Yield model, suite, radius and seed of the jobs that one entry of `reads` names."""
    yield read["model"], "clean", 0.0, 0
    for suite in read["suites"]:
        for eps_255 in read["eps_255"]:
            for seed in read.get("seeds", [0]):
                yield read["model"], suite, eps_255, seed


def evidence_path(folder: Path, job: tuple[str, str, float, int]) -> Path:
    """Return the file of a job."""
    model, suite, eps_255, seed = job
    return folder / suite / model / "seed0" / f"eps{eps_255:g}" / f"seed{seed}-shard0.parquet"


def write_job(path: Path, job: tuple[str, str, float, int], index: int) -> None:
    """Write one file: all attacks of a suite on all images."""
    model, suite, eps_255, seed = job
    dataset = str(models()[model]["dataset"])
    images, classes = DATASETS[dataset]
    draw = np.random.default_rng(index)
    tables = []
    for loss, optimizer, schedule, iterations in SUITES[suite]:
        name = f"{optimizer}-{loss}-{schedule}-{iterations}" if suite != "clean" else "clean"
        correct, intersection, union = _counts(draw, images, classes, eps_255)
        words: dict[str, Any] = {
            **{"dataset": dataset, "model": model, "training_seed": 0, "suite": suite},
            **{"attack": name, "loss": loss, "optimizer": optimizer, "schedule": schedule},
            **{"iterations": iterations, "eps_255": eps_255, "seed": seed},
            **{"linf_255": eps_255, "inherited": False, "pixels": PIXELS},
            **{"forward_passes": iterations + 1, "backward_passes": iterations},
        }
        columns = {word: [value] * images for word, value in words.items()}
        columns["image_id"] = [f"{dataset}_{number:06d}" for number in range(images)]
        columns |= {"pixels_correct": correct}
        columns |= {"intersection": list(intersection), "union": list(union)}
        tables.append(pa.table({field.name: columns[field.name] for field in SCHEMA}, SCHEMA))
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.concat_tables(tables).replace_schema_metadata({}), path, compression="zstd")


def _counts(
    draw: np.random.Generator, images: int, classes: int, eps_255: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return correct pixels, intersections and unions of images with a few classes each."""
    share = np.clip(draw.normal(0.9 * 0.8 ** (eps_255 / 4), 0.1, images), 0, 1)
    correct = np.rint(share * PIXELS).astype(np.int64)
    present = np.argsort(draw.random((images, classes)), axis=1)[:, :CLASSES_AN_IMAGE]
    even = np.full(CLASSES_AN_IMAGE, 1 / CLASSES_AN_IMAGE)
    right = draw.multinomial(correct, even)
    wrong = draw.multinomial(PIXELS - correct, even)
    intersection = np.zeros((images, classes), dtype=np.int32)
    union = np.zeros_like(intersection)
    np.put_along_axis(intersection, present, right, axis=1)
    np.put_along_axis(union, present, right + wrong + np.roll(wrong, 1, axis=1), axis=1)
    return correct, intersection, union


def build(name: str, folder: Path) -> None:
    """Make one output from its evidence."""
    asked = reads()
    out = {kind: folder / "out" / f"{name}.{kind}" for kind in ("parquet", "csv", "html", "svg")}

    def paths(*names: str) -> list[Path]:
        wanted = {job for one in names for read in asked[one] for job in jobs(read)}
        return sorted(evidence_path(folder, job) for job in wanted)

    if name == "claims":
        from robustseg.report.claims_report import make_claims

        tables = {one: read for one, read in asked.items() if one.startswith("table")}
        long = [folder / "out" / f"{one}.{'parquet' if one in tables else 'csv'}" for one in asked]
        config, kinds = REPORTED, {"html": out["html"], "parquet": out["parquet"]}
        files = paths(*tables)
        make_claims(config / "claims.yaml", long, files, tables, models(), config / "paper", kinds)
    elif name.startswith("table"):
        from robustseg.report.tables import make_table

        kinds = {kind: out[kind] for kind in ("parquet", "html")}
        make_table(name, paths(name), asked[name], models(), kinds, REPORTED / "paper")
    else:
        from robustseg.report.figures import make_figure

        kinds = {kind: out[kind] for kind in ("svg", "csv")}
        make_figure(name, paths(name), asked[name], models(), kinds)


def measure(name: str, folder: Path) -> tuple[float, float, float]:
    """Return seconds, processor seconds and peak memory (GB) of one output in its own process."""
    parent, child = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(
        target=_measured, args=(build, name, folder, child)
    )
    started = time.perf_counter()
    process.start()
    child.close()
    try:
        processor_s, peak_gb = parent.recv()
    except EOFError:
        sys.exit(f"{name} failed")
    process.join()
    return time.perf_counter() - started, processor_s, peak_gb


def _measured(work: Callable[[str, Path], None], name: str, folder: Path, answer: Any) -> None:
    work(name, folder)
    used = resource.getrusage(resource.RUSAGE_SELF)
    answer.send((used.ru_utime + used.ru_stime, used.ru_maxrss / 1e6))


def main() -> None:
    """Write the evidence, make every output as a job of its own, and print what each took."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary if len(sys.argv) < 2 else sys.argv[1])
        wanted = sorted({job for read in chain(*reads().values()) for job in jobs(read)})
        for index, job in enumerate(wanted):
            path = evidence_path(folder, job)
            if not path.exists():
                write_job(path, job, index)
        size = sum(path.stat().st_size for path in folder.rglob("*shard0.parquet"))
        print(f"{len(wanted)} evidence files, {size / 1e6:.0f} MB")
        taken = []
        for name in [*reads(), "claims"]:
            taken.append(measure(name, folder))
            print_line(name, *taken[-1])
        seconds, processor_s, peaks_gb = zip(*taken, strict=True)
        print_line("in all", sum(seconds), sum(processor_s), max(peaks_gb))


def print_line(name: str, seconds: float, processor_s: float, peak_gb: float) -> None:
    """Print what one output took."""
    took = f"{seconds:6.1f} s  processor {processor_s:6.1f} s  peak {peak_gb:5.2f} GB"
    print(f"{name:10} {took}", flush=True)


if __name__ == "__main__":
    main()
