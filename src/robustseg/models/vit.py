"""timm's vision transformer (Dosovitskiy et al. 2021, arXiv 2010.11929), for any image size."""

from functools import partial

import torch
from torch import Tensor, nn

from robustseg.models.interpolation import resize
from robustseg.models.registry import ViTSize
from robustseg.models.timm_parts import VisionTransformer as TimmVisionTransformer


class VisionTransformer(TimmVisionTransformer):
    """A ViT classifier, or without `num_classes` the backbone of a Segmenter.

    Args:
        size: width, blocks, heads, patches.
        num_classes: None leaves the classification head away.
    """

    head_prefix = "head."

    def __init__(self, size: ViTSize, num_classes: int | None = None) -> None:
        classifies = num_classes is not None
        super().__init__(
            img_size=size.classifier_px if classifies else size.segmenter_px,
            patch_size=size.patch_px,
            embed_dim=size.width,
            depth=size.depth,
            num_heads=size.heads,
            num_classes=num_classes or 0,
            # timm's eps for its classifiers; Segmenter's own code has torch's default.
            norm_layer=partial(nn.LayerNorm, eps=1e-6 if classifies else 1e-5),
            dynamic_img_size=True,
        )
        self.size = size
        if size.keeps_variance:
            self._keep_variance()

    def _keep_variance(self) -> None:
        """Draw weights that do, see `ViTSize.keeps_variance`."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(module.weight, std=module.weight[0].numel() ** -0.5)
        first = self.get_parameter("patch_embed.proj.weight").data
        first -= first.mean((1, 2, 3), keepdim=True)

    def features(self, images: Tensor) -> list[Tensor]:
        """Return the last block's output without the class token: (B, width, H/patch, W/patch)."""
        tokens: Tensor = self.forward_features(images)
        rows = images.shape[-2] // self.size.patch_px
        return [_as_grid(tokens[:, 1:], rows)]

    def residual_blocks(self) -> list[nn.Module]:
        """Return the transformer's blocks."""
        return list(self.blocks)

    def _pos_embed(self, x: Tensor) -> Tensor:
        """Put the class token before patches (B, h, w, width) and add position embeddings."""
        batch, rows, columns, _ = x.shape
        class_token = self.get_parameter("cls_token").expand(batch, -1, -1)
        embeddings = resize_position_embeddings(self.get_parameter("pos_embed"), rows, columns)
        return torch.cat([class_token, x.flatten(1, 2)], dim=1) + embeddings


def resize_position_embeddings(embeddings: Tensor, rows: int, columns: int) -> Tensor:
    """Interpolate the embeddings of a square grid bilinearly to rows x columns patches.

    Bilinearly as Segmenter does (Strudel et al. 2021, arXiv 2105.05633); timm's way is bicubic.

    Args:
        embeddings: (1, 1 + n * n, width), of the class token and then of the patches.
        rows: patches along the height.
        columns: along the width.
    """
    side = round((embeddings.shape[1] - 1) ** 0.5)
    if (side, side) == (rows, columns):
        return embeddings
    patches = resize(_as_grid(embeddings[:, 1:], side), (rows, columns)).flatten(2).transpose(1, 2)
    return torch.cat([embeddings[:, :1], patches], dim=1)


def _as_grid(patches: Tensor, rows: int) -> Tensor:
    """(B, rows * columns, width) to (B, width, rows, columns)."""
    return patches.transpose(1, 2).reshape(len(patches), patches.shape[2], rows, -1)
