"""The sizes of networks that configs may name. Without torch: configs are checked fast."""

from dataclasses import dataclass
from typing import ClassVar, TypeAlias


@dataclass(frozen=True)
class ConvNextSize:
    """A ConvNeXt with convolutional stem: blocks and channels of its four stages."""

    depths: tuple[int, int, int, int]
    dims: tuple[int, int, int, int]
    stem_dims: tuple[int, ...] | None = None
    """Channels of the stem's convolutions, the last of them `dims[0]`: the first two halve the
    resolution, further ones keep it. None: two, the first with half the channels."""
    layer_scale: float = 1e-6
    """Initial factor of each block's branch."""
    weight_std: float | None = 0.02
    """Standard deviation of the initial weights; None: what keeps the variance, 1/sqrt(fan-in),
    and a first layer without mean, so that a short training of a narrow network sees contrasts."""


@dataclass(frozen=True)
class ViTSize:
    """A vision transformer: width, blocks, heads of its attention."""

    width: int
    depth: int
    heads: int
    patch_px: int
    classifier_px: int
    """Height and width of the images that the classifier has position embeddings for."""
    segmenter_px: int
    """The same for segmentation; other sizes interpolate them."""
    keeps_variance: bool = False
    """Whether initial weights are 1/sqrt(fan-in) wide and those of the first layer without mean, as
    in a ConvNeXt without `weight_std`; else they are timm's."""


@dataclass(frozen=True)
class ResNetSize:
    """A ResNet of bottleneck blocks, dilated for segmentation to a stride of 8."""

    depths: tuple[int, int, int, int]
    channels: tuple[int, int, int, int] = (64, 128, 256, 512)
    """Inside the blocks of the four stages; their outputs have four times as many."""
    deep_stem: int | None = None
    """Channels of the first of three 3x3 convolutions; None: one 7x7 convolution."""


BackboneSize: TypeAlias = ConvNextSize | ViTSize | ResNetSize


@dataclass(frozen=True)
class UPerNetSize:
    """Channels of UPerNet's decoder and of its auxiliary head."""

    needs: ClassVar[type] = ConvNextSize
    channels: int = 512
    auxiliary_channels: int = 256


@dataclass(frozen=True)
class SegmenterSize:
    """Segmenter's mask transformer, as wide as its backbone. It has no auxiliary head."""

    needs: ClassVar[type] = ViTSize
    depth: int = 2
    dropout: float = 0.1


@dataclass(frozen=True)
class PSPNetSize:
    """Channels of PSPNet's pyramid and classifier, and of its auxiliary head."""

    needs: ClassVar[type] = ResNetSize
    channels: int = 512
    auxiliary_channels: int = 256
    dropout: float = 0.1


DecoderSize: TypeAlias = UPerNetSize | SegmenterSize | PSPNetSize

BACKBONES: dict[str, BackboneSize] = {
    "convnext_demo": ConvNextSize((1, 2, 2, 1), (24, 48, 96, 96), layer_scale=0.3, weight_std=None),
    "convnext_mini": ConvNextSize(
        (2, 2, 4, 2), (48, 96, 192, 384), layer_scale=0.3, weight_std=None
    ),
    "convnext_tiny": ConvNextSize((3, 3, 9, 3), (96, 192, 384, 768)),
    "convnext_small": ConvNextSize((3, 3, 27, 3), (96, 192, 384, 768)),
    # The stem of B and L is read from the definition of the published weights (arXiv 2303.01870,
    # repository nmndeep/revisiting-at): a third convolution, and 3/4 of the channels in the second.
    "convnext_base": ConvNextSize((3, 3, 27, 3), (128, 256, 512, 1024), (64, 96, 128)),
    "convnext_large": ConvNextSize((3, 3, 27, 3), (192, 384, 768, 1536), (96, 144, 192)),
    "vit_demo": ViTSize(
        48, 2, 3, patch_px=8, classifier_px=32, segmenter_px=48, keeps_variance=True
    ),
    "vit_small": ViTSize(384, 12, 6, patch_px=16, classifier_px=224, segmenter_px=512),
    "resnet_demo": ResNetSize((1, 1, 1, 1), (8, 16, 24, 32), deep_stem=8),
    "resnet50": ResNetSize((3, 4, 6, 3)),
    "resnet50_deep_stem": ResNetSize((3, 4, 6, 3), deep_stem=64),
}
DECODERS: dict[str, DecoderSize] = {
    "upernet": UPerNetSize(),
    "upernet_demo": UPerNetSize(channels=32, auxiliary_channels=24),
    "upernet_mini": UPerNetSize(channels=128, auxiliary_channels=64),
    "segmenter": SegmenterSize(),
    "pspnet": PSPNetSize(),
    "pspnet_demo": PSPNetSize(channels=32, auxiliary_channels=24),
}


def backbones_for(decoder: str) -> list[str]:
    """Return the backbones that a decoder can sit on."""
    needs = DECODERS[decoder].needs
    return [name for name, size in BACKBONES.items() if isinstance(size, needs)]


def least_px(backbone: str) -> int:
    """Return the least height and width of an image that a backbone can take, in pixels.

    A ConvNeXt halves a quarter of it, rounded up, three times by convolutions of 2x2 without
    padding; others pad.
    """
    return 29 if isinstance(BACKBONES[backbone], ConvNextSize) else 1


def has_auxiliary_head(decoder: str) -> bool:
    """Return whether a decoder comes with a second one, for training only."""
    return not isinstance(DECODERS[decoder], SegmenterSize)


def has_batch_norm(decoder: str) -> bool:
    """Return whether a decoder cannot be trained on a single image, whose 1x1 pool has no variance.

    The Segmenter's decoder is normalised by LayerNorm.
    """
    return not isinstance(DECODERS[decoder], SegmenterSize)
