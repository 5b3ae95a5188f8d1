"""Figure 6: images that no perturbation of a norm brings to 99 % wrong pixels, by attack."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from robustseg.evidence.enumerator import ALMA_PROX
from robustseg.evidence.numbers import (
    ImageScores,
    Number,
    Sources,
    aimed_share,
    evidence_in,
    flipped,
    image_counts,
    mean_number,
)
from robustseg.evidence.runs import Run, Runs, Selection
from robustseg.evidence.wording import percent
from robustseg.exhibits import EXISTING_ATTACKS
from robustseg.figures.figure import (
    Drawing,
    Figure,
    draw_points,
    entitle,
    legend_outside,
    panels,
    spoken,
)
from robustseg.numbers_shown import Numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
LABELS = {"alma": "ALMA prox", "mask_ce": "Mask-CE", "sea": "SEA"}


def select(runs: Runs) -> Iterator[Selection]:
    """Yield at each radius ALMA prox, and Mask-CE and SEA up to that radius.

    ASSUME: an image that was flipped at a smaller radius is flipped at all larger ones, since the
    smaller ball lies inside; so no curve rises. The paper does not say whether it does so.
    """
    for model in runs.models():
        alma = runs.one(model=model, optimizer=ALMA_PROX)
        reduced = runs.find(model=model, schedule="reduced")
        radii = sorted({run.eps_255 for run in reduced})
        if not radii:
            raise runs.refusal(f"needs SEA on {model} beside ALMA prox; add its radii")
        sea = {eps_255: runs.sea(model=model, eps_255=eps_255) for eps_255 in radii}
        for eps_255 in radii:
            yield Selection("alma", (alma,), eps_255)
        for word in ("mask_ce", "sea"):
            for eps_255 in radii:
                up_to = [r for eps in radii if eps <= eps_255 for r in sea[eps]]
                found = (run for run in up_to if word in ("sea", run.loss))
                yield Selection(word, tuple(found), eps_255)


def _robust(
    sources: Sources, runs: tuple[Run, ...], eps_255: float
) -> tuple[NDArray[np.object_], NDArray[np.bool_]]:
    """Return the labelled images of ALMA prox, and which no run flips within a radius in 1/255."""
    evidence = evidence_in(sources)
    alma = evidence.runs(runs[0].training_seed).one(model=runs[0].model, optimizer=ALMA_PROX)
    attacked = evidence.outcomes(alma)
    image_ids = attacked.image_ids[attacked.pixels > 0]
    robust = np.ones(len(image_ids), dtype=bool)
    for run in runs:
        outcomes = evidence.outcomes(run)
        broken = flipped(outcomes, aimed_share(alma))
        if run == alma:
            broken &= evidence.norms(run) <= eps_255
        robust &= ~broken[np.isin(outcomes.image_ids, image_ids)]
    return image_ids, robust


def measure(sources: Sources, selection: Selection) -> list[Number]:
    """Return the share of robust images."""
    eps_255 = selection.eps_255 or 0.0
    _, robust = _robust(sources, selection.runs, eps_255)
    return [mean_number(evidence_in(sources), selection, "robust_images", robust)]


def scores(sources: Sources, one: Number) -> ImageScores:
    """Return 100 for each image that is robust, 0 for the others."""
    image_ids, robust = _robust(sources, one.runs, one.eps_255)
    return image_ids, percent(1) * robust.astype(np.float64)


def draw(numbers: Numbers) -> Drawing:
    """Draw a line an attack over the radii, a panel a model."""
    models = dict.fromkeys(one.model for one in numbers.entries)
    canvas, axes = panels(len(models))
    for axis, model in zip(axes, models, strict=True):
        _draw_model(axis, numbers, model)
        entitle(axis, numbers.trained(model))
    legend_outside(canvas, False, *axes[0].get_legend_handles_labels())
    alma = [run for one in numbers.find("alma") for run in one.runs]
    thresholds = sorted({percent(aimed_share(run)) for run in alma})
    return Drawing(
        canvas,
        "Comparison to ALMA prox",
        f"Share of images of which the attack cannot bring {'/'.join(f'{t:g}' for t in thresholds)}"
        " % of the pixels to be misclassified with an ℓ∞ norm of at most ε; lower is a stronger "
        f"attack. ALMA prox ({numbers.iterations('alma')} iterations) minimises the norm; Mask-CE "
        f"and SEA are run at each ε ({numbers.iterations('sea')} iterations for each loss), and an "
        "image flipped at a smaller ε counts as flipped. Markers stand a little beside their ε, so "
        f"that equal values can be told apart. Bars: {numbers.interval_words}. "
        f"{image_counts(numbers.entries)} images of {alma[0].dataset}.",
        f"Share of robust images against the radius. {spoken(numbers)}",
    )


def _draw_model(axis: Axes, numbers: Numbers, model: str) -> None:
    """Draw the lines of one model over its radii, evenly spaced; beside each other if equal."""
    radii = numbers.radii(model)
    for index, (attack, label) in enumerate(LABELS.items()):
        points = sorted(numbers.find(attack, model=model), key=lambda one: one.eps_255)
        beside = 0.09 * (index - (len(LABELS) - 1) / 2)
        draw_points(axis, np.arange(len(radii)) + beside, points, index, label)
    axis.set_xticks(range(len(radii)), [f"{eps:g}" for eps in radii])
    axis.set(xlabel="ε (1/255)", ylabel="robust images (%)", ylim=(0, 104))


FIGURE = Figure(
    id="figure6",
    label="Figure 6",
    question=EXISTING_ATTACKS,
    shows="Share of images that an attack cannot bring to 99 % wrong pixels, by the norm of the "
    "perturbation: ALMA prox, which minimises the norm, against Mask-CE and SEA.",
    metrics=("robust_images",),
    select=select,
    measure=measure,
    scores=scores,
    draw=draw,
)
