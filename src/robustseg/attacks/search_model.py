"""Faster passes for the search of a perturbation; what goes on record stays in full precision."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from robustseg.models.interpolation import Coarse, EnlargingModel, matrix, resize, run_coarsely
from robustseg.names import PRECISIONS

AnyModel = TypeVar("AnyModel", bound=Callable[[Tensor], Tensor])


class SearchModel(EnlargingModel):
    """A model as attacks see it. The passes that count see `exact`, the model itself.

    Args:
        model: images (B, 3, H, W) to float32 logits (B, K, h, w).
        precision: one of `names.PRECISIONS`; `bf16` is autocast, the logits are float32 again.
        compiled: whether its passes go through torch.compile, which takes a while at first, and for
            each size of image: matrices that resize are then constants.
    """

    def __init__(self, model: nn.Module, precision: str = "fp32", compiled: bool = False) -> None:
        super().__init__()
        self.exact, self.precision, self.compiled = model, precision, compiled
        passes: Callable[[Tensor], Tensor] = model
        if compiled:
            torch.compiler.assume_constant_result(matrix)  # type: ignore[no-untyped-call]
            passes = torch.compile(model, dynamic=False)
        self._passes = (passes,)  # in a tuple, so that no module is registered twice

    def coarse(self, images: Tensor) -> Coarse:
        """(B, 3, H, W) to float32 logits (B, K, h, w); they are whole in bf16, and compiled."""
        if self.compiled:  # images leave the batch as they break; only its size is not fixed
            torch._dynamo.maybe_mark_dynamic(images, 0)
        mixed = self.precision == "bf16"
        with torch.autocast(images.device.type, torch.bfloat16, enabled=mixed):
            if mixed or self.compiled:
                made: Tensor | Coarse = self._passes[0](images)
            else:
                made = run_coarsely(self.exact, images)
        if isinstance(made, Coarse):
            return replace(made, maps=made.maps.float())
        size = (made.shape[2], made.shape[3])
        return Coarse(made.float(), size, size, resize)

    def extra_repr(self) -> str:
        """Say how evidence records it: "float32", "bfloat16", and whether it is compiled."""
        return PRECISIONS[self.precision] + ", compiled" * self.compiled


def exact(model: AnyModel) -> AnyModel:
    """Return the model whose predictions count."""
    return cast(AnyModel, model.exact) if isinstance(model, SearchModel) else model
