"""Networks from the names in a config."""

from typing import Any

import torch
from torch import Tensor, nn

from robustseg.models.backbones import build_backbone, look_up
from robustseg.models.convnext import ConvNeXt, LayerNorm2d
from robustseg.models.interpolation import resize
from robustseg.models.registry import DECODERS
from robustseg.models.upernet import FCNHead, UPerHead


class SegmentationModel(nn.Module):
    """Backbone, a LayerNorm on each stage's output, decoder and auxiliary head.

    Args:
        architecture: names and sizes from which the same network can be built again.
    """

    def __init__(self, architecture: dict[str, Any]) -> None:
        super().__init__()
        self.architecture = dict(architecture)
        num_classes = architecture["num_classes"]
        size = look_up(DECODERS, architecture["decoder"], "decoder")
        self.backbone = build_backbone(architecture["backbone"])
        dims = self.backbone.size.dims
        self.norms = nn.ModuleList(LayerNorm2d(channels) for channels in dims)
        self.decode_head = UPerHead(dims, size, num_classes)
        self.auxiliary_head = FCNHead(dims[2], size.auxiliary_channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, K, H, W) of images (B, 3, H, W) in [0, 1], without mean and std."""
        return resize(self.decode_head(self.feature_maps(images)).contiguous(), images)

    def forward_with_auxiliary(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of the decoder and of the auxiliary head, both (B, K, H, W)."""
        features = self.feature_maps(images)
        logits, auxiliary = self.decode_head(features), self.auxiliary_head(features[2])
        return resize(logits.contiguous(), images), resize(auxiliary.contiguous(), images)

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """Return the normalised outputs of the four stages."""
        stages = self.backbone.features(images)
        return [norm(stage) for norm, stage in zip(self.norms, stages, strict=True)]


def build_segmentation_model(backbone: str, decoder: str, num_classes: int) -> SegmentationModel:
    """Return a freshly initialised model in channels-last memory.

    Args:
        backbone: a name of `registry.BACKBONES`.
        decoder: a name of `registry.DECODERS`.
        num_classes: K, background included.

    Raises:
        RobustsegError: unknown name.
    """
    architecture = {
        "kind": "segmentation",
        "backbone": backbone,
        "decoder": decoder,
        "num_classes": num_classes,
    }
    return SegmentationModel(architecture).to(memory_format=torch.channels_last)


def build_classifier(backbone: str, num_classes: int) -> ConvNeXt:
    """Return a freshly initialised classifier in channels-last memory.

    Raises:
        RobustsegError: unknown name.
    """
    return build_backbone(backbone, num_classes).to(memory_format=torch.channels_last)


def classifier_architecture(backbone: str, num_classes: int) -> dict[str, Any]:
    """Describe a classifier so that `build` can build it again."""
    return {"kind": "classifier", "backbone": backbone, "num_classes": num_classes}


def build(architecture: dict[str, Any]) -> nn.Module:
    """Build the network that a weights file describes (its `architecture`)."""
    names = {key: value for key, value in architecture.items() if key != "kind"}
    if architecture["kind"] == "classifier":
        return build_classifier(**names)
    return build_segmentation_model(**names)
