"""Attacks over a data set: one row of evidence for each (image, attack), see `evidence.schema`."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustseg.attacks.alma_prox import DEFAULT_THRESHOLD
from robustseg.attacks.attacked_model import Model, device_of
from robustseg.attacks.outcomes import (
    Attack,
    Batch,
    Outcome,
    alma_and_count,
    attack_and_count,
    in_turn,
    look_and_count,
    transfer_and_count,
)
from robustseg.attacks.spec import DEFAULT_CHOICE, TRANSFER, UNBOUNDED_255, AttackSpec, Spec
from robustseg.data.batching import batches_of
from robustseg.evaluation.resume import FinishedParts
from robustseg.evidence.enumerator import ALMA_PROX, CLEAN_SUITE, attack_in_words
from robustseg.evidence.schema import MARGIN, NONE
from robustseg.progress import Progress

if TYPE_CHECKING:
    from robustseg.data.interface import Dataset

EvidenceRow = dict[str, Any]
Planned = tuple[EvidenceRow, Attack]
"""What rows share, and the attack that makes the rest of them from a batch."""


def evaluate_suite(
    model: Model,
    dataset: "Dataset",
    specs: Sequence[Spec],
    *,
    eps_255: float,
    seed: int,
    batch_size: int,
    identity: Mapping[str, str | int],
    indices: Sequence[int] | None = None,
    parts: Path | None = None,
    progress: Progress | None = None,
    class_pixels: Sequence[int] | None = None,
) -> list[EvidenceRow]:
    """Run attacks on a data set and return their rows of evidence.

    Args:
        model: see `run_attack`; images are moved to a module's device.
        dataset: see `data.interface.Dataset`.
        specs: the attacks, in this order.
        eps_255: radius in 1/255.
        seed: of the attacks.
        batch_size: images at a time.
        identity: `dataset`, `model`, `training_seed` and `suite` of the rows.
        indices: images of the data set to attack (a shard); None for all.
        parts: a folder where the outcome of each finished (batch, attack) is kept, so that a job
            that was killed goes on from there to the same rows. What other settings, weights or
            images left there is not used. Delete it once the evidence is written.
        progress: says how far it is.
        class_pixels: see `run_attack`.

    Raises:
        RobustsegError: what `run_attack` refuses, or `parts` for a model that is not a module.
    """
    attacks = on_itself(
        model, specs, eps_255=eps_255, seed=seed, identity=identity, class_pixels=class_pixels
    )
    kept = FinishedParts(parts, [model], (specs, class_pixels), progress) if parts else None
    return _rows(attacks, model, dataset, batch_size, indices, kept, progress)


def transfer(
    source: Model,
    target: Model,
    dataset: "Dataset",
    spec: AttackSpec,
    *,
    source_name: str,
    eps_255: float,
    seed: int,
    batch_size: int,
    identity: Mapping[str, str | int],
    indices: Sequence[int] | None = None,
    parts: Path | None = None,
    progress: Progress | None = None,
    class_pixels: Sequence[int] | None = None,
) -> list[EvidenceRow]:
    """Attack the source and return evidence on the target, one row an image.

    The attack is named `transfer-{source_name}-{spec.name}` and keeps the spec's loss, optimizer,
    schedule and iterations (arXiv 2306.12941, C.5 and Table 11).

    Args:
        source: the model that perturbations are found on, as for `run_attack`.
        target: the model that is evaluated.
        dataset: whose images and labels both models see.
        spec: the attack on the source; the paper's is APGD on Mask-CE.
        source_name: of the source in the rows.
        eps_255, seed, batch_size, indices, parts, progress, class_pixels: as for `evaluate_suite`.
        identity: `dataset`, `model` (the target), `training_seed` and `suite` of the rows.

    Raises:
        RobustsegError: what `run_attack` refuses, of either model; or `parts` for a model that is
            not a module.
    """
    attacks = carried_over(
        source,
        target,
        spec,
        source_name,
        eps_255=eps_255,
        seed=seed,
        identity=identity,
        class_pixels=class_pixels,
    )
    settings = (spec, class_pixels)
    kept = FinishedParts(parts, [target, source], settings, progress) if parts else None
    return _rows(attacks, target, dataset, batch_size, indices, kept, progress)


def evaluate_alma(
    model: Model,
    dataset: "Dataset",
    *,
    threshold: float = DEFAULT_THRESHOLD,
    steps: int = 500,
    batch_size: int,
    identity: Mapping[str, str | int],
    indices: Sequence[int] | None = None,
    parts: Path | None = None,
    progress: Progress | None = None,
) -> list[EvidenceRow]:
    """Return one row of evidence an image, of the smallest perturbation that ALMA prox found.

    An image counts as flipped at a radius if at least `threshold` of its pixels are wrong and
    linf_255 is at most the radius (arXiv 2306.12941, C.4 and Figure 6).

    Args:
        model, threshold, steps: see `alma_prox`.
        dataset, batch_size, identity, indices, parts, progress: as for `evaluate_suite`.

    Raises:
        RobustsegError: what `alma_prox` refuses, or `parts` for a model that is not a module.
    """
    attacks = minimal_norm(model, threshold, steps, identity=identity)
    kept = FinishedParts(parts, [model], threshold, progress) if parts else None
    return _rows(attacks, model, dataset, batch_size, indices, kept, progress)


def evaluate_clean(
    model: Model,
    dataset: "Dataset",
    *,
    batch_size: int,
    identity: Mapping[str, str | int],
    indices: Sequence[int] | None = None,
    progress: Progress | None = None,
    look: Attack | None = None,
) -> list[EvidenceRow]:
    """Return rows of evidence without an attack: suite and attack `clean`, radius 0.

    Arguments as for `evaluate_suite`; a `suite` in `identity` is not used, and `look` counts in
    place of `look_and_count`.

    Raises:
        RobustsegError: images, labels or logits that do not fit.
    """
    attacks = [(clean_row(identity), look or partial(look_and_count, model))]
    return _rows(attacks, model, dataset, batch_size, indices, None, progress)


# What rows of evidence share, with the attack that makes the rest of them.


def on_itself(
    model: Model,
    specs: Sequence[Spec],
    *,
    eps_255: float,
    seed: int,
    identity: Mapping[str, str | int],
    class_pixels: Sequence[int] | None,
) -> list[Planned]:
    """Return attacks on the model itself; arguments as for `evaluate_suite`."""
    shared = {**identity, "eps_255": float(eps_255), "seed": seed}
    return [
        (
            {**shared, **attack_in_words(spec)._asdict()},
            partial(attack_and_count, model, spec, eps_255, seed, class_pixels=class_pixels),
        )
        for spec in specs
    ]


def carried_over(
    source: Model,
    target: Model,
    spec: AttackSpec,
    source_name: str,
    *,
    eps_255: float,
    seed: int,
    identity: Mapping[str, str | int],
    class_pixels: Sequence[int] | None,
) -> list[Planned]:
    """Return an attack on `source` that is counted on `target`; arguments as for `transfer`."""
    words = attack_in_words(spec, f"{TRANSFER}{source_name}-")._asdict()
    shared = {**identity, "eps_255": float(eps_255), "seed": seed, **words}
    carry = partial(transfer_and_count, source, target, spec, eps_255, seed)
    return [(shared, partial(carry, class_pixels=class_pixels))]


def minimal_norm(
    model: Model, threshold: float, steps: int, *, identity: Mapping[str, str | int]
) -> list[Planned]:
    """Return ALMA prox; arguments as for `evaluate_alma`."""
    shared = {
        **identity,
        "attack": f"{ALMA_PROX}-{threshold:g}-{steps}",
        "loss": MARGIN,
        "optimizer": ALMA_PROX,
        "schedule": NONE,
        "iterations": steps,
        "logit_margin": 0.0,
        "choice": DEFAULT_CHOICE,
        "eps_255": UNBOUNDED_255,
        "seed": 0,
    }
    return [(shared, partial(alma_and_count, model, threshold, steps))]


def clean_row(identity: Mapping[str, str | int]) -> EvidenceRow:
    """Return what rows without an attack share."""
    return {
        **identity,
        "suite": CLEAN_SUITE,
        "attack": CLEAN_SUITE,
        "loss": NONE,
        "optimizer": NONE,
        "schedule": NONE,
        "iterations": 0,
        "logit_margin": 0.0,
        "choice": DEFAULT_CHOICE,
        "eps_255": 0.0,
        "seed": 0,
    }


def _rows(
    attacks: Sequence[Planned],
    model: Model,
    dataset: "Dataset",
    batch_size: int,
    indices: Sequence[int] | None,
    kept: FinishedParts | None,
    progress: Progress | None,
) -> list[EvidenceRow]:
    """Run attacks, each with what its rows share, on all batches, and return the rows."""
    chosen = batches_of(dataset, range(len(dataset)) if indices is None else indices, batch_size)
    batches = (dataset.batch(some) for some in chosen)
    return rows_of_batches(attacks, model, batches, len(chosen), kept, progress)


def rows_of_batches(
    attacks: Sequence[Planned],
    model: Model,
    batches: Iterable[Batch],
    total: int | None,
    kept: FinishedParts | None = None,
    progress: Progress | None = None,
    watch: Callable[[Outcome], None] = lambda outcome: None,
) -> list[EvidenceRow]:
    """Run attacks on batches, each batch once, and return the rows of evidence.

    Args:
        attacks: on each batch in this order.
        model: to whose device batches are moved.
        batches: images in [0, 1], labels and ids.
        total: how many there are; None: unknown.
        kept: where finished (batch, attack) are kept, and taken from.
        progress: says how far it is.
        watch: is shown each outcome.
    """

    def resumed(shared: EvidenceRow, attack: Attack, batch: Batch) -> Outcome:
        if kept is None or shared["suite"] == CLEAN_SUITE:
            return attack(batch)  # a clean look is cheap, and sees what is doubtful
        images, labels, ids = batch
        key = (sorted(shared.items()), ids)
        return kept.resume(partial(attack, batch), key, images, labels)

    run = [partial(resumed, shared, attack) for shared, attack in attacks]
    steps: Iterable[Any] = in_turn(on_device(batches, model), run)
    if progress:
        unit = "batches x attacks" if len(attacks) > 1 else "batches"
        steps = progress.track(steps, total and total * len(attacks), unit)
    rows: list[EvidenceRow] = []
    for (_, _, ids), number, _, outcome in steps:
        watch(outcome)
        rows += _rows_of(outcome, attacks[number][0], ids)
    return rows


def on_device(batches: Iterable[Batch], model: Model) -> Iterator[Batch]:
    """Yield batches on the model's device, or where they are if it has none."""
    for images, labels, ids in batches:
        device = device_of(model, images.device)
        yield images.to(device), labels.to(device), ids


def _rows_of(
    outcome: Outcome, shared: EvidenceRow, image_ids: Sequence[str]
) -> Iterator[EvidenceRow]:
    """Yield the rows of an outcome, with what they share."""
    counts = outcome.counts
    for place, image_id in enumerate(image_ids):
        yield {
            **shared,
            "image_id": image_id,
            "pixels": int(counts.pixels[place]),
            "pixels_correct": int(counts.pixels_correct[place]),
            "labelled": counts.labelled[place].tolist(),
            "intersection": counts.intersection[place].tolist(),
            "union": counts.union[place].tolist(),
            "linf_255": float(outcome.linf_255[place]),
            "forward_passes": int(outcome.forward_passes[place]),
            "backward_passes": int(outcome.backward_passes[place]),
        }
