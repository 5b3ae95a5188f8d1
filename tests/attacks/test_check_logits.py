"""Logits that are refused, with advice that works when it is followed, and those that are not."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from robustseg import RobustsegError, sea
from robustseg.attacks.ensemble import SEA_LOSSES
from robustseg.attacks.losses import LOSSES

IMAGES = torch.rand(2, 3, 12, 16, generator=torch.Generator().manual_seed(0))
NET = nn.Conv2d(3, 3, 3, padding=1)
with torch.no_grad():
    NET.weight.copy_(torch.randn(NET.weight.shape, generator=torch.Generator().manual_seed(1)))
    NET.bias.copy_(torch.tensor([0.0, 0.0, -99.0]))  # the last is below 0 at every pixel
    LABELS = NET(IMAGES).argmax(1)
LABELS[:, :3] = 255


def masked(value: float) -> Callable[[Tensor], Tensor]:
    """Return a model with one more class, of which this is the logit."""
    return lambda images: nn.functional.pad(NET(images), (0, 0, 0, 0, 0, 1), value=value)


def filled(value: float) -> Callable[[Tensor], Tensor]:
    """Return a model with this logit at ignored pixels."""
    ignored = LABELS[:1, None] == 255  # the same pixels in each image
    return lambda images: NET(images).masked_fill(ignored, value)


def attacked(
    model: Callable[[Tensor], Tensor], losses: Sequence[str] = SEA_LOSSES
) -> list[list[float]]:
    result = sea(model, IMAGES, LABELS, 8, losses=losses, iterations=5)
    return result.attack_accuracy.tolist()


def test_a_class_that_is_never_predicted() -> None:
    """Its logit may be the lowest that there is, though a sum of such is infinite."""
    with pytest.raises(RobustsegError, match=r"logit -inf for class 3 at every .* such as -30"):
        attacked(masked(-torch.inf))
    lowest = masked(torch.finfo(torch.float32).min)
    others = [name for name in LOSSES if name != "mask_sph"]
    assert attacked(lowest, others) == attacked(masked(-30), others)
    with pytest.raises(RobustsegError, match=r"too large for the loss; .* no less than -30"):
        attacked(lowest, ["mask_sph"])  # whose norm is infinite
    assert attacked(masked(-30), ["mask_sph"])


def test_logits_that_are_not_finite_at_ignored_pixels() -> None:
    with pytest.raises(RobustsegError, match=r"not finite at ignored pixels; .* such as 0"):
        attacked(filled(torch.nan))
    assert attacked(filled(0)) == attacked(NET)


def test_logits_that_are_not_finite_at_other_pixels() -> None:
    for value in (torch.nan, torch.inf):
        with pytest.raises(RobustsegError, match=r"image 0 gets .* check the model's weights"):
            attacked(lambda images, value=value: NET(images) * value)
