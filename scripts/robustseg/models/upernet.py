"""UPerNet (Xiao et al. 2018, arXiv 1807.10221) on four feature maps.

The layers and their names follow the weights that the paper published: pyramid pooling on the last
stage, a feature pyramid over all, every convolution without bias and followed by BatchNorm and
ReLU, all interpolation bilinear with align_corners off, an FCN head on the third stage.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from robustseg.models.interpolation import pool, resize
from robustseg.models.registry import UPerNetSize

POOL_SIZES = (1, 2, 3, 6)


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


class UPerHead(nn.Module):
    """Decoder: feature maps at strides 4, 8, 16, 32 to logits at stride 4.

    Args:
        dims: channels of the four feature maps.
        size: channels of the decoder.
        num_classes: K.
    """

    def __init__(self, dims: Sequence[int], size: UPerNetSize, num_classes: int) -> None:
        super().__init__()
        width = size.channels
        self.psp_modules = nn.ModuleList(
            nn.Sequential(Pool(regions), ConvBlock(dims[-1], width, 1)) for regions in POOL_SIZES
        )
        self.bottleneck = ConvBlock(dims[-1] + len(POOL_SIZES) * width, width, 3)
        self.lateral_convs = nn.ModuleList(ConvBlock(channels, width, 1) for channels in dims[:-1])
        self.fpn_convs = nn.ModuleList(ConvBlock(width, width, 3) for _ in dims[:-1])
        self.fpn_bottleneck = ConvBlock(len(dims) * width, width, 3)
        self.classifier = nn.Conv2d(width, num_classes, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return logits (B, K, H/4, W/4)."""
        *finer, last = features
        levels = [conv(level) for conv, level in zip(self.lateral_convs, finer, strict=True)]
        levels.append(self.pool_pyramid(last))
        for fine in range(len(levels) - 2, -1, -1):  # top down: 1/16, 1/8, 1/4
            levels[fine] = levels[fine] + resize(levels[fine + 1], levels[fine])
        *finer, last = levels
        smooth = [conv(level) for conv, level in zip(self.fpn_convs, finer, strict=True)]
        smooth.append(last)
        merged = torch.cat([resize(level, smooth[0]) for level in smooth], dim=1)
        logits: Tensor = self.classifier(self.fpn_bottleneck(merged))
        return logits

    def pool_pyramid(self, features: Tensor) -> Tensor:
        """Merge the last stage with its averages over 1x1, 2x2, 3x3 and 6x6 regions."""
        pooled = [resize(module(features), features) for module in self.psp_modules]
        merged: Tensor = self.bottleneck(torch.cat([features, *pooled], dim=1))
        return merged


class FCNHead(nn.Module):
    """The auxiliary head: one 3x3 convolution and a classifier, for training only."""

    def __init__(self, channels_in: int, channels: int, num_classes: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(ConvBlock(channels_in, channels, 3))
        self.classifier = nn.Conv2d(channels, num_classes, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) to logits (B, K, h, w)."""
        logits: Tensor = self.classifier(self.convs(features))
        return logits
