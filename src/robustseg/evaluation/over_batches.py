"""Attacks over a data set: one row of evidence for each (image, attack), see `evidence.schema`."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

from robustseg.attacks.attacked_model import (
    AttackedModel,
    Model,
    device_of,
    frozen,
    full_precision,
    refuse_gradients,
)
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
from robustseg.attacks.spec import TRANSFER, UNBOUNDED_255, AttackSpec, Spec
from robustseg.data.batching import batches_of
from robustseg.errors import FullGpuError, RobustsegError
from robustseg.evaluation.resume import FinishedParts
from robustseg.evidence.enumerator import CLEAN, CLEAN_SUITE, alma_in_words, attack_in_words
from robustseg.progress import Progress

if TYPE_CHECKING:
    from robustseg.data.interface import Dataset

EvidenceRow = dict[str, Any]


class Planned(NamedTuple):
    """An attack that is to be run on batches.

    Attributes:
        shared: what its rows share.
        attack: makes the rest of them from a batch.
        spec: what else its outcome follows from, as PGD's step size does; None: nothing.
    """

    shared: EvidenceRow
    attack: Attack
    spec: Spec | None = None


# What is run: what rows of evidence share, with the attack that makes the rest of them.


def on_itself(
    model: Model,
    specs: Sequence[Spec],
    *,
    eps_255: float,
    seed: int,
    identity: Mapping[str, str | int],
    class_pixels: Sequence[int] | None = None,
) -> list[Planned]:
    """Return attacks on the model that is scored.

    Args:
        model: see `run_attack`.
        specs: the attacks, in this order.
        eps_255: radius in 1/255.
        seed: of the attacks.
        identity: `dataset`, `model`, `training_seed` and `suite` of the rows.
        class_pixels: see `run_attack`.
    """
    shared = {**identity, "eps_255": float(eps_255), "seed": seed}
    return [
        Planned(
            {**shared, **attack_in_words(spec)._asdict()},
            partial(attack_and_count, model, spec, eps_255, seed, class_pixels=class_pixels),
            spec,
        )
        for spec in specs
    ]


def carried_over(
    source: Model,
    target: Model,
    spec: AttackSpec,
    *,
    source_name: str,
    eps_255: float,
    seed: int,
    identity: Mapping[str, str | int],
    class_pixels: Sequence[int] | None = None,
) -> Planned:
    """Return an attack on the source that is counted on the target.

    It is named `transfer-{source_name}-{spec.name}` and keeps the spec's loss, optimizer, schedule
    and iterations (arXiv 2306.12941, C.5 and Table 11).

    Args:
        source: the model that perturbations are found on, as for `run_attack`.
        target: the model that is scored.
        spec: the attack on the source; the paper's is APGD on Mask-CE.
        source_name: of the source in the rows.
        eps_255, seed, identity, class_pixels: as for `on_itself`; `model` is the target.
    """
    words = attack_in_words(spec, f"{TRANSFER}{source_name}-")._asdict()
    shared = {**identity, "eps_255": float(eps_255), "seed": seed, **words}
    carry = partial(transfer_and_count, source, target, spec, eps_255, seed)
    return Planned(shared, partial(carry, class_pixels=class_pixels), spec)


def minimal_norm(
    model: Model, threshold: float, steps: int, *, identity: Mapping[str, str | int]
) -> Planned:
    """Return ALMA prox, which finds the smallest perturbation of each image.

    An image counts as flipped at a radius if at least `threshold` of its pixels are wrong and
    linf_255 is at most the radius (arXiv 2306.12941, C.4 and Figure 6).

    Args:
        model, threshold, steps: see `alma_prox`.
        identity: as for `on_itself`.
    """
    words = alma_in_words(threshold, steps)._asdict()
    shared = {**identity, **words, "eps_255": UNBOUNDED_255, "seed": 0}
    return Planned(shared, partial(alma_and_count, model, threshold, steps))


def clean_row(identity: Mapping[str, str | int]) -> EvidenceRow:
    """Return what rows without an attack share."""
    return {**identity, "suite": CLEAN_SUITE, **CLEAN._asdict(), "eps_255": 0.0, "seed": 0}


def try_sources(sources: Mapping[str, Model], batches: Iterable[Batch]) -> None:
    """Refuse a source that cannot be attacked: what is wrong with it would pass for the model's.

    Raises:
        RobustsegError: naming the first such source.
    """
    for batch, (name, source) in product(batches, sources.items()):
        for images, labels, ids in on_device([batch], source):
            try:
                with frozen(source), full_precision(images.device.type):
                    refuse_gradients(~AttackedModel(source, "ce", labels, ids)(images).finite, ids)
            except FullGpuError:
                raise
            except RobustsegError as error:
                raise RobustsegError(f"the source {name} cannot be attacked: {error}") from error


# Running it.


def rows_of_dataset(
    attacks: Sequence[Planned],
    model: Model,
    dataset: "Dataset",
    *,
    batch_size: int,
    indices: Sequence[int] | None = None,
    kept: FinishedParts | None = None,
    progress: Progress | None = None,
) -> list[EvidenceRow]:
    """Run attacks on a data set and return the rows of evidence.

    Args:
        attacks, model, kept, progress: see `rows_of_batches`.
        dataset: see `data.interface.Dataset`.
        batch_size: images at a time.
        indices: images of the data set to attack (a shard); None for all.

    Raises:
        RobustsegError: images, labels or logits that do not fit, or what the attacks refuse.
    """
    chosen = batches_of(dataset, range(len(dataset)) if indices is None else indices, batch_size)
    batches = (dataset.batch(some) for some in chosen)
    return rows_of_batches(attacks, model, batches, len(chosen), kept, progress)


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

    Arguments as for `on_itself` and `rows_of_dataset`; a `suite` in `identity` is not used, and
    `look` counts in place of `look_and_count`.

    Raises:
        RobustsegError: images, labels or logits that do not fit.
    """
    attacks = [Planned(clean_row(identity), look or partial(look_and_count, model))]
    return rows_of_dataset(
        attacks, model, dataset, batch_size=batch_size, indices=indices, progress=progress
    )


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

    def resumed(planned: Planned, batch: Batch) -> Outcome:
        if kept is None or planned.shared["suite"] == CLEAN_SUITE:
            return planned.attack(batch)  # a clean look is cheap, and sees what is doubtful
        images, labels, ids = batch
        key = (sorted(planned.shared.items()), planned.spec, ids)
        return kept.resume(partial(planned.attack, batch), key, images, labels)

    run = [partial(resumed, planned) for planned in attacks]
    steps: Iterable[Any] = in_turn(on_device(batches, model), run)
    if progress:
        unit = "batches x attacks" if len(attacks) > 1 else "batches"
        steps = progress.track(steps, total and total * len(attacks), unit)
    rows: list[EvidenceRow] = []
    for (_, _, ids), number, _, outcome in steps:
        watch(outcome)
        rows += _rows_of(outcome, attacks[number].shared, ids)
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
