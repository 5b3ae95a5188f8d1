"""Layers that the decoders share."""

from torch import Tensor, nn
from torch.nn import functional

from robustseg.models.interpolation import pool

POOL_SIZES = (1, 2, 3, 6)
"""Regions a side of a pyramid's levels."""


class ConvBlock(nn.Module):
    """Convolution, BatchNorm, ReLU."""

    def __init__(self, channels_in: int, channels: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels, kernel, padding=kernel // 2, bias=False)
        self.batch_norm = nn.BatchNorm2d(channels)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C_in, H, W) to (B, C, H, W)."""
        return functional.relu(self.batch_norm(self.conv(features)), inplace=True)


class Pool(nn.Module):
    """Average over regions x regions parts of the image."""

    def __init__(self, regions: int) -> None:
        super().__init__()
        self.regions = regions

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, regions, regions)."""
        return pool(features, self.regions)


def pyramid(channels_in: int, channels: int) -> nn.ModuleList:
    """Return averages over regions, one module for each of `POOL_SIZES`, `channels` each."""
    return nn.ModuleList(
        nn.Sequential(Pool(regions), ConvBlock(channels_in, channels, 1)) for regions in POOL_SIZES
    )
