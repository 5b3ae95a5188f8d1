"""UPerNet (Xiao et al. 2018, arXiv 1807.10221) on four feature maps.

The layers and their names follow the weights that the paper published: pyramid pooling on the last
stage, a feature pyramid over all, every convolution without bias and followed by BatchNorm and
ReLU, all interpolation bilinear with align_corners off, an FCN head on the third stage.

# ASSUME: weights start as torch's layers draw them; the paper says "randomly" (Sec. 3.1).
# RELEASED CODE: convolutions normal, 0.02 wide, biases 0. BatchNorm follows all but the last of
# each head, which start about as wide here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from robustseg.models.convnext import LayerNorm2d
from robustseg.models.interpolation import resize
from robustseg.models.layers import POOL_SIZES, ConvBlock, pyramid
from robustseg.models.registry import UPerNetSize
from robustseg.models.segmentation import SegmentationModel


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
        self.psp_modules = pyramid(dims[-1], width)
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
            levels[fine] = levels[fine] + resize(levels[fine + 1], levels[fine].shape[-2:])
        *finer, last = levels
        smooth = [conv(level) for conv, level in zip(self.fpn_convs, finer, strict=True)]
        smooth.append(last)
        merged = torch.cat([resize(level, smooth[0].shape[-2:]) for level in smooth], dim=1)
        logits: Tensor = self.classifier(self.fpn_bottleneck(merged))
        return logits

    def pool_pyramid(self, features: Tensor) -> Tensor:
        """Merge the last stage with its averages over 1x1, 2x2, 3x3 and 6x6 regions."""
        pooled = [resize(module(features), features.shape[-2:]) for module in self.psp_modules]
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


class UPerNet(SegmentationModel):
    """ConvNeXt, a LayerNorm on each stage's output, decoder and auxiliary head."""

    def __init__(self, architecture: Mapping[str, Any], size: UPerNetSize) -> None:
        super().__init__(architecture)
        num_classes = architecture["num_classes"]
        dims = self.backbone.size.dims
        self.norms = nn.ModuleList(LayerNorm2d(channels) for channels in dims)
        self.decode_head = UPerHead(dims, size, num_classes)
        self.auxiliary_head = FCNHead(dims[2], size.auxiliary_channels, num_classes)

    def segment(self, images: Tensor, auxiliary: bool) -> tuple[Tensor, Tensor | None]:
        """Return coarse logits; those of the auxiliary head where asked for."""
        features = self.feature_maps(images)
        logits: Tensor = self.decode_head(features)
        return logits, self.auxiliary_head(features[2]) if auxiliary else None

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """Return the normalised outputs of the four stages."""
        stages = self.backbone.features(images)
        return [norm(stage) for norm, stage in zip(self.norms, stages, strict=True)]
