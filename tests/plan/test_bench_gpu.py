"""The benchmark of the paper's sizes, of a small network, on a CPU."""

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from torch import nn

from robustseg.attacks.losses import PAPER_LOSSES
from robustseg.errors import RobustsegError
from robustseg.plan.networks import Network
from robustseg.plan.throughput import read_throughput
from tests.workflow.running import ROOT

SMALL = Network("convnext_demo", "upernet_demo", 3, 32)
PARTS = ("throughput", "attacks", "training", "memory", "options")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark with one network, small batches, and no options that compile."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "bench"))
    monkeypatch.delitem(sys.modules, "attacks", raising=False)
    monkeypatch.delitem(sys.modules, "gpu", raising=False)
    import gpu  # type: ignore[import-not-found]

    monkeypatch.setattr(gpu, "PAPER", (SMALL,))
    monkeypatch.setattr(gpu, "BATCHES", (1,))
    monkeypatch.setattr(gpu, "OPTIONS", ("bf16", "usual layout", "no TF32"))
    return gpu


def run(bench: ModuleType, monkeypatch: pytest.MonkeyPatch, out: Path, *parts: str) -> Any:
    command = ["gpu.py", "--device", "cpu", "--out", str(out), "--networks", "0"]
    monkeypatch.setattr(sys, "argv", [*command, *(("--parts", *parts) if parts else ())])
    bench.main()
    return json.loads((out / "cpu.json").read_text())


def test_what_is_measured_is_kept_and_not_measured_again(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def killed(network: Network, device: str) -> Any:
        raise KeyboardInterrupt

    training = bench.PARTS["training"]
    monkeypatch.setitem(bench.PARTS, "training", killed)
    with pytest.raises(KeyboardInterrupt):
        run(bench, monkeypatch, tmp_path, *PARTS)
    monkeypatch.setitem(bench.PARTS, "training", training)
    before = json.loads((tmp_path / "cpu.json").read_text())["networks"][str(SMALL)]
    assert before.keys() == {"throughput", "attacks"}
    for part in before:
        monkeypatch.setitem(bench.PARTS, part, killed)
    after = run(bench, monkeypatch, tmp_path, *PARTS)["networks"][str(SMALL)]
    assert after.keys() == set(PARTS)
    assert {part: after[part] for part in before} == before
    rows = (tmp_path / "cpu.md").read_text().count(f"| {SMALL} |")
    assert rows == 7 + 1 + 2 + 2 + 4  # losses and batches, SEA, steps, memory twice, options
    device, rates = read_throughput(tmp_path / "cpu-throughput.json")
    assert (device, list(rates)) == ("cpu", [str(SMALL)])
    assert after["options"].keys() == {"fp32", *bench.OPTIONS}
    assert all("acc_left" in found for found in after["options"].values())


def test_on_a_cpu_memory_alone_is_measured(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (measured,) = run(bench, monkeypatch, tmp_path)["networks"].values()
    assert measured.keys() == {"memory"}
    over_bare = measured["memory"]["attack_over_bare"]
    assert over_bare.keys() == set(PAPER_LOSSES)
    assert all(1 < ratio < 1.3 for ratio in over_bare.values())


def test_an_option_that_fails_costs_no_other(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def option(model: nn.Module, name: str) -> Any:
        if name == "bf16":
            raise ValueError("no such thing here\nand more")
        return nullcontext(model)

    monkeypatch.setattr(bench, "option", option)
    (measured,) = run(bench, monkeypatch, tmp_path, "options")["networks"].values()
    assert measured["options"]["bf16"] == {"failed": "ValueError: no such thing here"}
    assert "acc_left" in measured["options"]["no TF32"]
    assert "| bf16 | ValueError: no such thing here |  |  |" in (tmp_path / "cpu.md").read_text()


def test_figures_of_two_versions_of_torch_are_not_mixed(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    record = {"device": "cpu", "torch": "1.0", "networks": {}}
    (tmp_path / "cpu.json").write_text(json.dumps(record))
    with pytest.raises(RobustsegError, match=r"cpu\.json was measured with torch 1\.0, and"):
        run(bench, monkeypatch, tmp_path)
