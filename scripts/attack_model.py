"""Attack a model with a suite at one radius, and write the evidence."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robustseg.attacks.evaluate import evaluate_suite
from robustseg.attacks.spec import suite_attacks
from robustseg.data.datasets import load_split
from robustseg.jobs import choose_device, device_name, hash_settings, job
from robustseg.models.checkpoints import load_model
from robustseg.progress import Progress
from robustseg.records import provenance, write_evidence


def write_attack_evidence(
    weights: str,
    val: str,
    evidence: str,
    *,
    suite: Mapping[str, Any],
    eps_255: float,
    seed: int,
    shard: tuple[int, int],
    identity: Mapping[str, str | int],
    config_hash: str,
    batch_size: int,
    device: str,
    progress: Progress,
) -> None:
    """Run a suite on the model in `weights` and write one row for each image and attack.

    What a killed job had finished lies beside the output, in a folder of the same name that ends
    in `.parts`; the job continues from it and then removes it.

    Args:
        weights: a segmentation model, safetensors.
        val: the images, .npz.
        evidence: the output, Parquet.
        suite: the suite's section of the configuration.
        eps_255: radius in 1/255.
        seed: of the attacks.
        shard: (i, n): the i-th of n jobs that share the images, counted from 0.
        identity: `dataset`, `model`, `training_seed` and `suite` of the rows.
        config_hash: of the settings that the rows follow from.
        batch_size: images at a time.
        device: of torch.
        progress: says how far it is.
    """
    specs = suite_attacks(
        suite["losses"],
        suite["optimizer"],
        suite["schedules"],
        suite["iterations"],
        suite["step_size"],
        eps_255,
    )
    dataset = load_split(val)
    model, _ = load_model(weights, device)
    parts = Path(evidence).with_suffix(".parts")
    rows = evaluate_suite(
        model,
        dataset,
        specs,
        eps_255=eps_255,
        seed=seed,
        batch_size=batch_size,
        identity=identity,
        indices=images_of_shard(len(dataset), *shard),
        parts=parts,
        progress=progress,
    )
    write_evidence(evidence, rows, provenance(config_hash, device_name(device), "float32"))
    shutil.rmtree(parts, ignore_errors=True)


def images_of_shard(images: int, shard: int, shards: int) -> range:
    """Return the places of the images that one of `shards` jobs attacks: each is in just one."""
    return range(images * shard // shards, images * (shard + 1) // shards)


if __name__ == "__main__":
    wildcards, params = snakemake.wildcards, snakemake.params
    what = (
        f"attack {wildcards.model}, seed {wildcards.training_seed}, "
        f"{wildcards.suite} at {wildcards.eps_255}/255"
    )
    with job(what, snakemake.log[0]) as progress:
        write_attack_evidence(
            snakemake.input.weights,
            snakemake.input.val,
            snakemake.output.evidence,
            suite=params.suite,
            eps_255=float(wildcards.eps_255),
            seed=int(wildcards.seed),
            shard=(int(wildcards.shard), params.shards),
            identity={
                "dataset": params.dataset,
                "model": wildcards.model,
                "training_seed": int(wildcards.training_seed),
                "suite": wildcards.suite,
            },
            config_hash=hash_settings(params.lineage, params.suite),
            batch_size=snakemake.resources.batch_size,
            device=choose_device(snakemake.resources.gpu, progress),
            progress=progress,
        )
