"""What every backbone offers, whatever its architecture, and backbones by name."""

from collections.abc import Mapping
from typing import Protocol, TypeVar, runtime_checkable

from torch import Tensor, nn

from robustseg.errors import RobustsegError
from robustseg.models.convnext import ConvNeXt
from robustseg.models.registry import BACKBONES, BackboneSize, ConvNextSize, ResNetSize
from robustseg.models.resnet import ResNet
from robustseg.models.timm_parts import DropPath
from robustseg.models.vit import VisionTransformer

Size = TypeVar("Size")


@runtime_checkable
class Backbone(Protocol):
    """A classifier, or without its classification head the encoder of a segmentation model."""

    size: BackboneSize
    head_prefix: str
    """Begins the names of the classification head's weights."""

    def features(self, images: Tensor) -> list[Tensor]:
        """Return the feature maps that decoders read, finest first."""

    def residual_blocks(self) -> list[nn.Module]:
        """Return the blocks with a branch that may be skipped, from first to last."""


def set_drop_path(backbone: Backbone, rate: float) -> None:
    """Skip branches at random in training (stochastic depth, arXiv 1603.09382), never in eval mode.

    Args:
        backbone: its weights and their names stay as they are.
        rate: probability for the last block, in [0, 1); it grows linearly from 0 at the first.
    """
    blocks = backbone.residual_blocks()
    for place, block in enumerate(blocks):
        probability = rate * place / max(len(blocks) - 1, 1)
        for name in ("drop_path", "drop_path1", "drop_path2"):
            if hasattr(block, name):
                setattr(block, name, DropPath(probability))


def build_backbone(name: str, num_classes: int | None = None) -> nn.Module:
    """Return a freshly initialised backbone; with `num_classes`, the classifier around it.

    Returns:
        A module that is a `Backbone`.

    Raises:
        RobustsegError: unknown name.
    """
    size: BackboneSize = look_up(BACKBONES, name, "backbone")
    if isinstance(size, ConvNextSize):
        return ConvNeXt(size, num_classes)
    if isinstance(size, ResNetSize):
        return ResNet(size, num_classes)
    return VisionTransformer(size, num_classes)


def look_up(registry: Mapping[str, Size], name: str, what: str) -> Size:
    """Return the entry of a registry, or say which names it knows."""
    if name not in registry:
        raise RobustsegError(f"unknown {what} {name!r}; known are {', '.join(sorted(registry))}")
    return registry[name]
