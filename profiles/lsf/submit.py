#!/usr/bin/env python3
"""Submit a job script of Snakemake's to LSF, and print the job's id."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path


def bsub(properties: dict) -> list[str]:
    """Return LSF's command for a job, from what Snakemake says about it."""
    resources = properties["resources"]
    logs = Path(".snakemake", "lsf_logs")
    logs.mkdir(parents=True, exist_ok=True)
    command = ["bsub", "-r", "-J", properties["rule"], "-o", str(logs / "%J.log")]
    command += ["-n", str(properties["threads"]), "-R", "span[hosts=1]"]
    # LSF counts memory in the unit of LSF_UNIT_FOR_LIMITS unless it is said.
    memory = f"{resources['mem_mb']}MB"
    command += ["-M", memory, "-R", f"rusage[mem={memory}]", "-W", str(resources["runtime"])]
    if resources.get("gpu"):
        command += ["-gpu", f"num={resources['gpu']}:mode=exclusive_process"]
    if resources.get("queue"):
        command += ["-q", resources["queue"]]
    return command


def main() -> None:
    """Submit the script that Snakemake names."""
    script = Path(sys.argv[1])
    properties = re.search(r"^# properties = (.*)$", script.read_text(), re.M)
    command = bsub(json.loads(properties[1]))
    script.chmod(0o755)
    # bsub hands the words of its command to a shell.
    sent = subprocess.run([*command, shlex.quote(str(script))], stdout=subprocess.PIPE, text=True)
    job = re.search(r"<(\d+)>", sent.stdout)
    if sent.returncode or job is None:
        sys.exit("bsub took no job: see its message above")
    print(job[1])


if __name__ == "__main__":
    main()
