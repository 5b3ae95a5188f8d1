"""Clusters: what can be seen to be wrong before a job is sent, and why jobs did not end."""

import getpass
import math
import re
import shutil
import subprocess
from collections.abc import Collection, Iterable
from pathlib import Path

from robustseg.errors import RobustsegError

GO_ON = "nothing that was done is lost, and the same command goes on from there"

CAUSES = {
    r"OUT_OF_MEMORY|oom-kill|[Ee]xceeded (?:job )?memory limit": "a job ran out of memory: retries "
    "ask for more each time; if that is not enough, raise its rule's mem_mb under set-resources in "
    "the profile",
    r"SLURM status is: 'TIMEOUT'": "a job ran out of time: retries ask for more each time; if that "
    "is not enough, raise its rule's runtime (minutes) under set-resources in the profile",
    r"CUDA out of memory|the GPU's memory|a GPU has too little memory": "a GPU ran out of memory: "
    "give attacks a smaller batch (`--set-resources attack_model:batch_size=4` leaves finished "
    "evidence as it is), or trainings a lower images_per_pass",
    r"SLURM status is: 'CANCELLED'": "a job was cancelled",
    r"SLURM status is: '(?:NODE_FAIL|BOOT_FAIL)'": "a node of the cluster failed",
    r"Invalid account|account .* appears to be invalid": "the cluster does not know the account: "
    "change slurm_account in the profile (`sacctmgr show user $USER withassoc` lists yours)",
    r"Invalid qos": "the cluster does not know the QOS, or not for this account: change qos or "
    "slurm-qos in the profile (`sacctmgr show user $USER withassoc` lists yours)",
    r"Job violates accounting/QOS policy": "the account or its QOS allows no such job, or not so "
    "many: send fewer at a time (--jobs), or ask for less under set-resources in the profile",
    r"Requested time limit is invalid": "the partition allows no job of that length: name another "
    "partition, or lower its rule's runtime (minutes) under set-resources in the profile",
    r"Requested node configuration is not available|More processors requested than permitted": "no "
    "node of the partition has the GPU, memory or time that a job asks for: name another "
    "partition, or change what its rule asks for under set-resources in the profile",
    r"died with <Signals\.SIGKILL: 9>": "a job was killed, probably because the machine ran out of "
    "memory: run fewer jobs at a time (--cores), or give attacks a smaller batch_size",
    r"No space left on device|Disk quota exceeded": "a disk is full, or your quota on it is used "
    "up: the logs of the jobs that failed name the file; free some space",
    r"missing after \d+ seconds": "results of a job that ended well did not appear here: if the "
    "file system is shared and slow, raise latency-wait in the profile",
}
"""What is found in the logs of a run (a pattern), and what that means to a person."""

JOB_LOGS = re.compile(r"^ *log: (.*?) \(check log file", re.M)
"""Where Snakemake names the logs of a job that failed."""


def explain(logs: Collection[str | Path]) -> list[str]:
    """Return a sentence for each known cause of a failure that the logs of a run show.

    Args:
        logs: Snakemake's own of the run, which name those of the jobs that failed.
    """
    text = "".join(map(_read, logs))
    jobs = {path for paths in JOB_LOGS.findall(text) for path in paths.split(", ")}
    text += "".join(_read(path) for path in sorted(jobs))
    found = [sentence for pattern, sentence in CAUSES.items() if re.search(pattern, text)]
    return [f"{sentence}; {GO_ON}" for sentence in found]


def _read(path: str | Path) -> str:
    """Return a log, or nothing if it is gone or was never written."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def check_slurm(partitions: Collection[str]) -> None:
    """Refuse what jobs would be sent in vain for.

    Args:
        partitions: those that jobs ask for.

    Raises:
        RobustsegError: SLURM is not here, does not answer, or does not know a partition.
    """
    if shutil.which("sbatch") is None:
        raise RobustsegError(
            "sbatch is not on the PATH, so no job can be sent: type this on a login node of a "
            "SLURM cluster (perhaps after `module load slurm`), or choose another profile"
        )
    known = ask("sinfo", "--noheader", "--format=%R").split()
    for partition in partitions:
        # Several may be named, of which the first that is free is taken.
        for name in partition.split(","):
            if name not in known:
                raise RobustsegError(
                    f"this cluster has no partition {name}; it has {', '.join(known)}: change "
                    "slurm_partition in the profile"
                )


def too_long(asked: Iterable[tuple[str, str, int]], limits: str) -> list[str]:
    """Return a sentence for each rule whose jobs no partition runs as long as they ask for.

    SLURM takes such jobs, and unless it is set otherwise never starts them.

    Args:
        asked: of each job its rule, its partitions ("" for the cluster's own choice) and minutes.
        limits: what `sinfo --format="%P %l"` says.
    """
    longest: dict[str, float] = {}
    for name, limit in (line.split() for line in limits.splitlines()):
        if name.endswith("*"):
            longest[""] = _minutes(limit)
        longest[name.rstrip("*")] = _minutes(limit)
    found = {}
    for rule, partitions, minutes in asked:
        most = max(longest.get(name, math.inf) for name in partitions.split(","))
        if minutes > most:
            where = f"partition {partitions}" if partitions else "the default partition"
            found[rule] = (
                f"jobs of {rule} ask for {minutes} minutes and {where} allows {most:.0f}, so SLURM "
                f"may never start them: name another, or give them a runtime of {most:.0f} under "
                "set-resources in the profile, where the next attempt continues what was ended"
            )
    return list(found.values())


def _minutes(limit: str) -> float:
    """Return a time limit as SLURM writes it, such as 1-00:00:00, in minutes."""
    if not re.fullmatch(r"(\d+-)?(\d+:)*\d+", limit):
        return math.inf
    days, _, clock = limit.rpartition("-")
    seconds = 0
    for part in clock.split(":"):
        seconds = 60 * seconds + int(part)
    return int(days or 0) * 24 * 60 + seconds / 60


def work_of(run: str) -> str:
    """Return by what Snakemake's log tells the run; several may be under way in one folder."""
    return f"[run] the jobs that are sent make results/{run}/"


def left_jobs(folder: str | Path, run: str, comments: Collection[str]) -> list[str]:
    """Return the names of SLURM's jobs that an earlier Snakemake has left, which was killed.

    Those that are being ended are not among them, nor those of another run in the folder, which may
    be under way: a job tells neither its run nor its files, but its name is in Snakemake's log.

    Args:
        folder: in which Snakemake was started.
        run: its name.
        comments: of the jobs that are to be sent.

    Raises:
        RobustsegError: SLURM does not answer.
    """
    asked = ("squeue", f"--user={getpass.getuser()}", "--noheader", "--format=%t|%j|%k|%Z")
    jobs = [line.split("|", 3) for line in ask(*asked).splitlines()]
    found = [
        name
        for state, name, comment, started_in in jobs
        if state != "CG" and comment in comments and started_in == str(folder)
    ]
    logs = [_read(path) for path in Path(folder, ".snakemake", "log").glob("*.log") if found]
    of_run = "\n".join(log for log in logs if work_of(run) in log)
    return [name for name in found if name in of_run]


def ask(*command: str) -> str:
    """Return what a command of SLURM's says.

    Raises:
        RobustsegError: it fails.
    """
    answer = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if answer.returncode:
        reason = (answer.stderr.strip().splitlines() or ["it gives no reason"])[-1]
        raise RobustsegError(
            f"SLURM does not answer ({reason}): wait until it does, or ask those who run it"
        )
    return answer.stdout


def check_image(path: str) -> None:
    """Refuse to run jobs in a container's image that is not there.

    Args:
        path: of the image.

    Raises:
        RobustsegError: it is missing.
    """
    if not Path(path).exists():
        raise RobustsegError(
            f"jobs are to run in {path}, which is missing: `make container` builds it"
        )
