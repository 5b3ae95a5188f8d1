"""Time the planning of everything, and the reading of evidence that is cut into many shards.

`make bench-plan`. Planned is the paper, and ten times the paper: every data set and model ten times
under other names, all read by the same tables (most figures show one model, so they stay as they
are). Read is made-up evidence in 2000 files.
"""

import re
import resource
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml
from made_up_evidence import DATASETS, models, write_job

from robustseg.evidence.enumerator import EvidenceJob
from robustseg.evidence.reading import read_evidence

ROOT = Path(__file__).parents[2]
COPIES = 10
EPS_255 = (4.0, 8.0, 12.0, 16.0)
SHARDS = 50


def enlarge(config: dict[str, Any], copies: int) -> dict[str, Any]:
    """Return a configuration with copies of all data sets and models, and of what is read.

    Backbones and their data are shared, as they are between data sets in the paper.
    """
    attacked = {model["dataset"] for model in config["models"].values()}

    def named(name: str, copy: int) -> str:
        return f"{name}_{copy}" if copy else name

    data: dict[str, Any] = dict(config["data"])
    models: dict[str, Any] = {}
    for copy in range(copies):
        data |= {named(name, copy): config["data"][name] for name in attacked}
        models |= {
            named(name, copy): {**model, "dataset": named(model["dataset"], copy)}
            for name, model in config["models"].items()
        }

    def many(reads: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            {**read, "model": named(read["model"], copy)}
            for copy in range(copies)
            for read in reads
            if not copy or _can_be_copied(read, config)
        ]

    tables = {name: many(reads) for name, reads in config["tables"].items()}
    return {**config, "run": "bench", "data": data, "models": models, "tables": tables}


def _can_be_copied(read: dict[str, Any], config: dict[str, Any]) -> bool:
    """Return whether it is about a model, and not about attacks that are carried over to it."""
    suites = config["attacks"]["suites"]
    carried = any(suites[name].get("kind") == "transfer" for name in read["suites"])
    return read["model"] in config["models"] and not carried


def plan(config: Path, folder: Path) -> tuple[float, float, int]:
    """Return the seconds and processor seconds of a dry run, and the jobs that it plans."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--directory", str(folder), "--configfile", str(config), "--dry-run", "--quiet"]
    command += ["rules", "reason", "--", "all"]
    started, before = time.perf_counter(), _processor_s()
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    seconds = time.perf_counter() - started
    total = re.search(r"^total +(\d+)", run.stdout, re.M)
    if run.returncode or total is None:
        sys.exit(run.stdout)
    return seconds, _processor_s() - before, int(total[1])


def _processor_s() -> float:
    """Return the processor time of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def write_shards(folder: Path) -> list[Path]:
    """Write SEA's evidence of models at four radii on 1449 images, each job in many shards."""
    images = DATASETS["voc"][0]
    names = [name for name, model in models().items() if model["dataset"] == "voc"]
    paths = []
    for index, (name, eps_255) in enumerate(product(names, EPS_255)):
        whole = folder / "whole.parquet"
        write_job(whole, EvidenceJob("sea", name, 0, eps_255, 0), index)
        table = pq.read_table(whole)
        whole.unlink()
        for shard in range(SHARDS):
            places = range(images * shard // SHARDS, images * (shard + 1) // SHARDS)
            rows = [start + place for start in range(0, len(table), images) for place in places]
            path = folder / "sea" / name / f"eps{eps_255:g}" / f"seed0-shard{shard}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table.take(rows), path, compression="zstd")
            paths.append(path)
    return paths


def main() -> None:
    """Print what planning and reading took."""
    paper = ROOT / "config" / "config.yaml"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        large = folder / "large.yaml"
        settings = enlarge(yaml.safe_load(paper.read_text()), COPIES)
        large.write_text(yaml.safe_dump(settings, sort_keys=False))
        for title, config in (("the paper", paper), (f"{COPIES} times the paper", large)):
            seconds, processor_s, jobs = plan(config, folder)
            took = f"{seconds:5.1f} s, processor {processor_s:5.1f} s"
            print(f"{title:20} {jobs:6} jobs planned in {took}", flush=True)
        paths = write_shards(folder)
        started = time.perf_counter()
        rows = len(read_evidence(paths))
        seconds = time.perf_counter() - started
        print(f"{len(paths)} evidence files ({rows} rows) read in {seconds:.1f} s")


if __name__ == "__main__":
    main()
