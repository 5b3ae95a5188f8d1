"""ConvNeXt (Liu et al. 2022, arXiv 2201.03545) with the convolutional stem of Singh et al. 2023.

It is timm's network, key for key and value for value (a test compares the two): importing timm
costs five seconds of every process, and the workflow starts many short ones. Tensors are kept in
channels-last memory, where LayerNorm and the pointwise layers need no copy.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from robustseg.models.registry import ConvNextSize

NORM_EPSILON = 1e-6


class LayerNorm2d(nn.LayerNorm):
    """LayerNorm over the channels of a (B, C, H, W) tensor."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=NORM_EPSILON)

    def forward(self, features: Tensor) -> Tensor:
        """Normalise each pixel's channels."""
        return super().forward(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Mlp(nn.Module):
    """Two pointwise layers with GELU, four times as wide between them; channels last."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)

    def forward(self, features: Tensor) -> Tensor:
        """(B, H, W, C) to (B, H, W, C)."""
        hidden: Tensor = functional.gelu(self.fc1(features))
        output: Tensor = self.fc2(hidden)
        return output


class Block(nn.Module):
    """7x7 depthwise convolution, LayerNorm, MLP, layer scale, residual."""

    def __init__(self, channels: int, layer_scale: float) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=NORM_EPSILON)
        self.mlp = Mlp(channels)
        self.gamma = nn.Parameter(torch.full((channels,), layer_scale))

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, H, W)."""
        branch: Tensor = self.norm(self.conv_dw(features).permute(0, 2, 3, 1))
        branch = self.mlp(branch) * self.gamma
        return features + branch.permute(0, 3, 1, 2)


class Stage(nn.Module):
    """Halve the resolution (all stages but the first), then residual blocks."""

    def __init__(self, channels_in: int, channels: int, depth: int, layer_scale: float) -> None:
        super().__init__()
        self.downsample: nn.Module = nn.Identity()
        if channels_in:
            self.downsample = nn.Sequential(
                LayerNorm2d(channels_in), nn.Conv2d(channels_in, channels, 2, stride=2)
            )
        self.blocks = nn.Sequential(*(Block(channels, layer_scale) for _ in range(depth)))

    def forward(self, features: Tensor) -> Tensor:
        """(B, C_in, H, W) to (B, C, H/2, W/2), or the same resolution in the first stage."""
        output: Tensor = self.blocks(self.downsample(features))
        return output


class Stem(nn.Module):
    """Two 3x3 convolutions of stride 2 with LayerNorm and GELU: a quarter of the resolution.

    The paper, B.2, names it (ConvStem); its layers are read from the published key names.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, channels // 2, 3, stride=2, padding=1),
            LayerNorm2d(channels // 2),
            nn.GELU(),
            nn.Conv2d(channels // 2, channels, 3, stride=2, padding=1),
            LayerNorm2d(channels),
            nn.GELU(),
        )

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, C, H/4, W/4)."""
        output: Tensor = self.stem(images)
        return output


class Head(nn.Module):
    """Global average pooling, LayerNorm and a linear layer."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.norm = LayerNorm2d(channels)
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to logits (B, K)."""
        logits: Tensor = self.fc(self.norm(features.mean((2, 3), keepdim=True)).flatten(1))
        return logits


class ConvNeXt(nn.Module):
    """A ConvNeXt classifier, or without `num_classes` the backbone of a segmentation model.

    Args:
        size: blocks and channels of the four stages.
        num_classes: None leaves the classification head away.
    """

    def __init__(self, size: ConvNextSize, num_classes: int | None = None) -> None:
        super().__init__()
        self.size = size
        self.stem = Stem(size.dims[0])
        self.stages = nn.Sequential(*_stages(size))
        self.head = Head(size.dims[-1], num_classes) if num_classes else None
        _initialise(self)

    def features(self, images: Tensor) -> list[Tensor]:
        """Return the four stages' outputs: (B, C_i, H/4, W/4), then 1/8, 1/16 and 1/32."""
        outputs = [self.stem(images.contiguous(memory_format=torch.channels_last))]
        for stage in self.stages:
            outputs.append(stage(outputs[-1]))
        return outputs[1:]

    def forward(self, images: Tensor) -> Tensor:
        """Return class logits (B, K) of images (B, 3, H, W) in [0, 1], without mean and std."""
        if self.head is None:
            raise TypeError("this ConvNeXt is a backbone without classification head")
        logits: Tensor = self.head(self.features(images)[-1])
        return logits


def _stages(size: ConvNextSize) -> Iterator[Stage]:
    """Build the four stages."""
    channels_in = 0
    for depth, channels in zip(size.depths, size.dims, strict=True):
        yield Stage(channels_in, channels, depth, size.layer_scale)
        channels_in = channels


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
