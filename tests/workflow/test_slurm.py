"""The workflow on a real SLURM: as typed on a login node, and with jobs that are killed.

The tests share one folder and follow one another. They wait more than they compute.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest

from robustseg.workflow_job import OUTLIVED
from tests.needs import SLURM, needs
from tests.workflow.running import PATH, ROOT, environment, matchbox
from tests.workflow.slurm_cluster import NODE, ask, slurm_cluster, wait_until

pytestmark = [needs(SLURM), pytest.mark.timeout(1800)]  # a machine may be busy with much else

POLL = ["--slurm-init-seconds-before-status-checks", "2", "--seconds-between-status-checks", "1"]
EVIDENCE = Path(
    "results/matchbox/attacks/classifier/convnext_clean/seed0/eps4/seed0-shard0.parquet"
)
PARTS = EVIDENCE.with_suffix(".parts")
RULE = "pretrain_backbone"
WEIGHTS = Path("results/matchbox/backbones/convnext_robust/seed0/weights.safetensors")
# Sixteen parts of an attack that take about a second each, and a training of a quarter of a minute.
LONG = {
    "attacks.batch_size": 1,
    "attacks.suites.classifier.losses": ["ce", "bal_ce", "js", "mask_ce"],
    "attacks.suites.classifier.iterations": [600],
    "backbones.convnext_robust.epochs": 400,
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Mapping[str, str]]:
    with (
        tempfile.TemporaryDirectory(prefix="slurm") as folder,
        slurm_cluster(Path(folder)) as found,
    ):
        yield found


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what a fresh clone has, with the matchbox as its configuration."""
    folder = tmp_path_factory.mktemp("clone") / "robustseg"
    folder.mkdir()
    for name in ("config", "envs", "profiles", "rules", "scripts", "src"):
        shutil.copytree(ROOT / name, folder / name)
    for name in ("Snakefile", "slurm"):
        shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    matchbox(folder / "config")
    return folder


def start(clone: Path, cluster: Mapping[str, str], *arguments: str | Path) -> subprocess.Popen[str]:
    """Start `snakemake --profile slurm` in the clone, as typed, and return the process."""
    return subprocess.Popen(
        ["snakemake", "--profile", "slurm", *POLL, *map(str, arguments)],
        cwd=clone,
        env={**environment(), **cluster, "ROBUSTSEG_ALLOW_CPU": "1"},  # its GPUs are device files
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Ctrl-C is ignored by what is started in the background, such as these tests.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for a run that succeeds, and return its output."""
    output, _ = process.communicate(timeout=1200)
    assert process.returncode == 0, output
    return output


def fail(process: subprocess.Popen[str]) -> str:
    """Wait for a run that fails, and return its output."""
    output, _ = process.communicate(timeout=1200)
    assert process.returncode == 1, output
    return output


def jobs(cluster: Mapping[str, str], rule: str) -> list[dict[str, str]]:
    """Return what SLURM says about the jobs of a rule, oldest first."""
    blocks = ask("scontrol", "show", "jobs", environment=cluster).split("\n\n")
    found = [dict(word.split("=", 1) for word in b.split() if "=" in word) for b in blocks]
    found = [job for job in found if job.get("Comment", "").startswith(f"rule_{rule}_")]
    return sorted(found, key=lambda job: int(job["JobId"]))


def running(cluster: Mapping[str, str], rule: str) -> str:
    """Return the id of the one running job of a rule."""
    (job,) = [job["JobId"] for job in jobs(cluster, rule) if job["JobState"] == "RUNNING"]
    return job


def waiting(cluster: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the jobs that wait for a node and make data."""
    return [job for job in jobs(cluster, "generate_data") if job["JobState"] == "PENDING"]


def newest(cluster: Mapping[str, str]) -> str:
    """Return the id of the attack that was sent last."""
    return jobs(cluster, "attack_model")[-1]["JobId"]


def log_of(clone: Path, job: str) -> str:
    """Return what SLURM has kept of a job's output."""
    return "".join(map(read, (clone / ".snakemake" / "slurm_logs").rglob(f"{job}.log")))


def send(cluster: Mapping[str, str], job: str, script: str, number: signal.Signals) -> None:
    """Send a signal to the process of a SLURM job that runs a script."""
    lines = ask("scontrol", "listpids", job, environment=cluster).splitlines()[1:]
    pids = [int(line.split()[0]) for line in lines]
    (pid,) = [pid for pid in pids if any(word.endswith(f".{script}") for word in command(pid))]
    os.kill(pid, number)


def command(pid: int) -> list[str]:
    """Return the words of a process's command that have no spaces in them, as scripts' paths."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [word for word in words if " " not in word]


class Parts:
    """The parts that an attack has finished."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kept: dict[str, int] = {}

    def now(self) -> dict[str, int]:
        """Return the parts that have their name; one that is being written is hidden."""
        parts = self.folder.glob("[!.]*.json")
        return {path.name: path.stat().st_mtime_ns for path in parts}

    def grow(self, process: subprocess.Popen[str]) -> None:
        """Wait until there are two more; none that was there may have been made again."""

        def there() -> bool:
            assert process.poll() is None, process.communicate()[0]
            return len(self.now()) >= len(self.kept) + 2

        wait_until(there, "the attack did not get on")
        now = self.now()
        assert self.kept.items() <= now.items()
        self.kept = now


# What a person adds to the profile.
EDITED = """
set-resources:
  pretrain_backbone: {slurm_partition: "'big' if 'clean' in wildcards.backbone else 'test'"}
"""


def test_the_command_as_typed_in_a_fresh_clone(clone: Path, cluster: Mapping[str, str]) -> None:
    profile = clone / "profiles" / "slurm" / "config.yaml"
    profile.write_text(profile.read_text() + EDITED)
    output = finish(start(clone, cluster, "table6"))
    assert (clone / "results/matchbox/tables/table6.md").exists()
    assert output.count("has been submitted with SLURM jobid") == 4
    (attack,) = jobs(cluster, "attack_model")
    assert attack["JobState"] == "COMPLETED"
    assert attack["TresPerJob"] == "gres:gpu:1"
    assert attack["TimeLimit"] == "00:30:00"
    assert attack["MinMemoryNode"] == "4000M"
    assert attack["Requeue"] == "1"
    assert attack["Partition"] == "test"
    (training,) = jobs(cluster, RULE)
    assert training["Partition"] == "big"
    (data,) = jobs(cluster, "generate_data")
    assert "TresPerJob" not in data
    assert not jobs(cluster, "make_table")


def test_a_partition_that_does_not_exist(clone: Path, cluster: Mapping[str, str]) -> None:
    output = fail(
        start(clone, cluster, "--default-resources", "slurm_partition=a100", "--", "table9")
    )
    assert "this cluster has no partition a100; it has" in output
    assert "change slurm_partition in the profile" in output
    assert "has been submitted" not in output


def test_no_slurm_here(clone: Path, cluster: Mapping[str, str], tmp_path: Path) -> None:
    for program in ("snakemake", "python", "bash", "sh", "which", "git"):
        (tmp_path / program).symlink_to(str(shutil.which(program, path=PATH)))
    output = fail(start(clone, {**cluster, "PATH": str(tmp_path)}, "table9"))
    assert "sbatch is not on the PATH, so no job can be sent: type this on a login" in output
    assert "Traceback (most recent call last)" not in output


def test_a_job_without_enough_memory(clone: Path, cluster: Mapping[str, str]) -> None:
    few = ["--retries", "0", "--set-resources", f"{RULE}:mem_mb=50"]
    output = fail(start(clone, cluster, *few, "--", WEIGHTS))
    assert "[run] error: a job ran out of memory: retries ask for more each time" in output


def test_two_runs_in_one_folder(clone: Path, cluster: Mapping[str, str]) -> None:
    """One is waiting in the queue when the other comes and goes."""
    node = f"NodeName={NODE}"
    ask("scontrol", "update", node, "State=drain", "Reason=test", environment=cluster)
    runs = []
    for name in ("first", "second"):
        config = matchbox(clone, f"{name}.yaml", run=name)
        data = f"results/{name}/data/scenes/train.npz"
        runs.append(start(clone, cluster, "--retries", "0", "--configfile", config, "--", data))
        wait_until(lambda: len(waiting(cluster)) == len(runs), "it was never sent")
    first, second = runs
    second.send_signal(signal.SIGINT)
    assert "an earlier Snakemake was killed" not in fail(second)
    ask("scontrol", "update", node, "State=resume", environment=cluster)
    finish(first)


def test_killed_attacks_continue_to_the_same_bytes(clone: Path, cluster: Mapping[str, str]) -> None:
    config = matchbox(clone, "long.yaml", **LONG)
    target = ["--configfile", config, "--", EVIDENCE]
    here = ["snakemake", "--cores", "1", "--quiet", "all", "--force"]
    subprocess.run([*here, *target], cwd=clone, env=environment(), check=True, timeout=1200)
    undisturbed = (clone / EVIDENCE).read_bytes()
    (clone / EVIDENCE).unlink()
    parts = Parts(clone / PARTS)

    # A time limit, which a job that stands still meets without making the machine hot.
    limited = ["--retries", "0", "--set-resources", "attack_model:runtime=1"]
    run = start(clone, cluster, *limited, *target)
    parts.grow(run)
    send(cluster, running(cluster, "attack_model"), "attack_model.py", signal.SIGSTOP)
    second = fail(start(clone, cluster, *target))  # two runs in one folder
    assert "Directory cannot be locked" in second
    assert "--unlock" in second
    output = fail(run)
    assert "[run] error: a job ran out of time: retries ask for more each time" in output
    assert "nothing that was done is lost, and the same command goes on from there" in output

    # Snakemake is killed and its job is not: the next one waits for it.
    run = start(clone, cluster, *target)
    parts.grow(run)
    left = running(cluster, "attack_model")
    send(cluster, left, "attack_model.py", signal.SIGSTOP)
    run.kill()
    run.communicate()
    finish(start(clone, cluster, "--unlock", *target))
    run = start(clone, cluster, "--retries", "0", *target)
    wait_until(lambda: OUTLIVED in log_of(clone, newest(cluster)), "it does not wait")
    ask("scancel", left, environment=cluster)
    parts.grow(run)

    # A person who cancels.
    ask("scancel", newest(cluster), environment=cluster)
    output = fail(run)
    assert "[run] an earlier Snakemake was killed, and 1 of its jobs" in output
    assert "[run] error: a job was cancelled; nothing that was done is lost" in output

    # A process that is killed without warning; then a node that is taken away, and comes back.
    run = start(clone, cluster, *target)
    parts.grow(run)
    killed = running(cluster, "attack_model")
    send(cluster, killed, "attack_model.py", signal.SIGKILL)
    wait_until(lambda: jobs(cluster, "attack_model")[-1]["JobId"] != killed, "it was not retried")
    parts.grow(run)
    job, node = running(cluster, "attack_model"), f"NodeName={NODE}"
    ask("scontrol", "update", node, "State=drain", "Reason=test", environment=cluster)
    ask("scontrol", "requeue", job, environment=cluster)
    wait_until(
        lambda: jobs(cluster, "attack_model")[-1]["JobState"] == "PENDING", "it is not waiting"
    )
    assert not (clone / EVIDENCE).exists()
    ask("scontrol", "update", node, "State=resume", environment=cluster)
    ask("scontrol", "update", f"JobId={job}", "StartTime=now", environment=cluster)
    finish(run)
    assert jobs(cluster, "attack_model")[-1]["JobId"] == job
    assert (clone / EVIDENCE).read_bytes() == undisturbed
    assert not (clone / PARTS).exists()


def test_a_killed_training_continues_to_the_same_bytes(
    clone: Path, cluster: Mapping[str, str]
) -> None:
    target = ["--configfile", matchbox(clone, "long.yaml", **LONG), "--", WEIGHTS]
    here = ["snakemake", "--cores", "1", "--quiet", "all", "--force"]
    subprocess.run([*here, *target], cwd=clone, env=environment(), check=True, timeout=1200)
    undisturbed = (clone / WEIGHTS).read_bytes()
    (clone / WEIGHTS).unlink()
    checkpoint = (clone / WEIGHTS).with_name("checkpoint.pt")
    log = clone / "results/matchbox/logs/backbones/convnext_robust-seed0.log"
    log.unlink()

    run = start(clone, cluster, *target)
    wait_until(lambda: "epoch 2 of" in read(log), "it was never trained for an epoch")
    cancelled = running(cluster, RULE)
    ask("scancel", cancelled, environment=cluster)
    wait_until(lambda: jobs(cluster, RULE)[-1]["JobId"] != cancelled, "it was not retried")
    assert checkpoint.exists()
    wait_until(lambda: "continues from" in read(log), "it did not continue")
    killed = running(cluster, RULE)
    send(cluster, killed, "train_model.py", signal.SIGKILL)
    finish(run)
    assert jobs(cluster, RULE)[-1]["JobId"] not in (cancelled, killed)
    assert "continues from" in read(log)
    assert (clone / WEIGHTS).read_bytes() == undisturbed
    assert not checkpoint.exists()


def read(log: Path) -> str:
    return log.read_text() if log.exists() else ""
