"""Pictures of the first images of anybody's data: what `evaluate` keeps for the page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robustseg.attacks.outcomes import Batch
from robustseg.attacks.spec import AttackSpec, ask_for_class_pixels
from robustseg.data.interface import IGNORE_BYTE, IGNORE_LABEL
from robustseg.data.labels import palette
from robustseg.errors import RobustsegError
from robustseg.evaluation.gallery import attack_pictures
from robustseg.evaluation.over_batches import on_device
from robustseg.evaluation.resume import FinishedParts, Origin
from robustseg.evidence.attacked_images import read_arrays, save_arrays
from robustseg.models.wrap import WrappedModel
from robustseg.progress import Progress

SHOWN_LOSS = "mask_ce"
"""Whose pictures are kept where a suite runs it, or no loss that needs no pixels of each class."""
MADE_FROM = "made_from"
"""The array of a file that tells it from those of other models, images and settings."""


class First:
    """Batches as they come, of which the first few images that have labels are remembered.

    Attributes:
        batches: those images with labels and ids, once they have come.
    """

    def __init__(self, source: Iterable[Batch], images: int) -> None:
        self.source, self.images = source, images
        self.batches: list[Batch] = []

    def __iter__(self) -> Iterator[Batch]:
        for images, labels, ids in self.source:
            wanted = self.images - sum(len(kept) for _, _, kept in self.batches)
            some = (labels != IGNORE_LABEL).flatten(1).any(1).nonzero().flatten()[:wanted].tolist()
            if some and wanted > 0:
                self.batches.append((images[some], labels[some], [ids[at] for at in some]))
            yield images, labels, ids


def attack_to_show(suites: Mapping[str, Mapping[str, Any]]) -> AttackSpec | None:
    """Return the attack of some suites that pictures are of; None if none of them uses APGD."""
    for suite in suites.values():
        if suite["kind"] == "white_box" and suite.get("optimizer", "apgd") == "apgd":
            losses = [one for one in suite["losses"] if not ask_for_class_pixels([one])]
            loss = losses[0] if losses and SHOWN_LOSS not in losses else SHOWN_LOSS
            return AttackSpec(loss, "apgd", suite["schedules"][0], max(suite["iterations"]))
    return None


def keep_pictures(
    path: Path,
    model: WrappedModel,
    batches: Sequence[Batch],
    class_names: Sequence[str],
    spec: AttackSpec | None,
    radii_255: Sequence[float],
    seed: int,
    kept: FinishedParts,
    progress: Progress | None,
) -> None:
    """Attack images and keep them, unless just these are there; without any, remove older ones.

    Args:
        path: the file, see `evidence.attacked_images`.
        model: wrapped.
        batches: images, labels and ids.
        class_names: of the data.
        spec, radii_255, seed: of the attack; None: none that could be shown was run.
        kept: knows what tells models apart.
        progress: says how far it is, and why there are no pictures.
    """
    why_not = _why_not(batches, class_names, spec)
    if why_not or spec is None:
        if batches and progress:
            progress.say(f"no attacked images are kept for the page: {why_not}")
        path.unlink(missing_ok=True)
        return
    here = list(on_device(batches, model))
    tensors = [(images, labels) for images, labels, _ in batches]
    ids = [image_id for _, _, some in batches for image_id in some]
    origin = kept.origin(tensors, ids, list(class_names), spec, list(radii_255), seed)
    if not _is_there(path, origin):
        colours = palette(len(class_names))
        arrays = attack_pictures(model, here, class_names, colours, spec, radii_255, seed, progress)
        save_arrays(path, {**arrays, MADE_FROM: np.array(json.dumps(origin))})


def _why_not(
    batches: Sequence[Batch], class_names: Sequence[str], spec: AttackSpec | None
) -> str | None:
    """Return why images cannot be shown, None if they can."""
    if not batches or spec is None:
        return "no suite attacks with APGD inside a radius"
    if any(images.shape[1] != 3 for images, _, _ in batches):
        return "they have no three colours"
    if any(labels.shape[1:] != images.shape[2:] for images, labels, _ in batches):
        return "they have one label each"
    if len(class_names) > IGNORE_BYTE:
        return f"there are more than {IGNORE_BYTE} classes"
    return None


def _is_there(path: Path, origin: Origin) -> bool:
    if not path.exists():
        return False
    try:
        key, probes = json.loads(str(read_arrays(path, [MADE_FROM])[MADE_FROM]))
        return bool(key == origin.key) and origin.probes_are(probes)
    except (RobustsegError, ValueError):  # damaged, or another version's
        return False
