"""Finished parts of a long evaluation on disk, so that a killed job goes on from there."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robustseg import __version__
from robustseg.array_files import read_npz
from robustseg.attacks.attacked_model import Model, device_of
from robustseg.attacks.outcomes import Outcome, predict
from robustseg.errors import UnwritableError
from robustseg.files import atomic_path
from robustseg.metrics import PixelCounts
from robustseg.progress import Progress

SAME_LOGITS = 1e-4
"""Two models are one if their logits on a probe differ by at most this share of the largest, and
their weights, where they have any, not at all."""


class FinishedParts:
    """A folder of outcomes, each under the hash of all that it depends on.

    Models are told apart by what they compute: by their logits on the first image that comes, which
    are kept in the folder, and by their weights. So a model that is normalised in another way, or
    is another function, has parts of its own.

    Args:
        folder: made when the first part is written.
        models: the one that is scored, and others whose attacks are carried over to it.
        settings: all else that is the same for all parts.
        progress: is told of parts that cannot be read.
    """

    def __init__(
        self,
        folder: Path,
        models: Sequence[Model],
        settings: object,
        progress: Progress | None = None,
    ) -> None:
        self.folder, self.models, self.progress = folder, models, progress
        self.settings = _digest(
            __version__, repr(settings), *(part for one in models for part in _weights(one))
        )
        self._context: str | None = None

    def context(self, image: Tensor) -> str:
        """Return what all parts depend on; (1, C, H, W) is the probe that models are shown."""
        if self._context is None:
            logits = [predict(one, image.to(device_of(one, image.device))) for one in self.models]
            found = [one.cpu().numpy() for one in logits]
            self._context = f"{self.settings}-{self._probe(_digest(self.settings, image), found)}"
        return self._context

    def _probe(self, name: str, logits: list[NDArray[np.floating[Any]]]) -> str:
        """Return under which name logits are kept in the folder, where they are put if need be."""
        for number in range(MOST_MODELS):
            path = self.folder / f"probe-{name}-{number}.npz"
            if not path.exists():
                with atomic_path(path) as temporary, temporary.open("wb") as file:
                    np.savez_compressed(file, *logits)
                return path.stem
            kept = _read_arrays(path)
            if kept is not None and all(map(_same, kept, logits)):
                return path.stem
        raise UnwritableError(
            f"{self.folder} holds parts of {MOST_MODELS} different models; a random model is "
            "another one each time. Delete the folder, or evaluate into a new one"
        )

    def resume(self, compute: Callable[[], Outcome], key: object, *tensors: Tensor) -> Outcome:
        """Return the outcome that `key` and `tensors` identify, without adversarial images if kept.

        It is computed if it is not there or cannot be read.
        """
        context = self.context(tensors[0][:1])
        path = self.folder / f"{_digest(context, repr(key), *tensors)}.json"
        if path.exists():
            outcome = self._read(path)
            if outcome is not None:
                return outcome
        outcome = compute()
        lists = json.dumps(_as_lists(outcome))
        with atomic_path(path) as temporary:
            temporary.write_text(f"{_digest(path.stem, lists)}\n{lists}")
        return outcome

    def _read(self, path: Path) -> Outcome | None:
        """Return a kept outcome, None if the file is damaged or another part's."""
        try:
            digest, _, lists = path.read_text().partition("\n")
            if digest == _digest(path.stem, lists):
                return _of_lists(json.loads(lists))
        except (OSError, UnicodeDecodeError):
            pass
        if self.progress:
            self.progress.say(f"the finished part {path} is damaged and is computed again")
        return None

    def key_of(self, batches: Sequence[tuple[Tensor, ...]], *settings: object) -> str:
        """Return what tells results from these images, models and settings from all others."""
        tensors = [tensor for batch in batches for tensor in batch]
        return _digest(self.context(tensors[0][:1]), repr(settings), *tensors)


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


MOST_MODELS = 50
"""Whose parts one folder may hold."""


def _weights(model: Model) -> Iterator[str | Tensor]:
    """Yield what tells a module from others of its class."""
    if isinstance(model, nn.Module):
        tensors = model.state_dict()
        yield json.dumps([type(model).__name__, model.extra_repr(), list(tensors)])
        yield from (one for one in tensors.values() if isinstance(one, Tensor))


def digest_of_weights(models: Sequence[Model]) -> str:
    """Return what tells modules apart by their weights; functions are all alike."""
    return _digest(*(part for one in models for part in _weights(one)))


def _same(kept: NDArray[np.floating[Any]], logits: NDArray[np.floating[Any]]) -> bool:
    if kept.shape != logits.shape:
        return False
    return bool(np.abs(kept - logits).max() <= SAME_LOGITS * np.abs(logits).max())


def _read_arrays(path: Path) -> list[NDArray[np.floating[Any]]] | None:
    """Return the arrays of a file, None if it is damaged."""
    try:
        return list(read_npz(path).values())
    except Exception:
        return None


def _digest(*parts: str | Tensor) -> str:
    """Return a hash of texts and of tensors' shapes and values."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, str):
            digest.update(part.encode() + b"\0")
        else:
            digest.update(f"{part.dtype}{tuple(part.shape)}".encode())
            values = part.detach().cpu().contiguous()
            exact = values.float() if values.dtype == torch.bfloat16 else values
            digest.update(exact.numpy().tobytes())
    return digest.hexdigest()
