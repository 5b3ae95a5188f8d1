"""PSPNet (Zhao et al. 2017, arXiv 1612.01105) on a dilated ResNet.

The layers follow the published weights of DDC-AT (Xu et al. 2021): a pyramid of 1, 2, 3 and 6
regions, every convolution without bias and followed by BatchNorm and ReLU, all interpolation
bilinear with align_corners on, dropout of whole channels before each classifier.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from robustseg.models.interpolation import resize
from robustseg.models.layers import POOL_SIZES, ConvBlock, pyramid
from robustseg.models.registry import PSPNetSize
from robustseg.models.segmentation import SegmentationModel


class PSPHead(nn.Module):
    """Decoder: the last feature map and its averages over regions to logits.

    Args:
        channels_in: of the feature map; each of the four averages keeps a quarter of them.
        size: channels, dropout.
        num_classes: K.
    """

    def __init__(self, channels_in: int, size: PSPNetSize, num_classes: int) -> None:
        super().__init__()
        quarter = channels_in // len(POOL_SIZES)
        self.pyramid = pyramid(channels_in, quarter)
        self.classifier = classifier(2 * channels_in, size.channels, size.dropout, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) to logits (B, K, h, w)."""
        size = features.shape[-2:]
        pooled = [resize(part(features), size, align_corners=True) for part in self.pyramid]
        logits: Tensor = self.classifier(torch.cat([features, *pooled], dim=1))
        return logits


def classifier(channels_in: int, channels: int, dropout: float, num_classes: int) -> nn.Sequential:
    """Return a 3x3 convolution with BatchNorm and ReLU, dropout and a 1x1 convolution."""
    return nn.Sequential(
        ConvBlock(channels_in, channels, 3),
        nn.Dropout2d(dropout),
        nn.Conv2d(channels, num_classes, 1),
    )


class PSPNet(SegmentationModel):
    """Dilated ResNet, pyramid pooling, auxiliary head on the third stage."""

    align_corners = True

    def __init__(self, architecture: Mapping[str, Any], size: PSPNetSize) -> None:
        super().__init__(architecture)
        num_classes = architecture["num_classes"]
        third, last = (4 * channels for channels in self.backbone.size.channels[2:])
        self.decode_head = PSPHead(last, size, num_classes)
        self.auxiliary_head = classifier(third, size.auxiliary_channels, size.dropout, num_classes)

    def segment(self, images: Tensor, auxiliary: bool) -> tuple[Tensor, Tensor | None]:
        """Return coarse logits; those of the auxiliary head where asked for."""
        images = images.contiguous(memory_format=torch.channels_last)
        third, last = self.backbone.features(images)
        logits: Tensor = self.decode_head(last)
        return logits, self.auxiliary_head(third) if auxiliary else None
