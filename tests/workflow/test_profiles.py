"""Profiles for several GPUs on a machine, and for a cluster that is not SLURM."""

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from robustseg.workflow_job import FULL, choose_device
from robustseg.clusters import explain, too_long
from robustseg.errors import RobustsegError
from robustseg.gpus import ALLOW_CPU, CLUSTER, GIVEN, SLOTS, check_shares, take_gpus
from robustseg.progress import Progress
from tests.workflow.running import MATCHBOX, ROOT, command, environment, snakemake

BACKBONES = ("convnext_clean", "convnext_robust")
RUN = Path("results", "matchbox")

# Takes a GPU, says so, waits, and says that it has done with it.
TAKER = """
import sys, time
from pathlib import Path
from robustseg.gpus import claim
from robustseg.progress import Progress
taken = claim(["a", "b"], int(sys.argv[1]), int(sys.argv[2]), Path("locks"), Progress("job", None))
with open("story", "a") as story:
    for device in taken:
        story.write(f"+{device}\\n")
    story.flush()
    time.sleep(0.5)
    for device in taken:
        story.write(f"-{device}\\n")
"""


def most_at_once(folder: Path, counts: list[int], slots: int) -> dict[str, int]:
    """Start a job a count, and return how many were on each GPU at once."""
    paths = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    takers = [
        subprocess.Popen([sys.executable, "-c", TAKER, str(n), str(slots)], cwd=folder, env=paths)
        for n in counts
    ]
    assert [taker.wait(240) for taker in takers] == [0] * len(counts)
    now: dict[str, int] = {}
    most: dict[str, int] = {}
    for line in (folder / "story").read_text().splitlines():
        now[line[1]] = now.get(line[1], 0) + (1 if line[0] == "+" else -1)
        most[line[1]] = max(most.get(line[1], 0), now[line[1]])
    assert set(now.values()) == {0}
    return most


@pytest.mark.parametrize(
    ("counts", "slots", "most"),
    [([1] * 5, 2, 1), ([1] * 6, 4, 2), ([2, 1, 2, 1], 2, 1), ([3, 1], 2, 1)],
    ids=["one a GPU", "two a GPU", "trainings on two", "a training on more than there are"],
)
def test_jobs_take_different_gpus(counts: list[int], slots: int, most: int, tmp_path: Path) -> None:
    found = most_at_once(tmp_path, counts, slots)
    assert set(found) == {"a", "b"}
    assert max(found.values()) <= most


def test_a_job_that_was_killed_leaves_its_gpu_free(tmp_path: Path) -> None:
    paths = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    sleepy = TAKER.replace("0.5", "600")
    taker = subprocess.Popen([sys.executable, "-c", sleepy, "2", "2"], cwd=tmp_path, env=paths)
    while not (tmp_path / "story").exists() or not (tmp_path / "story").read_text():
        assert taker.poll() is None
    taker.kill()
    taker.wait()
    (tmp_path / "story").unlink()
    assert most_at_once(tmp_path, [2], 2) == {"a": 1, "b": 1}


def test_a_gpu_is_taken_only_where_jobs_have_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    monkeypatch.delenv(SLOTS, raising=False)
    take_gpus(1, Progress("job", None))
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5,7"
    monkeypatch.setenv(SLOTS, "2")
    monkeypatch.delenv(CLUSTER, raising=False)
    choose_device(0, Progress("job", None))
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5,7"
    choose_device(1, Progress("job", None))
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5"
    assert "[job] takes GPU 5" in capsys.readouterr().err


def test_a_part_of_a_gpu_is_taken_by_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-GPU-5c89/7/0,MIG-GPU-5c89/8/0")
    monkeypatch.setenv(SLOTS, "2")
    take_gpus(1, Progress("job", None))
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "MIG-GPU-5c89/7/0"


def test_a_job_on_a_cluster_computes_on_what_it_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (CLUSTER, ALLOW_CPU, SLOTS, *GIVEN):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    progress = Progress("job", None)
    assert choose_device(1, progress) == "cpu"  # where a person runs it
    assert capsys.readouterr().err == ""  # Snakemake's run says so once
    with monkeypatch.context() as there:
        there.setattr("robustseg.workflow_job.seem_there", lambda: True)
        assert choose_device(1, progress) == "cpu"
    assert "torch sees none of this machine's GPUs" in capsys.readouterr().err
    monkeypatch.setenv(CLUSTER, "slurm")
    assert choose_device(0, progress) == "cpu"
    with pytest.raises(RobustsegError, match=r"asked for 2 GPUs and torch sees none .*gpu: 0"):
        choose_device(2, progress)
    monkeypatch.setenv("SLURM_JOB_GPUS", "3")
    with pytest.raises(RobustsegError, match=r"SLURM_JOB_GPUS=3.* give the rule `gpu: 1`"):
        choose_device(0, progress)
    monkeypatch.setenv(ALLOW_CPU, "1")
    assert choose_device(0, progress) == choose_device(2, progress) == "cpu"
    monkeypatch.delenv(ALLOW_CPU)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert choose_device(1, progress) == "cuda"


def run(folder: Path, *arguments: str | Path, **variables: str) -> str:
    """Run Snakemake to its end with more environment variables, and return its output."""
    done = subprocess.run(
        command(*arguments, folder=folder),
        env=environment() | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=800,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_jobs_side_by_side_have_a_gpu_each(tmp_path: Path) -> None:
    profile = ["--profile", ROOT / "profiles" / "multi_gpu", "--cores", "2"]
    variables = {"CUDA_VISIBLE_DEVICES": "0,1", "TMPDIR": str(tmp_path)}
    run(tmp_path, *profile, "--configfile", MATCHBOX, "--", "backbones", **variables)
    logs = [(tmp_path / RUN / f"logs/backbones/{name}-seed0.log") for name in BACKBONES]
    said = [line for log in logs for line in log.read_text().splitlines() if "takes GPU" in line]
    assert {line.split()[-1] for line in said} <= {"0", "1"}
    assert len(said) == 2


# Stand-ins for LSF's commands: a job runs at once, is DONE or EXIT, and its results come late.
LSF = {
    "bsub": """#!/bin/sh
    echo "$@" >> "$LSF/calls"
    for script in "$@"; do :; done
    id=$(wc -l < "$LSF/calls")
    echo RUN > "$LSF/$id.state"
    (
        state=DONE
        sh -c "$script" > "$LSF/$id.out" 2>&1 || state=EXIT
        mv results "$LSF/late"
        echo $state > "$LSF/$id.state"
        sleep 8
        cp --recursive --preserve "$LSF/late/." results
        rm -r "$LSF/late"
    ) > /dev/null 2>&1 &
    echo "Job <$id> is submitted to default queue <normal>."
    """,
    "bjobs": """#!/bin/sh
    for id in "$@"; do :; done
    cat "$LSF/$id.state"
    """,
}


def test_another_cluster_whose_file_system_is_late(tmp_path: Path) -> None:
    commands, state, folder = (tmp_path / name for name in ("bin", "lsf", "my work"))
    for path in (commands, state, folder):
        path.mkdir()
    for name, text in LSF.items():
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    variables = {"PATH": f"{commands}:{os.environ['PATH']}", "LSF": str(state), ALLOW_CPU: "1"}
    chosen = ["--profile", ROOT / "profiles" / "lsf", "--configfile", MATCHBOX, "--retries", "0"]
    chosen += ["--seconds-between-status-checks", "1", "--default-resources", "queue=night"]
    weights = RUN / "backbones" / BACKBONES[0] / "seed0" / "weights.safetensors"
    run(folder, *chosen, "--", weights, **variables)
    data, training = (state / "calls").read_text().splitlines()
    assert "-J generate_data " in data
    assert "-gpu" not in data
    assert "-M 4000MB -R rusage[mem=4000MB] -W 30 -gpu num=1:" in training
    assert " -q night " in training
    assert (folder / weights).exists()


@pytest.mark.parametrize(
    ("gpus", "images_per_pass", "advice"),
    [
        (2, 8, "give the training 1 GPU, or lower images_per_pass to 4"),
        (3, 8, "give the training 1 GPU"),
        (4, 4, "give the training 1 GPU or a number that divides 2, or lower images_per_pass to 2"),
    ],
)
def test_advice_for_gpus_that_cannot_share_a_batch(
    gpus: int, images_per_pass: int, advice: str
) -> None:
    with pytest.raises(RobustsegError) as error:
        check_shares(gpus, 8, images_per_pass)
    assert str(error.value).partition("; ")[2] == advice
    if lower := advice.partition("images_per_pass to ")[2]:
        check_shares(gpus, 8, int(lower))
    check_shares(1, 8, images_per_pass)


def test_gpus_that_cannot_share_a_batch_are_refused_before_a_job_is_sent(tmp_path: Path) -> None:
    chosen = ["--profile", ROOT / "profiles" / "lsf", "--configfile", MATCHBOX]
    weights = RUN / "models" / "at_5" / "seed0" / "weights.safetensors"
    outcome = snakemake(
        *chosen, "--set-resources", "train_model:gpu=2", "--", weights, folder=tmp_path
    )
    assert outcome.returncode
    assert (
        "train_model of at_5/0: 2 GPUs cannot share a batch of 1 pass of 4 images; give the "
        "training 1 GPU, or lower images_per_pass to 2"
    ) in outcome.stdout
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("bjobs", "bhist", "status"),
    [
        ("echo RUN", "", "running"),
        ("echo PSUSP", "", "running"),
        ("echo DONE", "", "success"),
        ("echo EXIT", "", "failed"),
        ("echo 'LSF is down. Please wait ...' >&2", "", "running"),
        ("echo 'Job <7> is not found' >&2", "echo 'Done successfully. The CPU time'", "success"),
        ("echo 'Job <7> is not found' >&2", "echo 'Exited with exit code 1.'", "failed"),
        ("echo 'Job <7> is not found' >&2", "echo 'No matching job found' >&2; exit 1", "failed"),
    ],
)
def test_a_job_is_known_by_lsf_or_by_its_history(
    bjobs: str, bhist: str, status: str, tmp_path: Path
) -> None:
    for name, text in (("bjobs", bjobs), ("bhist", bhist)):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        [ROOT / "profiles" / "lsf" / "status.sh", "7"],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == status


# Stands in for Apptainer: notes what it is given, and runs the command in the tests' environment.
APPTAINER = """#!/bin/sh
[ "$1" = --version ] && { echo "apptainer version 1.3.4"; exit; }
echo "bind=$APPTAINER_BIND" "$@" >> "$CALLS"
for command in "$@"; do :; done
exec bash -c "$command"
"""


def test_jobs_run_in_the_container_that_was_built(tmp_path: Path) -> None:
    """In a folder beside the checkout, which is a copy, since the image lies in it."""
    checkout, commands, folder = (tmp_path / name for name in ("checkout", "bin", "work"))
    for path in (commands, folder):
        path.mkdir()
    for name in ("config", "rules", "scripts", "src", "envs", "profiles"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", checkout)
    (commands / "apptainer").write_text(APPTAINER)
    (commands / "apptainer").chmod(0o755)
    calls = tmp_path / "calls"
    start = [sys.executable, "-m", "snakemake", "--snakefile", checkout / "Snakefile"]
    start += ["--directory", folder, "--configfile", MATCHBOX, "--cores", "1"]
    start += ["--profile", checkout / "profiles" / "gpu", "--", RUN / "data/shapes/train.npz"]
    variables = environment()
    variables |= {"PATH": f"{commands}:{variables['PATH']}", "CALLS": str(calls)}

    def snakemake(*options: str) -> subprocess.CompletedProcess[str]:
        command = [*map(str, start[:3]), *options, *map(str, start[3:])]
        return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=250)

    missing = snakemake("--sdm", "apptainer")
    assert missing.returncode == 1
    assert f"jobs are to run in {checkout}/robustseg.sif, which is missing" in missing.stderr
    (checkout / "robustseg.sif").touch()
    done = snakemake("--sdm", "apptainer")
    assert done.returncode == 0, done.stderr
    (called,) = calls.read_text().splitlines()
    assert called.startswith(f"bind={checkout} exec --home {folder} --nv ")
    assert f" {checkout}/robustseg.sif bash -c " in called
    assert (folder / RUN / "data/shapes/train.npz").exists()


def test_without_the_container_its_image_is_not_needed(tmp_path: Path) -> None:
    """Nor does a path hurt that an image's could not have."""
    checkout = tmp_path / "my checkout"
    checkout.symlink_to(ROOT)
    start = [sys.executable, "-m", "snakemake", "--snakefile", checkout / "Snakefile", "--dry-run"]
    start += ["--directory", tmp_path, "--configfile", MATCHBOX, "--", "table9"]
    done = subprocess.run(start, env=environment(), capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr


def test_make_container_says_what_is_missing(tmp_path: Path) -> None:
    make, sh = shutil.which("make"), shutil.which("sh")
    assert make
    assert sh
    (tmp_path / "sh").symlink_to(sh)
    command = [make, "--directory", ROOT, "container"]
    done = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 2
    assert "No container can be built here" in done.stdout


@pytest.mark.parametrize("name", ["submit.py", "status.sh"])
def test_commands_of_profiles_can_be_run(name: str) -> None:
    assert (ROOT / "profiles" / "lsf" / name).stat().st_mode & stat.S_IXUSR


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("SLURM-job '3' failed, SLURM status is: 'OUT_OF_MEMORY'.", "a job ran out of memory: "),
        ("SLURM-job '3' failed, SLURM status is: 'TIMEOUT'.", "a job ran out of time: "),
        ("SLURM-job '3' failed, SLURM status is: 'NODE_FAIL'.", "a node of the cluster failed; "),
        ("sbatch: error: Invalid account or account/partition", "does not know the account: "),
        ("sbatch: error: Batch job submission failed: Invalid qos spec", "does not know the QOS"),
        ("Job violates accounting/QOS policy (job submit limit, user's", "send fewer at a time"),
        ("Requested time limit is invalid (missing or exceeds some", "no job of that length"),
        ("Requested node configuration is not available", "no node of the partition has the GPU"),
        ("Job 3 completed, but files missing after 120 seconds", "raise latency-wait in the prof"),
        ("error: could not write w.safetensors: No space left on device; free", "a disk is full"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried", "attack_model:batch_size=4"),
        (FULL, "attack_model:batch_size=4"),
    ],
)
def test_failures_are_explained(said: str, sentence: str, tmp_path: Path) -> None:
    job = tmp_path / "job.log"
    job.write_text(said)
    log = tmp_path / "snakemake.log"
    log.write_text(
        f"Error in rule attack_model:\n    log: gone.log, {job} (check log file(s) for\n"
    )
    (explained,) = explain([log])
    assert sentence in explained
    assert "nothing that was done is lost" in explained


def test_what_is_not_known_is_not_explained(tmp_path: Path) -> None:
    log = tmp_path / "snakemake.log"
    log.write_text("Error in rule attack_model:\n    log: gone.log (check log file(s) for\n")
    assert explain([log]) == []


def test_every_profile_is_planned_by_ci_and_documented() -> None:
    profiles = {path.name for path in (ROOT / "profiles").iterdir()}
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    assert set(workflow["jobs"]["plan"]["strategy"]["matrix"]["profile"]) == profiles
    documented = (ROOT / "docs" / "clusters.md").read_text()
    assert (ROOT / "slurm").resolve() == ROOT / "profiles" / "slurm"
    for name in profiles - {"default", "slurm"}:
        assert f"snakemake --profile profiles/{name} all" in documented


def test_slurms_accounting_is_found_out(tmp_path: Path) -> None:
    settings = []
    for status in (0, 1):
        sacct = tmp_path / str(status) / "sacct"
        sacct.parent.mkdir()
        sacct.write_text(f"#!/bin/sh\nexit {status}\n")
        sacct.chmod(0o755)
        read = "import sys, yte, json; print(json.dumps(yte.process_yaml(open(sys.argv[1]))))"
        done = subprocess.run(
            [sys.executable, "-c", read, ROOT / "profiles" / "slurm" / "config.yaml"],
            env={**os.environ, "PATH": f"{sacct.parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=True,
        )
        settings.append(json.loads(done.stdout))
    with_accounting, without = settings
    assert "slurm-status-command" not in with_accounting
    assert without["slurm-status-command"] == "squeue"
    assert with_accounting["latency-wait"] >= 60


@pytest.mark.parametrize(
    ("limit", "minutes"),
    [("30:00", 30), ("4:00:00", 240), ("1-00:00:00", 1440), ("2-12:30:00", 3630)],
)
def test_jobs_that_no_partition_runs_so_long(limit: str, minutes: int) -> None:
    limits = f"cpu infinite\ngpu* {limit}\nodd n/a\n"
    for partition in ("gpu", ""):
        assert not too_long([("attack_model", partition, minutes)], limits)
        (sentence,) = too_long([("attack_model", partition, minutes + 1)] * 2, limits)
        assert f"attack_model ask for {minutes + 1} minutes and" in sentence
        assert f"allows {minutes}, so SLURM may never start them" in sentence
    for partition in ("cpu", "odd", "gpu,cpu"):
        assert not too_long([("attack_model", partition, minutes + 1)], limits)
