"""timm's ResNet (He et al. 2016, arXiv 1512.03385), for segmentation dilated to a stride of 8."""

from typing import cast

from torch import Tensor, nn

from robustseg.models.registry import ResNetSize
from robustseg.models.timm_parts import Bottleneck
from robustseg.models.timm_parts import ResNet as TimmResNet

DILATIONS = {"layer3": 2, "layer4": 4}


class ResNet(TimmResNet):
    """A ResNet classifier, or without `num_classes` the backbone of a PSPNet.

    Args:
        size: blocks and channels of the four stages, stem.
        num_classes: None leaves the classification head away, and dilates the last two stages
            instead of halving the resolution.
    """

    head_prefix = "fc."

    def __init__(self, size: ResNetSize, num_classes: int | None = None) -> None:
        super().__init__(
            Bottleneck,  # type: ignore[arg-type]  # timm annotates an instance
            layers=size.depths,
            channels=size.channels,
            num_classes=num_classes or 0,
            output_stride=8 if num_classes is None else 32,
            stem_type="deep" if size.deep_stem else "",
            stem_width=size.deep_stem or 64,
        )
        self.size = size
        if num_classes is None:
            _dilate(self)

    def features(self, images: Tensor) -> list[Tensor]:
        """Return the last two stages' outputs: both (B, C, H/8, W/8) rounded up."""
        stages = self.forward_intermediates(images, indices=[3, 4], intermediates_only=True)
        return cast(list[Tensor], stages)

    def residual_blocks(self) -> list[nn.Module]:
        """Return the blocks of all stages."""
        return [
            block
            for place in range(1, 5)
            for block in self.get_submodule(f"layer{place}").children()
        ]


def _dilate(network: TimmResNet) -> None:
    """Dilate each 3x3 convolution of the last two stages; timm leaves a stage's first as it was."""
    for name, dilation in DILATIONS.items():
        for block in network.get_submodule(name).children():
            convolution = block.conv2
            assert isinstance(convolution, nn.Conv2d)
            convolution.dilation = convolution.padding = (dilation, dilation)
