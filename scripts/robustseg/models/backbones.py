"""Backbones by name."""

from typing import TypeVar

from robustseg.errors import RobustsegError
from robustseg.models.convnext import ConvNeXt
from robustseg.models.registry import BACKBONES

Size = TypeVar("Size")


def build_backbone(name: str, num_classes: int | None = None) -> ConvNeXt:
    """Return a freshly initialised backbone; with `num_classes`, the classifier around it.

    Raises:
        RobustsegError: unknown name.
    """
    return ConvNeXt(look_up(BACKBONES, name, "backbone"), num_classes)


def look_up(registry: dict[str, Size], name: str, what: str) -> Size:
    """Return the entry of a registry, or say which names it knows."""
    if name not in registry:
        raise RobustsegError(f"unknown {what} {name!r}; known are {', '.join(sorted(registry))}")
    return registry[name]
