"""Transfer attacks: found on one model, counted on another (arXiv 2306.12941, C.5 and Table 11)."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from robustseg.attacks.attacked_model import Model, device_of
from robustseg.attacks.counting import Outcome, count, measure
from robustseg.attacks.run import run_attack
from robustseg.attacks.spec import TRANSFER, AttackSpec
from robustseg.evaluation.evaluate import Batch, Row, batch_by_batch, outcome_rows
from robustseg.evaluation.resume import Parts
from robustseg.progress import Progress

if TYPE_CHECKING:
    from robustseg.data.datasets import Dataset


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
) -> list[Row]:
    """Attack the source and return evidence on the target, one row an image.

    The attack is named `transfer-{source_name}-{spec.name}` and keeps the spec's loss, optimizer,
    schedule and iterations. Passes are those of the source, and one forward pass of the target.

    Args:
        source: the model that perturbations are found on, as for `run_attack`.
        target: the model that is evaluated.
        dataset: whose images and labels both models see.
        spec: the attack on the source; the paper's is APGD on Mask-CE.
        source_name: of the source in the rows.
        eps_255: radius in 1/255.
        seed: of the attack.
        batch_size: images at a time.
        identity: `dataset`, `model` (the target), `training_seed` and `suite` of the rows.
        indices: images of the data set to attack (a shard); None for all.
        parts: as for `evaluate_suite`.
        progress: says how far it is.

    Raises:
        RobustsegError: what `run_attack` refuses, of either model; or `parts` for a model that is
            not a module.
    """
    shared = {
        **identity,
        "attack": f"{TRANSFER}{source_name}-{spec.name}",
        "loss": spec.loss,
        "optimizer": spec.optimizer,
        "schedule": spec.schedule,
        "iterations": spec.iterations,
        "eps_255": float(eps_255),
        "seed": seed,
    }
    kept = None
    if parts:
        settings = (sorted(shared.items()), spec.step_size)
        kept = Parts(parts, source, Parts(parts, target, settings).context, progress)
    compute = partial(_transfer_rows, source, target, spec, shared)
    return batch_by_batch(compute, target, dataset, batch_size, indices, kept, progress)


def _transfer_rows(
    source: Model, target: Model, spec: AttackSpec, shared: Row, batch: Batch
) -> list[Row]:
    """Attack the source on a batch; return the rows of the target."""
    images, labels, ids = batch
    eps_255, seed = shared["eps_255"], shared["seed"]
    there = device_of(source, images.device)
    found = run_attack(source, images.to(there), labels.to(there), ids, spec, eps_255, seed)
    adversarial = found.adversarial.to(images.device)
    outcome = Outcome(
        adversarial=adversarial,
        counts=count(target, adversarial, labels, ids),
        linf_255=measure(adversarial, images, ids, eps_255),
        forward_passes=found.forward_passes.numpy() + 1,
        backward_passes=found.backward_passes.numpy(),
    )
    return outcome_rows(outcome, shared, ids)
