"""Bilinear interpolation and adaptive average pooling as two small matrix products.

Same values as torch's own functions (a test compares them). The gradients of those add up in an
order that changes from run to run on a GPU; a product's do not, and it is faster on a CPU.
"""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional


def resize(features: Tensor, like: Tensor, align_corners: bool = False) -> Tensor:
    """Interpolate (B, C, h, w) bilinearly to the height and width of `like`.

    `align_corners` as in torch: whether the first and last pixels stay in their places.
    """
    if features.shape[-2:] == like.shape[-2:]:
        return features
    kind = "resize between corners" if align_corners else "resize"
    return _transform(features, kind, like.shape[-2], like.shape[-1])


def pool(features: Tensor, size: int) -> Tensor:
    """Average (B, C, h, w) over size x size regions, as adaptive average pooling does."""
    return _transform(features, "pool", size, size)


def _transform(features: Tensor, kind: str, height: int, width: int) -> Tensor:
    """Apply one matrix along the height and one along the width, channels last where they are."""
    rows = matrix(kind, features.shape[-2], height, features.device, features.dtype)
    columns = matrix(kind, features.shape[-1], width, features.device, features.dtype)
    if features.is_contiguous(memory_format=torch.channels_last):
        batch, channels, _, columns_in = features.shape
        lines = rows @ features.permute(0, 2, 3, 1).flatten(2)  # (B, height, w * C)
        pixels = columns @ lines.view(batch, height, columns_in, channels)  # (B, height, width, C)
        return pixels.permute(0, 3, 1, 2)
    return rows @ features @ columns.T


def matrix(kind: str, size_in: int, size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the (size, size_in) matrix of the operation along one axis.

    A function of its own, so that compilation can be told that its result never changes: it looks
    through a cache, and would make the matrices again in every pass.
    """
    return _matrix(kind, size_in, size, device, dtype)


@lru_cache(maxsize=256)
def _matrix(kind: str, size_in: int, size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Find the matrix by doing the operation on one pixel at a time."""
    lines = torch.eye(size_in, dtype=torch.float64)[None]
    if kind == "pool":
        result = functional.adaptive_avg_pool1d(lines, size)
    else:
        corners = kind == "resize between corners"
        result = functional.interpolate(lines, size=size, mode="linear", align_corners=corners)
    return result[0].T.contiguous().to(device, dtype)
