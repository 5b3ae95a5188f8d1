"""The input range of networks that were trained on normalised images."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalisation(nn.Module):
    """Images in [0, 1], minus a mean, over a standard deviation, channel by channel.

    Inside the network, so that an attack sees images in [0, 1]. Part of the architecture and not of
    the weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        for name, values in (("mean", mean), ("std", std)):
            column = torch.tensor(values, dtype=torch.float32).view(-1, 1, 1)
            self.register_buffer(name, column, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, 3, H, W)."""
        return (images - self.mean) / self.std


def normalisation(mean: Sequence[float] | None, std: Sequence[float] | None) -> nn.Module:
    """Return the module, which without mean and standard deviation leaves images as they are."""
    return Normalisation(mean, std) if mean and std else nn.Identity()
