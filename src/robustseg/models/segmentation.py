"""What every segmentation model offers, whatever its architecture."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from robustseg.models.backbones import Backbone, build_backbone, set_drop_path
from robustseg.models.interpolation import Coarse, EnlargingModel, resize
from robustseg.models.normalisation import normalisation


class SegmentationModel(EnlargingModel):
    """A backbone, and in the classes made from this one what turns its feature maps into logits.

    Args:
        architecture: names and sizes from which the same network can be built again; `mean` and
            `std` if it was trained on normalised images.
    """

    backbone: Any  # a Backbone, which is also a module
    align_corners = False
    """How logits are interpolated to the size of the images."""

    def __init__(self, architecture: Mapping[str, Any]) -> None:
        super().__init__()
        self.architecture = dict(architecture)
        self.normalise = normalisation(architecture.get("mean"), architecture.get("std"))
        self.backbone = build_backbone(architecture["backbone"])
        assert isinstance(self.backbone, Backbone)

    def coarse(self, images: Tensor) -> Coarse:
        """Return logits of images (B, 3, H, W) in [0, 1] before they are made as large."""
        maps, _ = self.segment(self.normalise(images), auxiliary=False)
        return self._coarse(maps, images)

    def coarse_with_auxiliary(self, images: Tensor) -> tuple[Coarse, Coarse | None]:
        """Return the same, and those of the auxiliary head, None without one."""
        maps, more = self.segment(self.normalise(images), auxiliary=True)
        return self._coarse(maps, images), None if more is None else self._coarse(more, images)

    def segment(self, images: Tensor, auxiliary: bool) -> tuple[Tensor, Tensor | None]:
        """Return coarse logits of normalised images; those of the auxiliary head if asked for."""
        raise NotImplementedError

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the size of the images that coarse logits are those of."""
        return height, width

    def _coarse(self, maps: Tensor, images: Tensor) -> Coarse:
        height, width = images.shape[-2:]
        size = self.padded_size(height, width)
        enlarge = partial(resize, align_corners=self.align_corners)
        return Coarse(maps.contiguous(), size, (height, width), enlarge, self.align_corners)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return all parameters: the backbone's as `encoder`, the others as `decoder`."""
        encoder = list(self.backbone.parameters())
        known = {id(parameter) for parameter in encoder}
        decoder = [parameter for parameter in self.parameters() if id(parameter) not in known]
        return {"encoder": encoder, "decoder": decoder}

    def set_drop_path(self, rate: float) -> None:
        """Skip the backbone's branches at random in training; see `backbone.set_drop_path`."""
        set_drop_path(self.backbone, rate)
