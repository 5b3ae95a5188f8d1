"""timm's ConvNeXt (Liu et al. 2022, arXiv 2201.03545), with the stem of Singh et al. 2023."""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from robustseg.models.registry import ConvNextSize
from robustseg.models.timm_parts import ConvNeXt as TimmConvNeXt
from robustseg.models.timm_parts import LayerNorm2d

__all__ = ["ConvNeXt", "LayerNorm2d", "Stem"]


class Stem(nn.Module):
    """3x3 convolutions with LayerNorm and GELU, two of stride 2: a quarter of the resolution.

    The paper, B.2, names it (ConvStem); its layers are read from the published key names.

    Args:
        channels: of each convolution, at least two.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for place, (before, after) in enumerate(pairwise((3, *channels))):
            stride = 2 if place < 2 else 1
            layers += [
                nn.Conv2d(before, after, 3, stride=stride, padding=1),
                LayerNorm2d(after),
                nn.GELU(),
            ]
        self.stem = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, C, H/4, W/4)."""
        output: Tensor = self.stem(images)
        return output


class ConvNeXt(TimmConvNeXt):
    """A ConvNeXt classifier, or without `num_classes` the backbone of a segmentation model.

    Tensors are kept in channels-last memory, where LayerNorm and the pointwise layers need no copy.

    Args:
        size: blocks and channels of the four stages.
        num_classes: None leaves the classification head away.
    """

    head_prefix = "head."

    def __init__(self, size: ConvNextSize, num_classes: int | None = None) -> None:
        super().__init__(
            num_classes=num_classes or 0,
            depths=size.depths,
            dims=size.dims,
            ls_init_value=size.layer_scale,
        )
        self.size = size
        stem_dims = size.stem_dims or (size.dims[0] // 2, size.dims[0])
        self.stem = Stem(stem_dims)  # type: ignore[assignment]
        if num_classes is None:
            self.head = nn.Identity()  # type: ignore[assignment]
        _initialise(self)

    def features(self, images: Tensor) -> list[Tensor]:
        """Return the four stages' outputs: (B, C_i, H/4, W/4), then 1/8, 1/16 and 1/32."""
        images = images.contiguous(memory_format=torch.channels_last)
        return cast(list[Tensor], self.forward_intermediates(images, intermediates_only=True))

    def residual_blocks(self) -> list[nn.Module]:
        """Return the blocks of all stages."""
        return [
            block for stage in self.stages for block in stage.get_submodule("blocks").children()
        ]

    def forward(self, images: Tensor) -> Tensor:
        """Return class logits (B, K) of images (B, 3, H, W) in [0, 1], without mean and std."""
        if not self.num_classes:
            raise TypeError("this ConvNeXt is a backbone without classification head")
        logits: Tensor = super().forward(images.contiguous(memory_format=torch.channels_last))
        return logits


def _initialise(network: ConvNeXt) -> None:
    """Draw weights from a normal distribution cut off at +-2, biases 0, as ConvNeXt and timm do."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            fan_in = module.weight[0].numel()
            nn.init.trunc_normal_(module.weight, std=network.size.weight_std or fan_in**-0.5)
            nn.init.zeros_(module.bias)
    if network.size.weight_std is None:
        first = network.get_parameter("stem.stem.0.weight").data
        first -= first.mean((1, 2, 3), keepdim=True)
