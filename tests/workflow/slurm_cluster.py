"""A real SLURM of one node with two faked GPUs, for the tests, in a folder of its own."""

import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests.workflow.running import PATH

DAEMONS = ("munged", "slurmctld", "slurmd")
CLIENTS = ("sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
NODE = "node0"
PARTITIONS = ("test", "big")
DEVICES = ("/dev/zero", "/dev/null")
"""Stand for two GPUs: SLURM only wants files."""

CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
GresTypes=gpu
NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=32000 Gres=gpu:2
PartitionName={partitions[0]} Nodes={node} Default=YES MaxTime=INFINITE State=UP
PartitionName={partitions[1]} Nodes={node} Default=NO MaxTime=INFINITE State=UP
"""
# KillWait: seconds between SIGTERM and SIGKILL.


def _find(program: str) -> str | None:
    """Return a program's path; daemons are often not on a user's PATH."""
    return shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


@contextmanager
def slurm_cluster(folder: Path) -> Iterator[Mapping[str, str]]:
    """Run a cluster inside the block; yield the environment variables that lead to it.

    Only processes that it started itself are ended, by their ids.

    Args:
        folder: for all of its files; its path must be short, since there is a socket in it.
    """
    for name in ("state", "spool"):
        (folder / name).mkdir()
    host = socket.gethostname().split(".")[0]
    controller_port, node_port = _free_ports(2)
    configuration = folder / "slurm.conf"
    configuration.write_text(
        CONFIGURATION.format(
            host=host,
            controller_port=controller_port,
            node_port=node_port,
            user=getpass.getuser(),
            folder=folder,
            node=NODE,
            partitions=PARTITIONS,
        )
    )
    gpus = "".join(f"NodeName={NODE} Name=gpu File={device}\n" for device in DEVICES)
    (folder / "gres.conf").write_text(gpus)
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    environment = {
        "SLURM_CONF": str(configuration),
        "PATH": f"{_wrap_srun(folder / 'bin', configuration)}:{PATH}",
    }
    munged = ["munged", "--foreground", "--force", "--num-threads=2", f"--key-file={key}"]
    munged += [f"--{name}-file={folder}/munge.{name}" for name in ("pid", "log", "seed")]
    munged += [f"--socket={folder}/munge.socket"]
    with ExitStack() as stack:
        stack.callback(_end_leftovers, configuration)
        for command in (munged, ["slurmctld", "-D"], ["slurmd", "-D", "-N", NODE]):
            stack.enter_context(_daemon(command, folder, environment))
        wait_until(
            lambda: "idle" in ask("sinfo", "--noheader", "--format=%T", environment=environment),
            f"SLURM did not start; its logs are in {folder}",
        )
        yield environment
        ask("scancel", f"--user={getpass.getuser()}", environment=environment)
        wait_until(
            lambda: not ask("squeue", "--noheader", environment=environment),
            "jobs did not end when they were cancelled",
        )


def _end_leftovers(configuration: Path) -> None:
    """Kill what still runs with this cluster's configuration: linuxproc loses orphans."""
    mark = f"SLURM_CONF={configuration}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in (process / "environ").read_bytes().split(b"\0"):
                os.kill(int(process.name), signal.SIGKILL)


def ask(*command: str, environment: Mapping[str, str]) -> str:
    """Return what a SLURM command prints, errors included."""
    return subprocess.run(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=60,
    ).stdout.strip()


def wait_until(condition: Callable[[], object], otherwise: str, timeout_s: float = 240) -> None:
    """Return once the condition holds; fail with a sentence if it never does."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.1)


def _wrap_srun(folder: Path, configuration: Path) -> Path:
    """Make a folder for the PATH with an `srun` that finds the cluster; return it.

    Snakemake starts `srun` without the SLURM_* variables, which is right where the configuration is
    in /etc/slurm.
    """
    folder.mkdir()
    srun = folder / "srun"
    srun.write_text(f'#!/bin/sh\nSLURM_CONF={configuration} exec {shutil.which("srun")} "$@"\n')
    srun.chmod(0o755)
    return folder


def _free_ports(count: int) -> list[int]:
    """Return ports that nothing listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def _daemon(command: list[str], folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Run a daemon in the foreground of its own session, and end it after the block."""
    name, *arguments = command
    path = _find(name)
    assert path
    with (folder / f"{name}.out").open("w") as output:
        process = subprocess.Popen(
            [path, *arguments],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    if name == "munged":
        wait_until((folder / "munge.socket").exists, f"munged did not start: see {folder}")
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
