"""What the networks take from timm, loaded without torch's compiler.

timm and its torchvision load `torch._dynamo` to say which of their functions it must leave alone,
and to ask it, once they are called, what it can compile. They need neither there and then, and it
takes nearly a third of the time in which an attack's job starts.
"""

import importlib
import sys
from contextlib import suppress
from types import ModuleType
from typing import Any

from torch._compile import _disable_dynamo

COMPILER, UTILITIES = "torch._dynamo", "torch._dynamo.utils"


def _load_timm() -> None:
    """Load timm while stand-ins take the compiler's place; one that is there already stays.

    What is known to be asked of it has a function that loads the compiler once it is called; for
    anything else a stand-in loads it at once. Where that is not enough, timm is left to be loaded
    as usual.
    """
    if COMPILER in sys.modules:
        return
    stand_ins = {name: ModuleType(name) for name in (COMPILER, UTILITIES)}

    def remove() -> None:
        for name, stand_in in stand_ins.items():
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]

    def instead_of(name: str) -> Any:
        def load(attribute: str) -> Any:
            if attribute.startswith("__"):  # which `import` and `inspect` ask every module for
                raise AttributeError(attribute)
            remove()
            return getattr(importlib.import_module(name), attribute)

        return load

    for name, stand_in in stand_ins.items():
        vars(stand_in)["__getattr__"] = instead_of(name)
    vars(stand_ins[COMPILER])["disable"] = _disable
    vars(stand_ins[UTILITIES])["is_compile_supported"] = _is_compile_supported
    sys.modules.update(stand_ins)
    try:
        with suppress(Exception):
            importlib.import_module("timm")
    finally:
        remove()


def _disable(function: Any = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """Return a function that the compiler leaves alone; `reason` is for messages of its own."""
    return _disable_dynamo(function, recursive)


def _is_compile_supported(device_type: str) -> bool:
    return bool(importlib.import_module(UTILITIES).is_compile_supported(device_type))


_load_timm()

from timm.layers.drop import DropPath  # noqa: E402
from timm.layers.norm import LayerNorm2d  # noqa: E402
from timm.models.convnext import ConvNeXt  # noqa: E402
from timm.models.resnet import Bottleneck, ResNet  # noqa: E402
from timm.models.vision_transformer import Block, VisionTransformer  # noqa: E402

__all__ = [
    "Block",
    "Bottleneck",
    "ConvNeXt",
    "DropPath",
    "LayerNorm2d",
    "ResNet",
    "VisionTransformer",
]
