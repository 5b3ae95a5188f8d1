"""The table `second_opinions`: what speaks for figures being too high; not in the paper."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import nan
from typing import TYPE_CHECKING, NamedTuple

from robustseg.evidence.enumerator import DOUBT
from robustseg.evidence.findings import (
    CHECKS,
    FAILED,
    NOT_RUN,
    NOTED,
    PASSED,
    POINTS,
    Finding,
    Opinion,
    judged,
    not_run,
    shown,
)
from robustseg.evidence.numbers import Number, Sources, behind, evidence_in, number
from robustseg.evidence.runs import Runs, Selection
from robustseg.evidence.wording import MISSING, printed, radius
from robustseg.exhibits import TRUST, Told
from robustseg.numbers_shown import Numbers
from robustseg.tables.layout import Cell, Group, Layout, Row
from robustseg.tables.table import Table, cell

if TYPE_CHECKING:
    import pandas as pd

DOUBTED, FOUND = "doubted", "found"
"""The figure, and what is left of it with the attacks of the second opinion."""
FINDING = "finding"
"""The metric of a check's figure, which is in its own unit; NaN for one that failed without."""


def select(runs: Runs) -> Iterator[Selection]:
    """Yield the attacks of the second opinion on each model at each radius that has one."""
    for model in runs.models():
        doubts = [run for run in runs.find(model=model) if run.attack.startswith(DOUBT)]
        if not doubts:
            raise runs.refusal(f"reads no second opinion on {model}; name a suite of kind doubt")
        for eps_255 in sorted({run.eps_255 for run in doubts}):
            here = tuple(run for run in doubts if run.eps_255 == eps_255)
            sources = sorted({f"{run.suite} with attack seed {run.seed}" for run in here})
            if len(sources) > 1:
                raise runs.refusal(
                    f"shows one second opinion on a model at a radius, and reads {len(sources)} on "
                    f"{model} at {radius(eps_255)}: {' and '.join(sources)}"
                )
            yield Selection(FOUND, here)


def measure(sources: Sources, selection: Selection) -> list[Number]:
    """Return the figure, what is left of it, and the figure of each check that was run."""
    evidence = evidence_in(sources)
    opinion = evidence.opinion(selection.runs[0])

    def told(attack: str, metric: str, value: float) -> Number:
        own = tuple(run for run in selection.runs if run.attack.startswith(f"{DOUBT}{attack}-"))
        chosen = Selection(attack, own or selection.runs)
        return number(evidence, chosen, metric, value, images=opinion.images)

    return [
        told(DOUBTED, "acc", opinion.acc),
        told(FOUND, "acc", opinion.found),
        *(
            told(one.check, FINDING, nan if one.figure is None else one.figure)
            for one in opinion.findings
            if one.status != NOT_RUN
        ),
    ]


class Place(NamedTuple):
    """A model and a radius, which have one opinion."""

    model: str
    eps_255: float


def opinions_in(
    numbers: Iterable[tuple[str, float, str, float, int | None]],
) -> dict[Place, Opinion]:
    """Return the opinions that numbers are from, without notes.

    Of means over training seeds they are opinions on the means.

    Args:
        numbers: of each the model, radius in 1/255, attack or check, value and images.
    """
    figures: dict[Place, dict[str, float]] = {}
    images: dict[Place, int] = {}
    for model, eps_255, attack, value, count in numbers:
        at = Place(model, eps_255)
        figures.setdefault(at, {})[attack] = value
        images[at] = int(count or 0)
    return {
        at: Opinion(at.eps_255, images[at], found[DOUBTED], found[FOUND], _findings(found))
        for at, found in figures.items()
    }


def _findings(figures: dict[str, float]) -> tuple[Finding, ...]:
    return tuple(
        judged(check, figures[check]) if check in figures else not_run(check, "")
        for check in CHECKS
    )


def layout(numbers: Numbers) -> Layout:
    """Lay out a line a check, with a column for each model and radius."""
    entries = numbers.entries
    opinions = opinions_in(
        (one.model, one.eps_255, one.attack, one.value, one.images) for one in entries
    )
    looked_at = {one.dataset: one.images or 0 for one in entries}
    heads = ((numbers.title(at.model), radius(at.eps_255)) for at in opinions)
    notes = (
        f"{numbers.title(at.model)} at {radius(at.eps_255)}: {opinion.verdict}{_which(opinion)}."
        for at, opinion in opinions.items()
    )
    return Layout(
        "Signs that a figure is too high",
        "Each figure, the image-wise worst case of a suite, is doubted on some of its images: by "
        "other attacks, and by what can be seen of model, gradients and figure. It is too high "
        f"where the attacks leave over {POINTS:g} points less; it may be where they do not and a "
        "check fails. Noted: beyond its threshold, which says nothing of robustness. A dash: there "
        f"was nothing to look at. {replace(numbers, images=looked_at).about()}",
        ("Check", "figure"),
        (("", "threshold"), *heads),
        (_verdicts(numbers, opinions), *_by_part(numbers, opinions)),
        (*notes, *numbers.notes()),
    )


def _verdicts(numbers: Numbers, opinions: dict[Place, Opinion]) -> Group:
    """Return the lines on the figures themselves."""
    scores = {"the figure": DOUBTED, "with the attacks below": FOUND}
    rows = [
        Row(
            (name, "ACC"),
            (
                Cell(""),
                *(
                    cell(numbers, numbers.get(at.model, attack, at.eps_255, "acc"))
                    for at in opinions
                ),
            ),
        )
        for name, attack in scores.items()
    ]
    points = (Cell(printed(opinion.points)) for opinion in opinions.values())
    rows.append(Row(("too high by", "points"), (Cell(""), *points)))
    ratings = (Cell(opinion.rating, bold=bool(opinion.failed)) for opinion in opinions.values())
    rows.append(Row(("verdict", ""), (Cell(""), *ratings)))
    return Group("Figures", tuple(rows))


def _by_part(numbers: Numbers, opinions: dict[Place, Opinion]) -> Iterator[Group]:
    """Yield the lines of checks, those of one part together."""
    by_check = {
        check: [(at, opinion.findings[place]) for at, opinion in opinions.items()]
        for place, check in enumerate(CHECKS)
    }
    for part in dict.fromkeys(about.part for about in CHECKS.values()):
        rows = []
        for check, found in by_check.items():
            about = CHECKS[check]
            if about.part == part:
                cells = (_cell(numbers, at, one) for at, one in found)
                stub = (check.replace("_", " "), about.unit)
                rows.append(Row(stub, (Cell(about.limit), *cells)))
        yield Group(f"Checks of the {part}", tuple(rows))


def _cell(numbers: Numbers, at: Place, finding: Finding) -> Cell:
    """Return what a check found at one place."""
    one = numbers.get(at.model, finding.check, at.eps_255, FINDING)
    about = CHECKS[finding.check]
    if one is None:
        return Cell(MISSING, note=about.asks)
    figure = "" if finding.figure is None else shown(finding.figure)
    status = "" if finding.status == PASSED else finding.status
    note = "\n".join([about.asks, *([about.advice] if status else []), *behind(one)])
    text = " ".join(filter(None, (figure, status)))
    return Cell(text, bold=finding.status == FAILED, note=note)


def _which(opinion: Opinion) -> str:
    """Return the checks that failed, and those whose figure is noted, in words."""
    said = ""
    for status in (FAILED, NOTED):
        names = [one.check.replace("_", " ") for one in opinion.findings if one.status == status]
        said += f"; {status}: {', '.join(names)}" if names else ""
    return said


def tell(numbers: pd.DataFrame) -> Iterator[Told]:
    """Yield of each model the verdict at each radius, with the checks that failed."""
    by_what = numbers.groupby(["model", "eps_255", "attack"], sort=False, as_index=False)
    over_seeds = by_what.agg({"value": "mean", "images": "first"})
    opinions = opinions_in(over_seeds.itertuples(index=False))
    for model in dict.fromkeys(at.model for at in opinions):
        said: list[str] = []
        bars: dict[str, float] = {}
        for at, opinion in opinions.items():
            if at.model == model:
                where = radius(at.eps_255)
                said.append(f"At {where}: {opinion.verdict}{_which(opinion)}.")
                bars |= {where: opinion.acc, f"{where} at most": opinion.found}
        yield Told(f"Can the figures of “{model}” be trusted?", " ".join(said), bars)


TABLE = Table(
    id="second_opinions",
    label="Second opinion",
    question=TRUST,
    shows="What speaks for a figure being too high, and by how much it is at least: checks of the "
    "model, its gradients, the attack and the figure, each with its threshold.",
    metrics=("acc", FINDING),
    select=select,
    measure=measure,
    layout=layout,
    tell=tell,
    in_paper=False,
    of_doubts=True,
)
