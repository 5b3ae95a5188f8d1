"""Evaluate and train adversarially robust semantic segmentation models.

    from robustseg import sea

Names are loaded when they are asked for, so that importing the package takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robustseg.attacks.ensemble import SeaResult, sea

__version__ = "0.1.0"
__all__ = ["SeaResult", "__version__", "sea"]

_HOMES = {"sea": "robustseg.attacks.ensemble", "SeaResult": "robustseg.attacks.ensemble"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'robustseg' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
