"""The suites of a configuration by kind: from a model and images to rows of evidence."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from robustseg.attacks.search_model import exact
from robustseg.attacks.spec import SQUARE, SquareSpec, images_of_shard, specs_of
from robustseg.data.interface import Dataset
from robustseg.data.relabelled import background_class, without_background
from robustseg.errors import RobustsegError
from robustseg.evaluation.adapters import WithoutClass
from robustseg.evaluation.over_batches import (
    EvidenceRow,
    Planned,
    carried_over,
    evaluate_clean,
    minimal_norm,
    on_itself,
    rows_of_dataset,
)
from robustseg.evaluation.resume import FinishedParts
from robustseg.evaluation.standard_suites import Suite
from robustseg.evidence.enumerator import CLEAN_OBJECTS
from robustseg.progress import Progress
from robustseg.seeds import derive_seed


def run_suite(
    suite: Suite,
    model: nn.Module,
    dataset: Dataset,
    *,
    eps_255: float,
    seed: int,
    shard: tuple[int, int, int],
    batch_size: int,
    identity: Mapping[str, str | int],
    parts: Path,
    progress: Progress,
    sources: Mapping[str, nn.Module],
    class_pixels: Sequence[int] | None = None,
) -> list[EvidenceRow]:
    """Run a suite at one radius and return its rows of evidence.

    Args:
        suite: its section of the configuration.
        model: the one that is scored; a module in eval mode, images to logits (B, K, h, w).
        dataset: the images.
        eps_255: radius in 1/255.
        seed: of the attacks.
        shard: (i, n, unit): the i-th of n jobs that share the images, counted from 0, cut at
            multiples of `unit` images.
        batch_size: images at a time.
        identity: `dataset`, `model`, `training_seed` and `suite` of the rows.
        parts: a folder where the outcome of each finished (batch, attack) is kept, so that a job
            that was killed goes on from there to the same rows. What other settings, weights or
            images left there is not used. Delete it once the evidence is written.
        progress: says how far it is.
        sources: the models that perturbations are found on, by name, where they are others.
        class_pixels: N_k of the training set, for losses by class; None: not known.

    Raises:
        RobustsegError: an unknown kind, or what the attacks refuse.
    """
    places = random_images(dataset.image_ids, suite.get("images"))
    indices = [places[place] for place in images_of_shard(len(places), *shard)]
    over: dict[str, Any] = {"batch_size": batch_size, "indices": indices, "progress": progress}
    if suite["kind"] == "objects":
        return _objects(model, dataset, identity, over)
    attacks = planned_attacks(
        suite,
        model,
        eps_255=eps_255,
        seed=seed,
        identity=identity,
        sources=sources,
        class_pixels=class_pixels,
    )
    kept = FinishedParts(parts, [model, *sources.values()], class_pixels, progress)
    return rows_of_dataset(attacks, model, dataset, kept=kept, **over)


def random_images(image_ids: list[str], count: int | None) -> list[int]:
    """Return the places of `count` images (None: all), ascending; the same for every model.

    Raises:
        RobustsegError: there are fewer.
    """
    if count is None:
        return list(range(len(image_ids)))
    if count > len(image_ids):
        raise RobustsegError(
            f"{count} images are to be attacked and there are {len(image_ids)}; lower `images`"
        )
    drawn = sorted(range(len(image_ids)), key=lambda i: derive_seed("subset", image_ids[i]))
    return sorted(drawn[:count])


def planned_attacks(
    suite: Suite,
    model: nn.Module,
    *,
    eps_255: float,
    seed: int,
    identity: Mapping[str, str | int],
    sources: Mapping[str, nn.Module],
    class_pixels: Sequence[int] | None,
) -> list[Planned]:
    """Return a suite's attacks on a model at one radius, for batches from anywhere.

    Raises:
        RobustsegError: a kind that needs a whole data set, a source that is not there, or what
            `attacks.spec` refuses.
    """
    kind = suite["kind"]
    bounded: dict[str, Any] = {
        "eps_255": eps_255, "seed": seed, "identity": identity, "class_pixels": class_pixels,
    }  # fmt: skip
    if kind == "white_box":
        return on_itself(model, specs_of(suite, eps_255), **bounded)
    if kind == SQUARE:
        return on_itself(model, [SquareSpec(suite["iterations"], suite["p_init"])], **bounded)
    if kind == "alma":
        return [minimal_norm(model, suite["threshold"], suite["iterations"], identity=identity)]
    if kind != "transfer":
        raise RobustsegError(f"a suite of the kind {kind!r} cannot be run on a model of one's own")
    lacking = [name for name in suite["sources"] if name not in sources]
    if lacking:
        raise RobustsegError(f"the source {lacking[0]} of a transfer attack is not in `sources`")
    return [
        carried_over(sources[name], model, spec, source_name=name, **bounded)
        for name in suite["sources"]
        for spec in specs_of(suite, eps_255)
    ]


def _objects(
    model: nn.Module, dataset: Dataset, identity: Mapping[str, str | int], over: Mapping[str, Any]
) -> list[EvidenceRow]:
    """Score objects without an attack: background is neither predicted nor counted."""
    rows = evaluate_clean(
        WithoutClass(exact(model), background_class(dataset)),
        without_background(dataset),
        identity=identity,
        **over,
    )
    return [{**row, "suite": identity["suite"], "attack": CLEAN_OBJECTS} for row in rows]
