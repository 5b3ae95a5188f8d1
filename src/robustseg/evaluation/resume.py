"""Finished parts of a long evaluation on disk, so that a killed job goes on from there."""

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from robustseg import __version__
from robustseg.attacks.attacked_model import Model
from robustseg.attacks.outcomes import Batch, Outcome
from robustseg.commit import git_commit, other_code
from robustseg.evaluation.probing import Probe, probe, same
from robustseg.files import write_text
from robustseg.metrics import PixelCounts
from robustseg.progress import Progress


class Origin(NamedTuple):
    """What results follow from.

    Attributes:
        key: a hash of what must be the same to the last bit: images, weights, settings.
        probes: what each model computes on each batch, the same but for rounding.
    """

    key: str
    probes: list[Probe]

    def probes_are(self, kept: Sequence[Probe]) -> bool:
        """Return whether probes that were kept are of the same models."""
        return len(kept) == len(self.probes) and all(map(same, kept, self.probes))


class FinishedParts:
    """A folder of outcomes, each under the hash of all that it depends on.

    Models are told apart by their weights and by what they compute: beside each outcome stand some
    numbers on its images, see `probing.probe`. So a model that is normalised in another way, whose
    gradients were mended, or that is another function, gets outcomes of its own.

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
        self._probes: dict[str, list[Probe]] = {}
        self._commit = git_commit()
        self._other_code: set[str] = set()

    def origin(self, batches: Sequence[tuple[Tensor, ...]], *settings: object) -> Origin:
        """Return what results follow from: images (B, C, H, W), other tensors, models, settings."""
        tensors = [tensor for batch in batches for tensor in batch]
        key = _digest(self.settings, repr(settings), *tensors)
        return Origin(key, [one for images, *_ in batches for one in self._probed(images)])

    def _probed(self, images: Tensor) -> list[Probe]:
        """Return what all models compute on images; it is kept, since many attacks share them."""
        name = _digest(images)
        if name not in self._probes:
            self._probes[name] = [probe(model, images) for model in self.models]
        return self._probes[name]

    def resume(self, compute: Callable[[], Outcome], key: object, *tensors: Tensor) -> Outcome:
        """Return the outcome of `key` and `tensors`, without adversarial images if it was kept.

        It is computed if it is not there, cannot be read, or is that of other models. The first of
        the tensors are images.
        """
        origin = self.origin([tensors], key)
        path = self.folder / f"{origin.key}.json"
        if path.exists():
            outcome = self._read(path, origin)
            if outcome is not None:
                return outcome
        outcome = compute()
        about = {"probes": origin.probes, "git_commit": self._commit}
        lists = json.dumps(_as_lists(outcome) | about)
        write_text(path, f"{_digest(path.stem, lists)}\n{lists}")
        return outcome

    def _read(self, path: Path, origin: Origin) -> Outcome | None:
        """Return a kept outcome, None if the file is damaged, another part's or other models'."""
        try:
            digest, _, lists = path.read_text(encoding="utf-8").partition("\n")
            if digest == _digest(path.stem, lists):
                kept = json.loads(lists)
                if not origin.probes_are(kept["probes"]):
                    return None
                self._say_other_code(other_code(kept.get("git_commit")))
                return _of_lists(kept)
        except (OSError, UnicodeDecodeError):
            pass
        if self.progress:
            self.progress.say(f"the finished part {path} is damaged and is computed again")
        return None

    def _say_other_code(self, other: str) -> None:
        """Say once of each commit that its parts are taken."""
        if other and other not in self._other_code and self.progress:
            self.progress.say(
                f"takes finished parts, {other}; to attack all anew, remove {self.folder} first"
            )
        self._other_code.add(other)


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


def _weights(model: Model) -> Iterator[str | Tensor]:
    """Yield what tells a module from others of its class."""
    if isinstance(model, nn.Module):
        tensors = model.state_dict()
        yield json.dumps([type(model).__name__, model.extra_repr(), list(tensors)])
        yield from (one for one in tensors.values() if isinstance(one, Tensor))


def digest_of_weights(models: Sequence[Model]) -> str:
    """Return what tells modules apart by their weights; functions are all alike."""
    return _digest(*(part for one in models for part in _weights(one)))


def digest_of_data(ids: Sequence[str] | int | None, first: Batch) -> str:
    """Return what tells data apart: the ids or number of the images, and the first batch.

    Of images only the size counts: decoders of JPEG round differently.
    """
    images, labels, names = first
    return _digest(json.dumps([ids, images.shape, names]), labels)


def digest_of_batch(batch: Batch) -> str:
    """Return what tells a batch from any other: images, labels and ids."""
    images, labels, ids = batch
    return _digest(json.dumps(ids), images, labels)


def _digest(*parts: str | Tensor) -> str:
    """Return a hash of texts and of tensors' shapes and values."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, str):
            digest.update(part.encode() + b"\0")
        else:
            digest.update(f"{part.dtype}{tuple(part.shape)}".encode())
            digest.update(_bytes(part.detach().cpu()))
    return digest.hexdigest()


def _bytes(values: Tensor) -> bytes:
    """Return the values of a tensor, also of types that NumPy does not have."""
    exact = values.float() if values.dtype == torch.bfloat16 else values
    try:
        return exact.contiguous().resolve_conj().resolve_neg().numpy().tobytes()
    except (TypeError, RuntimeError):  # quantised, sparse, floats of 8 bits
        written = io.BytesIO()
        torch.save(values, written)
        return written.getvalue()
