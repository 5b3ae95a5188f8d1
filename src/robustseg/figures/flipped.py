"""Figure 6: the share of images that an attack cannot bring to 99 % wrong pixels, by radius."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from robustseg.errors import RobustsegError
from robustseg.evidence.book import Book, Ids
from robustseg.evidence.queries import DRAWS_IMAGES, Outcomes, Run

if TYPE_CHECKING:
    import pandas as pd

METRIC = "robust_images"


def flipped(outcomes: Outcomes, threshold: float) -> NDArray[np.bool_]:
    """Return for each image whether at least `threshold` of its pixels are wrong, (N,)."""
    # As ALMA prox counts: the smallest whole number of pixels, but for rounding of the product.
    needed = np.ceil(threshold * outcomes.pixels - 1e-6)
    return np.asarray(outcomes.pixels - outcomes.pixels_correct >= needed)


def record_robust_images(book: Book) -> pd.DataFrame:
    """Record the share of robust images of each model and attack by radius, and return them.

    The intervals are those of the share over images, resampled alike for all attacks.

    An image is robust at a radius if no perturbation of at most that norm was found that flips it.

    ASSUME: one that was flipped at a smaller radius is flipped at all larger ones, since the
    smaller ball lies inside; so no curve rises. The paper does not say whether it does so.

    Raises:
        RobustsegError: a model has no run of ALMA prox, or none of SEA beside it.
    """
    for model in book.read_models():
        alma = book.evidence.one(model=model, optimizer=DRAWS_IMAGES)
        radii = [
            eps_255
            for eps_255 in book.radii(model)
            if book.evidence.find(model=model, eps_255=eps_255, schedule="reduced")
        ]
        if not radii:
            raise RobustsegError(
                f"{book.name} needs SEA on {model} beside ALMA prox; add its radii"
            )
        sea = {eps_255: book.sea(model=model, eps_255=eps_255) for eps_255 in radii}
        found = {
            "alma": {eps_255: _within(book, alma, eps_255) for eps_255 in radii},
            "mask_ce": {
                eps_255: _any_flips(book, alma, [run for run in runs if run.loss == "mask_ce"])
                for eps_255, runs in sea.items()
            },
            "sea": {eps_255: _any_flips(book, alma, runs) for eps_255, runs in sea.items()},
        }
        image_ids = book.evidence.outcomes(alma).image_ids
        runs = {"alma": alma, "mask_ce": sea[radii[0]][0], "sea": sea[radii[0]][0]}
        for word, by_radius in found.items():
            _record(book, word, runs[word], image_ids, by_radius)
    return book.frame()


def threshold_of(alma: Run) -> float:
    """Return the share of pixels that a run of ALMA prox aims at: part of its name."""
    return float(alma.attack.split("-")[1])


def _record(
    book: Book, word: str, run: Run, image_ids: Ids, by_radius: Mapping[float, NDArray[np.bool_]]
) -> None:
    """Record the share of images that are flipped neither at a radius nor at a smaller one."""
    broken = np.zeros(len(image_ids), dtype=bool)
    for eps_255, found in sorted(by_radius.items()):
        broken = broken | found
        book.share(word, run._replace(eps_255=eps_255), METRIC, image_ids, ~broken)


def _within(book: Book, alma: Run, eps_255: float) -> NDArray[np.bool_]:
    """Return which images ALMA prox flips with a perturbation of at most this norm."""
    reached = flipped(book.evidence.outcomes(alma), threshold_of(alma))
    return np.asarray(reached & (book.evidence.norms(alma) <= eps_255))


def _any_flips(book: Book, alma: Run, runs: Sequence[Run]) -> NDArray[np.bool_]:
    """Return which of the images of ALMA prox at least one of the runs flips."""
    wanted = book.evidence.outcomes(alma).image_ids
    each = []
    for run in runs:
        outcomes = book.evidence.outcomes(run)
        chosen = np.isin(outcomes.image_ids, wanted)
        each.append(flipped(outcomes, threshold_of(alma))[chosen])
    return np.asarray(np.logical_or.reduce(each))
