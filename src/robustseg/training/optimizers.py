"""The optimizers of Table 5: AdamW for UPerNet, SGD with momentum for PSPNet and Segmenter.

They are torch's fused ones, which go through all parameters in one call: a step of the demo's
network on a CPU took 2.5 ms in place of 14, beside another process.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from robustseg.errors import RobustsegError
from robustseg.names import TRAINING_OPTIMIZERS
from robustseg.training.settings import TrainingSettings

OPTIMIZERS: dict[str, tuple[Callable[..., torch.optim.Optimizer], str]] = {
    "adamw": (torch.optim.AdamW, "betas"),
    "sgd": (torch.optim.SGD, "momentum"),
}
"""By name, each with the setting that it cannot do without."""
if tuple(OPTIMIZERS) != TRAINING_OPTIMIZERS:
    raise AssertionError(f"{tuple(OPTIMIZERS)} differ from names {TRAINING_OPTIMIZERS}")


def build_optimizer(model: nn.Module, recipe: TrainingSettings) -> torch.optim.Optimizer:
    """Return the recipe's optimizer over all parameters of a model.

    # RELEASED CODE: decays `matrices` alone, but for PSPNet, whose weight decay Table 5 has at 0.
    # So do ConvNeXt's and Segmenter's own recipes, which the paper mostly follows (Sec. 3); it does
    # not say what decays.

    Raises:
        RobustsegError: the decoder is to have a learning rate of its own and there is none, or the
            optimizer lacks a setting.
    """
    groups = parameter_groups(model, recipe.learning_rate_ratio)
    if recipe.weight_decay_of == "matrices":
        groups = [part for group in groups for part in _only_matrices_decay(group)]
    optimizer, needed = OPTIMIZERS[recipe.optimizer]
    value = getattr(recipe, needed)
    if value is None:
        raise RobustsegError(
            f"the optimizer {recipe.optimizer} needs {needed}; add it to the training's settings"
        )
    own = {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay, needed: value}
    return optimizer(groups, fused=True, **own)


def _only_matrices_decay(group: dict[str, Any]) -> list[dict[str, Any]]:
    """Split a group: matrices and kernels of convolutions decay, all else does not.

    That is vectors, such as biases, norms and layer scales, and embeddings (1, tokens, width).
    """
    parts: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for parameter in group["params"]:
        parts[parameter.ndim in (2, 4)].append(parameter)
    decaying, others = ({**group, "params": parts[is_matrix]} for is_matrix in (True, False))
    return [part for part in (decaying, others | {"weight_decay": 0.0}) if part["params"]]


def parameter_groups(model: nn.Module, ratio: float) -> list[dict[str, Any]]:
    """Split parameters into encoder and decoder, whose learning rate is `ratio` times as high.

    Args:
        model: a `SegmentationModel`, which knows its parts; any network if the ratio is 1.
        ratio: see above.

    Returns:
        Groups for torch, each with the `ratio` of its learning rate; a single one if it is 1.

    Raises:
        RobustsegError: the ratio is not 1 and the model is no backbone with a decoder.
    """
    if ratio == 1:
        return [{"params": list(model.parameters()), "ratio": 1.0}]
    split = getattr(model, "parameter_groups", None)
    if split is None:
        raise RobustsegError(
            f"a learning_rate_ratio of {ratio:g} needs a backbone and a decoder; "
            "this network has not both: remove the key"
        )
    parts = split()
    encoder, decoder = parts["encoder"], parts["decoder"]
    return [{"params": encoder, "ratio": 1.0}, {"params": decoder, "ratio": ratio}]


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the encoder's learning rate, and the decoder's at its ratio to it."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["ratio"]
