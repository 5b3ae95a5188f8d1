"""Networks from the names in a config."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from robustseg.errors import RobustsegError
from robustseg.models.backbones import build_backbone, look_up
from robustseg.models.normalisation import normalisation
from robustseg.models.pspnet import PSPNet
from robustseg.models.registry import DECODERS, PSPNetSize, SegmenterSize, backbones_for
from robustseg.models.segmentation import SegmentationModel
from robustseg.models.segmenter import Segmenter
from robustseg.models.upernet import UPerNet

__all__ = ["SegmentationModel", "build", "build_classifier", "build_segmentation_model"]


def build_segmentation_model(
    backbone: str,
    decoder: str,
    num_classes: int,
    mean: list[float] | None = None,
    std: list[float] | None = None,
) -> SegmentationModel:
    """Return a freshly initialised model in channels-last memory.

    Args:
        backbone: a name of `registry.BACKBONES`.
        decoder: a name of `registry.DECODERS`.
        num_classes: K, background included.
        mean: of each channel, for images in [0, 1], subtracted by the model; None: as they are.
        std: of each channel, which the model divides by.

    Raises:
        RobustsegError: unknown name, or a decoder that does not fit the backbone.
    """
    size = look_up(DECODERS, decoder, "decoder")
    architecture = {
        "kind": "segmentation",
        "backbone": backbone,
        "decoder": decoder,
        "num_classes": num_classes,
        **({"mean": mean, "std": std} if mean else {}),
    }
    if backbone not in (fitting := backbones_for(decoder)):
        build_backbone(backbone)  # says so if it is unknown
        raise RobustsegError(f"the decoder {decoder} needs one of {', '.join(fitting)}")
    model: SegmentationModel
    if isinstance(size, SegmenterSize):
        model = Segmenter(architecture, size)
    elif isinstance(size, PSPNetSize):
        model = PSPNet(architecture, size)
    else:
        model = UPerNet(architecture, size)
    return model.to(memory_format=torch.channels_last)


def build_classifier(
    backbone: str,
    num_classes: int,
    mean: list[float] | None = None,
    std: list[float] | None = None,
) -> nn.Module:
    """Return a freshly initialised classifier of images in [0, 1], in channels-last memory.

    Arguments as for `build_segmentation_model`.

    Raises:
        RobustsegError: unknown name.
    """
    network = build_backbone(backbone, num_classes)
    network.normalise = normalisation(mean, std)
    network.register_forward_pre_hook(_normalise)
    return network.to(memory_format=torch.channels_last)


def _normalise(network: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    """Bring a classifier's input into its range before it is called."""
    return (network.get_submodule("normalise")(inputs[0]),)


def classifier_architecture(backbone: str, num_classes: int) -> dict[str, Any]:
    """Describe a classifier so that `build` can build it again."""
    return {"kind": "classifier", "backbone": backbone, "num_classes": num_classes}


def build(architecture: Mapping[str, Any]) -> nn.Module:
    """Build the network that a weights file describes (its `architecture`)."""
    names = {key: value for key, value in architecture.items() if key != "kind"}
    if architecture["kind"] == "classifier":
        return build_classifier(**names)
    return build_segmentation_model(**names)
