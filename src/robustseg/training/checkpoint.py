"""The state of an unfinished training, so that a killed one continues to the same weights."""

import pickle
from pathlib import Path
from typing import Any

import torch

from robustseg.errors import RobustsegError
from robustseg.files import atomic_path


def save_checkpoint(path: str | Path, state: dict[str, Any], settings: str) -> None:
    """Replace the checkpoint in one step: a kill leaves the old one or the new one, both whole.

    Args:
        path: file.
        state: tensors, numbers, strings, lists and dicts of them.
        settings: everything that the training depends on; another one cannot continue from here.

    Raises:
        RobustsegError: the file cannot be written, for example on a full disk.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        try:
            torch.save({"settings": settings, "state": state}, file)
        except RuntimeError as error:  # torch's words for what follows from a failed write
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def load_checkpoint(path: str | Path, settings: str) -> tuple[dict[str, Any] | None, str]:
    """Return the saved state, or None, and a sentence that says which.

    Raises:
        RobustsegError: the file is damaged. It is left in place, since only a person knows whether
            another copy exists.
    """
    path = Path(path)
    if not path.exists():
        return None, "starts from the beginning"
    try:
        saved = torch.load(path, weights_only=True)
        found, state = saved["settings"], saved["state"]
    except (RuntimeError, EOFError, KeyError, TypeError, OSError, pickle.UnpicklingError) as error:
        raise RobustsegError(
            f"the checkpoint {path} is truncated or no checkpoint; restore it, "
            "or delete it to train from the beginning"
        ) from error
    if found != settings:
        return None, f"starts from the beginning: {path} was made with other settings"
    return dict(state), f"continues from {path}"
