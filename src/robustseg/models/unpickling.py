"""Checkpoints of others, read without executing what is in them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from robustseg.errors import RobustsegError
from robustseg.models.inert_pickle import ForeignError, UnreadableError, read_inertly, shown

STATE = ("state_dict", "model", "model_state_dict")
"""Where a checkpoint that has more in it than weights keeps these."""
LONGEST_NAME = 500


def read_checkpoint(
    path: str | Path, other_objects: bool = False, name: str | None = None
) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint, on the CPU.

    Args:
        path: safetensors, or what `torch.save` wrote: tensors by name, or these under one of STATE.
        other_objects: whether objects of other kinds may lie beside the tensors. They are not
            made: what a pickle asks to be called is not called.
        name: what messages call it, if it is not to be by its path.

    Raises:
        RobustsegError: missing, truncated, of another kind, or with objects beside the tensors.
    """
    path = Path(path)
    name = name or str(path)
    if not path.is_file():
        raise RobustsegError(f"{name} does not exist; fetch these weights first")
    if path.suffix == ".safetensors":
        return read_safetensors(path, "fetch it again")[0]
    try:
        content = read_inertly(path, other_objects)
    except ForeignError as error:
        raise RobustsegError(
            f"{name} is refused: {error}; weights need no such thing, so do not trust "
            "this file unless you know where it comes from"
        ) from error
    except UnreadableError as error:
        raise RobustsegError(
            f"{name} is truncated or no checkpoint of torch ({error}); delete it and fetch it again"
        ) from error
    state = state_in(content, name, "fetch the published file again")
    for key, value in state.items():
        if not isinstance(value, Tensor):
            raise RobustsegError(
                f"{name}: {key} is {type(value).__name__.lstrip('_').lower()} and no weight; "
                "fetch the published file again"
            )
    return state


def read_safetensors(path: Path, advice: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a safetensors file, and the text in its header.

    Raises:
        RobustsegError: not a whole safetensors file; says that it is to be deleted, and `advice`.
    """
    from safetensors import safe_open  # weights of one's own need it only for such a file

    try:
        with safe_open(path, framework="pt") as file:
            header: dict[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # its own, or of torch, which cannot make a tensor that it describes
        said = shown(error) or type(error).__name__
        raise RobustsegError(
            f"{path} is truncated or no safetensors file ({said}); delete it and {advice}"
        ) from error
    return state_in(tensors, str(path), advice) if tensors else {}, header


def state_in(content: Any, name: str, advice: str) -> dict[str, Any]:
    """Return the mapping of names to tensors, wherever a checkpoint keeps it.

    Args:
        content: of the checkpoint.
        name: of the file, for messages.
        advice: what to do if there are none.

    Raises:
        RobustsegError: no such mapping, or its keys are no names.
    """
    for key in STATE:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, dict) or not content:
        raise RobustsegError(f"{name} holds no weights by name; {advice}")
    for key in content:
        if not isinstance(key, str) or not key.isprintable() or len(key) > LONGEST_NAME:
            raise RobustsegError(f"{name} has a weight {shown(key)}, which is not a name; {advice}")
    return content
