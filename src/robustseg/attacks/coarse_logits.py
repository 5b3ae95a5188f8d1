"""Logits that a loss on a CPU interpolates row by row, while it looks at them.

The last that a network does is to interpolate its logits to the size of its images, 4 to 16 times
in height and width. With many classes that takes as long as all the rest, and the result is the
largest tensor of all. Here they are interpolated along the width alone, and along the height by the
sweeps of a loss, one row at a time, which stays in the cache. What a loss hands back is the
gradient of the former. Values are the model's own to rounding; what goes on record is counted in
passes of the model itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustseg.attacks.logit_sums import may_be_swept, pixel_values, run
from robustseg.attacks.logits import Labels, Logits, Softmax, Sums
from robustseg.attacks.losses import LOSSES
from robustseg.models.interpolation import RESIZE, Coarse, as_precise_as, matrix, run_coarsely

Rows = tuple[NDArray[np.int64], NDArray[np.float32]]
"""`first` and `share` of `Columns`."""


@dataclass(frozen=True)
class Columns:
    """Logits that are interpolated along the width alone.

    Attributes:
        values: (B, K, h, W).
        first: (H,), which row of values each row of the image follows, ...
        share: (H,) float32, ... and how far it lies towards the next, in [0, 1].
    """

    values: Tensor
    first: NDArray[np.int64]
    share: NDArray[np.float32]

    @classmethod
    def of(cls, coarse: Coarse) -> "Columns | None":
        """Interpolate a model's coarse logits; None where that is not worth it."""
        maps, (height, width) = coarse.maps, coarse.crop
        few = 2 * maps.shape[2] > coarse.size[0]
        if few or not may_be_swept(maps, maps.shape[1] * height * width):
            return None
        (rows_in, columns_in), kind = maps.shape[2:], RESIZE[coarse.align_corners]
        first, share = _between(kind, rows_in, coarse.size[0])
        weights = matrix(kind, (columns_in,), coarse.size[1:], maps.device, maps.dtype)[:width]
        # What only padding depends on has no say, whatever it is.
        rows = int(first[height - 1]) + 1 + int(share[height - 1] > 0)
        columns = int(weights.any(0).nonzero()[-1]) + 1
        maps = maps[:, :, :rows, :columns]
        # A product for each class: they are of one size, whatever the number of images.
        each = weights[:, :columns].T.expand(len(maps) * maps.shape[1], -1, -1)
        with as_precise_as(maps):
            wide = torch.bmm(maps.flatten(0, 1), each).view(*maps.shape[:3], width)
        return cls(wide, first[:height], share[:height])

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images."""
        return len(self.first), self.values.shape[3]


def logits_for(loss: str, model: Callable[[Tensor], Tensor], images: Tensor) -> Tensor | Columns:
    """Return a model's logits of images, interpolated as far as a loss needs it.

    The model gets a copy of the images, which it may overwrite or return.
    """
    images = images.clone()
    if LOSSES[loss].compares_classes:
        return model(images)
    made = run_coarsely(model, images)
    return (Columns.of(made) or made.logits()) if isinstance(made, Coarse) else made


@lru_cache(maxsize=256)
def _between(kind: str, height_in: int, height: int) -> Rows:
    """Read off an interpolation's matrix between which two rows each row lies."""
    device, dtype = torch.device("cpu"), torch.float32
    weights = matrix(kind, (height_in,), (height,), device, dtype).numpy()
    first = (weights > 0).argmax(axis=1)
    below = np.minimum(first + 1, height_in - 1)
    share = np.where(below > first, weights[np.arange(height), below], 0)
    return first, share.astype(np.float32)


@dataclass
class CoarseLogits(Logits):
    """Logits that are never written.

    Attributes:
        values: of `Columns`, detached; stay as they are.
        gradient: of these, (b, K, h, W); 0 until the loss writes it.
        shifted: what is taken off the logits of each pixel, (b, 1, H, W).
        first, share: of `Columns`.
    """

    gradient: Tensor
    shifted: Tensor
    first: NDArray[np.int64]
    share: NDArray[np.float32]

    @classmethod
    def of(cls, columns: Columns, labels: Labels, scale: Tensor | None = None) -> "CoarseLogits":
        """Take columns as logits, times `scale` (b, 1, 1, 1)."""
        values = columns.values.detach()
        values = values if scale is None else values * scale.to(values.dtype)
        gradient, shifted = torch.zeros_like(values), torch.zeros_like(labels.counted)
        return cls(values, labels, gradient, shifted, columns.first, columns.share)

    def exponential_sums(self) -> Sums:
        """Return u_y, e^u_y, max_k u_k, and sum_k e^u_k of each pixel, (b, 1, h, w)."""
        from robustseg.attacks import kernels

        label, own, largest, total = pixel_values(self.labels.counted, 0, 0, -torch.inf, 0)
        self._sweep(kernels.coarse_exponential_sums, label, own, largest, total)
        return label, own, largest, total

    def sigmoid_sums(self, shift: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return the same four of u - shift, sigma(u_y), and ||sigma(u)||_2."""
        from robustseg.attacks import kernels

        sums = pixel_values(self.labels.counted, 0, 0, -torch.inf, 0, 0, 0)
        self._sweep(kernels.coarse_sigmoid_sums, *sums, shift=shift)
        return *sums[:5], sums[5].sqrt_()

    def norms(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return u_y, max_k u_k, and ||u||_2 of each pixel, (b, 1, h, w)."""
        from robustseg.attacks import kernels

        label, largest, squares = pixel_values(self.labels.counted, 0, -torch.inf, 0)
        self._sweep(kernels.coarse_square_sums, label, largest, squares)
        return label, largest, squares.sqrt_()

    def shift(self, by: Tensor) -> None:
        """Go on with u - by, (b, 1, h, w)."""
        self.shifted += by

    def write_gradient(self, weight: Tensor, softmax: Softmax) -> None:
        """Write the gradient w (p - e_y), with w = 0 where ignored."""
        weight = weight * self.labels.counted
        self._write(weight / softmax.total, weight, exponential=True)

    def write_multiple(self, factor: Tensor, weight: Tensor) -> None:
        """Write the gradient factor u - weight e_y."""
        self._write(factor, weight, exponential=False)

    def _write(self, factor: Tensor, weight: Tensor, exponential: bool) -> None:
        from robustseg.attacks import kernels

        kernel = partial(kernels.coarse_write_gradient, exponential)
        self._sweep(kernel, factor, weight, written=[self.gradient])

    def _sweep(
        self,
        kernel: Callable[..., None],
        *pixels: Tensor,
        written: Sequence[Tensor] = (),
        shift: Tensor | None = None,
    ) -> None:
        """Run a kernel on the logits, what it writes, and what belongs to their pixels."""
        shift = self.shifted if shift is None else self.shifted + shift
        of_pixels = shift, self.labels.index, *pixels
        size = len(self.values), 1, len(self.first), self.values.shape[3]
        for tensor in of_pixels:
            if tensor.shape != size:
                raise IndexError(f"what belongs to pixels is not of the logits' size {size}")
        lines = [tensor.squeeze(1).contiguous() for tensor in of_pixels]
        run(partial(kernel, self.first, self.share), [self.values, *written, *lines])
