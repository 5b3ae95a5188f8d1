"""The state of an unfinished training, so that a killed one continues to the same weights."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from robustseg.commit import git_commit, other_code
from robustseg.errors import RobustsegError
from robustseg.files import atomic_path
from robustseg.models.inert_pickle import UnreadableError, read_inertly, shown

ENTRIES = {"epoch", "batch", "losses", "rows", "model", "optimizer"}
"""Of a training's state."""
SCORES = ("learning_rate", "accuracy")
SCORES_OR_NONE = ("loss", "miou", "robust_accuracy", "robust_miou")
KEPT: dict[type[torch.optim.Optimizer], set[str]] = {
    torch.optim.AdamW: {"step", "exp_avg", "exp_avg_sq"},
    torch.optim.SGD: {"momentum_buffer"},
}
"""What optimizers remember of a parameter."""


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
            torch.save({"settings": settings, "git_commit": git_commit(), "state": state}, file)
        except RuntimeError as error:  # torch's words for a write that was cut off
            if isinstance(error.__context__, OSError | KeyboardInterrupt):
                raise error.__context__ from None
            raise


def load_checkpoint(path: str | Path, settings: str) -> tuple[dict[str, Any] | None, str]:
    """Return the saved state, or None, and a sentence that says which.

    Nothing in the file is executed. What the state holds is for `check_state` to say.

    Raises:
        RobustsegError: the file is damaged. It is left in place, since only a person knows whether
            another copy exists.
    """
    path = Path(path)
    if not path.exists():
        return None, "starts from the beginning"
    try:
        saved = read_inertly(path)
    except UnreadableError as error:
        raise _damaged(path, str(error)) from error
    entries = saved if isinstance(saved, dict) else {}
    found, state = entries.get("settings"), entries.get("state")
    if not isinstance(found, str) or not isinstance(state, dict):
        raise _damaged(path, "it has no settings and state")
    if found != settings:
        return None, f"starts from the beginning: {path} was made with other settings"
    other = other_code(entries.get("git_commit"))
    advice = f", {other}; remove it to train anew" if other else ""
    return state, f"continues from {path}{advice}"


def check_state(
    path: str | Path,
    state: Mapping[str, Any],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    end: tuple[int, int],
) -> None:
    """Refuse a state that the training could not have saved.

    Args:
        path: where it comes from, for messages.
        state: see `load_checkpoint`.
        model: that is trained.
        optimizer: of its parameters.
        end: the training's epochs, and the batches of each.

    Raises:
        RobustsegError: names the first entry that is missing, of another kind or shape, or NaN.
    """
    if state.keys() != ENTRIES:
        raise _damaged(path, f"its entries are not {', '.join(sorted(ENTRIES))}")
    epoch, batch = state["epoch"], state["batch"]
    counted = type(epoch) is int and type(batch) is int and epoch >= 0 and batch >= 0
    if not counted or not ((epoch < end[0] and batch < end[1]) or (epoch, batch) == (end[0], 0)):
        raise _damaged(path, f"it is at epoch {shown(epoch)}, batch {shown(batch)}")
    losses, rows = state["losses"], state["rows"]
    if not isinstance(losses, list) or not all(map(_is_number, losses)):
        raise _damaged(path, "its losses are no finite numbers")
    if not isinstance(rows, list) or not all(map(_is_row, rows)):
        raise _damaged(path, "its rows are no metrics")
    weights, wanted = state["model"], model.state_dict()
    if not isinstance(weights, dict) or weights.keys() != wanted.keys():
        raise _damaged(path, "its weights are those of another network")
    for name, own in wanted.items():
        if not _is_like(weights[name], own):
            raise _damaged(path, f"its weight {name} is of another shape or kind, or not finite")
    # A batch without a pixel that counts has no loss, and is no update.
    updated = bool(losses) or any(row["loss"] is not None for row in rows)
    _check_optimizer(path, state["optimizer"], optimizer, epoch * end[1] + batch, updated)


def _check_optimizer(
    path: str | Path,
    found: Any,
    optimizer: torch.optim.Optimizer,
    most_updates: int,
    updated: bool,
) -> None:
    """Refuse all but what the optimizer keeps of each parameter that has had a gradient."""
    moments = found.get("state") if isinstance(found, dict) else None
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    momentum = any(group.get("momentum", 1) for group in optimizer.param_groups)
    names = KEPT[type(optimizer)]
    if not isinstance(moments, dict) or (updated and momentum and not moments):
        raise _damaged(path, "its optimizer has no state")
    for place, values in moments.items():
        known = type(place) is int and 0 <= place < len(parameters)
        if not known or not isinstance(values, dict) or values.keys() != names:
            raise _damaged(path, "its optimizer is another one, or of another network")
        for name, value in values.items():
            own = torch.zeros(()) if name == "step" else parameters[place]
            # The number of updates, and means of squares, are divided by.
            low, high = {"step": (1, most_updates), "exp_avg_sq": (0, math.inf)}.get(
                name, (None, None)
            )
            fits = _is_like(value, own)
            if not fits or (low is not None and not bool(((value >= low) & (value <= high)).all())):
                raise _damaged(path, f"{name} of its optimizer's parameter {place} does not fit")


def _is_like(found: Any, own: Tensor) -> bool:
    """Return whether it is a tensor of the same shape and type, of finite numbers."""
    if not isinstance(found, Tensor) or (found.shape, found.dtype) != (own.shape, own.dtype):
        return False
    return bool(found.isfinite().all())


def _is_number(value: Any) -> bool:
    return type(value) is float and math.isfinite(value)


def _is_row(row: Any) -> bool:
    """Return whether it is a row of metrics, see `train.METRICS_SCHEMA`."""
    if not isinstance(row, dict) or row.keys() != {"epoch", *SCORES, *SCORES_OR_NONE}:
        return False
    scores = [row[name] for name in SCORES]
    scores += [row[name] for name in SCORES_OR_NONE if row[name] is not None]
    return type(row["epoch"]) is int and all(type(score) is float for score in scores)


def _damaged(path: str | Path, why: str) -> RobustsegError:
    return RobustsegError(
        f"the checkpoint {path} is truncated or no checkpoint of this training ({why}); "
        "restore it, or delete it to train from the beginning"
    )
