"""The table `robustness`: clean and worst-case scores by radius; not in the paper."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import nan
from typing import TYPE_CHECKING, Any

from robustseg.attacks.spec import SQUARE
from robustseg.evidence.enumerator import ALMA_PROX
from robustseg.evidence.numbers import (
    Number,
    Sources,
    aimed_share,
    evidence_in,
    flipped,
    mean_number,
    number,
    outcome_numbers,
)
from robustseg.evidence.runs import Runs, Selection
from robustseg.evidence.wording import (
    MISSING,
    mean_and_spread,
    percent,
    printed,
    radius,
    with_interval,
)
from robustseg.exhibits import HOW_ROBUST, Told
from robustseg.names import amount
from robustseg.numbers_shown import Numbers
from robustseg.tables.layout import Cell, Group, Layout, Row
from robustseg.tables.table import Table, cell, loss_label

if TYPE_CHECKING:
    import pandas as pd


def select(runs: Runs) -> Iterator[Selection]:
    """Yield each model without an attack, then at each radius each attack and the worst of all.

    The clean image is a candidate of the worst case, the last of equals. ALMA prox has no radius to
    stand at, and comes last.
    """
    for model in runs.models():
        clean = runs.clean(model)
        yield Selection("clean", (clean,))
        for eps_255 in runs.radii(model):
            found = runs.at_radius(model, eps_255)
            for run in found:
                yield Selection(f"{run.suite}: {run.attack}", (run,))
            if found:
                yield Selection("worst", (*found, clean), eps_255)
        for run in runs.find(model=model, optimizer=ALMA_PROX):
            yield Selection(f"{run.suite}: {run.attack}", (run,))


def measure(sources: Sources, selection: Selection) -> Sequence[Number]:
    """Return ACC and mIoU; of ALMA prox the share of flipped images and their median norm."""
    evidence, run = evidence_in(sources), selection.runs[0]
    if run.optimizer != ALMA_PROX:
        return outcome_numbers(evidence, selection, evidence.worst(selection.runs), METRICS)
    import numpy as np

    outcomes = evidence.outcomes(run)
    held = flipped(outcomes, aimed_share(run))
    counted = held[outcomes.pixels > 0]  # images with ignored pixels alone are in no figure
    found = [mean_number(evidence, selection, "flipped_images", counted)]
    if held.any():
        norm = float(np.median(evidence.norms(run)[held]))
        found.append(number(evidence, selection, "norm_255", norm, images=int(held.sum())))
    return found


def layout(numbers: Numbers) -> Layout:
    """Lay out a line a radius for each model."""
    groups = []
    for model in dict.fromkeys(one.model for one in numbers.entries):
        clean = [_with_interval(numbers, numbers.get(model, "clean", 0.0, m)) for m in METRICS]
        rows = []
        for eps_255 in sorted({one.eps_255 for one in numbers.find("worst", model=model)}):
            worst = [numbers.get(model, "worst", eps_255, metric) for metric in METRICS]
            alone = [
                one
                for one in numbers.find(model=model, eps_255=eps_255)
                if one.attack != "worst" and one.metric == "acc"
            ]
            strongest = min(alone, key=lambda one: one.value)
            cells = [
                *clean,
                *(_with_interval(numbers, one) for one in worst),
                Cell(f"{_loss(strongest)} ({printed(strongest.value)})"),
                Cell(_cost(worst[0])),
            ]
            rows.append(Row((radius(eps_255),), tuple(cells)))
        smallest = [one for one in numbers.find(model=model) if one.metric == "flipped_images"]
        for one in smallest:
            cells = [*clean, *[Cell(MISSING)] * 2, _smallest(numbers, one), Cell(_cost(one))]
            rows.append(Row(("smallest",), tuple(cells)))
        if not rows:
            rows.append(Row((MISSING,), (*clean, *[Cell(MISSING)] * 4)))
        groups.append(Group(numbers.title(model), tuple(rows)))
    notes = [_note(one) for one in numbers.entries if one.metric == "flipped_images"]
    return Layout(
        "Clean and worst case",
        "Scores without an attack, and in the worst case, image by image, over all attacks inside "
        "the radius and the clean image"
        f"{numbers.of_intervals('; in brackets 95 % intervals over images')}. "
        "Strongest: the attack that leaves least accuracy by itself; @: the mean margin to which "
        "it scales logits. Passes: forward and backward, each counted as one. "
        f"{numbers.about()}",
        ("ε∞",),
        (
            ("clean", "ACC"),
            ("clean", "mIoU"),
            ("worst case", "ACC"),
            ("worst case", "mIoU"),
            ("strongest", "loss (ACC)"),
            ("passes", "per image"),
        ),
        tuple(groups),
        (*dict.fromkeys(notes), *numbers.notes()),
    )


def tell(numbers: pd.DataFrame) -> Iterator[Told]:
    """Yield of each model what is right without an attack, and what is left at each radius.

    Over several training seeds these are means with sample standard deviations.
    """
    by_model: dict[str, dict[tuple[str, float, str], Mapping[Any, Any]]] = {}
    for _, rows in numbers.groupby(["model", "attack", "eps_255", "metric"], sort=False):
        row: dict[Any, Any] = rows.iloc[0].to_dict()
        if len(rows) > 1:
            mean, std = mean_and_spread(rows["value"].tolist())
            row |= {"value": mean, "spread": std, "low": nan}
        cells = by_model.setdefault(row["model"], {})
        cells[row["attack"], row["eps_255"], row["metric"]] = row
    for model, cells in by_model.items():
        radii = sorted(eps for attack, eps, metric in cells if (attack, metric) == ("worst", "acc"))
        clean = _left(cells, "clean", 0.0, "of the pixels are right")
        left = [_left(cells, "worst", eps, f"at {radius(eps)}") for eps in radii]
        attacked = f" The worst attack leaves {', '.join(left)}." if left else ""
        images = amount(int(cells["clean", 0.0, "acc"]["images"]), "clean image")
        sentence = f"On {images} {clean}.{attacked}"
        bars = {"clean": cells["clean", 0.0, "acc"]["value"]}
        bars |= {radius(eps): cells["worst", eps, "acc"]["value"] for eps in radii}
        yield Told(f"How robust is “{model}”?", sentence, bars)


def _left(
    cells: Mapping[tuple[str, float, str], Mapping[Any, Any]],
    attack: str,
    eps_255: float,
    where: str,
) -> str:
    """Return "40.2 % at 4/255 (38.1 to 42.0; mIoU 20.3)"; without an interval if there is none."""
    acc, miou = (cells[attack, eps_255, metric] for metric in ("acc", "miou"))
    has_interval = acc["low"] == acc["low"]  # NaN is unlike itself
    interval = f"{printed(acc['low'])} to {printed(acc['high'])}; " if has_interval else ""
    return f"{_with_spread(acc)} % {where} ({interval}mIoU {_with_spread(miou)})"


def _with_spread(row: Mapping[Any, Any]) -> str:
    """Return a number in print; over several training seeds "40.2 ± 1.3"."""
    spread = f" ± {printed(row['spread'])}" if "spread" in row else ""
    return f"{printed(row['value'])}{spread}"


def _loss(one: Number) -> str:
    """Return the loss of an attack in print; Square has none and is told by its name."""
    run = one.runs[0]
    if run.optimizer == SQUARE:
        return "Square"
    return loss_label(run.loss) + (f"@{run.logit_margin:g}" if run.logit_margin else "")


METRICS = ("acc", "miou")


def _smallest(numbers: Numbers, flips: Number) -> Cell:
    """Return what ALMA prox found: how many images it flipped, and their median norm."""
    norm = numbers.get(flips.model, flips.attack, flips.eps_255, "norm_255")
    median = f"; median norm {printed(norm.value)}/255" if norm else ""
    shown = _with_interval(numbers, flips)
    return Cell(f"ALMA prox: {shown.text} % of images{median}", note=shown.note)


def _note(flips: Number) -> str:
    wrong = percent(aimed_share(flips.runs[0]))
    return (
        f"Smallest: ALMA prox has no radius. It looks for the smallest ℓ∞ norm that makes at least "
        f"{wrong:g} % of an image's pixels wrong: the share of images where it found one, and "
        "the median of these norms."
    )


def _with_interval(numbers: Numbers, one: Number | None) -> Cell:
    """Return a number with its interval in print."""
    plain = cell(numbers, one)
    if one is None or one.by_seed:
        return plain
    return replace(plain, text=with_interval(plain.text, one.low, one.high))


def _cost(one: Number | None) -> str:
    """Return the forward and backward passes that an image took."""
    if one is None or not one.images:
        return ""
    return f"{sum(one.passes) / one.images:,.0f}"


TABLE = Table(
    id="robustness",
    label="Robustness",
    question=HOW_ROBUST,
    shows="Clean and worst-case scores of each model by radius, with intervals, the strongest "
    "attack and the cost: the table of models of one's own.",
    select=select,
    measure=measure,
    layout=layout,
    tell=tell,
    in_paper=False,
)
