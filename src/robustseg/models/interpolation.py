"""Bilinear interpolation and adaptive average pooling as small matrix products.

Same values as torch's own functions (a test compares them). The gradients of those add up in an
order that changes from run to run on a GPU; a product's do not, and it is faster on a CPU.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache, reduce

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules import module as every_module

RESIZE = {False: "resize", True: "resize between corners"}
"""What `matrix` calls bilinear interpolation, without and with aligned corners."""

SMALL = 2048
"""Values of a matrix along both axes up to which a product with it beats two smaller ones."""


@dataclass(frozen=True)
class Coarse:
    """A model's logits before they are made as large as its images, which is the last that it does.

    Attributes:
        maps: (B, K, h, w).
        size: height and width that they are interpolated to.
        crop: height and width of the images, and of what is kept of that.
        enlarge: makes maps of that height and width, bilinearly.
        align_corners: as in torch.
    """

    maps: Tensor
    size: tuple[int, int]
    crop: tuple[int, int]
    enlarge: Callable[[Tensor, tuple[int, int]], Tensor]
    align_corners: bool = False

    def logits(self) -> Tensor:
        """Return the logits (B, K, H, W), as the model does."""
        height, width = self.crop
        with as_precise_as(self.maps):
            logits = self.enlarge(self.maps, self.size)
        return logits if self.size == self.crop else logits[..., :height, :width]


def as_precise_as(maps: Tensor) -> AbstractContextManager[object]:
    """Return a context in which no autocast makes products less precise than maps or images are."""
    device = maps.device.type
    known = torch.amp.is_autocast_available(device)
    return torch.autocast(device, enabled=False) if known else nullcontext()


class EnlargingModel(nn.Module):
    """A model whose last operation is to make its logits as large as its images."""

    def coarse(self, images: Tensor) -> Coarse:
        """Return the logits of images (B, C, H, W) before that."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, K, H, W) of images (B, C, H, W) in [0, 1]."""
        return self.coarse(images).logits()

    def is_called_as_it_is(self) -> bool:
        """Return whether a call does no more than `forward` above: no hook, change or compiler."""
        kind, hooks = type(self), self._forward_hooks or self._forward_pre_hooks
        replaced = "forward" in vars(self) or kind.forward is not EnlargingModel.forward
        changed = replaced or kind.__call__ is not nn.Module.__call__ or self._compiled_call_impl
        hooks = hooks or self._backward_hooks or self._backward_pre_hooks
        return not (changed or hooks or _hooks_on_all_modules())


def _hooks_on_all_modules() -> bool:
    """Return whether a hook is on all modules; which kinds there are differs between torches."""
    known = vars(every_module).items()
    return any(
        hooks for name, hooks in known if name.startswith("_global") and isinstance(hooks, dict)
    )


def run_coarsely(model: Callable[[Tensor], Tensor], images: Tensor) -> Tensor | Coarse:
    """Return what a model returns for images, or instead a `Coarse` that leads to the same."""
    if isinstance(model, EnlargingModel) and model.is_called_as_it_is():
        return model.coarse(images)
    return model(images)


def resize(features: Tensor, size: Sequence[int], align_corners: bool = False) -> Tensor:
    """Interpolate (B, C, h, w) bilinearly to a height and width.

    `align_corners` as in torch: whether the first and last pixels stay in their places.
    """
    height, width = size
    if features.shape[-2:] == (height, width):
        return features
    return _transform(features, RESIZE[align_corners], height, width)


def pool(features: Tensor, size: int) -> Tensor:
    """Average (B, C, h, w) over size x size regions, as adaptive average pooling does."""
    return _transform(features, "pool", size, size)


def _transform(features: Tensor, kind: str, height: int, width: int) -> Tensor:
    """Apply one matrix along the height and one along the width, or one along both if it is small.

    Channels stay last where they are.
    """
    batch, channels, *size_in = features.shape
    rows_in, columns_in = size_in
    device, dtype = features.device, features.dtype
    last = features.is_contiguous(memory_format=torch.channels_last)
    if last and rows_in * columns_in * height * width <= SMALL:
        both = matrix(kind, (rows_in, columns_in), (height, width), device, dtype)
        pixels = both @ features.permute(0, 2, 3, 1).reshape(batch, rows_in * columns_in, channels)
        return pixels.view(batch, height, width, channels).permute(0, 3, 1, 2)
    rows = matrix(kind, (rows_in,), (height,), device, dtype)
    columns = matrix(kind, (columns_in,), (width,), device, dtype)
    if last:
        lines = rows @ features.permute(0, 2, 3, 1).flatten(2)  # (B, height, w * C)
        pixels = columns @ lines.view(batch, height, columns_in, channels)  # (B, height, width, C)
        return pixels.permute(0, 3, 1, 2)
    return rows @ features @ columns.T


def matrix(
    kind: str,
    size_in: tuple[int, ...],
    size: tuple[int, ...],
    device: torch.device,
    dtype: torch.dtype,
) -> Tensor:
    """Return the matrix of the operation along one axis, or along both, which it counts as one.

    A function of its own, so that compilation can be told that its result never changes: it looks
    through a cache, and would make the matrices again in every pass.
    """
    return _matrix(kind, size_in, size, device, dtype)


@lru_cache(maxsize=256)
def _matrix(
    kind: str,
    size_in: tuple[int, ...],
    size: tuple[int, ...],
    device: torch.device,
    dtype: torch.dtype,
) -> Tensor:
    with torch.inference_mode(False):  # or later passes could not keep it for their gradients
        axes = [_along(kind, *axis) for axis in zip(size_in, size, strict=True)]
        return reduce(torch.kron, axes).to(device, dtype)


def _along(kind: str, size_in: int, size: int) -> Tensor:
    """Find the matrix by doing the operation on one pixel at a time."""
    lines = torch.eye(size_in, dtype=torch.float64, device="cpu")[None]
    if kind == "pool":
        result = functional.adaptive_avg_pool1d(lines, size)
    else:
        corners = kind == RESIZE[True]
        result = functional.interpolate(lines, size=size, mode="linear", align_corners=corners)
    return result[0].T.clone(memory_format=torch.contiguous_format)
