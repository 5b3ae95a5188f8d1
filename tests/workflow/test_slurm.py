"""The workflow on a real SLURM: as typed on a login node, and with jobs that are killed.

The tests share one folder and follow one another. They wait more than they compute.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.workflow.running import ROOT, environment, matchbox
from tests.workflow.slurm_cluster import NODE, ask, missing, slurm_cluster, wait_until

if reason := missing():
    pytest.skip(reason, allow_module_level=True)
pytestmark = pytest.mark.timeout(1800)  # a machine may be busy with much else

POLL = ["--slurm-init-seconds-before-status-checks", "2", "--seconds-between-status-checks", "1"]
EVIDENCE = Path(
    "results/matchbox/attacks/classifier/convnext_clean/seed0/eps4/seed0-shard0.parquet"
)
PARTS = EVIDENCE.with_suffix(".parts")
WEIGHTS = Path("results/matchbox/backbones/convnext_robust/seed0/weights.safetensors")
# Sixteen parts of an attack that takes about a second each, and a training of about half a minute.
LONG = {
    "attacks.batch_size": 1,
    "attacks.suites.classifier.losses": ["ce", "bal_ce", "js", "mask_ce"],
    "attacks.suites.classifier.iterations": [200],
    "backbones.convnext_robust.epochs": 150,
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
    used = ("Snakefile", "slurm", "config", "envs", "profiles", "rules", "scripts")
    folder.mkdir()
    for name in used:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, folder / name, **({"symlinks": True} if copy is shutil.copytree else {}))
    matchbox(folder / "config")
    return folder


def start(clone: Path, cluster: Mapping[str, str], *arguments: str | Path) -> subprocess.Popen[str]:
    """Start `snakemake --profile slurm` in the clone, as typed, and return the process."""
    return subprocess.Popen(
        ["snakemake", "--profile", "slurm", *POLL, *map(str, arguments)],
        cwd=clone,
        env={**environment(), **cluster},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
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


def send(cluster: Mapping[str, str], job: str, script: str, number: signal.Signals) -> None:
    """Send a signal to the process of a SLURM job that runs a script."""
    lines = ask("scontrol", "listpids", job, environment=cluster).splitlines()[1:]
    pids = [int(line.split()[0]) for line in lines]
    (pid,) = [pid for pid in pids if f"{script}".encode() in cmdline(pid).split(b"\0")[-2]]
    os.kill(pid, number)


def cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() + b"\0"
    except (FileNotFoundError, ProcessLookupError):
        return b"\0\0"


class Parts:
    """The parts that an attack has finished."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kept: dict[str, int] = {}

    def now(self) -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in self.folder.glob("*.json")}

    def grow(self, process: subprocess.Popen[str]) -> None:
        """Wait until there are two more; none that was there may have been made again."""

        def there() -> bool:
            assert process.poll() is None, process.communicate()[0]
            return len(self.now()) >= len(self.kept) + 2

        wait_until(there, "the attack did not get on")
        now = self.now()
        assert self.kept.items() <= now.items()
        self.kept = now


def test_the_command_as_typed_in_a_fresh_clone(clone: Path, cluster: Mapping[str, str]) -> None:
    output = finish(start(clone, cluster, "table6"))
    assert (clone / "results/matchbox/tables/table6.md").exists()
    assert output.count("has been submitted with SLURM jobid") == 4
    (attack,) = jobs(cluster, "attack_model")
    assert attack["JobState"] == "COMPLETED"
    assert attack["TresPerJob"] == "gres:gpu:1"
    assert attack["TimeLimit"] == "04:00:00"
    assert attack["MinMemoryNode"] == "2000M"
    assert attack["Requeue"] == "1"
    (data,) = jobs(cluster, "generate_data")
    assert "TresPerJob" not in data
    assert not jobs(cluster, "make_table")
