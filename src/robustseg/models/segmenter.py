"""Segmenter with a mask transformer (Strudel et al. 2021, arXiv 2105.05633) on a ViT."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from robustseg.models.registry import SegmenterSize, ViTSize
from robustseg.models.segmentation import SegmentationModel
from robustseg.models.timm_parts import Block


class MaskTransformer(nn.Module):
    """Decoder: patches and classes attend to one another; a mask is their scalar product.

    Args:
        encoder: width and heads, which the decoder shares.
        size: blocks, dropout.
        num_classes: K.
    """

    def __init__(self, encoder: ViTSize, size: SegmenterSize, num_classes: int) -> None:
        super().__init__()
        width = encoder.width
        self.num_classes = num_classes
        self.project = nn.Linear(width, width)
        self.class_embeddings = nn.Parameter(torch.empty(1, num_classes, width))
        self.blocks = nn.Sequential(
            *(
                Block(
                    width,
                    encoder.heads,
                    qkv_bias=True,
                    proj_drop=size.dropout,
                    attn_drop=size.dropout,
                    norm_layer=nn.LayerNorm,
                )
                for _ in range(size.depth)
            )
        )
        self.norm = nn.LayerNorm(width)
        self.project_patches = nn.Parameter(torch.empty(width, width))
        self.project_classes = nn.Parameter(torch.empty(width, width))
        self.mask_norm = nn.LayerNorm(num_classes)
        self._initialise()

    def _initialise(self) -> None:
        """Draw weights as Segmenter does: 0.02 wide, the two projections keep the variance."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.class_embeddings, std=0.02)
        for projection in (self.project_patches, self.project_classes):
            nn.init.normal_(projection, std=projection.shape[0] ** -0.5)

    def forward(self, features: Tensor) -> Tensor:
        """(B, width, h, w) to logits (B, K, h, w)."""
        patches = self.project(features.flatten(2).transpose(1, 2))  # (B, h * w, width)
        classes = self.class_embeddings.expand(len(patches), -1, -1)  # (B, K, width)
        tokens = self.norm(self.blocks(torch.cat([patches, classes], dim=1)))
        patches = tokens[:, : -self.num_classes] @ self.project_patches
        classes = tokens[:, -self.num_classes :] @ self.project_classes
        patches, classes = (
            functional.normalize(patches, dim=-1),
            functional.normalize(classes, dim=-1),
        )
        masks = self.mask_norm(patches @ classes.transpose(1, 2))  # (B, h * w, K)
        logits: Tensor = masks.transpose(1, 2).unflatten(2, features.shape[-2:])
        return logits


class Segmenter(SegmentationModel):
    """ViT and mask transformer; no auxiliary head."""

    def __init__(self, architecture: Mapping[str, Any], size: SegmenterSize) -> None:
        super().__init__(architecture)
        self.decode_head = MaskTransformer(self.backbone.size, size, architecture["num_classes"])

    def segment(self, images: Tensor, auxiliary: bool) -> tuple[Tensor, None]:
        """Return coarse logits of images that are padded to whole patches."""
        height, width = images.shape[-2:]
        below, right = self.padded_size(height, width)
        padded = functional.pad(images, (0, right - width, 0, below - height))
        (features,) = self.backbone.features(padded)
        return self.decode_head(features), None

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the size in whole patches that images are padded to."""
        patch_px = self.backbone.size.patch_px
        return -(-height // patch_px) * patch_px, -(-width // patch_px) * patch_px
