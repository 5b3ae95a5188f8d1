"""The benchmark of the demo, on a small part of the matchbox."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.workflow.running import MATCHBOX, ROOT, environment

SCRIPT = ROOT / "scripts" / "bench" / "demo.py"
TOOK = r" +([\d.]+) s  processor +([\d.]+) s  peak +([\d.]+) GB"


def bench(target: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SCRIPT, "--configfile", MATCHBOX, "--cores", "1", target]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment(), timeout=300
    )


def test_it_prints_what_both_runs_took() -> None:
    done = bench("data")
    assert done.returncode == 0, done.stderr
    machine, first, second = done.stdout.splitlines()
    assert re.fullmatch(r"1 of \d+ cores, load average [\d.]+ before", machine)
    for name, line in (("from nothing", first), ("second run", second)):
        found = re.fullmatch(name + TOOK, line)
        assert found, line
        assert all(float(number) > 0 for number in found.groups())
    assert "generate_data" in done.stderr  # as the run goes on


def test_a_run_that_fails_ends_the_benchmark() -> None:
    done = bench("no_such_target")
    assert done.returncode == 1
    assert "no_such_target is not a target" in done.stderr
    assert "the run failed: " in done.stderr
    assert "from nothing" not in done.stdout


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_demo", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_memory_is_that_of_children_too() -> None:
    holding = "held = b'x' * 300_000_000; print(flush=True); input()"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {holding!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", outer], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        process.stdout.readline()
        held = script().memory_b(process.pid)
        process.communicate("\n")
    assert 300e6 < held < 500e6
