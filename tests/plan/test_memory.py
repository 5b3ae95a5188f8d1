"""Peaks against tensors that are counted by hand."""

import pytest
import torch
from torch import nn

from robustseg.errors import RobustsegError
from robustseg.plan.memory import Peak, line, peak_of

MB = 250_000
"""float32 values in 10^6 bytes."""


def test_the_peak_is_what_is_alive_at_once() -> None:
    with peak_of(nn.Identity(), torch.device("cpu")) as peak_mb:
        first = torch.zeros(MB)
        second = first + 1  # 2 MB alive
        del first
        second = second * 2 + 1  # at most 3 together, then 1
        second.add_(1)
        second.view(2, -1)
    assert peak_mb() == pytest.approx(3)


def test_backward_keeps_what_it_needs() -> None:
    weight = nn.Parameter(torch.ones(MB))
    model = nn.ParameterList([weight])
    with peak_of(model, torch.device("cpu")) as peak_mb:
        # weight, exp twice, the gradient of each
        weight.exp().exp().sum().backward()
    assert 4 <= peak_mb() <= 6


def test_a_peak_that_does_not_grow_is_refused() -> None:
    with pytest.raises(RobustsegError, match=r"does not grow .*: 700\.0 MB of 2 images, 700\.0 MB"):
        line((2, 700.0), (6, 700.0))


def test_the_largest_batch_fits() -> None:
    peak = line((2, 700.0), (3, 900.0))
    assert peak == Peak(fixed_mb=300, image_mb=200)
    batch = peak.largest_batch(24)
    assert 300 + 200 * batch <= 24_000 * 0.9 < 300 + 200 * (batch + 1)
    assert peak.largest_batch(0.3) == 0
