"""A number of a table or figure with the runs behind it, and how numbers are made from evidence.

Tables and figures import this whenever a configuration is read, so what reads evidence is imported
where it is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robustseg import intervals
from robustseg.evidence.runs import Models, Run, Selection
from robustseg.evidence.wording import listed, percent
from robustseg.names import amount

if TYPE_CHECKING:
    from robustseg.evidence.queries import Evidence, Outcomes

LONG_COLUMNS = (
    "table",
    "dataset",
    "model",
    "training_seed",
    "suites",
    "attack",
    "eps_255",
    "metric",
    "value",
    "std",
    "images",
    "low",
    "high",
)
"""Long form of tables and figures. `value`, `std`, `low`, `high` are in percent, but for the
metrics norm_255, in 1/255, passes, and finding, in the unit of its check; `metric` is acc or miou,
for example, and `attack` is in the words of config/paper/README.md where the paper has it. `std` is
over attack seeds; `low` and `high` are the ends of the 95 % interval over images, if there are
several."""

ImageScores = tuple[NDArray[np.object_], NDArray[np.float64]]
"""Image ids (N,), and a score of each in percent (N,)."""


@dataclass(frozen=True)
class Number:
    """One number and where it is from.

    Attributes:
        dataset, model, training_seed, attack, eps_255, metric: what it is of, see LONG_COLUMNS.
        value: in percent.
        runs: the runs behind it; none for a setting.
        images: how many it is over.
        std: sample standard deviation over seeds, in percentage points.
        low, high: ends of its interval, in percent.
        by_seed: the values that it is the mean of, where it is one over seeds.
        passes: forward and backward passes of single images that the runs took.
    """

    dataset: str
    model: str
    training_seed: int | None
    attack: str
    eps_255: float
    metric: str
    value: float
    runs: tuple[Run, ...] = ()
    images: int | None = None
    std: float | None = None
    low: float | None = None
    high: float | None = None
    by_seed: tuple[float, ...] = ()
    passes: tuple[int, int] = (0, 0)

    @property
    def what(self) -> tuple[str, str, float, str]:
        """What it is a number of, whatever the training seed."""
        return self.model, self.attack, self.eps_255, self.metric


@dataclass(frozen=True)
class Sources:
    """All that the numbers of a table or figure are made from.

    Attributes:
        evidence: what it reads; None for one that reads none.
        models: settings of the models that it reads.
        manifests: manifest of each data set, for those that read which images training has seen.
    """

    evidence: Evidence | None
    models: Models
    manifests: Mapping[str, str | Path] = field(default_factory=dict)


def evidence_in(sources: Sources) -> Evidence:
    """Return the evidence of a table or figure that reads some."""
    assert sources.evidence is not None, "a table that reads evidence was given none"
    return sources.evidence


def number(
    evidence: Evidence, selection: Selection, metric: str, value: float, **rest: Any
) -> Number:
    """Return a number of a selection, in percent, with what `rest` says of it."""
    first = selection.runs[0]
    return Number(
        dataset=first.dataset,
        model=first.model,
        training_seed=first.training_seed,
        attack=selection.attack,
        eps_255=first.eps_255 if selection.eps_255 is None else selection.eps_255,
        metric=metric,
        value=value,
        runs=selection.runs,
        passes=evidence.passes(selection.runs),
        **rest,
    )


def outcome_numbers(
    evidence: Evidence, selection: Selection, attacked: Outcomes, metrics: Sequence[str]
) -> list[Number]:
    """Return ACC and mIoU, those of them in `metrics`, of outcomes, with intervals over images."""
    from robustseg.evidence.queries import interval, score

    images, values = len(attacked.image_ids), score(attacked)
    return [
        number(
            evidence,
            selection,
            metric,
            percent(getattr(values, metric)),
            images=images,
            **bounds(interval(attacked, metric)),
        )
        for metric in ("acc", "miou")
        if metric in metrics
    ]


def mean_number(
    evidence: Evidence,
    selection: Selection,
    metric: str,
    values: NDArray[np.float64] | NDArray[np.bool_],
) -> Number:
    """Return the mean of one fraction an image (N,), or how often something holds: a percentage."""
    mean, ends = percent(float(values.mean())), bounds(intervals.of_mean(values))
    return number(evidence, selection, metric, mean, images=len(values), **ends)


def bounds(ends: intervals.Ends | None) -> dict[str, float]:
    """Return `low` and `high` of a number in percent, by the ends of its interval as fractions."""
    return dict(zip(("low", "high"), map(percent, ends or ()), strict=False))


def aimed_share(alma: Run) -> float:
    """Return the share of pixels that a run of ALMA prox makes wrong: part of its name."""
    return float(alma.attack.split("-")[1])


def flipped(outcomes: Outcomes, share: float) -> NDArray[np.bool_]:
    """Return for each image whether at least `share` of its pixels are wrong, (N,).

    None of an image's are where all are ignored.
    """
    # As ALMA prox counts: the smallest whole number of pixels, but for rounding of the product.
    needed = np.ceil(share * outcomes.pixels - 1e-6)
    enough = outcomes.pixels - outcomes.pixels_correct >= needed
    return np.asarray(enough & (outcomes.pixels > 0))


def behind(one: Number) -> list[str]:
    """Return, in a few lines, the evidence that a number was made from."""
    runs = one.runs
    forward, backward = one.passes
    jobs = list(dict.fromkeys(run.job.path for run in runs))
    more = f" and {len(jobs) - 4} more" if len(jobs) > 4 else ""
    return [
        f"{amount(one.images or 0, 'image')} of {one.dataset}, model {one.model}",
        f"suite {listed(run.suite for run in runs)}: {listed(run.attack for run in runs)}",
        f"training seed {listed(run.training_seed for run in runs)}, "
        f"attack seed {listed(run.seed for run in runs)}",
        f"{forward:,} forward and {backward:,} backward passes of single images",
        f"evidence: {', '.join(jobs[:4])}{more}",
    ]


def image_counts(numbers: Iterable[Number]) -> str:
    """Return how many images numbers are over, "16/32" where they differ."""
    return "/".join(str(count) for count in sorted({one.images for one in numbers if one.images}))
