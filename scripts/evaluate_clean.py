"""Evaluate a model on images without an attack, and write the evidence."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from robustseg.workflow_job import choose_device, job
from robustseg.attacks.warning_signs import WarningSigns
from robustseg.evaluation.adapters import load_pair
from robustseg.evaluation.over_batches import evaluate_clean
from robustseg.evidence.schema import device_name, hash_settings, provenance, said
from robustseg.evidence.writing import write_evidence
from robustseg.progress import Progress

if TYPE_CHECKING:
    from robustseg.workflow_job import snakemake


def write_clean_evidence(
    weights: str | Sequence[str],
    val: str,
    evidence: str,
    *,
    own: Mapping[str, Any] | None,
    identity: Mapping[str, str | int],
    config_hash: str,
    batch_size: int,
    device: str,
    progress: Progress,
) -> None:
    """Evaluate the model in `weights` on the split `val` and write one row an image.

    Args:
        weights: a segmentation model, or a classifier, safetensors.
        val: the images, see `datasets.load_split`.
        evidence: the output, Parquet.
        own: how a model of one's own is made; None for all others.
        identity: `dataset`, `model` and `training_seed` of the rows.
        config_hash: of the settings that the rows follow from.
        batch_size: images at a time.
        device: of torch.
        progress: says how far it is.
    """
    model, dataset = load_pair(weights, val, device, own)
    signs = WarningSigns(model, [])
    rows = evaluate_clean(
        model,
        dataset,
        batch_size=batch_size,
        identity=identity,
        progress=progress,
        look=signs.look,
    )
    made_by = provenance(config_hash, device_name(device), "float32") | said(signs.found())
    for sentence in signs.found():
        progress.say(f"warning: {sentence}")
    write_evidence(evidence, rows, made_by, dataset.class_names)


if __name__ == "__main__":
    wildcards, params = snakemake.wildcards, snakemake.params
    what = f"clean evaluation of {wildcards.model}, seed {wildcards.training_seed}"
    with job(what, snakemake.log[0]) as progress:
        write_clean_evidence(
            snakemake.input.weights,
            snakemake.input.val,
            snakemake.output.evidence,
            own=params.own,
            identity={
                "dataset": params.dataset,
                "model": wildcards.model,
                "training_seed": int(wildcards.training_seed),
            },
            config_hash=hash_settings(params.lineage),
            batch_size=snakemake.resources.batch_size,
            device=choose_device(snakemake.resources.gpu, progress),
            progress=progress,
        )
