"""Random corners: inside the ball, the worst of those drawn, the same for each image."""

import torch
from torch import Tensor, nn

from robustseg.attacks.corners import random_corners

IMAGES = torch.rand((4, 3, 6, 6), generator=torch.Generator().manual_seed(0))
LABELS = torch.randint(0, 3, (4, 6, 6), generator=torch.Generator().manual_seed(1))
IDS = list("abcd")
torch.manual_seed(2)
NET = nn.Conv2d(3, 3, 3, padding=1)


def right(images: Tensor) -> Tensor:
    with torch.no_grad():
        return (NET(images).argmax(1) == LABELS).flatten(1).sum(1)


def test_they_are_corners_and_hurt_more_with_more_draws() -> None:
    found = [random_corners(NET, IMAGES, LABELS, IDS, draws, 16, 0) for draws in (1, 50)]
    for one in found:
        shift = (one.adversarial - IMAGES).abs() * 255
        inside = (one.adversarial > 0) & (one.adversarial < 1)
        torch.testing.assert_close(shift[inside], torch.full_like(shift[inside], 16))
        assert shift.max() <= 16 + 1e-3
    assert (right(found[1].adversarial) <= right(found[0].adversarial)).all()
    assert right(found[1].adversarial).sum() < right(IMAGES).sum()
    assert found[1].forward_passes.tolist() == [50] * 4
    assert not found[1].backward_passes.any()


def test_an_image_does_not_depend_on_its_batch() -> None:
    whole = random_corners(NET, IMAGES, LABELS, IDS, 5, 8, 0).adversarial
    alone = random_corners(NET, IMAGES[2:3], LABELS[2:3], ["c"], 5, 8, 0).adversarial
    assert torch.equal(whole[2:3], alone)
    other = random_corners(NET, IMAGES, LABELS, IDS, 5, 8, 1).adversarial
    assert not torch.equal(whole, other)


def test_ignored_pixels_do_not_count() -> None:
    """Only one pixel counts, so the worst corner is one that makes it wrong if any does."""
    labels = torch.full_like(LABELS, -1)
    labels[:, 0, 0] = NET(IMAGES).argmax(1)[:, 0, 0]
    found = random_corners(NET, IMAGES, labels, IDS, 200, 128, 0).adversarial
    assert (NET(found).argmax(1)[:, 0, 0] != labels[:, 0, 0]).any()
