"""`robustseg.doubt`: a second opinion on a run of `evaluate`, or on a model without one."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from robustseg.attacks.inputs import check_counts
from robustseg.attacks.outcomes import Batch
from robustseg.errors import GradientError, RobustsegError
from robustseg.evaluation.anybodys_data import CHANGES, STEADY, Source, source_of
from robustseg.evaluation.arguments import radii_of
from robustseg.evaluation.doubting.figure import Figure, choose_images
from robustseg.evaluation.doubting.opinion import second_opinion
from robustseg.evaluation.evaluate import evaluate
from robustseg.evaluation.resume import FinishedParts, digest_of_batch, digest_of_weights
from robustseg.evaluation.run_folder import RECORD, doubt_file, evidence_files, read_records
from robustseg.evaluation.standard_suites import Suite
from robustseg.evidence.enumerator import radius_of
from robustseg.evidence.findings import FINDINGS_KEY, SOUND, SUITE, Opinion, to_text
from robustseg.evidence.reading import read_evidence
from robustseg.evidence.schema import device_name, hash_settings, provenance
from robustseg.evidence.writing import write_evidence
from robustseg.models.wrap import WrappedModel, with_num_classes, wrap
from robustseg.progress import Progress

IMAGES = 32
"""That a figure is doubted on, if nothing else is said."""


@dataclass
class Doubt:
    """Second opinions on one model; printing it shows the verdicts and each check.

    Attributes:
        folder: of the run, with the evidence of the checks beside its own; None if none was kept.
        name: of the model.
        opinions: one for each radius.
    """

    folder: Path | None
    name: str
    opinions: list[Opinion]

    @property
    def overestimated(self) -> bool:
        """Whether anything speaks for a figure being too high."""
        return any(one.rating != SOUND for one in self.opinions)

    def __str__(self) -> str:
        lines = [f"{self.name} {one}" for one in self.opinions]
        if self.folder:
            lines.append(
                f"Evidence is in {self.folder / 'attacks' / SUITE}; `robustseg report "
                f"{self.folder}` shows it."
            )
        return "\n".join(lines)


def doubt(
    model: Any,
    data: Any,
    eps_255: float | Sequence[float] | None = None,
    *,
    folder: str | Path | None = None,
    images: int = IMAGES,
    num_classes: int | None = None,
    ignore_index: int | None = 255,
    suites: Sequence[str] | Mapping[str, Suite] = ("sea_plus",),
    iterations: int | None = None,
    batch_size: int = 8,
    seed: int = 0,
    sources: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> Doubt:
    """Say whether a robustness figure must not be trusted, and by how much it is too high at least.

    With the `folder` of a run of `evaluate` its figures are doubted. Without one, the first images
    of the data are evaluated before, by `sea_plus`, which is stronger than SEA at its price, or by
    Square if the model gives no gradient. Each check has a figure, a threshold and advice
    (docs/doubt.md).

    Example:
        >>> import torch
        >>> import robustseg
        >>> net = torch.nn.Conv2d(3, 2, kernel_size=1)
        >>> pairs = [(torch.rand(3, 8, 8), torch.randint(2, (8, 8))) for _ in range(4)]
        >>> rounds = lambda images: net(torch.round(images * 255) / 255)
        >>> found = robustseg.doubt(rounds, pairs, eps_255=8, iterations=10, progress=False)
        >>> [one.check for one in found.opinions[0].failed][0]
        'zero_gradients'

    Args:
        model, data, num_classes, ignore_index: as for `evaluate`.
        eps_255: radii in 1/255; None: those of the run.
        folder: of a run of `evaluate` on the same model and data, where the evidence of the checks
            is put beside it; None: nothing is kept.
        images: how many, drawn from those of the run; they stay in memory, for attack after attack.
        suites, iterations, batch_size, seed: of `evaluate`, where there is no run yet.
        sources: models by name; what is found on them is tried on the model.
        progress: whether to say what it costs and how far it is.

    Raises:
        RobustsegError: what `evaluate` refuses; a model, weights, labels or radius that are not
            those of the run.
    """
    check_counts(images=images)
    if isinstance(data, Iterator):
        raise RobustsegError(
            "the data can be read only once, and a doubt reads it again after the evaluation: hand "
            "over a list, a data set or a loader"
        )
    twice = (source_of(data, batch_size=batch_size, ignore_index=ignore_index) for _ in range(2))
    if len(set(map(_digest_of_first, twice))) > 1:
        raise RobustsegError(f"{CHANGES}: it is not that of the run; {STEADY}")
    wrapped = with_num_classes(wrap(model), num_classes)
    if not isinstance(sources, Mapping | None):
        raise RobustsegError("sources must be a dict: models by name")
    others = {name: wrap(one) for name, one in (sources or {}).items()}
    with tempfile.TemporaryDirectory() as temporary, torch.inference_mode(False):
        root = Path(folder or temporary)
        is_there = bool(list(root.glob(RECORD.format(shard="*", shards="*"))))
        if not is_there:
            if eps_255 is None:
                no_run = f"{folder} holds no run, and " if folder else ""
                advice = "name the radius to doubt, in 1/255"
                raise RobustsegError(f"{no_run}eps_255 is missing: {advice}")
            first: dict[str, Any] = {
                **{"ignore_index": ignore_index, "folder": root, "batch_size": batch_size},
                **{"images": images, "pictures": 0, "seed": seed, "progress": progress},
            }
            try:
                evaluate(wrapped, data, eps_255, suites=suites, iterations=iterations, **first)
            except GradientError:  # the figure of an attack without gradients is doubted instead
                search = ["blackbox"]
                evaluate(wrapped, data, eps_255, suites=search, iterations=iterations, **first)
        records = read_records(root)
        if is_there:
            wrapped = _as_in_the_run(wrapped, records[0], root)
        opinions = _opinions(root, records, wrapped, data, eps_255, images, others, progress)
        return Doubt(Path(folder) if folder else None, records[0]["name"], opinions)


def _as_in_the_run(model: WrappedModel, record: dict[str, Any], root: Path) -> WrappedModel:
    """Return the model with the run's number of classes, which it may not have been told.

    Raises:
        RobustsegError: another number was said; other weights or settings than the run's.
    """
    classes = record["num_classes"]
    if model.data_classes not in (None, classes):
        raise RobustsegError(
            f"the run in {root} has {classes} classes, and the model was given "
            f"{model.data_classes}; leave num_classes out"
        )
    told = with_num_classes(model, classes)
    untold = copy.copy(told)
    untold.data_classes = None
    for one in (told, untold):
        if digest_of_weights([one]) == record["weights"]:
            return one
    raise RobustsegError(
        f"the model has other weights, buffers or another normalisation than the one that "
        f"{root} was made with; pass that one, or evaluate this one into a folder of its own"
    )


def _opinions(
    root: Path,
    records: list[dict[str, Any]],
    model: WrappedModel,
    data: Any,
    eps_255: float | Sequence[float] | None,
    images: int,
    sources: Mapping[str, WrappedModel],
    progress: bool,
) -> list[Opinion]:
    record = records[0]
    suites = [name for name, suite in record["suites"].items() if radius_of(suite) is None]
    frame = read_evidence(evidence_files(root, records, suites), counts=False)
    asked = record["eps_255"] if eps_255 is None else radii_of(eps_255)
    figures = [Figure.of(frame, suites, radius) for radius in asked]
    batches = _batches(data, record, choose_images(figures[0].image_ids, images))
    opinions = []
    for figure in figures:
        said = Progress(f"doubt {record['name']} at {figure.eps_255:g}/255") if progress else None
        pixels = record["class_pixels"]
        kept = FinishedParts(root / "parts", [model, *sources.values()], pixels, said)
        rows, opinion = second_opinion(
            model,
            batches,
            figure,
            identity={"dataset": record["dataset"], "model": record["name"], "training_seed": 0},
            sources=sources,
            class_pixels=pixels,
            kept=kept,
            progress=said,
        )
        _write(root, record, figure, rows, opinion, model)
        opinions.append(opinion)
    return opinions


def _digest_of_first(source: Source) -> str:
    """Return what tells the first batch of data; "" if there is none."""
    return "".join(map(digest_of_batch, islice(source.batches, 1)))


def _batches(data: Any, record: Mapping[str, Any], wanted: Sequence[str]) -> list[Batch]:
    """Return the wanted images of a run's data, in batches.

    Raises:
        RobustsegError: one is not in the data.
    """
    source = source_of(
        data,
        batch_size=record["batch_size"],
        ignore_index=record["ignore_index"],
        images=record["images"],
    )
    left = set(wanted)
    found: list[Batch] = []
    for images, labels, ids in source.batches:
        places = [place for place, one in enumerate(ids) if one in left]
        if places:
            found.append((images[places], labels[places], [ids[place] for place in places]))
            left -= set(found[-1][2])
        if not left:
            return found
    raise RobustsegError(
        f"image {min(left)} of the run is not in the data ({len(left)} of {len(wanted)} are not); "
        "pass the data that the run was made with"
    )


def _write(
    root: Path,
    record: Mapping[str, Any],
    figure: Figure,
    rows: Sequence[dict[str, Any]],
    opinion: Opinion,
    model: WrappedModel,
) -> None:
    """Write the evidence of the checks with the findings in its metadata."""
    device = device_name(str(model.device or "cpu"))
    made_by = provenance(hash_settings(record["suites"], opinion.images), device, "float32")
    made_by |= {FINDINGS_KEY: to_text([opinion])}
    path = root / doubt_file(record, figure.eps_255)
    write_evidence(path, rows, made_by, record["class_names"])
