"""Whether weights are numbers that a network can compute with."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from robustseg.errors import RobustsegError


def check_values(
    tensors: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    path: str | Path,
    names: Mapping[str, str] | None = None,
) -> None:
    """Refuse weights of another kind of number, or that are no finite numbers.

    Half precision is taken for a network in full precision, and the other way around. An infinity
    that the network itself has at its start, as some masks have, is no error.

    Args:
        tensors: by key, of the same shapes as those of the network.
        wanted: the network's own, by key.
        path: where they come from, for messages.
        names: what keys are called there, where it differs.

    Raises:
        RobustsegError: names the first key that is refused.
    """
    for key, own in wanted.items():
        found, name = tensors[key], (names or {}).get(key, key)
        if _kind(found) != _kind(own):
            raise RobustsegError(
                f"{path}: weight {name} is {_dtype(found)}, but the network needs {_dtype(own)}; "
                "save these weights again as the network has them"
            )
        value = found.to(own.dtype)
        if value.is_floating_point() and not value.isfinite().all() and not _same(value, own):
            raise RobustsegError(
                f"{path}: weight {name} has numbers that are NaN or infinite; these weights are "
                "damaged, or of a training that has failed: use others"
            )
    floating = [tensors[key] for key, own in wanted.items() if own.is_floating_point()]
    if floating and not any(bool(tensor.any()) for tensor in floating):
        raise RobustsegError(
            f"{path}: every weight is 0, with which a network cannot predict anything; use others"
        )


def _kind(tensor: Tensor) -> str:
    if tensor.is_complex():
        return "complex"
    return "real" if tensor.is_floating_point() else "integer"


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _same(value: Tensor, own: Tensor) -> bool:
    return torch.equal(value, own.to(value.device))
