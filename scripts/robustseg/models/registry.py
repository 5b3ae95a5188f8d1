"""The sizes of networks that configs may name. Without torch: configs are checked fast."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ConvNextSize:
    """A ConvNeXt with convolutional stem: blocks and channels of its four stages."""

    depths: tuple[int, int, int, int]
    dims: tuple[int, int, int, int]
    layer_scale: float = 1e-6
    """Initial factor of each block's branch."""
    weight_std: float | None = 0.02
    """Standard deviation of the initial weights; None: what keeps the variance, 1/sqrt(fan-in),
    and a first layer without mean, so that a short training of a narrow network sees contrasts."""


@dataclass(frozen=True)
class UPerNetSize:
    """Channels of UPerNet's decoder and of its auxiliary head."""

    channels: int = 512
    auxiliary_channels: int = 256


BACKBONES = {
    "convnext_demo": ConvNextSize((1, 2, 2, 1), (24, 48, 96, 96), layer_scale=0.3, weight_std=None),
    "convnext_mini": ConvNextSize((2, 2, 4, 2), (48, 96, 192, 384), 0.3, weight_std=None),
    "convnext_tiny": ConvNextSize((3, 3, 9, 3), (96, 192, 384, 768)),
    "convnext_small": ConvNextSize((3, 3, 27, 3), (96, 192, 384, 768)),
}
DECODERS = {
    "upernet": UPerNetSize(),
    "upernet_demo": UPerNetSize(channels=32, auxiliary_channels=24),
    "upernet_mini": UPerNetSize(channels=128, auxiliary_channels=64),
}
