"""The table `seeds`: which of the paper's effects show, over all training seeds.

Each effect is a list of comparisons of two ACC, and a rule that says when one holds. The rules are
fixed here, before any result is seen, and printed with the verdicts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from robustseg.evidence.book import Book, percent, printed, radius
from robustseg.evidence.queries import score
from robustseg.names import LOSS_LABELS, SCHEDULE_LABELS, SEA_LOSSES
from robustseg.tables.layout import Cell, Group, Layout, Row, signed

PRINTED = 0.05
"""Percentage points: a smaller difference does not show at one decimal."""
NEAR_ZERO = 5.0
"""Percent ACC that counts as near 0."""


@dataclass(frozen=True)
class Side:
    """One of two things compared: its name and its ACC in percent, one value a training seed."""

    name: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Comparison:
    """Two ACC at one radius; `first` is the one the effect expects to be higher."""

    eps_255: float
    first: Side
    second: Side

    @property
    def differences(self) -> list[float]:
        """First minus second for each training seed, in percentage points."""
        return [a - b for a, b in zip(self.first.values, self.second.values, strict=True)]


@dataclass(frozen=True)
class Effect:
    """A claim, how it is looked for, and when a comparison supports it.

    Attributes:
        claim: the sentence.
        rule: when it counts as shown, in words.
        in_seed: the same for the two ACC, in percent, of one training seed.
        comparisons: finds what to compare in the evidence.
        beyond_spread: the mean difference must also exceed its standard deviation over seeds.
    """

    claim: str
    rule: str
    in_seed: Callable[[float, float], bool]
    comparisons: Callable[[Book], list[Comparison]]
    beyond_spread: bool = False

    def seeds_held(self, comparison: Comparison) -> int:
        """Return in how many seeds the two ACC support the claim."""
        return sum(map(self.in_seed, comparison.first.values, comparison.second.values))

    def holds(self, comparison: Comparison) -> bool:
        """Return whether the claim holds in every seed and, if asked, beyond their spread."""
        differences = comparison.differences
        spread = stdev(differences) if self.beyond_spread and len(differences) > 1 else 0.0
        everywhere = self.seeds_held(comparison) == len(differences)
        return everywhere and (not self.beyond_spread or fmean(differences) > spread)


def seeds_table(book: Book) -> Layout:
    """Return the table of effects with a sentence for each: shown or not shown."""
    book.metrics = ("acc",)
    groups, notes = [], []
    for effect in EFFECTS:
        comparisons = effect.comparisons(book)
        groups.append(Group(effect.claim, tuple(_row(effect, one) for one in comparisons)))
        notes.append(_sentence(effect, comparisons))
    seeds = book.evidence.training_seeds
    return Layout(
        "Effects over training seeds",
        f"Mean ± sample standard deviation over {len(seeds)} training seeds of ACC, and of its "
        "difference seed by seed in percentage points; seeds: in how many the claim holds. "
        f"{book.about()}",
        ("ε∞", "first", "second"),
        (
            ("ACC", "first"),
            ("ACC", "second"),
            ("first − second", "mean"),
            ("", "seeds"),
            ("", "verdict"),
        ),
        tuple(groups),
        tuple(notes),
    )


def _row(effect: Effect, comparison: Comparison) -> Row:
    return Row(
        (radius(comparison.eps_255), comparison.first.name, comparison.second.name),
        (
            Cell(_spread(comparison.first.values)),
            Cell(_spread(comparison.second.values)),
            Cell(
                _spread(comparison.differences),
                note=", ".join(map(signed, comparison.differences)),
            ),
            Cell(f"{effect.seeds_held(comparison)} of {len(comparison.differences)}"),
            Cell("shown" if effect.holds(comparison) else "not shown"),
        ),
    )


def _sentence(effect: Effect, comparisons: Sequence[Comparison]) -> str:
    """Return the verdict on an effect with all its numbers."""
    if not comparisons:
        return f"Not evaluated: {effect.claim}. The evidence read has nothing to compare."
    held = sum(map(effect.holds, comparisons))
    verdict = {0: "Not shown", len(comparisons): "Shown"}.get(
        held, f"Shown in {held} of {len(comparisons)} comparisons"
    )
    numbers = "; ".join(
        f"{radius(c.eps_255)}: {c.first.name} {_spread(c.first.values)}, "
        f"{c.second.name} {_spread(c.second.values)}, difference {_spread(c.differences)}"
        for c in comparisons
    )
    return f"{verdict}: {effect.claim} ({effect.rule}). {numbers}."


def _spread(values: Sequence[float]) -> str:
    mean = printed(fmean(values) + 0.0).replace("-", "−")
    return f"{mean} ± {printed(stdev(values))}" if len(values) > 1 else mean


def _side(book: Book, name: str, word: str, losses: Sequence[str], **criteria: Any) -> Side:
    """Return the ACC of the worst case over losses for each training seed.

    Args:
        book: where the numbers are recorded, as attack `word`.
        name: how the side is called in print.
        word: how it is called in the long form.
        losses: what the worst case is taken over; ("none",) for the clean evaluation.
        criteria: what else tells the runs from others, see Evidence.one.
    """
    values = []
    for seed in book.evidence.training_seeds:
        runs = [book.evidence.one(loss=loss, training_seed=seed, **criteria) for loss in losses]
        attacked = book.worst(runs)
        values.append(percent(score(attacked).acc))
        book.record(word, runs, "acc", values[-1], images=len(attacked.image_ids))
    return Side(name, tuple(values))


def _sea(book: Book, model: str, eps_255: float) -> Side:
    at = {"model": model, "eps_255": eps_255, "optimizer": "apgd", "schedule": "reduced"}
    return _side(book, f"{model} under SEA", "sea", SEA_LOSSES, **at)


def _has_sea(book: Book, model: str, eps_255: float) -> bool:
    found = book.evidence.find(model=model, eps_255=eps_255, optimizer="apgd", schedule="reduced")
    return {run.loss for run in found} >= set(SEA_LOSSES)


def _clean_falls(book: Book) -> list[Comparison]:
    """Clean models without and with SEA at the radii that adversarial training aims at."""
    settings = book.models
    aimed = {m["eps_255"] for m in settings.values() if m["scheme"] in ("at", "pir_at")}
    return [
        Comparison(
            eps_255,
            _side(book, f"{model} without attack", "clean", ("none",), model=model, eps_255=0.0),
            _sea(book, model, eps_255),
        )
        for model in book.read_models()
        if settings[model]["scheme"] == "clean"
        for eps_255 in book.radii(model)
        if eps_255 in aimed and _has_sea(book, model, eps_255)
    ]


def _pir_against_at(book: Book) -> list[Comparison]:
    """PIR-AT and AT of one data set, decoder, radius, steps and epochs."""
    same = ("dataset", "decoder", "eps_255", "steps", "epochs")
    models = book.read_models()
    return [
        Comparison(eps_255, _sea(book, pir, eps_255), _sea(book, at, eps_255))
        for pir in models
        for at in models
        if (book.models[pir]["scheme"], book.models[at]["scheme"]) == ("pir_at", "at")
        and all(book.models[pir].get(key) == book.models[at].get(key) for key in same)
        for eps_255 in book.radii(pir)
        if _has_sea(book, pir, eps_255) and _has_sea(book, at, eps_255)
    ]


def _members_against_sea(book: Book) -> list[Comparison]:
    """The best single attack of SEA, seed by seed, and SEA, of each adversarially trained model."""
    comparisons = []
    for model in book.read_models():
        if book.models[model]["scheme"] == "clean":
            continue
        for eps_255 in book.radii(model):
            if _has_sea(book, model, eps_255):
                best = Side(
                    f"{model} under SEA's best single loss", _best_members(book, model, eps_255)
                )
                comparisons.append(Comparison(eps_255, best, _sea(book, model, eps_255)))
    return comparisons


def _best_members(book: Book, model: str, eps_255: float) -> tuple[float, ...]:
    lowest = []
    for seed in book.evidence.training_seeds:
        members = book.sea(model=model, eps_255=eps_255, training_seed=seed)
        lowest.append(min(percent(score(book.worst([run])).acc) for run in members))
    return tuple(lowest)


def _pgd_against_apgd(book: Book) -> list[Comparison]:
    """PGD and APGD at constant radius on one loss with the same iterations."""
    seed = book.evidence.training_seeds[0]
    comparisons = []
    for pgd in book.evidence.find(optimizer="pgd", training_seed=seed):
        shared: dict[str, Any] = {
            name: getattr(pgd, name) for name in ("model", "iterations", "eps_255", "seed")
        }
        if not book.evidence.find(loss=pgd.loss, optimizer="apgd", schedule="constant", **shared):
            continue
        sides = [
            _side(
                book,
                f"{pgd.model} under {optimizer.upper()} on {LOSS_LABELS[pgd.loss]}",
                f"{optimizer}_{pgd.loss}",
                (pgd.loss,),
                optimizer=optimizer,
                schedule="constant",
                **shared,
            )
            for optimizer in ("pgd", "apgd")
        ]
        comparisons.append(Comparison(pgd.eps_255, *sides))
    return comparisons


def _constant_against_reduced(book: Book) -> list[Comparison]:
    """Worst case over SEA's losses with constant radius, or restarts, and with reduced radius."""
    comparisons = []
    for model in book.read_models():
        for eps_255 in book.radii(model):
            if not _has_sea(book, model, eps_255):
                continue
            budget = book.sea(
                model=model, eps_255=eps_255, training_seed=book.evidence.training_seeds[0]
            )[0].iterations
            for schedule in ("constant", "restarts"):
                at = {"model": model, "eps_255": eps_255, "iterations": budget}
                if not book.evidence.find(schedule=schedule, optimizer="apgd", **at):
                    continue
                sides = [_schedule_side(book, name, at) for name in (schedule, "reduced")]
                comparisons.append(Comparison(eps_255, *sides))
    return comparisons


def _schedule_side(book: Book, schedule: str, at: dict[str, Any]) -> Side:
    name = f"{at['model']} under {SCHEDULE_LABELS[schedule]}"
    word = "sea" if schedule == "reduced" else f"four_losses_{schedule}"
    return _side(book, name, word, SEA_LOSSES, optimizer="apgd", schedule=schedule, **at)


EFFECTS = (
    Effect(
        "A cleanly trained model falls to near 0 at the training radius of the robust ones",
        f"ACC under SEA at most {printed(NEAR_ZERO)} % in every seed",
        lambda _, attacked: attacked <= NEAR_ZERO,
        _clean_falls,
    ),
    Effect(
        "PIR-AT beats AT at the same budget",
        "higher ACC under SEA in every seed, on average by more than the standard deviation",
        lambda pir, at: pir - at > PRINTED,
        _pir_against_at,
        beyond_spread=True,
    ),
    Effect(
        "SEA is below each of its attacks",
        f"below the best single loss by more than {PRINTED} points in every seed",
        lambda member, sea: member - sea > PRINTED,
        _members_against_sea,
    ),
    Effect(
        "APGD is at least as strong as PGD",
        f"ACC not above PGD's by more than {PRINTED} points in any seed, same loss and iterations",
        lambda pgd, apgd: apgd - pgd <= PRINTED,
        _pgd_against_apgd,
    ),
    Effect(
        "Reduced radius is at least as strong as constant",
        f"worst case over the four losses not above by more than {PRINTED} points in any seed, "
        "same iterations",
        lambda constant, reduced: reduced - constant <= PRINTED,
        _constant_against_reduced,
    ),
)
