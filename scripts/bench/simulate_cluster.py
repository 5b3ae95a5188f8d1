"""Print how long a configuration takes on 1, 8, 64 and 512 GPUs, by the number of shards.

    python scripts/bench/simulate_cluster.py config/config.yaml --seconds 0.1
    python scripts/bench/simulate_cluster.py config/config.yaml --throughput throughput.json

The second asks for the measured times of `snakemake plan`; the first takes one figure: the seconds
that a forward and backward pass of one image takes in UPerNet with ConvNeXt-T at 512 pixels. Other
networks and sizes are set in proportion to their multiplications.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from robustseg.config import Config, load_config, read_yaml
from robustseg.errors import RobustsegError
from robustseg.plan.costs import PlannedJob
from robustseg.plan.limits import relative_cost
from robustseg.plan.makespan import TRAINING, Makespan, all_jobs, simulate, waits_for
from robustseg.plan.throughput import lookup, read_throughput

GPUS = (1, 8, 64, 512)
SHARDS = (1, 2, 4, 8, 16, 32, 64)


def with_shards(config: Config, shards: int) -> Config:
    """Return the configuration with another number of shards."""
    attacks = config.attacks.model_copy(update={"shards": shards})
    return config.model_copy(update={"attacks": attacks})


def price(arguments: argparse.Namespace) -> Callable[[PlannedJob], float]:
    """Return a function that gives a job's seconds, with what each job needs to start."""
    start_s: float = arguments.start
    if arguments.throughput:
        _, known = read_throughput(arguments.throughput)
        source = arguments.throughput
        return lambda job: (
            start_s + sum(lookup(known, work.network, source).seconds(work) for work in job.work)
        )
    seconds: float = arguments.seconds
    return lambda job: start_s + seconds * sum(relative_cost(work) for work in job.work)


def table(
    config: Config, seconds: Callable[[PlannedJob], float], training_gpus: int, trained: bool
) -> str:
    """Return the makespans as a table in Markdown.

    Args:
        config: the configuration.
        seconds: what a job takes on one GPU.
        training_gpus: that a training takes.
        trained: whether all models are there already.
    """
    lines = ["| shards | jobs | images in one (VOC) | " + " | ".join(map(_title, GPUS)) + " |"]
    lines.append("|---:" * (3 + len(GPUS)) + "|")
    for shards in SHARDS:
        cut = with_shards(config, shards)
        jobs = [job for job in all_jobs(cut) if not (trained and job.rule in TRAINING)]
        needs = waits_for(cut, jobs)
        found = [simulate(needs, seconds, gpus, training_gpus) for gpus in GPUS]
        cells = " | ".join(map(_cell, found))
        lines.append(f"| {shards} | {len(jobs)} | {_largest(cut)} | {cells} |")
    return "\n".join(lines)


def _largest(config: Config) -> int:
    """Return the images of the largest shard of VOC's validation images."""
    unit = config.attacks.batch_size
    batches = -(-1449 // unit)
    return min(1449, -(-batches // min(config.attacks.shards, batches)) * unit)


def _title(gpus: int) -> str:
    return f"{gpus} GPU{'s' if gpus > 1 else ''}"


def _cell(found: Makespan) -> str:
    hours = f"{found.hours:.0f}" if found.hours >= 10 else f"{found.hours:.1f}"
    return f"{hours} h, {100 * found.busy:.0f} %"


def main() -> None:
    """Simulate what the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("config", type=Path)
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--seconds", type=float, help="of a pass of one image, see above")
    given.add_argument("--throughput", help="file of measured times")
    parser.add_argument("--training-gpus", type=int, default=1, help="that a training takes")
    parser.add_argument("--start", type=float, default=60, help="seconds before a job computes")
    arguments = parser.parse_args()
    try:
        config = load_config(read_yaml(arguments.config), [arguments.config])
        seconds = price(arguments)
        for trained in (False, True):
            print("\nAttacks alone, models are there:\n" if trained else "Everything:\n")
            print(table(config, seconds, arguments.training_gpus, trained))
    except (RobustsegError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
