"""Backbones by name."""

from collections.abc import Mapping
from typing import TypeVar

from torch import nn

from robustseg.errors import RobustsegError
from robustseg.models.convnext import ConvNeXt
from robustseg.models.registry import BACKBONES, BackboneSize, ConvNextSize, ResNetSize
from robustseg.models.resnet import ResNet
from robustseg.models.vit import VisionTransformer

Size = TypeVar("Size")


def build_backbone(name: str, num_classes: int | None = None) -> nn.Module:
    """Return a freshly initialised backbone; with `num_classes`, the classifier around it.

    Returns:
        A module that is a `backbone.Backbone`.

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
