"""From a figure, a model and images to an opinion, and the evidence behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from robustseg.attacks.attacked_model import Model
from robustseg.attacks.outcomes import Batch, predict
from robustseg.data.interface import IGNORE_LABEL
from robustseg.errors import RobustsegError
from robustseg.evaluation.doubting.attacks import DRAWS, SHIFTS, Doubter
from robustseg.evaluation.doubting.figure import Figure
from robustseg.evaluation.doubting.model_look import Seen, look
from robustseg.evaluation.over_batches import EvidenceRow, on_device, try_sources
from robustseg.evaluation.resume import FinishedParts
from robustseg.evidence.enumerator import doubt_passes
from robustseg.evidence.findings import CHECKS, FAILED, Finding, Opinion, judged, not_run
from robustseg.evidence.wording import percent
from robustseg.metrics import image_accuracy
from robustseg.names import amount
from robustseg.progress import Progress


def second_opinion(
    model: Model,
    batches: Sequence[Batch],
    figure: Figure,
    *,
    identity: Mapping[str, str | int],
    sources: Mapping[str, Model],
    class_pixels: Sequence[int] | None = None,
    kept: FinishedParts | None = None,
    progress: Progress | None = None,
) -> tuple[list[EvidenceRow], Opinion]:
    """Doubt a figure: look at the model, its gradients, the attack and the figure itself.

    Args:
        model: as for `run_attack`.
        batches: images of the figure, with their labels and ids.
        figure: what is doubted.
        identity: `dataset`, `model` and `training_seed` of the rows.
        sources: other models, whose attacks are carried over.
        class_pixels: see `run_attack`.
        kept: where finished parts are kept, so that a killed job goes on from there.
        progress: is told what it will cost, and what each check found.

    Returns:
        Evidence of its attacks, and the opinion.

    Raises:
        RobustsegError: labels or predictions that are not those of the evidence, or a source that
            cannot be attacked.
    """
    try_sources(sources, batches)
    seen = look(model, batches, figure.eps_255)
    if not seen.is_random:
        _check_same_model(seen, figure)
    if progress:
        progress.say(_costs(figure, seen, len(sources)))
    work = Doubter(model, batches, figure, seen, identity, class_pixels, kept, progress)
    work.everything(sources)
    rows = [row for check, some in work.rows.items() if check != "unbounded" for row in some]
    opinion = Opinion(
        eps_255=figure.eps_255,
        images=len(work.ids),
        acc=percent(float(work.base.mean())),
        found=work.found(),
        findings=tuple(_all_findings(work)),
    )
    return rows, opinion


def _all_findings(work: Doubter) -> list[Finding]:
    """Return the findings of all checks, in their order."""
    figure, seen = work.figure, work.seen
    none = "the model has no gradient that an attack could follow"
    trusted = "its own gradients look as they should"
    found = {one.check: one for one in seen.findings(work.model)}
    attacks = {
        "random_corners": "",
        "logit_scale": none,
        "more_iterations": none,
        "other_seed": none,
        "square_from_attack": "",
        "transfer": "no other model was given",
        "straight_through": trusted if seen.is_trusted else "nothing is known to hide them",
        "averaged_gradients": trusted if seen.agrees else none,
        "expectation": "the model is not random",
    }
    for check, otherwise in attacks.items():
        note = f"hidden by {', '.join(seen.noted.hidden)}" if check == "straight_through" else ""
        found[check] = work.finding(check, otherwise, note if check in work.rows else "")
    if work.broken and seen.has_gradients:
        said = next(iter(work.failures.values()))
        found["finite_gradients"] = Finding("finite_gradients", FAILED, None, said)
    found["rounded_to_8_bits"] = _rounding(work, none)
    found["radius_and_box"] = judged("radius_and_box", max(figure.outside_255, 0.0))
    found["unbounded"] = _unbounded(work, none)
    found |= {one.check: one for one in _of_radii(figure)}
    return [found[check] for check in CHECKS]


def _unbounded(work: Doubter, none: str) -> Finding:
    check = "unbounded"
    if check not in work.rows:
        why = none if work.any_exchanged else "no two images are of one size"
        return not_run(check, work.failures.get(check, why))
    more = work.accuracy(work.rows[check]) - exchanged(work.model, work.batches)
    return judged(check, max(percent(float(np.nanmean(more))), 0.0))


def exchanged(model: Model, batches: Sequence[Batch]) -> NDArray[np.float64]:
    """Return the accuracy (N,) that the worst of the other images leaves in the place of each.

    What an attack without a radius can reach at least. Images of another size are no candidates;
    NaN for an image without any.
    """
    seen: list[tuple[Tensor, Tensor]] = []
    for images, labels, _ in on_device(batches, model):
        predicted = predict(model, images).argmax(1).cpu()
        seen += zip(predicted, labels.cpu(), strict=True)
    lowest = []
    for place, (_, labels) in enumerate(seen):
        counted = labels != IGNORE_LABEL
        others = [
            float((predicted == labels)[counted].double().mean())
            for other, (predicted, _) in enumerate(seen)
            if other != place and predicted.shape == labels.shape
        ]
        lowest.append(min(others, default=np.nan))
    return np.array(lowest)


def _rounding(work: Doubter, none: str) -> Finding:
    check = "rounded_to_8_bits"
    if check not in work.rows:
        small = work.figure.eps_255 < 1
        why = "no image of 8 bits is nearer than 1/255" if small else none
        return not_run(check, work.failures.get(check, why))
    exact, rounded = (work.accuracy(work.rows[name]).mean() for name in ("other_seed", check))
    return judged(check, max(percent(float(rounded - exact)), 0.0))


def _of_radii(figure: Figure) -> list[Finding]:
    """Return what the radii of the evidence say of each other, and of the clean score."""
    rises, above = [], []
    all_clean = image_accuracy(*map(np.array, zip(*figure.clean.values(), strict=True)))
    clean = percent(float(np.nanmean(all_clean)))
    for attack, by_radius in figure.by_radius.items():
        radii = sorted(by_radius)
        above += [(by_radius[one] - clean, f"{attack} at {one:g}/255") for one in radii]
        rises += [
            (by_radius[high] - by_radius[low], f"{attack} from {low:g} to {high:g}/255")
            for low, high in pairwise(radii)
        ]
    worst, where = max(above)
    found = [judged("below_clean", max(worst, 0.0), where if worst > 0 else "")]
    if not rises:
        return [*found, not_run("falls_with_radius", "there is evidence at one radius alone")]
    rise, where = max(rises)
    return [*found, judged("falls_with_radius", max(rise, 0.0), where if rise > 0 else "")]


def _check_same_model(seen: Seen, figure: Figure) -> None:
    """Refuse images, labels or a model other than those of the evidence."""
    for name, (here, right_here) in seen.clean.items():
        pixels, right = figure.clean[name]
        if here != pixels:
            raise RobustsegError(
                f"image {name} has {pixels} labelled pixels in the evidence and {here} here; hand "
                "over the same images and labels"
            )
        if abs(right_here - right) > max(2, SAME_PREDICTIONS * pixels):
            raise RobustsegError(
                f"image {name}: without an attack {right_here} of {pixels} pixels are right, and "
                f"the evidence says {right}; pass the model, weights, normalisation and "
                "images of the evidence"
            )


SAME_PREDICTIONS = 0.005
"""Share of an image's pixels that rounding on another device may change."""


def _costs(figure: Figure, seen: Seen, sources: int) -> str:
    """Return what the attacks will cost: passes of an image, and time from those of the look."""
    budget = figure.strongest.iterations
    forward, both = doubt_passes(budget)
    passes = forward / 3 + sources * budget
    if seen.has_gradients:
        passes += both + budget  # another scale of the logits may be ahead
    if seen.noted.hidden and not seen.is_trusted:
        passes += budget
    if seen.is_random:
        passes += DRAWS * budget / 2
    elif seen.has_gradients and not seen.agrees:
        passes += SHIFTS * budget / 4
    count = len(seen.clean)
    minutes = passes * seen.pass_s * count / 60
    long = f"{minutes:.0f} min" if minutes >= 2 else f"{60 * minutes:.0f} s"
    return (
        f"{amount(count, 'image')}, at most {passes:,.0f} forward and backward passes of each, "
        f"about {long} if nothing of it is kept"
    )
