"""The figure that is doubted, from evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from statistics import fmean
from typing import TYPE_CHECKING

from robustseg.attacks.losses import LOSSES
from robustseg.attacks.spec import TRANSFER, AttackSpec
from robustseg.errors import RobustsegError
from robustseg.evaluation.suites import random_images
from robustseg.evidence.enumerator import CLEAN_SUITE
from robustseg.evidence.runs import Run
from robustseg.evidence.wording import percent
from robustseg.metrics import mean_accuracy

if TYPE_CHECKING:
    import pandas as pd


USUAL = 300
"""Iterations where no white-box attack of the run says how many."""


@dataclass(frozen=True)
class Figure:
    """The figure that is doubted: what the evidence of one model says at one radius.

    Attributes:
        eps_255: the radius in 1/255.
        seed: of the attacks.
        clean: by image id, how many pixels are labelled, and right without an attack.
        worst: how many are right in the worst case over the attacks and the clean image.
        by_radius: ACC in percent of each attack, by its name and radius.
        outside_255: how far the largest perturbation is outside its radius, in 1/255.
        strongest: the attack that leaves least: what the second opinion's attacks are like.
    """

    eps_255: float
    seed: int
    clean: Mapping[str, tuple[int, int]]
    worst: Mapping[str, int]
    by_radius: Mapping[str, Mapping[float, float]]
    outside_255: float
    strongest: AttackSpec

    @classmethod
    def of(cls, frame: pd.DataFrame, suites: Sequence[str], eps_255: float) -> Figure:
        """Return what evidence says.

        Args:
            frame: rows of one model and seed, see `reading.read_evidence`: of the clean
                evaluation, and of `suites` at all radii that are there.
            suites: whose worst case is doubted; each has attacks at a radius.
            eps_255: at this radius.

        Raises:
            RobustsegError: nothing was attacked at this radius, or no image has a label.
        """
        clean = frame[frame["suite"] == CLEAN_SUITE]
        attacked = frame[frame["suite"].isin(suites)]
        here = attacked[attacked["eps_255"] == eps_255]
        if here.empty:
            there = ", ".join(f"{eps:g}/255" for eps in sorted(set(attacked["eps_255"])))
            raise RobustsegError(
                f"the evidence has no attack at {eps_255:g}/255 that could be doubted; it has "
                f"{'some at ' + there if there else 'none with a radius'}"
            )
        if not clean["pixels"].any():
            raise RobustsegError(
                "no image of the run has a labelled pixel; check the labels, and which is ignored"
            )
        pixels = clean["pixels"].tolist(), clean["pixels_correct"].tolist()
        found = dict(zip(clean["image_id"].tolist(), zip(*pixels, strict=True), strict=True))
        worst = here.groupby("image_id", observed=True)["pixels_correct"].min()
        return cls(
            eps_255=eps_255,
            seed=int(here["seed"].iloc[0]),
            clean=found,
            worst={
                str(name): min(int(right), found[str(name)][1]) for name, right in worst.items()
            },
            by_radius=_by_radius(attacked),
            outside_255=float((attacked["linf_255"] - attacked["eps_255"]).max()),
            strongest=_strongest(here),
        )

    @property
    def image_ids(self) -> list[str]:
        """The images with a labelled pixel that were attacked, in the order of their ids."""
        return sorted(name for name in self.worst if self.clean[name][0])

    def accuracy_on(self, image_ids: Iterable[str]) -> float:
        """Return the ACC in percent of the figure on some images; NaN if one was not attacked."""
        own = set(self.image_ids)
        shares = [
            self.worst[name] / self.clean[name][0] if name in own else nan for name in image_ids
        ]
        return percent(fmean(shares))


def _by_radius(rows: pd.DataFrame) -> dict[str, dict[float, float]]:
    """Return the ACC in percent of each attack, by its name and radius."""
    found: dict[str, dict[float, float]] = {}
    of_attack = rows.groupby(["suite", "attack", "eps_255"], observed=True)
    for key, some in of_attack:
        suite, attack, eps_255 = map(str, key)
        acc = mean_accuracy(some["pixels"].to_numpy(), some["pixels_correct"].to_numpy())
        found.setdefault(f"{suite}/{attack}", {})[float(eps_255)] = percent(acc)
    return found


def _strongest(rows: pd.DataFrame) -> AttackSpec:
    """Return the white-box attack that leaves fewest pixels right, with APGD in place of PGD."""
    own = rows[rows["optimizer"].isin(["apgd", "pgd"])]
    own = own[~own["attack"].str.startswith(TRANSFER) & own["loss"].isin(list(LOSSES))]
    if own.empty:
        budget = min(int(rows["iterations"].max()), USUAL)
        return AttackSpec("js@10", "apgd", "reduced", max(budget, 3))
    right = own.groupby("attack", observed=True)["pixels_correct"].sum()
    first = own[own["attack"] == right.idxmin()].iloc[0]
    run = Run(*(first[name] for name in Run._fields))
    return AttackSpec(run.member_name, "apgd", run.schedule, int(run.iterations))


def choose_images(image_ids: Sequence[str], count: int) -> list[str]:
    """Return `count` of the images, or all if there are fewer; the same for every model."""
    ordered = sorted(image_ids)
    return [ordered[place] for place in random_images(ordered, min(count, len(ordered)))]
