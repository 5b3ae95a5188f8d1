"""Compiled sweeps over float32 logits against what torch computes in double precision."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from robustseg.attacks import kernels, logit_sums


@pytest.fixture(autouse=True)
def sweep_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logit_sums, "SWEPT_VALUES", 1)


def exponential(logits: Tensor) -> Tensor:
    """e^u as the sweeps compute it: the sum over one class."""
    index = torch.zeros(1, 1, *logits.shape, dtype=torch.int64)
    return logit_sums.exponential_sums(logits[None, None], index)[3][0, 0]


def case(size: tuple[int, int] = (5, 7), scale: float = 4.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    logits = scale * torch.randn(3, 19, *size, generator=generator)
    logits[1] -= 20  # all below 0
    return logits, torch.randint(19, (3, 1, *size), generator=generator)


def test_exponential_is_exact_to_float32() -> None:
    logits = torch.linspace(-69.9, 80, 200_001).view(1, -1)
    exact = logits.double().exp()
    assert ((exponential(logits).double() - exact) / exact).abs().max() < 5e-7


def test_exponential_of_values_outside_is_small_or_nan() -> None:
    logits = torch.tensor([[-71.0, -1e30, -torch.inf, torch.nan]])
    values = exponential(logits)[0]
    assert (values[:3] < 1e-30).all()
    assert (values[:3] > 0).all()
    assert values[3].isnan()


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (50, 50)])
def test_sweeps_are_what_torch_computes(size: tuple[int, int]) -> None:
    logits, index = case(size)
    assert logit_sums.is_swept(logits)
    exact = logits.double()
    assert not logit_sums.is_swept(exact)
    for sums in (logit_sums.exponential_sums, logit_sums.sigmoid_sums, logit_sums.norms):
        swept, expected = sums(logits, index), sums(exact, index)
        assert len(swept) == len(expected)
        for one, other in zip(swept, expected, strict=True):
            torch.testing.assert_close(one.double(), other, rtol=1e-6, atol=0)
    factor, weight = torch.rand(2, 3, 1, *size).unbind()
    logit_sums.write_gradient(logits, index, factor, weight)
    logit_sums.write_gradient(exact, index, factor.double(), weight.double())
    torch.testing.assert_close(logits.double(), exact, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("label", [19, 150, -1])
@pytest.mark.parametrize(
    "sums", [logit_sums.exponential_sums, logit_sums.sigmoid_sums, logit_sums.norms]
)
def test_labels_outside_the_classes_are_refused(
    sums: Callable[[Tensor, Tensor], tuple[Tensor, ...]], label: int
) -> None:
    """A compiled loop would read memory that is not the logits', and write there."""
    logits, index = case()
    index[2, 0, 4, 6] = label
    with pytest.raises(IndexError, match="outside"):
        sums(logits, index)


def test_labels_of_another_size_are_refused() -> None:
    logits, index = case()
    for other in (index[:, :, 1:], index[1:]):
        with pytest.raises(IndexError, match="size"):
            logit_sums.exponential_sums(logits, other)


def test_sigmoids_of_large_logits_are_one() -> None:
    logits = torch.tensor([50.0, 1e6, -200.0]).view(1, 3, 1, 1)
    *_, sigmoid, norm = logit_sums.sigmoid_sums(logits, torch.zeros(1, 1, 1, 1, dtype=torch.int64))
    assert sigmoid.item() == 1
    assert norm.item() == pytest.approx(2**0.5)


def test_few_values_and_other_layouts_are_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, _ = case()
    assert logit_sums.is_swept(logits)
    assert not logit_sums.is_swept(logits.contiguous(memory_format=torch.channels_last))
    assert not logit_sums.is_swept(logits[:, :, :, 1:])
    monkeypatch.setattr(logit_sums, "SWEPT_VALUES", logits[0].numel() + 1)
    assert not logit_sums.is_swept(logits)


def test_a_pixel_gets_the_same_bits_anywhere() -> None:
    """At the start of a row of 67, in the loop of many pixels at a time, and in its rest."""
    logits, index = case((1, 67))
    swept = logit_sums.sigmoid_sums(logits, index)
    written = logits.clone()
    logit_sums.write_gradient(written, index, swept[3], swept[4])
    for place in range(0, 67, 3):
        one = slice(place, place + 1)
        alone, label = logits[..., one].clone(), index[..., one]
        sums = logit_sums.sigmoid_sums(alone, label)
        assert all(torch.equal(a, b[..., one]) for a, b in zip(sums, swept, strict=True))
        logit_sums.write_gradient(alone, label, sums[3], sums[4])
        assert torch.equal(alone, written[..., one])


def test_any_number_of_threads_gives_the_same_bits() -> None:
    logits, index = case()
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            written = logits.clone()
            sums = logit_sums.exponential_sums(written, index)
            logit_sums.write_gradient(written, index, sums[3], sums[2])
            found.append((*sums, written))
    finally:
        torch.set_num_threads(before)
    for more in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], more, strict=True))


def test_autograd_learns_that_values_were_overwritten() -> None:
    """Else a model whose last operation needs its output would get a wrong gradient, silently."""
    images = torch.rand(1, 3, 2, 2, requires_grad=True)
    output = images.exp()
    pixels = torch.ones(1, 1, 2, 2)
    logit_sums.write_gradient(
        output.detach(), torch.zeros(1, 1, 2, 2, dtype=torch.int64), pixels, pixels
    )
    with pytest.raises(RuntimeError, match="inplace operation"):
        output.sum().backward()


def test_functions_are_compiled_also_where_nothing_can_be_kept() -> None:
    """numba finds no folder for a function without a file."""
    namespace: dict[str, object] = {}
    exec("def double(value): return 2 * value", namespace)
    assert kernels._compiled(namespace["double"])(np.float32(3)) == 6  # type: ignore[arg-type]


def test_importing_the_losses_imports_no_compiler() -> None:
    """numba costs a process 0.4 s: only those that attack on a CPU pay."""
    command = "import sys, robustseg.attacks.run; print('numba' in sys.modules)"
    scripts = Path(kernels.__file__).parents[2]
    found = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, check=True, cwd=scripts
    )
    assert found.stdout.strip() == "False"
