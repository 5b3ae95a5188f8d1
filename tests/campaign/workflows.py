"""The whole workflow at matchbox size, killed again and again, with its jobs or without them."""

import os
import random
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from tests.campaign.cases import DAMAGED, HUNG, RIGHT, TRACEBACK, CaseClass, Verdict
from tests.campaign.kills import SIGNALS
from tests.campaign.processes import lives
from tests.campaign.trees import Tree, difference, tree_of
from tests.workflow.running import MATCHBOX, command, environment

MOST_KILLS = 4
LONGEST_S = 1500.0
"""Of one run. ASSUME: ten times what it takes alone on two slow cores, since others may be busy."""
ASKED = ("tables/", "figures/", "claims/", "report/")
"""Folders of what `all` asks for."""
ARGUMENTS = ["--cores", "2", "--quiet", "all", "--configfile", MATCHBOX]


def prepare(folder: Path) -> tuple[Path, Tree]:
    """Run everything undisturbed; return the folder and what is in it."""
    folder.mkdir()
    run = _start(folder)
    said, _ = run.communicate(timeout=LONGEST_S)
    assert not run.returncode, said
    return folder, results(folder)


def results(folder: Path) -> Tree:
    """Return the files that a run left, without logs and what jobs took."""
    left_out = ("logs/", "benchmarks/")
    tree = tree_of(folder / "results" / "matchbox", lambda name: name.startswith(left_out))
    return {name: one for name, one in tree.items() if one or name.endswith(".parts/")}


def _start(folder: Path, *targets: str) -> subprocess.Popen[str]:
    """Start Snakemake in a session of its own, which its jobs belong to."""
    return subprocess.Popen(
        command(*ARGUMENTS, *(targets or ("--", "all")), folder=folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        env=environment(),
    )


def attempt(undisturbed: tuple[Path, Tree], folder: Path, source: random.Random) -> Verdict:
    """Take some results away and let Snakemake make them again, killing it meanwhile."""
    reference, tree = undisturbed
    run, said = folder / "run", list[str]()
    shutil.copytree(reference, run, symlinks=True)
    taken = _take_away(run / "results" / "matchbox", tree, source)
    started = list[subprocess.Popen[str]]()
    try:
        for _ in range(source.randint(1, MOST_KILLS)):
            process = _start(run)
            started.append(process)
            said.append(_kill(process, source))
            subprocess.run(
                command(*ARGUMENTS, "--unlock", folder=run), env=environment(), capture_output=True
            )
        process = _start(run)
        started.append(process)
        try:
            words, _ = process.communicate(timeout=LONGEST_S)
        except subprocess.TimeoutExpired:
            return Verdict(HUNG, f"{', '.join(said)}: the last run did not end")
        _wait_for_jobs(started)
    finally:
        for one in started:
            with suppress(ProcessLookupError):
                os.killpg(one.pid, signal.SIGKILL)
    if "Traceback (most recent call last)" in words:
        return Verdict(TRACEBACK, f"{', '.join(said)}: {words[-1500:]}")
    if process.returncode:
        return Verdict(DAMAGED, f"{', '.join(said)}: the last run failed: {words[-1500:]}")
    found = results(run)
    wanted = {name: one for name, one in tree.items() if name in found or name not in taken}
    why = difference(wanted, found)
    return Verdict(DAMAGED, f"{', '.join(said)}: {why}") if why else Verdict(RIGHT)


def _take_away(results_folder: Path, tree: Tree, source: random.Random) -> set[str]:
    """Remove what `all` asks for, and some or all of what it is made from; return these files.

    What nothing that is missing needs is not made again, which is right.
    """
    made = sorted(name for name in tree if not name.endswith("/") and not name.startswith(ASKED))
    taken = set(made if source.random() < 0.1 else source.sample(made, source.randint(1, 12)))
    for folder in ASKED:
        shutil.rmtree(results_folder / folder)
    for name in taken:
        (results_folder / name).unlink()
    return taken


def _kill(process: subprocess.Popen[str], source: random.Random) -> str:
    """Kill a run after a while, with its jobs or without, and say how."""
    number, whole, seconds = source.choice(SIGNALS), source.random() < 0.5, source.uniform(1, 25)
    try:
        process.wait(seconds)
        return "it had ended"
    except subprocess.TimeoutExpired:
        pass
    with suppress(ProcessLookupError):
        (os.killpg if whole else os.kill)(process.pid, number)
    with suppress(subprocess.TimeoutExpired):
        process.wait(30)  # asked to stop, it lets its jobs end
    with suppress(ProcessLookupError):
        process.kill()
    process.wait()
    process.stdout.close()
    whom = "with its jobs" if whole else "alone"
    return f"{signal.Signals(number).name} to Snakemake {whom} after {seconds:.1f} s"


def _wait_for_jobs(started: list[subprocess.Popen[str]]) -> None:
    """Wait for jobs that outlive the run that started them: what they write counts too."""
    until = time.monotonic() + 60
    while time.monotonic() < until and any(lives(one.pid) for one in started):
        time.sleep(0.2)


CLASSES = [
    CaseClass("kill_workflow", "kills", prepare, attempt, limit_s=3600, weight=10),
]
