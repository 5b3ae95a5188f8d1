"""What every segmentation model offers, whatever its architecture."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from robustseg.models.backbones import Backbone, build_backbone, set_drop_path
from robustseg.models.normalisation import normalisation


class SegmentationModel(nn.Module):
    """A backbone, and in the classes made from this one what turns its feature maps into logits.

    Args:
        architecture: names and sizes from which the same network can be built again; `mean` and
            `std` if it was trained on normalised images.
    """

    backbone: Any  # a Backbone, which is also a module

    def __init__(self, architecture: Mapping[str, Any]) -> None:
        super().__init__()
        self.architecture = dict(architecture)
        self.normalise = normalisation(architecture.get("mean"), architecture.get("std"))
        self.backbone = build_backbone(architecture["backbone"])
        assert isinstance(self.backbone, Backbone)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, K, H, W) of images (B, 3, H, W) in [0, 1]."""
        return self.segment(self.normalise(images), auxiliary=False)[0]

    def forward_with_auxiliary(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the logits of the decoder and of the auxiliary head, both (B, K, H, W).

        None instead of the latter if the architecture has no auxiliary head.
        """
        return self.segment(self.normalise(images), auxiliary=True)

    def segment(self, images: Tensor, auxiliary: bool) -> tuple[Tensor, Tensor | None]:
        """Return logits of normalised images; those of the auxiliary head where asked for."""
        raise NotImplementedError

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return all parameters: the backbone's as `encoder`, the others as `decoder`."""
        encoder = list(self.backbone.parameters())
        known = {id(parameter) for parameter in encoder}
        decoder = [parameter for parameter in self.parameters() if id(parameter) not in known]
        return {"encoder": encoder, "decoder": decoder}

    def set_drop_path(self, rate: float) -> None:
        """Skip the backbone's branches at random in training; see `backbone.set_drop_path`."""
        set_drop_path(self.backbone, rate)
