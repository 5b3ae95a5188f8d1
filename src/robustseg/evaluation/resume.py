"""Finished parts of a long evaluation on disk, so that a killed job goes on from there."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from robustseg import __version__
from robustseg.attacks.attacked_model import Model
from robustseg.attacks.outcomes import Outcome
from robustseg.errors import RobustsegError
from robustseg.files import atomic_path
from robustseg.metrics import PixelCounts
from robustseg.progress import Progress


class FinishedParts:
    """A folder of outcomes, each under the hash of all that it depends on.

    Args:
        folder: made when the first part is written.
        model: its weights are part of the hash.
        settings: all else that is the same for all parts.
        progress: is told of parts that cannot be read.

    Raises:
        RobustsegError: the model is not a module, so that its weights cannot be told from others.
    """

    def __init__(
        self, folder: Path, model: Model, settings: object, progress: Progress | None = None
    ) -> None:
        if not isinstance(model, nn.Module):
            raise RobustsegError(
                "an evaluation can only be resumed for a torch.nn.Module, whose weights can be "
                "compared; wrap the model in one, or do without parts"
            )
        self.folder = folder
        self.progress = progress
        tensors = model.state_dict()
        names = json.dumps(
            [__version__, repr(settings), type(model).__name__, model.extra_repr(), list(tensors)]
        )
        self.context = _digest(names, *tensors.values())

    def resume(self, compute: Callable[[], Outcome], key: object, *tensors: Tensor) -> Outcome:
        """Return the outcome that `key` and `tensors` identify, without adversarial images if kept.

        It is computed if it is not there or cannot be read.
        """
        path = self.folder / f"{_digest(self.context, repr(key), *tensors)}.json"
        if path.exists():
            outcome = self._read(path)
            if outcome is not None:
                return outcome
        outcome = compute()
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(_as_lists(outcome)))
        return outcome

    def _read(self, path: Path) -> Outcome | None:
        """Return a kept outcome, None if the file is damaged."""
        try:
            return _of_lists(json.loads(path.read_text()))
        except (ValueError, KeyError, TypeError):  # no JSON, no text, or something else
            if self.progress:
                self.progress.say(f"the finished part {path} is damaged and is computed again")
            return None


def _as_lists(outcome: Outcome) -> dict[str, list[Any]]:
    counts = {name: values.tolist() for name, values in outcome.counts._asdict().items()}
    costs = ("linf_255", "forward_passes", "backward_passes", "unexplained_zeros")
    return counts | {name: getattr(outcome, name).tolist() for name in costs}


def _of_lists(lists: dict[str, list[Any]]) -> Outcome:
    counts = (np.array(lists[name], dtype=np.int64) for name in PixelCounts._fields)
    return Outcome(
        PixelCounts(*counts),
        np.array(lists["linf_255"], dtype=np.float64),
        np.array(lists["forward_passes"], dtype=np.int64),
        np.array(lists["backward_passes"], dtype=np.int64),
        np.array(lists["unexplained_zeros"], dtype=np.float64),
    )


def _digest(*parts: str | Tensor) -> str:
    """Return a hash of texts and of tensors' shapes and values."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, str):
            digest.update(part.encode() + b"\0")
        else:
            digest.update(f"{part.dtype}{tuple(part.shape)}".encode())
            digest.update(part.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
