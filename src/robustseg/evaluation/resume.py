"""Finished parts of a long evaluation on disk, so that a killed job goes on from there."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from robustseg import __version__
from robustseg.attacks.attacked_model import Model
from robustseg.errors import RobustsegError
from robustseg.files import atomic_path
from robustseg.progress import Progress

Row = dict[str, Any]


class Parts:
    """A folder of parts, each under the hash of all that its rows depend on.

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

    def resume(self, compute: Callable[[], list[Row]], key: object, *tensors: Tensor) -> list[Row]:
        """Return the rows of the part that `key` and `tensors` identify.

        They are computed if the part is not there or cannot be read.
        """
        path = self.folder / f"{_digest(self.context, repr(key), *tensors)}.json"
        if path.exists():
            rows = self._read(path)
            if rows is not None:
                return rows
        rows = compute()
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(rows))
        return rows

    def _read(self, path: Path) -> list[Row] | None:
        """Return the rows of a part, None if the file is damaged."""
        try:
            rows: list[Row] = json.loads(path.read_text())
        except ValueError:  # no JSON, or no text
            if self.progress:
                self.progress.say(f"the finished part {path} is damaged and is computed again")
            return None
        return rows


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
