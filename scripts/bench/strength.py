r"""Make the evidence that a configuration's tables read, of trained models and one set of images.

For a machine with a GPU and without Snakemake; files have the names that the workflow gives them.
Jobs that are done are left out, and several processes share the GPU, since small networks do not
fill it.

    RUN=results/strength
    python scripts/bench/strength.py --models $RUN/models --val $RUN/data/scenes/val.npz \
        --class-pixels $RUN/data/scenes/class_pixels.json --device cuda --workers 12
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from torch.multiprocessing import get_context

from robustseg.evaluation.adapters import load_pair
from robustseg.evaluation.over_batches import evaluate_clean
from robustseg.evaluation.suites import run_suite
from robustseg.evidence.enumerator import CLEAN_SUITE, EvidenceJob, by_radius, jobs_read
from robustseg.evidence.schema import device_name, hash_settings, provenance
from robustseg.evidence.writing import write_evidence
from robustseg.progress import Progress

WEIGHTS = "{model}/seed{training_seed}/weights.safetensors"


def suites_of(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the suites with the kind that they have where they name none."""
    suites = config["attacks"]["suites"]
    return {name: {"kind": "white_box", **suite} for name, suite in suites.items()}


def jobs_of(config: dict[str, Any]) -> Iterator[EvidenceJob]:
    """Yield what all tables and figures read, each job once, the clean evaluations first."""
    suites = suites_of(config)
    named = [*config.get("tables", {}).values(), *config.get("figures", {}).values()]
    reads = [{"seeds": [0], **read} for some in named for read in some]
    jobs = dict.fromkeys(
        job._replace(shard=0) for read in by_radius(reads, suites) for job in jobs_read(read, 0)
    )
    yield from sorted(jobs, key=lambda job: (job.suite != CLEAN_SUITE, job.seed))


def work(options: argparse.Namespace, config: dict[str, Any], worker: int) -> None:
    """Do every so-many-th job until the time is up."""
    torch.set_num_threads(1)
    progress = Progress(f"strength, process {worker}")
    jobs = list(jobs_of(config))[worker :: options.workers]
    for job in progress.track(jobs, len(jobs), "jobs"):
        path = options.out / job.path
        if path.exists() or time.monotonic() > options.until:
            continue
        weights = options.models / WEIGHTS.format(**job.wildcards)
        model, dataset = load_pair(str(weights), str(options.val), options.device)
        identity: dict[str, str | int] = {
            "dataset": config["models"][job.model]["dataset"],
            "model": job.model,
            "training_seed": job.training_seed,
            "suite": job.suite,
        }
        suite = suites_of(config).get(job.suite, {})
        size = config["attacks"]["batch_size"]
        if job.suite == CLEAN_SUITE:
            rows = evaluate_clean(model, dataset, batch_size=size, identity=identity)
        else:
            rows = run_suite(
                suite,
                model,
                dataset,
                eps_255=job.eps_255,
                seed=job.seed,
                shard=(0, 1, 1),
                batch_size=size,
                identity=identity,
                parts=path.with_suffix(".parts"),
                progress=progress,
                sources={},
                class_pixels=options.class_pixels,
            )
        made_by = provenance(hash_settings(suite), device_name(options.device), "float32")
        write_evidence(path, rows, made_by, dataset.class_names)


def main() -> None:
    """Share the jobs among processes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--config", type=Path, default=Path("config", "strength.yaml"))
    parser.add_argument("--models", type=Path, required=True, help=f"folder of {WEIGHTS}")
    parser.add_argument("--val", type=Path, required=True, help="images, .npz or .parquet")
    parser.add_argument("--class-pixels", type=Path, required=True, help="class_pixels.json")
    parser.add_argument("--out", type=Path, default=Path("results", "strength"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no job after")
    options = parser.parse_args()
    options.until = time.monotonic() + options.seconds
    if options.class_pixels:
        options.class_pixels = json.loads(options.class_pixels.read_text("utf-8"))
    config = yaml.safe_load(options.config.read_text("utf-8"))
    spawn = get_context("spawn")
    arguments = [(options, config, worker) for worker in range(options.workers)]
    with spawn.Pool(options.workers) as pool:
        pool.starmap(work, arguments)


if __name__ == "__main__":
    main()
