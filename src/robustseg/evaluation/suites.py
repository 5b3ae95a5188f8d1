"""The suites of a configuration by kind: from a model and images to rows of evidence."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from robustseg.attacks.search_model import exact
from robustseg.attacks.spec import (
    SQUARE,
    SquareSpec,
    images_of_shard,
    specs_of,
)
from robustseg.data.interface import Dataset
from robustseg.data.relabelled import background_class, without_background
from robustseg.errors import RobustsegError
from robustseg.evaluation.adapters import WithoutClass
from robustseg.evaluation.over_batches import (
    EvidenceRow,
    Planned,
    carried_over,
    evaluate_alma,
    evaluate_clean,
    evaluate_suite,
    minimal_norm,
    on_itself,
    transfer,
)
from robustseg.evidence.enumerator import CLEAN_OBJECTS
from robustseg.progress import Progress
from robustseg.seeds import derive_seed

Suite = Mapping[str, Any]


@dataclass(frozen=True)
class Task:
    """What every suite is run with.

    Attributes:
        model: the one that is scored; a module in eval mode, images to logits (B, K, h, w).
        dataset: the images.
        eps_255: radius in 1/255.
        seed: of the attacks.
        shard: (i, n, unit): the i-th of n jobs that share the images, counted from 0, cut at
            multiples of `unit` images.
        batch_size: images at a time.
        identity: `dataset`, `model`, `training_seed` and `suite` of the rows.
        parts: a folder for what a killed job had finished.
        progress: says how far it is.
        sources: the models that perturbations are found on, by name, where they are others.
        class_pixels: N_k of the training set, for losses by class; None: not known.
    """

    model: nn.Module
    dataset: Dataset
    eps_255: float
    seed: int
    shard: tuple[int, int, int]
    batch_size: int
    identity: Mapping[str, str | int]
    parts: Path
    progress: Progress
    sources: Mapping[str, nn.Module]
    class_pixels: Sequence[int] | None = None

    @property
    def common(self) -> dict[str, Any]:
        """What the functions that attack a data set all take."""
        names = ("batch_size", "identity", "parts", "progress")
        return {name: getattr(self, name) for name in names}

    @property
    def bounded(self) -> dict[str, Any]:
        """What those take besides that attack inside a radius, with random starts."""
        names = ("eps_255", "seed", "indices", "class_pixels")
        return {name: getattr(self, name) for name in names} | self.common

    @property
    def indices(self) -> range:
        """The places of the images that this shard attacks."""
        return images_of_shard(len(self.dataset), *self.shard)


def run_suite(suite: Suite, task: Task) -> list[EvidenceRow]:
    """Run a suite and return its rows of evidence.

    Args:
        suite: its section of the configuration.
        task: everything else.

    Raises:
        RobustsegError: an unknown kind, or what the attacks refuse.
    """
    kind = suite["kind"]
    if kind not in KINDS:
        raise RobustsegError(f"unknown kind of suite {kind!r}; known are {', '.join(KINDS)}")
    return KINDS[kind](suite, task)


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
        **{"eps_255": eps_255, "seed": seed, "identity": identity},
        "class_pixels": class_pixels,
    }
    if kind == "white_box":
        return on_itself(model, specs_of(suite, eps_255), **bounded)
    if kind == SQUARE:
        return on_itself(model, [_square_spec(suite)], **bounded)
    if kind == "alma":
        return minimal_norm(model, suite["threshold"], suite["iterations"], identity=identity)
    if kind != "transfer":
        raise RobustsegError(f"a suite of the kind {kind!r} cannot be run on a model of one's own")
    lacking = [name for name in suite["sources"] if name not in sources]
    if lacking:
        raise RobustsegError(f"the source {lacking[0]} of a transfer attack is not in `sources`")
    return [
        planned
        for name in suite["sources"]
        for spec in specs_of(suite, eps_255)
        for planned in carried_over(sources[name], model, spec, name, **bounded)
    ]


def _square_spec(suite: Suite) -> SquareSpec:
    return SquareSpec(suite["iterations"], suite["p_init"])


def _white_box(suite: Suite, task: Task) -> list[EvidenceRow]:
    specs = specs_of(suite, task.eps_255)
    return evaluate_suite(task.model, task.dataset, specs, **task.bounded)


def _square(suite: Suite, task: Task) -> list[EvidenceRow]:
    return evaluate_suite(task.model, task.dataset, [_square_spec(suite)], **task.bounded)


def _transfer(suite: Suite, task: Task) -> list[EvidenceRow]:
    return [
        row
        for name in suite["sources"]
        for spec in specs_of(suite, task.eps_255)
        for row in transfer(
            task.sources[name], task.model, task.dataset, spec, source_name=name, **task.bounded
        )
    ]


def _alma(suite: Suite, task: Task) -> list[EvidenceRow]:
    images = random_images(task.dataset.image_ids, suite["images"])
    return evaluate_alma(
        task.model,
        task.dataset,
        threshold=suite["threshold"],
        steps=suite["iterations"],
        indices=[images[place] for place in images_of_shard(len(images), *task.shard)],
        **task.common,
    )


def _objects(suite: Suite, task: Task) -> list[EvidenceRow]:
    rows = evaluate_clean(
        WithoutClass(exact(task.model), background_class(task.dataset)),
        without_background(task.dataset),
        batch_size=task.batch_size,
        identity=task.identity,
        indices=task.indices,
        progress=task.progress,
    )
    return [{**row, "suite": task.identity["suite"], "attack": CLEAN_OBJECTS} for row in rows]


KINDS: dict[str, Callable[[Suite, Task], list[EvidenceRow]]] = {
    "white_box": _white_box,
    "transfer": _transfer,
    "alma": _alma,
    SQUARE: _square,
    "objects": _objects,
}
"""By the names that the configuration uses."""
