"""Jobs that are ended at any moment, and run again: the same bytes, and nothing beside them."""

import random
import signal
from functools import partial
from pathlib import Path

from tests.campaign.cases import DAMAGED, HUNG, RIGHT, SENTENCE, TRACEBACK, CaseClass, Verdict
from tests.campaign.jobs import JOBS, Job, Ready
from tests.campaign.processes import Ended, Moment, run_forked
from tests.campaign.trees import difference, half_written, tree_of

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
MOST_KILLS = 3
"""Of a job, before it may end."""


def ready(job: Job, folder: Path) -> Ready:
    """Prepare a job's inputs and run it undisturbed; the process itself computes nothing."""
    inputs, out = folder / "inputs", folder / "out"
    folder.mkdir()
    made = run_forked(lambda: job.prepare(inputs), inputs, limit_s=300)
    assert made.status == 0, made.said
    found = Ready(job, inputs)
    job.begin(inputs, out)
    ended = again(found, out)
    assert ended.status == 0, ended.said
    found.tree, found.steps, found.seconds = tree_of(out), ended.steps, ended.seconds
    return found


def again(one: Ready, out: Path, moment: Moment | None = None, notes: Path | None = None) -> Ended:
    """Run a job, or some of it."""
    return run_forked(lambda: one.job.run(one.inputs, out), out, moment, notes=notes)


def moment_of(one: Ready, source: random.Random) -> Moment:
    """Draw a signal and when it comes: half of them by the clock, half by what the job does."""
    number = source.choice(SIGNALS)
    if source.random() < 0.5:
        return Moment(number, seconds=source.uniform(0, one.seconds))
    return Moment(number, step=source.randint(1, max(1, one.steps)))


def attempt(one: Ready, folder: Path, source: random.Random) -> Verdict:
    """Kill a job, maybe again and again, and let it run to its end."""
    out, said = folder / "out", []
    one.job.begin(one.inputs, out)
    own_words = False
    for _ in range(source.randint(1, MOST_KILLS)):
        moment = moment_of(one, source)
        said.append(str(moment))
        ended = again(one, out, moment)
        problem = _cut_short(one, out, ended, moment)
        if problem:
            return Verdict(problem.column, f"{', '.join(said)}: {problem.said}")
        own_words = ended.status > 0
    ended = again(one, out)
    problem = finished(one, out, ended)
    if problem:
        return Verdict(problem.column, f"{', '.join(said)}: {problem.said}")
    return Verdict(SENTENCE if own_words else RIGHT, ", ".join(said))


def _cut_short(one: Ready, out: Path, ended: Ended, moment: Moment) -> Verdict | None:
    """Return what is wrong with a job that was ended, None if nothing is."""
    if ended.hung:
        return Verdict(HUNG, "it did not end")
    # Python itself ignores Ctrl-C while it takes an object apart, says so, and goes on.
    if ended.said.count("Traceback") > ended.said.count("Exception ignored in"):
        return Verdict(TRACEBACK, ended.said[-500:])
    if ended.status not in (0, 1, 130, -moment.number):
        return Verdict(TRACEBACK, f"it ended with status {ended.status}: {ended.said[-300:]}")
    before = half_written(one.tree, out)
    return Verdict(DAMAGED, before) if before else None


def finished(one: Ready, out: Path, ended: Ended) -> Verdict | None:
    """Return what is wrong with a job that was to end, None if nothing is."""
    if ended.hung:
        return Verdict(HUNG, "the next run did not end")
    if "Traceback" in ended.said:
        return Verdict(TRACEBACK, f"the next run: {ended.said[-500:]}")
    if ended.status:
        return Verdict(DAMAGED, f"the next run did not succeed: {ended.said[-400:]}")
    why = difference(one.tree, tree_of(out))
    return Verdict(DAMAGED, why) if why else None


CLASSES = [
    CaseClass(f"kill_{name}", "kills", partial(ready, job), attempt, limit_s=900, weight=2)
    for name, job in JOBS.items()
]
