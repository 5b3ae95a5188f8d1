"""What the page says first: the answers of a run, and one image under attack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from robustseg.claims.answers import Answered, answer_headlines
from robustseg.claims.language import read_headlines
from robustseg.data.interface import IGNORE_BYTE
from robustseg.evidence.wording import printed, radius
from robustseg.names import SCHEME_LABELS
from robustseg.tables.registry import TABLES
from robustseg.tables.table import loss_label

if TYPE_CHECKING:
    import pandas as pd

SIDE_BY_SIDE = 2
"""Models, and radii of one model, that the picture shows."""
MOST_COLOURS = 12
"""Classes in the picture's key; a map may hold a hundred more, of a few pixels each."""


def answers_of(
    numbers: pd.DataFrame,
    results: pd.DataFrame | None,
    headlines: str | Path | None,
    models: Mapping[str, Mapping[str, Any]],
) -> list[list[Answered]]:
    """Return the answers of a run, those to one question together.

    First those of the paper's questions, then what tables say of themselves; last what is not
    answered.

    Args:
        numbers: long forms of tables that tell something and of those that claims are about.
        results: verdicts on these numbers; None where no claims are checked.
        headlines: config/claims.yaml; None: no questions of the paper's.
        models: settings by name.

    Raises:
        RobustsegError: a headline is wrong; it names file and key.
    """
    found: list[Answered] = []
    if results is not None and headlines is not None:
        found = answer_headlines(*read_headlines(headlines), numbers, results)
    questions = dict.fromkeys(one.question for one in found)
    grouped = [[one for one in found if one.question == question] for question in questions]
    answered = [answers for answers in grouped if answers[0].place]
    unanswered = [answers for answers in grouped if not answers[0].place]
    return [*answered, *([one] for one in _told(numbers, models)), *unanswered]


def _told(numbers: pd.DataFrame, models: Mapping[str, Mapping[str, Any]]) -> Iterator[Answered]:
    """Yield what tables say of themselves, with models' training beside their names."""
    for name, table in TABLES.items():
        if not table.tell:
            continue
        rows = numbers[numbers["table"] == name]
        shown = rows.assign(model=[_named(model, models) for model in rows["model"]])
        for told in table.tell(shown):
            yield Answered(told.question, "", told.sentence, "", "", bars=told.bars)


def picture_of(
    gallery: Mapping[str, Any] | None, models: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any] | None:
    """Return one image of the gallery and what models see in it; None without a gallery.

    The first two models that keep the same images stand side by side, each attacked at the radius
    next to the one that they are trained for; one alone is shown at its first two radii.

    ASSUME: the image is the one under which the models' accuracy is nearest to the mean over all
    images that are kept, so that the picture shows neither the best nor the worst case.

    Args:
        gallery: of `attack_viewer.encode_gallery`.
        models: settings by name.

    Returns:
        `id` of the image, how many are kept (`of`), the `loss` of the attack, `rows`: each model's
        label with a cell for each radius (0 first): `radius`, `attacked`, `prediction` (data URIs)
        and `accuracy` (percent); `colours` of the classes that the predictions hold most of, by
        name, and how many others they hold (`more`).
    """
    if gallery is None:
        return None
    first = gallery["models"][0]
    ids = [image["id"] for image in first["images"]]
    same = [one for one in gallery["models"] if [image["id"] for image in one["images"]] == ids]
    chosen = same[:SIDE_BY_SIDE]
    steps = {one["name"]: _steps(one, chosen, models) for one in chosen}
    index = _typical(
        [[image["accuracy"][steps[one["name"]][-1]] for image in one["images"]] for one in chosen]
    )
    pictures = gallery["pictures"]
    rows, pixels = [], Counter[tuple[str, str]]()
    for one in chosen:
        image = one["images"][index]
        for step in steps[one["name"]]:
            for number, count in image["predicted"][step].items():
                if number != IGNORE_BYTE:
                    pixels[one["classes"][number]] += count
        cells = [
            {
                "radius": radius(one["eps_255"][step]),
                "attacked": pictures[image["attacked"][step]],
                "prediction": pictures[image["prediction"][step]],
                "accuracy": printed(image["accuracy"][step]),
            }
            for step in steps[one["name"]]
        ]
        rows.append({"label": _label(one["name"], models), "cells": cells})
    return {
        "id": ids[index],
        "of": len(ids),
        "loss": loss_label(first["loss"]),
        "rows": rows,
        "colours": [one for one, _ in pixels.most_common(MOST_COLOURS)],
        "more": max(len(pixels) - MOST_COLOURS, 0),
    }


def _steps(
    shown: Mapping[str, Any], chosen: Sequence[Any], models: Mapping[str, Mapping[str, Any]]
) -> list[int]:
    """Return at which of its radii a model is shown: 0, and one or two more."""
    radii = shown["eps_255"]
    if len(chosen) == 1:
        return [*range(len(radii))][: 1 + SIDE_BY_SIDE]
    trained_for = [models[one["name"]].get("eps_255") or 0.0 for one in chosen]
    aim = max(trained_for) or max(radii)
    return [0, min(range(1, len(radii)), key=lambda step: abs(radii[step] - aim), default=0)]


def _typical(accuracies: Sequence[Sequence[float]]) -> int:
    """Return the image whose accuracies, one a model, are nearest to the means over images."""
    means = [fmean(of_model) for of_model in accuracies]
    distances = [
        sum(abs(one - mean) for one, mean in zip(of_image, means, strict=True))
        for of_image in zip(*accuracies, strict=True)
    ]
    return distances.index(min(distances))


def _named(name: str, models: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a model's name and, in brackets, its training where the name does not say it."""
    scheme = models[name]["scheme"]
    return name if scheme in ("own", name) else f"{name} ({SCHEME_LABELS[scheme]})"


def _label(name: str, models: Mapping[str, Mapping[str, Any]]) -> str:
    """Return what a model is called beside its pictures."""
    scheme = models[name]["scheme"]
    label = SCHEME_LABELS[scheme]
    return name if scheme == "own" else f"{label[0].upper()}{label[1:]} model"
