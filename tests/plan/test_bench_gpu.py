"""The benchmark of the paper's sizes, of a small network, on a CPU."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from robustseg.attacks.logits import Labels
from robustseg.attacks.losses import PAPER_LOSSES, Moment
from robustseg.attacks.pixel_losses import loss_and_gradient
from robustseg.errors import RobustsegError
from robustseg.models import interpolation
from robustseg.plan.memory import peak_of
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
    monkeypatch.setattr(gpu, "BATCHES", {1: 4})
    monkeypatch.setattr(gpu, "ITERATIONS", 6)
    compiled = {"CUDA graphs", "compiled", "bf16, compiled"}
    monkeypatch.setattr(gpu, "OPTIONS", tuple(one for one in gpu.OPTIONS if one not in compiled))
    return gpu


def run(bench: ModuleType, monkeypatch: pytest.MonkeyPatch, out: Path, *parts: str) -> Any:
    command = ["gpu.py", "--device", "cpu", "--out", str(out), "--networks", "0"]
    monkeypatch.setattr(sys, "argv", [*command, *(("--parts", *parts) if parts else ())])
    bench.main()
    return kept(out)


def kept(out: Path) -> Any:
    return json.loads((out / "cpu.json").read_text())["networks"][str(SMALL)]


def failing(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, part: str, case: str, error: BaseException
) -> None:
    """Let one case of a part end in an error."""
    cases = bench.PARTS[part]

    def fail() -> Any:
        raise error

    monkeypatch.setitem(
        bench.PARTS, part, lambda *network_and_device: {**cases(*network_and_device), case: fail}
    )


def test_it_needs_neither_snakemake_nor_pydantic() -> None:
    """Machines with a GPU often have torch and little else."""
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['snakemake', 'pydantic', 'numba'])); "
        f"sys.path.insert(0, {str(ROOT / 'scripts' / 'bench')!r}); import gpu"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_each_case_is_kept_and_not_measured_again(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patched:
        failing(bench, patched, "attacks", "js, batch 4", KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            run(bench, patched, tmp_path, *reversed(PARTS))
    before = kept(tmp_path)
    assert {part: list(cases) for part, cases in before.items()} == {
        "throughput": ["passes"],
        "attacks": ["ce, batch 4", "bal_ce, batch 4", "cossim_ce, batch 4"],
    }
    for part, cases in before.items():
        for case in cases:
            failing(bench, monkeypatch, part, case, KeyboardInterrupt())
    after = run(bench, monkeypatch, tmp_path, *reversed(PARTS))
    assert tuple(after) == PARTS  # in this order, whatever was asked for
    for part, cases in before.items():
        assert {case: after[part][case] for case in cases} == cases
    rows = (tmp_path / "cpu.md").read_text().count(f"| {SMALL} |")
    assert rows == 8 + 1 + 2 + 3 + 6  # losses, batch, coarse logits; SEA; steps; memory; options
    device, rates = read_throughput(tmp_path / "cpu-throughput.json")
    assert (device, list(rates)) == ("cpu", [str(SMALL)])
    assert after["options"].keys() == {"fp32", *bench.OPTIONS}
    # Every other row was right before the attack, which the labels leave something to do.
    assert all(0 < found["acc_left"] < 49 for found in after["options"].values())


def test_on_a_cpu_memory_alone_is_measured(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = run(bench, monkeypatch, tmp_path)
    assert found.keys() == {"memory"}
    peaks = found["memory"]
    assert peaks.keys() == {"attack", "bare pass", *PAPER_LOSSES, "training"}
    for loss in PAPER_LOSSES:
        assert 1 < peaks[loss]["peak_mb"] / peaks["bare pass"]["peak_mb"] < 1.3
    few_mb = peaks["attack"]["fixed_mb"] + 2 * peaks["attack"]["image_mb"]
    assert few_mb == pytest.approx(peaks["mask_ce"]["peak_mb"])
    assert not torch.__future__.get_overwrite_module_params_on_conversion()
    assert not interpolation._matrix.cache_info().currsize  # of matrices without values


@pytest.mark.parametrize("loss", PAPER_LOSSES)
def test_logits_take_what_another_device_needs(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, loss: str
) -> None:
    """Measured on torch's meta device, which is not taken for a CPU."""
    two_images = 2 * 21 * 63 * 65
    monkeypatch.setattr("robustseg.attacks.pixel_losses.CHUNK_VALUES", two_images)

    def peak_mb(device: str) -> float:
        values = torch.zeros(3, 21, 63, 65, device=device)
        labels = Labels.of(torch.zeros(3, 63, 65, dtype=torch.int64, device=device), values.dtype)
        weights = torch.ones(21, device=device)
        labels = Labels(labels.index, labels.counted, weights)
        with peak_of(nn.Identity(), torch.device("cpu")) as found_mb:
            loss_and_gradient(loss, values, labels, Moment())
        return found_mb()

    needed = peak_mb("meta")
    with bench.as_on_a_gpu():
        assert peak_mb("cpu") == needed


def test_what_fails_costs_no_other_and_is_tried_again(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patched:
        failing(bench, patched, "attacks", "mask_ce, batch 4", torch.OutOfMemoryError("none\nleft"))
        failing(bench, patched, "throughput", "passes", RobustsegError("no"))
        failing(bench, patched, "memory", "training", AssertionError())
        failing(bench, patched, "memory", "bare pass", ValueError("odd"))
        with pytest.raises(SystemExit) as left:
            run(bench, patched, tmp_path, "throughput", "attacks", "memory")
    assert left.value.code == (
        "failed, and tried again by the next call: "
        f"throughput of {SMALL}, passes (RobustsegError: no); "
        f"attacks of {SMALL}, mask_ce, batch 4 (OutOfMemoryError: none); "
        f"memory of {SMALL}, bare pass (ValueError: odd); "
        f"memory of {SMALL}, training (AssertionError: it says nothing)"
    )
    found = kept(tmp_path)
    assert found["throughput"]["passes"] == {"failed": "RobustsegError: no"}
    assert "efficiency" in found["attacks"]["mask_ce, batch 1"]  # which comes after
    page = (tmp_path / "cpu.md").read_text()
    assert f"| {SMALL} | mask_ce, batch 4 | OutOfMemoryError: none |  |" in page
    assert f"| {SMALL} | training | AssertionError: it says nothing |  |  |" in page
    assert not (tmp_path / "cpu-throughput.json").exists()
    again = run(bench, monkeypatch, tmp_path, "throughput", "attacks", "memory")
    assert "failed" not in json.dumps(again)
    assert again["attacks"]["ce, batch 4"] == found["attacks"]["ce, batch 4"]


def test_what_failed_is_tried_again_after_all_else(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It may end the process each time, and nothing else would ever be measured."""
    for error, left in ((ValueError("odd"), SystemExit), (KeyboardInterrupt(), KeyboardInterrupt)):
        parts = ("throughput",) if left is SystemExit else ("throughput", "training")
        with monkeypatch.context() as patched:
            failing(bench, patched, "throughput", "passes", error)
            with pytest.raises(left):
                run(bench, patched, tmp_path, *parts)
    assert kept(tmp_path)["throughput"]["passes"] == {"failed": "ValueError: odd"}
    assert kept(tmp_path)["training"].keys() == {"2 steps", "5 steps"}


def test_a_peak_that_does_not_grow_fails_in_a_sentence(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bench, "pass_peak_mb", lambda *_: 7.0)
    monkeypatch.setattr(bench, "training_peaks_mb", lambda *_: [(2, 7.0), (3, 8.0)])
    with pytest.raises(SystemExit, match=r"attack \(RobustsegError: the peak does not grow"):
        run(bench, monkeypatch, tmp_path, "memory")


def test_graphs_do_the_passes_of_their_option(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CUDA, which is not there, records nothing: what an attack asks for is what it would."""
    asked = []

    def record(passes: Callable[[torch.Tensor], Any], inputs: tuple[torch.Tensor]) -> Any:
        assert inputs[0].requires_grad
        assert not any(parameter.requires_grad for parameter in model.parameters())

        def graphed(images: torch.Tensor) -> Any:
            asked.append(images.shape)
            return passes(images)

        return graphed

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", record)
    model = bench.build(SMALL, "cpu")
    images, _ = bench.data(SMALL, 2, "cpu")
    with bench.option(model, "CUDA graphs", images) as passes:
        labels = bench.efficiency.half_right(model(images))
        bench.attack(passes, (images, labels), "ce")
    assert asked == [images.shape] * 3  # two iterations, and the last one is looked at


@pytest.mark.parametrize("name", ["compiled", "bf16, compiled"])
def test_options_that_compile_are_traced(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """By torch's own debugging backend: what inductor makes of it is not tested here."""
    compile_: Callable[..., Any] = torch.compile
    asked: list[dict[str, Any]] = []

    def traced(model: nn.Module, **options: Any) -> Any:
        asked.append(options)
        return compile_(model, backend="eager", **options)

    monkeypatch.setattr(torch, "compile", traced)
    model = nn.Conv2d(3, 4, 1)
    images = torch.rand(2, 3, 8, 8)
    with bench.option(model, name, images) as passes:
        torch.testing.assert_close(passes(images), model(images), atol=1e-2, rtol=1e-2)
    assert asked


def test_figures_of_two_versions_of_torch_are_not_mixed(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    record = {"device": "cpu", "torch": "1.0", "networks": {}}
    (tmp_path / "cpu.json").write_text(json.dumps(record))
    with pytest.raises(RobustsegError, match=r"cpu\.json was measured with torch 1\.0, and"):
        run(bench, monkeypatch, tmp_path)
