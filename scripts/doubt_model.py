"""Doubt the figures of a suite at one radius or several, and write evidence and findings."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustseg.workflow_job import choose_device, job
from robustseg.data.batching import batches_of
from robustseg.data.interface import Dataset
from robustseg.evaluation.adapters import load_pair, load_sources, read_class_pixels, sources_of
from robustseg.evaluation.doubting.figure import Figure, choose_images
from robustseg.evaluation.doubting.opinion import second_opinion
from robustseg.evaluation.resume import FinishedParts
from robustseg.evidence.enumerator import radii_of_path
from robustseg.evidence.findings import FINDINGS_KEY, to_text
from robustseg.evidence.reading import read_evidence
from robustseg.evidence.schema import device_name, hash_settings, provenance
from robustseg.evidence.writing import write_evidence
from robustseg.progress import Progress

if TYPE_CHECKING:
    from robustseg.workflow_job import snakemake
    from robustseg.attacks.outcomes import Batch


def write_doubt_evidence(
    weights: str | Sequence[str],
    val: str,
    doubted: Sequence[str],
    evidence: str,
    *,
    own: Mapping[str, Any] | None,
    suite: Mapping[str, Any],
    sources: Mapping[str, str | Mapping[str, Any]],
    class_pixels: str | None,
    radii_255: Sequence[float],
    known_255: Sequence[float],
    identity: Mapping[str, str | int],
    config_hash: str,
    batch_size: int,
    device: str,
    progress: Progress,
) -> None:
    """Doubt the figures of a suite on the model in `weights`, and write what the checks found.

    Passes are in full precision, whatever the suite's are. What a killed job had finished lies
    beside the output, in a folder that ends in `.parts`; the job continues from it and then removes
    it.

    Args:
        weights, val, own, sources, class_pixels, batch_size: as for `write_attack_evidence`.
        doubted: evidence of the clean evaluation and of the suite.
        evidence: the output, Parquet, with an opinion for each radius in its metadata.
        suite: the section of the second opinion in the configuration.
        radii_255: of the figures, in 1/255, one after the other.
        known_255: at these the evidence counts, since figures are compared between radii.
        identity: `dataset`, `model`, `training_seed` and `suite` of the rows.
        config_hash: of the settings that the rows follow from.
        device: of torch.
        progress: says how far it is.
    """
    model, dataset = load_pair(weights, val, device, own)
    others = load_sources(sources, dataset.num_classes, device)
    frame = read_evidence(doubted, counts=False)
    frame = frame[frame["eps_255"].isin([0.0, *known_255])]
    figures = [Figure.of(frame, [suite["of"]], eps_255) for eps_255 in radii_255]
    chosen = choose_images(figures[0].image_ids, suite["images"])
    pixels = read_class_pixels(class_pixels)
    parts = Path(evidence).with_suffix(".parts")
    rows, opinions = [], []
    for figure in progress.track(figures, len(figures), "radii"):
        attack = replace(figure.strongest, iterations=suite["iterations"])
        found, opinion = second_opinion(
            model,
            _batches(dataset, chosen, batch_size),
            replace(figure, strongest=attack),
            identity=identity,
            sources=others,
            class_pixels=pixels,
            kept=FinishedParts(parts, [model, *others.values()], pixels, progress),
            progress=progress,
        )
        rows += [{**row, "suite": identity["suite"]} for row in found]
        opinions.append(opinion)
        progress.say(f"{opinion}")
    made_by = provenance(config_hash, device_name(device), "float32")
    made_by |= {FINDINGS_KEY: to_text(opinions)}
    write_evidence(evidence, rows, made_by, dataset.class_names)
    shutil.rmtree(parts, ignore_errors=True)


def _batches(dataset: Dataset, image_ids: Sequence[str], batch_size: int) -> list["Batch"]:
    """Return some images of a data set, in its order."""
    wanted = set(image_ids)
    places = [place for place, name in enumerate(dataset.image_ids) if name in wanted]
    return [dataset.batch(some) for some in batches_of(dataset, places, batch_size)]


if __name__ == "__main__":
    wildcards, params = snakemake.wildcards, snakemake.params
    what = (
        f"doubt {wildcards.model}, seed {wildcards.training_seed}, "
        f"{wildcards.suite} at {wildcards.eps_255}/255"
    )
    with job(what, snakemake.log[0]) as progress:
        write_doubt_evidence(
            snakemake.input.weights,
            snakemake.input.val,
            snakemake.input.doubted,
            snakemake.output.evidence,
            own=params.own,
            suite=params.suite,
            sources=sources_of(params.sources, snakemake.input.sources),
            class_pixels=next(iter(snakemake.input.class_pixels), None),
            radii_255=radii_of_path(wildcards.eps_255),
            known_255=params.radii,
            identity={
                "dataset": params.dataset,
                "model": wildcards.model,
                "training_seed": int(wildcards.training_seed),
                "suite": wildcards.suite,
            },
            config_hash=hash_settings(
                params.lineage, params.suite, params.sources, params.doubted, params.radii
            ),
            batch_size=snakemake.resources.batch_size,
            device=choose_device(snakemake.resources.gpu, progress),
            progress=progress,
        )
