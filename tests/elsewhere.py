"""A device that is not there: tensors with values that say that they are elsewhere.

What asks for a value makes the processor wait for a GPU, and what takes a tensor of the processor
together with one of the GPU's is an error there. Both are seen here without a GPU: values lie in
tensors on the CPU, and those around them say that they are on torch's device `meta`.
"""

from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = "meta"
ASKING = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "bincount", "is_nonzero")
"""Operations whose result, or its size, the processor needs."""
ACROSS = ("_to_copy", "copy_", "index", "index_put_")
"""Those that may take tensors of both devices; they wait for it, then."""


class Elsewhere(Tensor):
    """A tensor on the device; `inside` has its values, on the CPU."""

    inside: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, values: Tensor) -> "Elsewhere":
        made: Elsewhere = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            values.shape,
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=DEVICE,
        )
        made.inside = values
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return Device.now.run(func, args, kwargs or {})

    def tolist(self) -> Any:
        Device.now.waits["tolist"] += 1
        return self.inside.tolist()

    def as_subclass(self, cls: Any) -> Any:
        return self  # old torches refuse this of tensors around others

    def numpy(self, **options: Any) -> Any:
        raise TypeError("NumPy takes no tensor of a GPU")

    __array__ = numpy


class Device(TorchDispatchMode):
    """Does the device's work in its block and counts in `waits` what waits for it, by name."""

    now: "Device"

    def __enter__(self) -> "Device":
        self.waits: Counter[str] = Counter()
        Device.now = self
        super().__enter__()
        return self

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.run(func, args, kwargs or {})

    def run(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Do an operation on the values."""
        name, asked = func.__name__.partition(".")[0], kwargs.get("device")
        tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        ours = {id(one.inside): one for one in tensors if isinstance(one, Elsewhere)}
        theirs = [one for one in tensors if not isinstance(one, Elsewhere)]
        if ours and any(one.ndim for one in theirs) and name not in ACROSS:
            raise RuntimeError(f"{name} gets tensors of the CPU and of another device")
        to_here = asked is not None and torch.device(asked).type != DEVICE
        to_there = asked is not None and not to_here
        crosses = name in ACROSS and bool((ours and (theirs or to_here)) or (theirs and to_there))
        masked = name.startswith("index") and any(one.dtype == torch.bool for one in tensors[1:])
        self.waits[name] += bool(crosses or (ours and (name in ASKING or masked)))
        args, kwargs = tree_map(_inside, (args, kwargs))
        found = func(*args, **({**kwargs, "device": "cpu"} if asked is not None else kwargs))
        if to_here or not (ours or to_there):
            return found
        # What is written in place stays the same object.
        return tree_map(
            lambda one: ours.get(id(one), Elsewhere(one)) if isinstance(one, Tensor) else one, found
        )


def _inside(value: Any) -> Any:
    return value.inside if isinstance(value, Elsewhere) else value
