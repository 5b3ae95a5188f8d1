"""Run a suite on a model at one radius or several, and write the evidence."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustseg.workflow_job import choose_device, job
from robustseg.attacks.search_model import SearchModel
from robustseg.evaluation.adapters import load_pair, load_sources, read_class_pixels, sources_of
from robustseg.evaluation.suites import run_suite
from robustseg.evidence.enumerator import radii_of_path
from robustseg.evidence.schema import device_name, hash_settings, provenance
from robustseg.evidence.writing import write_evidence
from robustseg.progress import Progress

if TYPE_CHECKING:
    from robustseg.workflow_job import snakemake


def write_attack_evidence(
    weights: str | Sequence[str],
    val: str,
    evidence: str,
    *,
    own: Mapping[str, Any] | None,
    suite: Mapping[str, Any],
    sources: Mapping[str, str | Mapping[str, Any]],
    class_pixels: str | None,
    radii_255: Sequence[float],
    seed: int,
    shard: tuple[int, int, int],
    identity: Mapping[str, str | int],
    config_hash: str,
    batch_size: int,
    precision: str,
    compiled: bool,
    device: str,
    progress: Progress,
) -> None:
    """Run a suite on the model in `weights` and write a row for each image, attack and radius.

    What a killed job had finished lies beside the output, in a folder of the same name that ends
    in `.parts`; the job continues from it and then removes it.

    Args:
        weights: a segmentation model, or a classifier, safetensors.
        val: the images, see `datasets.load_split`.
        evidence: the output, Parquet.
        own: how a model of one's own is made; None for all others.
        suite: the suite's section of the configuration.
        sources: models by name that a transfer attack is found on: their weights, or how one of
            one's own is made.
        class_pixels: the pixels of each class, JSON, where a loss asks for them.
        radii_255: of the attacks, in 1/255, one after the other.
        seed, shard, identity, batch_size, progress: see `suites.run_suite`.
        config_hash: of the settings that the rows follow from.
        precision: of the search, one of `names.PRECISIONS`; what counts is in full precision.
        compiled: whether the search goes through torch.compile.
        device: of torch.
    """
    model, dataset = load_pair(weights, val, device, own)
    model = SearchModel(model, precision, compiled)
    parts = Path(evidence).with_suffix(".parts")
    others = {
        name: SearchModel(source, precision, compiled)
        for name, source in load_sources(sources, dataset.num_classes, device).items()
    }
    pixels = read_class_pixels(class_pixels)
    rows = [
        row
        for eps_255 in radii_255
        for row in run_suite(
            suite,
            model,
            dataset,
            eps_255=eps_255,
            seed=seed,
            shard=shard,
            batch_size=batch_size,
            identity=identity,
            parts=parts,
            progress=progress,
            sources=others,
            class_pixels=pixels,
        )
    ]
    made_by = provenance(config_hash, device_name(device), model.extra_repr())
    write_evidence(evidence, rows, made_by, dataset.class_names)
    shutil.rmtree(parts, ignore_errors=True)


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
            own=params.own,
            suite=params.suite,
            sources=sources_of(params.sources, snakemake.input.sources),
            class_pixels=next(iter(snakemake.input.class_pixels), None),
            radii_255=radii_of_path(wildcards.eps_255),
            seed=int(wildcards.seed),
            shard=(int(wildcards.shard), *params.cut),
            identity={
                "dataset": params.dataset,
                "model": wildcards.model,
                "training_seed": int(wildcards.training_seed),
                "suite": wildcards.suite,
            },
            config_hash=hash_settings(
                params.lineage, params.suite, params.sources, params.precision, params.compiled
            ),
            batch_size=snakemake.resources.batch_size,
            precision=params.precision,
            compiled=params.compiled,
            device=choose_device(snakemake.resources.gpu, progress),
            progress=progress,
        )
