"""Attacks over a data set: one row of evidence for each (image, attack), see `records`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from robustseg.attacks.attacked_model import Model, device_of
from robustseg.attacks.counting import Outcome, attack_and_count, count
from robustseg.attacks.run import check_batch
from robustseg.attacks.spec import AttackSpec
from robustseg.evaluation.resume import Parts
from robustseg.metrics import Counts
from robustseg.progress import Progress

if TYPE_CHECKING:
    from robustseg.data.datasets import Dataset

Row = dict[str, Any]
Batch = tuple[Tensor, Tensor, list[str]]
COPIED = ("pixels", "pixels_correct", "intersection", "union", "linf_255")
"""What an inherited row repeats."""


def evaluate_suite(
    model: Model,
    dataset: "Dataset",
    specs: Sequence[AttackSpec],
    *,
    eps_255: float,
    seed: int,
    batch_size: int,
    identity: Mapping[str, str | int],
    indices: Sequence[int] | None = None,
    skip_broken: bool = False,
    parts: Path | None = None,
    progress: Progress | None = None,
) -> list[Row]:
    """Run a suite of attacks on a data set and return its rows of evidence.

    Args:
        model: see `run_attack`; images are moved to a module's device.
        dataset: see `robustseg.data.datasets.Dataset`.
        specs: the attacks, in this order.
        eps_255: radius in 1/255.
        seed: of the attacks.
        batch_size: images at a time.
        identity: `dataset`, `model`, `training_seed` and `suite` of the rows.
        indices: images of the data set to attack (a shard); None for all.
        skip_broken: do not run an attack on images that an earlier one brought to 0 %; their rows
            repeat its counts and are marked `inherited`.
        parts: a folder where the rows of each finished (batch, attack) are kept, so that a job that
            was killed goes on from there to the same rows. What other settings, weights or images
            left there is not used. Delete it once the evidence is written.
        progress: says how far it is.

    Raises:
        RobustsegError: what `run_attack` refuses, or `parts` for a model that is not a module.
    """
    shared = {"eps_255": float(eps_255), "seed": seed, **identity}
    settings = (sorted(shared.items()), skip_broken)
    kept = Parts(parts, model, settings, progress) if parts else None

    def steps() -> Iterator[list[Row]]:
        for batch in batches(model, dataset, batch_size, indices):
            broken: dict[str, Row] = {}
            for place, spec in enumerate(specs):
                attack = partial(_attack_rows, model, batch, spec, shared, broken)
                images, labels, ids = batch
                key = (ids, specs[: place + 1])
                rows = kept.resume(attack, key, images, labels) if kept else attack()
                if skip_broken:
                    broken |= {r["image_id"]: r for r in rows if not r["pixels_correct"]}
                yield rows

    images = len(dataset) if indices is None else len(indices)
    total = -(-images // batch_size) * len(specs)
    done = progress.track(steps(), total, "batches x attacks") if progress else steps()
    return [row for rows in done for row in rows]


def evaluate_clean(
    model: Model,
    dataset: "Dataset",
    *,
    batch_size: int,
    identity: Mapping[str, str | int],
    indices: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> list[Row]:
    """Return rows of evidence without an attack: suite and attack `clean`, radius 0.

    Arguments as for `evaluate_suite`; a `suite` in `identity` is not used.

    Raises:
        RobustsegError: images, labels or logits that do not fit.
    """

    def compute(batch: Batch) -> list[Row]:
        images, labels, ids = batch
        check_batch(images, labels, ids, eps_255=0)
        counts = count(model, images, labels, ids)
        return [
            {
                **identity,
                "suite": "clean",
                "attack": "clean",
                "loss": "none",
                "optimizer": "none",
                "schedule": "none",
                "iterations": 0,
                "eps_255": 0.0,
                "seed": 0,
                "image_id": image_id,
                **_counts_row(counts, place),
                "linf_255": 0.0,
                "forward_passes": 1,
                "backward_passes": 0,
                "inherited": False,
            }
            for place, image_id in enumerate(ids)
        ]

    return batch_by_batch(compute, model, dataset, batch_size, indices, None, progress)


def batch_by_batch(
    compute: Callable[[Batch], list[Row]],
    model: Model,
    dataset: "Dataset",
    batch_size: int,
    indices: Sequence[int] | None,
    kept: Parts | None,
    progress: Progress | None,
) -> list[Row]:
    """Return the rows that `compute` gives for each batch, or that `kept` has of it."""

    def steps() -> Iterator[list[Row]]:
        for batch in batches(model, dataset, batch_size, indices):
            images, labels, ids = batch
            rows = partial(compute, batch)
            yield kept.resume(rows, ids, images, labels) if kept else rows()

    total = -(-len(dataset if indices is None else indices) // batch_size)
    done = progress.track(steps(), total, "batches") if progress else steps()
    return [row for rows in done for row in rows]


def batches(
    model: Model, dataset: "Dataset", batch_size: int, indices: Sequence[int] | None
) -> Iterator[Batch]:
    """Yield images, labels and ids of `indices` (None: all), on the model's device."""
    device = device_of(model, torch.device("cpu"))
    wanted = list(range(len(dataset)) if indices is None else indices)
    for start in range(0, len(wanted), batch_size):
        images, labels, ids = dataset.batch(wanted[start : start + batch_size])
        yield images.to(device), labels.to(device), ids


def _attack_rows(
    model: Model,
    batch: Batch,
    spec: AttackSpec,
    shared: Mapping[str, Any],
    broken: Mapping[str, Row],
) -> list[Row]:
    """Attack the images of a batch that are not broken; return the rows of all, in order."""
    images, labels, ids = batch
    attack = {
        **shared,
        "attack": spec.name,
        "loss": spec.loss,
        "optimizer": spec.optimizer,
        "schedule": spec.schedule,
        "iterations": spec.iterations,
    }
    rows = {i: _inherited_row(broken[i]) for i in ids if i in broken}
    places = [place for place, image_id in enumerate(ids) if image_id not in broken]
    if places:
        some = [ids[place] for place in places]
        eps_255, seed = shared["eps_255"], shared["seed"]
        outcome = attack_and_count(model, images[places], labels[places], some, spec, eps_255, seed)
        rows |= {image_id: _outcome_row(outcome, place) for place, image_id in enumerate(some)}
    return [{**attack, "image_id": image_id, **rows[image_id]} for image_id in ids]


def _counts_row(counts: Counts, place: int) -> Row:
    return {
        "pixels": int(counts.pixels[place]),
        "pixels_correct": int(counts.pixels_correct[place]),
        "intersection": counts.intersection[place].tolist(),
        "union": counts.union[place].tolist(),
    }


def outcome_rows(outcome: Outcome, shared: Row, image_ids: Sequence[str]) -> list[Row]:
    """Return the rows of an outcome, with what they share."""
    return [
        {**shared, "image_id": image_id, **_outcome_row(outcome, place)}
        for place, image_id in enumerate(image_ids)
    ]


def _outcome_row(outcome: Outcome, place: int) -> Row:
    return {
        **_counts_row(outcome.counts, place),
        "linf_255": float(outcome.linf_255[place]),
        "forward_passes": int(outcome.forward_passes[place]),
        "backward_passes": int(outcome.backward_passes[place]),
        "inherited": False,
    }


def _inherited_row(earlier: Row) -> Row:
    copied = {name: earlier[name] for name in COPIED}
    return {**copied, "forward_passes": 0, "backward_passes": 0, "inherited": True}
