"""Checkpoints of others, read without executing what is in them."""

import pickle
import re
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from robustseg.errors import RobustsegError

ALLOWED = {
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch", "Size"),
}
"""What a tensor in a pickle needs, besides torch's names of storages."""
STATE = ("model", "state_dict")
"""Where a checkpoint that has more in it than weights keeps these."""


def read_checkpoint(path: str | Path, other_objects: bool = False) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint, on the CPU.

    Args:
        path: safetensors, or what `torch.save` wrote: tensors by name, or these under "state_dict"
            or "model".
        other_objects: whether objects of other kinds may lie beside the tensors. They are not
            made: what a pickle asks to be called is not called.

    Raises:
        RobustsegError: missing, truncated, of another kind, or with objects beside the tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise RobustsegError(f"{path} does not exist; fetch these weights first")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if _is_program(path):
        raise RobustsegError(f"{path} is a TorchScript program, not weights; fetch it again")
    content = _read_inertly(path) if other_objects else _read_pickle(path)
    return _tensors_in(content, path)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise RobustsegError(
            f"{path} is truncated or no safetensors file ({error}); delete it and fetch it again"
        ) from error
    return tensors


def _read_pickle(path: Path) -> Any:
    """Let torch read it, which refuses whatever is not a tensor or plain data."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise RobustsegError(
            f"{path} is refused: {_refusal(error)}; weights need no such thing, so do not trust "
            "this file unless you know where it comes from"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise _damaged(path, error) from error


def _refusal(error: Exception) -> str:
    """Return what a pickle would have had called or made, from torch's message of many lines."""
    found = re.search(r"GLOBAL (\S+)", str(error))
    return f"its pickle asks for {found[1]}" if found else "its pickle has more in it than weights"


def _damaged(path: Path, error: Exception) -> RobustsegError:
    first = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
    return RobustsegError(
        f"{path} is truncated or no checkpoint of torch ({first}); delete it and fetch it again"
    )


class _Inert:
    """Stands for an object that is not made: takes what a pickle does to it, and does nothing."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """Accept any arguments."""

    def __setstate__(self, state: Any) -> None:
        """Forget the state."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """Forget the item."""

    def __call__(self, *arguments: Any, **named: Any) -> "_Inert":
        """Return nothing of use, where a pickle calls what it has made."""
        return self

    def append(self, item: Any) -> None:
        """Forget the item."""

    def extend(self, items: Any) -> None:
        """Forget the items."""


class _InertUnpickler(pickle.Unpickler):
    """Makes tensors and plain data; anything else becomes `_Inert`, and nothing is imported."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what a tensor needs, or the stand-in."""
        return super().find_class(module, name) if (module, name) in ALLOWED else _Inert


def _read_inertly(path: Path) -> Any:
    """Read a pickle with foreign objects in it, and make none of them."""
    if tarfile.is_tarfile(path):
        raise RobustsegError(f"{path} is an archive of another kind, not weights; fetch it again")
    pickles = SimpleNamespace(
        __name__="robustseg.models.unpickling",
        Unpickler=_InertUnpickler,
        load=lambda file, **options: _InertUnpickler(file, **options).load(),
    )
    try:
        # Not `weights_only`, which refuses such a file as a whole; `_InertUnpickler` is stricter.
        return torch.load(path, map_location="cpu", weights_only=False, pickle_module=pickles)
    except (
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        zipfile.BadZipFile,
    ) as error:
        raise _damaged(path, error) from error


def _is_program(path: Path) -> bool:
    """Whether it is TorchScript, which torch would run instead of reading it."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(PurePosixPath(name).name == "constants.pkl" for name in archive.namelist())


def _tensors_in(content: Any, path: Path) -> dict[str, Tensor]:
    """Return the mapping of names to tensors, wherever the checkpoint keeps it."""
    for name in STATE:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
            break
    if not isinstance(content, Mapping) or not content:
        raise RobustsegError(f"{path} holds no weights by name; fetch the published file again")
    for key, value in content.items():
        if not isinstance(value, Tensor):
            raise RobustsegError(
                f"{path}: {key} is {type(value).__name__.lstrip('_').lower()} and no weight; "
                "fetch the published file again"
            )
    return {str(key): tensor.detach() for key, tensor in content.items()}
