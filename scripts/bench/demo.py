"""Time the demo from nothing, and a second run that has nothing left to do: `make bench-demo`.

To be compared with the aim: at most 5 minutes, 600 s of processor time and 3 GB, and 3 s for the
second run. Runs in a temporary folder, so that results that are there are neither used nor touched.
Memory is the sum of what the processes of the run hold at a time (RSS, where shared pages count for
each of them), looked up twice a second in /proc, hence on Linux only. The numbers depend on what
else the machine does: its load before the run is printed with them.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[2]
EVERY_S = 0.5
PAGE_B = os.sysconf("SC_PAGE_SIZE")


def run(command: list[str], output: IO[str]) -> tuple[float, float, float]:
    """Return seconds, processor seconds and peak memory (GB) of a command and its descendants."""
    started, before, peak_b = time.perf_counter(), processor_s(), 0
    process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, text=True)
    while True:
        peak_b = max(peak_b, memory_b(process.pid))
        try:
            status = process.wait(EVERY_S)
        except subprocess.TimeoutExpired:
            continue
        break
    seconds = time.perf_counter() - started
    if status:
        sys.exit(f"the run failed: {' '.join(command)}")
    return seconds, processor_s() - before, peak_b / 1e9


def memory_b(root: int) -> int:
    """Return the sum of the resident memory of a process and its descendants, in bytes."""
    children, resident_b = defaultdict(list), {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # After the name, which may hold blanks: state, parent, ..., resident pages (24th).
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        number = int(path.parent.name)
        children[int(fields[1])].append(number)
        resident_b[number] = int(fields[21]) * PAGE_B
    total_b, left = 0, [root]
    while left:
        number = left.pop()
        total_b += resident_b.get(number, 0)
        left += children[number]
    return total_b


def processor_s() -> float:
    """Return the processor time of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Run twice and print what each run took."""
    parser = argparse.ArgumentParser(description="Time the demo from nothing, and a second run.")
    parser.add_argument("--profile", type=Path, default=ROOT / "profiles" / "demo")
    parser.add_argument("--configfile", type=Path, default=ROOT / "config" / "demo.yaml")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("target", nargs="?", default="all")
    args = parser.parse_args()
    load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    print(f"{args.cores} of {cores} cores, load average {load:.2f} before", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
        command += ["--directory", folder, "--profile", str(args.profile.resolve())]
        command += ["--configfile", str(args.configfile.resolve()), "--cores", str(args.cores)]
        command += ["--", args.target]
        print_line("from nothing", *run(command, sys.stderr))
        with Path(folder, "second.log").open("w+", encoding="utf-8") as log:
            taken = run(command, log)
            log.seek(0)
            said = log.read()
        if "Nothing to be done" not in said:
            sys.exit(f"the second run had something to do:\n{said}")
        print_line("second run", *taken)


def print_line(name: str, seconds: float, processor_s: float, peak_gb: float) -> None:
    """Print what one run took."""
    took = f"{seconds:6.1f} s  processor {processor_s:6.1f} s  peak {peak_gb:5.2f} GB"
    print(f"{name:12} {took}", flush=True)


if __name__ == "__main__":
    main()
