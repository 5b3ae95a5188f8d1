"""Time the planning of everything, and the reading of evidence that is cut into many shards.

`make bench-plan`. Planned is the paper, and ten times the paper: every data set and model ten times
under other names, all read by the same tables (most figures show one model, so they stay as they
are); and as many of the simplest jobs. Read is made-up evidence in 10,000 files, as a table reads
it.
"""

import multiprocessing
import re
import resource
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from demo import processor_s
from made_up_evidence import DATASETS, models, write_job

from robustseg.evidence.enumerator import EvidenceJob
from robustseg.evidence.queries import Evidence
from robustseg.evidence.writing import STORED

ROOT = Path(__file__).parents[2]
BARE = """
rule all:
    input: expand("bare/{a}/{b}.parquet", a=range(10), b=range(config["jobs"] // 10))

rule source:
    output: "bare/{a}.txt"
    script: "bare.py"

rule job:
    input: "bare/{a}.txt"
    output: "bare/{a}/{b}.parquet"
    log: "bare/{a}-{b}.log"
    benchmark: "bare/{a}-{b}.tsv"
    resources: mem_mb=lambda wildcards, attempt: 1, runtime=lambda wildcards, attempt: 1
    params: a=lambda wildcards: 1
    message: "{wildcards.a} {wildcards.b}"
    script: "bare.py"
"""
COPIES = 10
EPS_255 = (4.0, 8.0, 12.0, 16.0)
SEEDS = 5
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


def plan(snakefile: Path, config: Path, folder: Path) -> tuple[float, float, int]:
    """Return the seconds and processor seconds of a dry run, and the jobs that it plans."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile)]
    command += ["--directory", str(folder), "--configfile", str(config), "--dry-run", "--quiet"]
    command += ["rules", "reason", "--", "all"]
    started, before = time.perf_counter(), processor_s()
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    seconds = time.perf_counter() - started
    total = re.search(r"^total +(\d+)", run.stdout, re.M)
    if run.returncode or total is None:
        sys.exit(run.stdout)
    return seconds, processor_s() - before, int(total[1])


def write_bare(folder: Path) -> Path:
    """Write a workflow of the simplest jobs with a script: what Snakemake itself takes."""
    (folder / "bare.py").touch()
    path = folder / "bare.smk"
    path.write_text(BARE)
    return path


def write_shards(folder: Path) -> list[Path]:
    """Write evidence of SEA on models at four radii and on 1449 images, each job in many shards.

    Each seed has the same rows, and each model its clean evaluation.
    """
    images = DATASETS["voc"][0]
    paths = []
    for index, (name, eps_255) in enumerate(product(victims(), EPS_255)):
        whole = folder / "whole.parquet"
        write_job(whole, EvidenceJob("sea", name, 0, eps_255, 0), index)
        table = pq.read_table(whole)
        whole.unlink()
        place = table.schema.get_field_index("seed")
        for shard, seed in product(range(SHARDS), range(SEEDS)):
            places = range(images * shard // SHARDS, images * (shard + 1) // SHARDS)
            rows = [start + image for start in range(0, len(table), images) for image in places]
            seeds = pa.array([seed] * len(rows), pa.int32())
            part = table.take(rows).set_column(place, table.schema.field(place), seeds)
            paths.append(folder / EvidenceJob("sea", name, 0, eps_255, seed, shard).path)
            paths[-1].parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(part, paths[-1], **STORED)
    for index, name in enumerate(victims()):
        clean = EvidenceJob("clean", name, 0, 0.0, 0, 0)
        paths.append(folder / clean.path)
        write_job(paths[-1], clean, index)
    return paths


def victims() -> list[str]:
    """Return the models on VOC."""
    return [name for name, model in models().items() if model["dataset"] == "voc"]


def read(paths: list[Path]) -> None:
    """Read evidence as a table does: rows, checks, and the counts by class of every run."""
    seeds = list(range(SEEDS))
    reads = [
        {"model": name, "suites": ["sea"], "eps_255": list(EPS_255), "seeds": seeds}
        for name in victims()
    ]
    started = time.perf_counter()
    evidence = Evidence.open("the table", paths, reads, models())
    opened = time.perf_counter()
    rows = sum(len(evidence.outcomes(run).pixels) for run in evidence.all_runs)
    done = time.perf_counter()
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"{len(paths)} evidence files ({rows} rows) read in {opened - started:.1f} s, the outcomes "
        f"of {len(evidence.all_runs)} runs in {done - opened:.1f} s; processor "
        f"{time.process_time():.1f} s with start, peak {peak_gb:.2f} GB",
        flush=True,
    )


def print_plan(title: str, snakefile: Path, config: Path, folder: Path) -> int:
    """Print what planning took, and return the jobs that were planned."""
    seconds, processor_s, jobs = plan(snakefile, config, folder)
    took = f"{seconds:5.1f} s, processor {processor_s:5.1f} s"
    print(f"{title:20} {jobs:6} jobs planned in {took}", flush=True)
    return jobs


def main() -> None:
    """Print what planning and reading took."""
    paper = ROOT / "config" / "config.yaml"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        large = folder / "large.yaml"
        settings = enlarge(yaml.safe_load(paper.read_text()), COPIES)
        large.write_text(yaml.safe_dump(settings, sort_keys=False))
        bare, jobs_file = write_bare(folder), folder / "jobs.yaml"
        for title, config in (("the paper", paper), (f"{COPIES} times the paper", large)):
            jobs = print_plan(title, ROOT / "Snakefile", config, folder)
            jobs_file.write_text(f"jobs: {jobs}")
            print_plan("the simplest jobs", bare, jobs_file, folder)
        paths = write_shards(folder)
        # In a process of its own, whose memory is that of reading alone.
        reading = multiprocessing.get_context("spawn").Process(target=read, args=(paths,))
        reading.start()
        reading.join()
        sys.exit(reading.exitcode)


if __name__ == "__main__":
    main()
