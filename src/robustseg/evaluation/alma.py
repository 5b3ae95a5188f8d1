"""ALMA prox over a data set, as rows of evidence (arXiv 2306.12941, C.4 and Figure 6)."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from robustseg.attacks.alma_prox import DEFAULT_THRESHOLD, alma_prox
from robustseg.attacks.attacked_model import Model
from robustseg.attacks.counting import Outcome, count, measure
from robustseg.attacks.spec import UNBOUNDED_255
from robustseg.evaluation.evaluate import Batch, Row, batch_by_batch, outcome_rows
from robustseg.evaluation.resume import Parts
from robustseg.progress import Progress

if TYPE_CHECKING:
    from robustseg.data.datasets import Dataset


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
) -> list[Row]:
    """Return one row of evidence an image, of the smallest perturbation that was found.

    An image counts as flipped at a radius if at least `threshold` of its pixels are wrong and
    linf_255 is at most the radius. Where the threshold was never reached the row is that of the
    clean image, with linf_255 0 and most pixels right, so that it is flipped at no radius.

    Args:
        model: see `alma_prox`.
        dataset: see `robustseg.data.datasets.Dataset`.
        threshold: see `alma_prox`.
        steps: see `alma_prox`.
        batch_size: images at a time.
        identity: `dataset`, `model`, `training_seed` and `suite` of the rows.
        indices: images of the data set to attack (a shard); None for all.
        parts: as for `evaluate_suite`.
        progress: says how far it is.

    Raises:
        RobustsegError: what `alma_prox` refuses, or `parts` for a model that is not a module.
    """
    shared = {
        **identity,
        "attack": f"alma_prox-{threshold:g}-{steps}",
        "loss": "margin",
        "optimizer": "alma_prox",
        "schedule": "none",
        "iterations": steps,
        "eps_255": UNBOUNDED_255,
        "seed": 0,
    }
    settings = (sorted(shared.items()), threshold)
    kept = Parts(parts, model, settings, progress) if parts else None
    compute = partial(_alma_rows, model, threshold, steps, shared)
    return batch_by_batch(compute, model, dataset, batch_size, indices, kept, progress)


def _alma_rows(model: Model, threshold: float, steps: int, shared: Row, batch: Batch) -> list[Row]:
    images, labels, ids = batch
    found = alma_prox(model, images, labels, threshold=threshold, steps=steps, image_ids=ids)
    outcome = Outcome(
        adversarial=found.adversarial,
        counts=count(model, found.adversarial, labels, ids),
        linf_255=measure(found.adversarial, images, ids, UNBOUNDED_255),
        forward_passes=found.forward_passes.cpu().numpy() + 1,
        backward_passes=found.backward_passes.cpu().numpy(),
    )
    return outcome_rows(outcome, shared, ids)
