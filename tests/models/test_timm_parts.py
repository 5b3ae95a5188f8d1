"""timm loads without torch's compiler, and the compiler is there for whoever asks for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def run(code: str, first_on_path: Path | None = None) -> str:
    """Return what a fresh interpreter prints."""
    path = os.pathsep.join(filter(None, [str(first_on_path or ""), *sys.path]))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_networks_load_without_the_compiler_and_can_be_compiled() -> None:
    code = """
import sys
import torch
from robustseg.models.convnext import LayerNorm2d
assert "torch._dynamo" not in sys.modules
seen = []
def backend(graph, inputs):
    seen.append(graph)
    return graph.forward
norm, images = LayerNorm2d(3), torch.rand(1, 3, 4, 4)
assert torch.equal(torch.compile(norm, backend=backend)(images), norm(images))
print(len(seen))
"""
    assert run(code) == "1"


@pytest.mark.parametrize("asked_first", [True, False])
def test_what_was_marked_with_a_stand_in_is_right_with_the_compiler(asked_first: bool) -> None:
    """roi_align asks what can be compiled; NaFlex marks a method that must be left alone."""
    code = f"""
from types import SimpleNamespace
import torch
if {asked_first}:
    import torch._dynamo
import robustseg.models.timm_parts
from timm.models.naflexvit import NaFlexRopeIterator
from torchvision.ops import roi_align
assert roi_align.__globals__["is_compile_supported"]("cpu") is True
seen = []
def backend(graph, inputs):
    seen.append([node.target for node in graph.graph.nodes])
    return graph.forward
rope = torch.rand(4)
ropes = SimpleNamespace(_depth_idx=0, depth=1, unique_sizes=[], size_to_indices={{}}, batch_size=1,
    num_heads=1, seq_len=2, head_dim=2, device=rope.device, dtype=rope.dtype)
def twice(x):
    return NaFlexRopeIterator.__next__(ropes).sum() + 2 * x
assert torch.compile(twice, backend=backend)(torch.ones(1)).item() == 2
print(any("zeros" in str(target) for targets in seen for target in targets))
"""
    assert run(code) == "False"


@pytest.mark.parametrize(
    "asked",
    [
        "from torch._dynamo import optimize as kept",
        "import torch._dynamo.eval_frame; kept = torch._dynamo.optimize",
        "from torch._dynamo.utils import counters; kept = torch._dynamo.optimize",
        "stand_in = sys.modules['torch._dynamo']; kept = torch._dynamo.optimize; "
        "assert stand_in.optimize is kept",
    ],
)
def test_a_timm_that_asks_for_more_gets_the_compiler(asked: str, tmp_path: Path) -> None:
    (tmp_path / "timm").mkdir()
    (tmp_path / "timm" / "__init__.py").write_text(f"import sys, torch._dynamo\n{asked}\n")
    code = """
import contextlib
with contextlib.suppress(ModuleNotFoundError):  # it has no networks
    import robustseg.models.timm_parts
import timm, torch._dynamo
print(timm.kept is torch._dynamo.optimize, torch._dynamo.__file__ is not None)
"""
    assert run(code, tmp_path) == "True True"
