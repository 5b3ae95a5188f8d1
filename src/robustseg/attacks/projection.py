"""The set S of arXiv 2306.12941, Eq. (1): the l_inf ball around an image, cut with [0, 1]."""

from typing import NamedTuple

import torch
from torch import Tensor

from robustseg.seeds import derive_seed


class Box(NamedTuple):
    """The pixels' lower and upper bounds, both (B, C, H, W): for l_inf, S is a box."""

    lower: Tensor
    upper: Tensor

    def project(self, images: Tensor) -> Tensor:
        """Return P_S: the nearest point of the box, for each image."""
        return torch.clamp(images, self.lower, self.upper)

    def select(self, kept: Tensor) -> "Box":
        """Return the box of the images `kept` (indices or a mask)."""
        return Box(self.lower[kept], self.upper[kept])


def choose(which: Tensor, images: Tensor, others: Tensor, out: Tensor | None = None) -> Tensor:
    """Return `images` (B, C, H, W) where `which` (B,) bool holds, else `others`; all finite.

    Interpolation with weights 0 and 1 is exact, and on a CPU 4 times faster than torch.where.
    """
    return torch.lerp(others, images, which.view(-1, 1, 1, 1).to(images.dtype), out=out)


def ball(images: Tensor, epsilon: float) -> Box:
    """Return S for images (B, C, H, W) in [0, 1] and a radius in [0, 1]."""
    return Box((images - epsilon).clamp_(min=0), (images + epsilon).clamp_(max=1))


def random_start(images: Tensor, epsilon: float, image_ids: list[str], *key: object) -> Tensor:
    """Return each image plus its own noise, uniform in [-epsilon, epsilon], cut to [0, 1].

    The noise of an image depends on its id and `key` alone, not on its neighbours in the batch, and
    it is drawn on the CPU, so that it is the same on every device.
    """
    shape = images.shape[1:]
    draws = []
    for image_id in image_ids:
        generator = torch.Generator().manual_seed(derive_seed(image_id, *key))
        draws.append(torch.rand(shape, generator=generator, device="cpu", dtype=torch.float32))
    noise = torch.stack(draws).mul_(2).sub_(1).mul_(epsilon).to(images)
    return ball(images, epsilon).project(images + noise)
