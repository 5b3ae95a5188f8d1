"""Evaluate and train adversarially robust semantic segmentation models.

    from robustseg import sea, wrap, evaluate

Names are loaded when they are asked for, so that importing the package takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robustseg.attacks.ensemble import SeaResult, sea
    from robustseg.attacks.warning_signs import RobustsegWarning
    from robustseg.errors import RobustsegError
    from robustseg.evaluation.doubting.run import Doubt, doubt
    from robustseg.evaluation.evaluate import Evaluation, evaluate
    from robustseg.models.references import load_model
    from robustseg.models.wrap import WrappedModel, wrap
    from robustseg.names import IMAGENET_MEAN, IMAGENET_STD
    from robustseg.training.own_loop import perturb_batch

__version__ = "0.1.0"
__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "Doubt",
    "Evaluation",
    "RobustsegError",
    "RobustsegWarning",
    "SeaResult",
    "WrappedModel",
    "__version__",
    "doubt",
    "evaluate",
    "load_model",
    "perturb_batch",
    "sea",
    "wrap",
]

_HOMES = {
    "sea": "attacks.ensemble",
    "SeaResult": "attacks.ensemble",
    "RobustsegWarning": "attacks.warning_signs",
    "RobustsegError": "errors",
    "doubt": "evaluation.doubting.run",
    "Doubt": "evaluation.doubting.run",
    "evaluate": "evaluation.evaluate",
    "Evaluation": "evaluation.evaluate",
    "IMAGENET_MEAN": "names",
    "IMAGENET_STD": "names",
    "load_model": "models.references",
    "WrappedModel": "models.wrap",
    "wrap": "models.wrap",
    "perturb_batch": "training.own_loop",
}


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'robustseg' has no attribute {name!r}")
    try:
        return getattr(import_module(f"robustseg.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("robustseg"):
            raise
        raise ModuleNotFoundError(
            f"robustseg.{name} needs {error.name}: pip install 'robustseg[report]'", name=error.name
        ) from error
