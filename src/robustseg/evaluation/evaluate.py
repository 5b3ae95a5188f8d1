"""Evaluate anybody's model on anybody's data: from a loader to evidence and a table."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from math import nan
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import torch

from robustseg.attacks.inputs import as_class_pixels, refuse_few_class_pixels
from robustseg.attacks.outcomes import Attack, Batch, Outcome, look_and_count
from robustseg.attacks.spec import ask_for_class_pixels
from robustseg.attacks.warning_signs import WEIGHED_BY_EVALUATION, WarningSigns, warn
from robustseg.errors import RobustsegError
from robustseg.evaluation.anybodys_data import (
    ALL_IGNORED,
    Source,
    counted_pixels,
    read_again,
    source_of,
    without_repetition,
)
from robustseg.evaluation.arguments import check_arguments, check_names, names_or_suites, radii_of
from robustseg.evaluation.first_pictures import First, attack_to_show, keep_pictures
from robustseg.evaluation.over_batches import (
    EvidenceRow,
    Planned,
    clean_row,
    on_device,
    rows_of_batches,
    try_sources,
)
from robustseg.evaluation.resume import (
    FinishedParts,
    digest_of_batch,
    digest_of_data,
    digest_of_weights,
)
from robustseg.evaluation.run_folder import PICTURES, read_run, refuse_to_hide, write_run
from robustseg.evaluation.standard_suites import Suite, losses_of, named_suites
from robustseg.evaluation.suites import planned_attacks
from robustseg.evidence.enumerator import ALMA_PROX, CLEAN_SUITE, radius_of
from robustseg.evidence.schema import device_name
from robustseg.files import refuse_unwritable
from robustseg.models.wrap import WrappedModel, with_num_classes, wrap
from robustseg.names import amount
from robustseg.progress import Progress

if TYPE_CHECKING:
    from robustseg.evidence.queries import Score
    from robustseg.numbers_shown import Numbers


@dataclass
class Evaluation:
    """What was found of one model; printing it shows the table. Scores are fractions in [0, 1].

    Attributes:
        folder: of the run; None if none was kept.
        name: of the model.
        numbers: of the table that is printed, each with its interval and the runs behind it.
        clean: ACC and mIoU without an attack.
        robust: ACC and mIoU in the worst case over all attacks and the clean image, by radius; none
            if no attack had a radius.
        warnings: what makes them doubtful, in a sentence each.
        runtime_s: of all parts together.
    """

    folder: Path | None
    name: str
    numbers: Numbers
    clean: Score
    robust: dict[float, Score]
    warnings: list[str] = field(default_factory=list)
    runtime_s: float = 0.0

    def __str__(self) -> str:
        from robustseg.tables.layout import to_markdown
        from robustseg.tables.robustness import TABLE

        _, table = to_markdown(TABLE.layout(self.numbers)).split("\n\n", 1)
        count = next(iter(self.numbers.images.values()))
        lines = [table, f"{amount(count, 'image')}, {self.runtime_s:.0f} s."]
        lines += [f"Warning: {sentence}." for sentence in self.warnings]
        if self.folder:
            lines.append(
                f"Evidence is in {self.folder}; `robustseg report {self.folder}` shows it."
            )
        return "\n".join(lines)


def evaluate(
    model: Any,
    data: Any,
    eps_255: float | Sequence[float],
    *,
    num_classes: int | None = None,
    ignore_index: int | None = 255,
    folder: str | Path | None = None,
    suites: Sequence[str] | Mapping[str, Suite] = ("sea",),
    iterations: int | None = None,
    batch_size: int = 8,
    images: int | None = None,
    pictures: int = 4,
    seed: int = 0,
    shard: tuple[int, int] = (0, 1),
    sources: Mapping[str, Any] | None = None,
    class_pixels: Sequence[int] | None = None,
    name: str = "model",
    dataset: str = "data",
    class_names: Sequence[str] | None = None,
    progress: bool = True,
) -> Evaluation:
    """Attack a segmentation model on a whole data set, one batch in memory at a time.

    All images are looked at before the first is attacked, so the data are read twice; an iterator,
    which can be read only once, is looked at on the way.

    With a `folder`, the same call goes on where an interrupted one stopped, to the same evidence;
    what was kept for a model that computes something else is not used. A folder is of one run: a
    call that would leave out its name, seed, a radius or a suite is refused, one that adds some
    is not.

    Example:
        >>> import torch
        >>> from robustseg import evaluate
        >>> model = torch.nn.Conv2d(3, 2, kernel_size=1)
        >>> pairs = [(torch.rand(3, 8, 8), torch.randint(2, (8, 8))) for _ in range(4)]
        >>> result = evaluate(model, pairs, eps_255=[4, 8], iterations=3, progress=False)
        >>> result.robust[8.0].acc <= result.clean.acc
        True

    Args:
        model: as for `sea`; a module is put in eval mode meanwhile.
        data: a loader, a data set or list of pairs (image, label), or two arrays; images and labels
            as for `sea`, and of different sizes if not in one batch. See `anybodys_data`.
        eps_255: one radius or several, in 1/255.
        num_classes: K of the data; outputs from K on are no class of it. None: all outputs.
        ignore_index: label of pixels that are neither attacked nor counted; None: there are none.
        folder: where evidence is kept; made if need be.
        suites: names of `standard_suites.STANDARD_SUITES`, or "transfer" with `sources`; or suites
            of your own by name, in the words of a configuration (docs/config.md, Suite).
        iterations: of every attack, instead of the suites' own (300 for SEA).
        batch_size: images at a time, where the data does not say.
        images: only the first so many; None: all.
        pictures: so many of the first images are kept in `folder` as attacked at each radius, for
            the page of `robustseg report`; by one attack, on Mask-CE where a suite has it.
        seed: of the random starts.
        shard: (i, n): attack the i-th of n parts of the images, counted from 0, so that several
            machines share the work; the result is of the parts that are there.
        sources: models by name, that perturbations are carried over from.
        class_pixels: pixels of each class in the training set, for losses that weight classes;
            None: those of the evaluation labels, with a warning.
        name, dataset: what model and data are called in evidence and tables.
        class_names: K names, for tables; None: those of the data, or numbers.
        progress: whether to say how far it is, and how long it will take.

    Raises:
        RobustsegError: input that does not fit, or logits or gradients that are not finite, naming
            the image.
    """
    started = time.monotonic()
    radii = radii_of(eps_255)
    check_arguments(
        names={"name": name, "dataset": dataset},
        images=images,
        batch_size=batch_size,
        iterations=iterations,
        pictures=pictures,
        seed=seed,
        shard=shard,
        class_names=class_names,
    )
    # Numbers of NumPy could not be written when all is done.
    seed, batch_size, pictures = int(seed), int(batch_size), int(pictures)
    images, iterations = (None if one is None else int(one) for one in (images, iterations))
    shard = (int(shard[0]), int(shard[1]))
    class_names = None if class_names is None else list(map(str, class_names))
    class_pixels = as_class_pixels(class_pixels)
    wrapped = with_num_classes(wrap(model), num_classes)
    if not isinstance(sources, Mapping | None):
        raise RobustsegError("sources must be a dict: models by name")
    for key in sources or ():
        check_names(**{"the name of a source": key})
    others = {key: wrap(one) for key, one in (sources or {}).items()}
    # Before any pass: some networks count them, in a buffer.
    weights = digest_of_weights([wrapped])
    of_sources = {key: digest_of_weights([one]) for key, one in others.items()}
    chosen = named_suites(names_or_suites(suites), iterations, list(others))
    opened = partial(
        source_of,
        data,
        batch_size=batch_size,
        ignore_index=ignore_index,
        images=images,
    )
    source = opened(shard=shard)
    batches = source.batches
    can_be_read_again = not isinstance(data, Iterator)
    of_data = _of_data(opened()) if can_be_read_again and shard[1] > 1 else {}
    signs = WarningSigns(wrapped, radii, ignore_index, losses_of(chosen))
    signs.said += source.warnings
    if class_pixels is None and ask_for_class_pixels(
        member for suite in chosen.values() for member in suite.get("losses", ())
    ):
        class_pixels = counted_pixels(data, ignore_index=ignore_index, images=images)
        signs.said.append(WEIGHED_BY_EVALUATION)
    identity: dict[str, str | int] = {"dataset": dataset, "model": name, "training_seed": 0}
    attacks = _attacks_of(chosen, wrapped, radii, seed, identity, others, class_pixels)
    known: list[str] = []

    def say_now(sentence: str) -> None:
        signs.said.append(sentence)
        known.append(sentence)
        warn([sentence])

    with tempfile.TemporaryDirectory() as temporary, torch.inference_mode(False):
        root = Path(folder or temporary)
        refuse_unwritable([root / "parts"])
        refuse_to_hide(root, name=[name], eps_255=radii, suites=list(chosen), seed=[seed])
        told = Progress(f"evaluate {name}") if progress else None
        look: Attack = signs.look
        if can_be_read_again:
            try_sources(others, islice(opened(shard=shard).batches, 1 if others else 0))
            before = _look_at_all(batches, wrapped, source.total, shard[1], signs, told)
            batches = read_again(opened(shard=shard).batches, before, shard[1], say_now)
            look = partial(look_and_count, wrapped)
        refuse_few_class_pixels(class_pixels, len(signs.labels))
        known += signs.found() if can_be_read_again else signs.said
        warn(known)
        kept = FinishedParts(root / "parts", [wrapped, *others.values()], class_pixels, told)
        first = First(batches, pictures if folder and shard[0] == 0 else 0)
        attacks = [Planned(clean_row(identity), look), *attacks]
        rows = _run(attacks, wrapped, first, source.total, kept, signs, told)
        is_labelled = any(row["pixels"] for row in rows)
        if shard[1] == 1 and not is_labelled:
            raise RobustsegError(ALL_IGNORED)
        classes = len(rows[0]["union"])
        names = list(class_names or source.class_names or ())
        if len(names) != classes:
            if class_names:
                signs.said.append(
                    f"there are {len(names)} class_names and {classes} classes, so tables number "
                    "the classes"
                )
            names = []
        record: dict[str, Any] = {
            "name": name,
            "dataset": dataset,
            "model": _described(wrapped),
            "weights": weights,
            "sources": of_sources,
            "class_names": names or None,
            "num_classes": classes,
            "ignore_index": ignore_index,
            "eps_255": radii,
            "suites": chosen,
            "images": images,
            "class_pixels": class_pixels,
            "batch_size": batch_size,
            "seed": seed,
            "device": device_name(str(signs.device)),
            "shard": shard[0],
            "shards": shard[1],
            "warnings": signs.found(),
            "runtime_s": round(time.monotonic() - started, 1),
            **of_data,
        }
        if shard[0] == 0:
            path, attack = root / PICTURES.format(name=name), attack_to_show(chosen)
            called = names or list(map(str, range(classes)))
            keep_pictures(path, wrapped, first.batches, called, attack, radii, seed, kept, told)
        write_run(root, rows, record)
        result = read_evaluation(root, only_shard=shard) if is_labelled else _without_label(record)
        result.folder = Path(folder) if folder else None
    warn([sentence for sentence in result.warnings if sentence not in known], result)
    return result


def read_evaluation(folder: str | Path, only_shard: tuple[int, int] | None = None) -> Evaluation:
    """Return what the evidence in a run's folder says.

    Args:
        folder: of `evaluate`.
        only_shard: (i, n) if other parts may be missing; None: all must be there.

    Raises:
        RobustsegError: no run, parts that are missing or of different settings, damaged evidence.
    """
    from robustseg.evidence.queries import Score

    folder = Path(folder)
    run = read_run(folder, only_shard)
    name = run.records[0]["name"]

    def score(attack: str, eps_255: float) -> Score:
        found = [run.numbers.get(name, attack, eps_255, metric) for metric in ("acc", "miou")]
        return Score(*(one.value / 100 if one else nan for one in found))

    return Evaluation(
        folder=folder,
        name=name,
        numbers=run.numbers,
        clean=score(CLEAN_SUITE, 0.0),
        robust={eps_255: score("worst", eps_255) for eps_255 in run.radii_255},
        warnings=run.warnings,
        runtime_s=sum(record["runtime_s"] for record in run.records),
    )


def _without_label(record: dict[str, Any]) -> Evaluation:
    """Return what a part without a labelled pixel says by itself: no figure."""
    from robustseg.evidence.queries import Score
    from robustseg.numbers_shown import Numbers
    from robustseg.tables.robustness import TABLE

    nothing = "no pixel of this part is labelled, so it has no figures by itself"
    return Evaluation(
        folder=None,
        name=record["name"],
        numbers=Numbers(TABLE, {}, (), {record["dataset"]: 0}),
        clean=Score(nan, nan),
        robust={},
        warnings=[nothing, *record["warnings"]],
        runtime_s=record["runtime_s"],
    )


def _look_at_all(
    batches: Iterable[Batch],
    model: WrappedModel,
    total: int | None,
    parts: int,
    signs: WarningSigns,
    progress: Progress | None,
) -> list[str]:
    """Look at all images before the first is attacked, and return the digest of each batch.

    An attack takes thousands of passes of an image and this one: a label that is no class, logits
    that are not finite or a wrong normalisation are not told hours later.

    Raises:
        RobustsegError: two images have one id, an image, label or logit does not fit, or nothing is
            labelled.
    """
    once: Iterable[Batch] = without_repetition(batches)
    if progress:
        once = progress.track(once, total, "batches looked at")
    digests = []
    for batch in once:
        digests.append(digest_of_batch(batch))
        signs.look(next(on_device([batch], model)))
    if digests and not signs.labels.any():
        if parts == 1:
            raise RobustsegError(ALL_IGNORED)
        warn([f"{ALL_IGNORED}; unless that is so in this part alone, stop it"])
    return digests


def _of_data(whole: Source) -> dict[str, str]:
    """Return by what the records of parts tell whether they are of the same data."""
    first = next(whole.batches, None)
    return {} if first is None else {"data": digest_of_data(whole.ids, first)}


def _attacks_of(
    suites: Mapping[str, Suite],
    model: WrappedModel,
    radii: Sequence[float],
    seed: int,
    identity: Mapping[str, str | int],
    sources: Mapping[str, WrappedModel],
    class_pixels: Sequence[int] | None,
) -> list[Planned]:
    """Return the attacks of all suites, each at the radii asked for or at its own."""
    planned: list[Planned] = []
    for name, suite in suites.items():
        own = radius_of(suite)
        for radius in radii if own is None else [own]:
            planned += planned_attacks(
                suite,
                model,
                eps_255=radius,
                seed=seed,
                identity={**identity, "suite": name},
                sources=sources,
                class_pixels=class_pixels,
            )
    return planned


def _run(
    attacks: Sequence[Planned],
    model: WrappedModel,
    batches: Iterable[Batch],
    total: int | None,
    kept: FinishedParts,
    signs: WarningSigns,
    progress: Progress | None,
) -> list[EvidenceRow]:
    """Run all attacks on all batches; the clean look, which comes first, is never kept."""

    def watch(outcome: Outcome) -> None:
        signs.gradients(outcome.unexplained_zeros)

    once = without_repetition(batches)
    rows = rows_of_batches(attacks, model, once, total, kept, progress, watch)
    if not rows:
        raise RobustsegError(
            "there are no images in the data, or none in this shard; with fewer shards, a run "
            "continues from what is kept"
        )
    for name, acc, clean_acc in _means(rows):
        signs.attacked(name, acc, clean_acc)
    return rows


def _means(rows: Sequence[EvidenceRow]) -> Iterator[tuple[str, float, float]]:
    """Yield of each attack with a radius its name, and the accuracy with and without it."""
    shares: dict[str, dict[str, float]] = {}
    for row in rows:
        if row["pixels"] and row["optimizer"] != ALMA_PROX:
            name = f"{row['attack']} at {row['eps_255']:g}/255" if row["eps_255"] else CLEAN_SUITE
            shares.setdefault(name, {})[row["image_id"]] = row["pixels_correct"] / row["pixels"]
    clean = shares.pop(CLEAN_SUITE, {})
    for name, of_image in shares.items():
        yield name, fmean(of_image.values()), fmean(clean[one] for one in of_image)


def _described(model: WrappedModel) -> str:
    name = getattr(model.net, "__name__", type(model.net).__name__)
    return f"{name} ({model.extra_repr()})"
