"""What evidence must be like: checked when it is written, and again when it is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from robustseg.evidence.schema import COUNTED, EPS_TOLERANCE_255, WORDS

Agreement = Mapping[str, np.ndarray]
"""By problem, (rows,) bool: where a row does not have it."""


def classes_of(table: pa.Table) -> int | None:
    """Return the number of classes that the columns COUNTED of all rows have; None if they differ.

    A table without rows has none.
    """
    lengths = {
        n for name in COUNTED for n in pc.unique(pc.list_value_length(table[name])).to_pylist()
    }
    return lengths.pop() or None if len(lengths) == 1 else None


def counts_agree(
    pixels: np.ndarray, correct: np.ndarray, counted: tuple[np.ndarray, ...]
) -> Agreement:
    """Tell which counts cannot come from one confusion matrix an image.

    Args:
        pixels, correct: (rows,) labelled pixels, and those predicted as labelled.
        counted: the columns COUNTED, each (rows, K).
    """
    labelled, intersection, union = counted
    sum_labelled, sum_intersection, sum_union = (one.sum(axis=1, dtype=np.int64) for one in counted)
    return {
        "intersections below 0 or above the unions": (
            (intersection >= 0) & (intersection <= union)
        ).all(axis=1),
        "pixels_correct unlike the sum of intersections": sum_intersection == correct,
        # Predictions that are no class of the data are in no union.
        "unions that add up to less than the pixels or more than 2 pixels - pixels_correct": (
            (sum_union >= pixels) & (sum_union <= 2 * pixels - correct)
        ),
        "pixels unlike the sum of labelled ones": sum_labelled == pixels,
        "labelled pixels below the intersections or above the unions": (
            (intersection <= labelled) & (labelled <= union)
        ).all(axis=1),
    }


def values_agree(table: pa.Table) -> Agreement:
    """Tell which radii, norms, pixels and costs cannot be."""
    radius, norm, pixels, correct = (
        table[name].to_numpy() for name in ("eps_255", "linf_255", "pixels", "pixels_correct")
    )
    costs = ("training_seed", "seed", "iterations", "forward_passes", "backward_passes", "pixels")
    return {f"negative {name}": table[name].to_numpy() >= 0 for name in costs} | {
        "fewer than 0 or more correct than labelled pixels": ((correct >= 0) & (correct <= pixels)),
        "a logit_margin that is not a number of at least 0": (
            np.isfinite(table["logit_margin"].to_numpy()) & (table["logit_margin"].to_numpy() >= 0)
        ),
        "eps_255 outside 0..255": np.isfinite(radius) & (radius >= 0) & (radius <= 255),
        "a perturbation that is not finite": np.isfinite(norm) & (norm >= 0),
        "a perturbation outside its radius": norm <= radius + EPS_TOLERANCE_255,
    }


def first_problem(table: pa.Table, agree: Agreement) -> str | None:
    """Return what is wrong with the first row that has a problem; None if none has."""
    for problem, good in agree.items():
        if not good.all():
            row = table.slice(int(np.argmin(good)), 1).to_pylist()[0]
            return (
                f"image {row['image_id']} under {row['attack']} has {problem} (eps_255 "
                f"{row['eps_255']:g}, measured {row['linf_255']:g}, {row['pixels_correct']} of "
                f"{row['pixels']} pixels correct)"
            )
    return None


def unknown_words(table: pa.Table) -> Iterator[tuple[str, str]]:
    """Yield columns with a word that the schema does not explain."""
    for column, known in WORDS.items():
        for word in sorted(set(pc.unique(table[column]).to_pylist()) - set(known)):
            yield column, word
