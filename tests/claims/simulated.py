"""Simulated evidence whose truth is known, and how often verdicts on it are false.

Run as `python -m tests.claims.simulated` it prints the table of docs/claims.md.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from robustseg import metrics
from robustseg.claims.comparisons import NumberKey
from robustseg.claims.language import parse_claims
from robustseg.claims.noise import Scores
from robustseg.claims.verdicts import evaluate_claims

Images = dict[tuple[str, float], list[np.ndarray]]
"""By attack and radius, the images' scores in each training seed; (N, 2, K) counts for mIoU."""
Draw = Callable[[np.random.Generator], Images]

RUNS = ("js", "ce")
SEA, OTHERS = {"attack": "sea"}, {"attack": [*RUNS]}
RADII = (2.0, 4.0, 8.0, 12.0, 16.0, 24.0)


def evaluate(predicate: Any, places: list[Images], nested: bool = False) -> pd.DataFrame:
    """Return the results of one claim at many places.

    Args:
        nested: whether the scores under SEA are a worst case over the other attacks too.
    """
    rows, scores = [], {}
    for number, images in enumerate(places):
        for (attack, eps_255), by_seed in images.items():
            for seed, values in enumerate(by_seed):
                counts = values.ndim == 3
                metric = "miou" if counts else "acc"
                key = NumberKey("table3", "toy", f"m{number}", seed, attack, eps_255, metric)
                ids = np.arange(len(values)).astype("U4").astype(object)
                if counts:
                    parts, wholes = values[:, 0], values[:, 1]
                    number_is = 100 * metrics.miou(parts, wholes)
                    values = 100 * metrics.miou_pseudo_values(parts, wholes)
                else:
                    number_is = values.mean()
                runs = {*RUNS, attack} if attack == "sea" else {attack}
                scores[key] = Scores(ids, values, frozenset(runs if nested else ()))
                rows.append({**key._asdict(), "value": number_is, "std": np.nan})
    content = {
        "places": [
            {"title": f"p{number}", "dataset": "toy", "roles": {"one": f"m{number}"}}
            for number in range(len(places))
        ],
        "claims": [{"id": "one", "sentence": "s", "source": "t", "predicate": predicate}],
    }
    return evaluate_claims(*parse_claims(content, "claims.yaml"), pd.DataFrame(rows), scores.get)


def normal(random: np.random.Generator, size: Any) -> np.ndarray:
    return random.normal(0, 6, size)


def heavy(random: np.random.Generator, size: Any) -> np.ndarray:
    """Draw from Student's t with 3 degrees of freedom: now and then an image is far off."""
    return 3 * random.standard_t(3, size)


def skewed(random: np.random.Generator, size: Any) -> np.ndarray:
    """Draw what is a little below its mean for most images and far above for some."""
    return 6 * (random.exponential(1, size) - 1)


def very_skewed(random: np.random.Generator, size: Any) -> np.ndarray:
    """Draw as `skewed` does, with some images much further above (log-normal)."""
    return 5 * (random.lognormal(0, 1, size) - np.exp(0.5))


def accuracies(
    random: np.random.Generator,
    margin: float = 0.0,
    weakest: float | None = None,
    images: int = 32,
    radii: int = 1,
    seeds: int = 1,
    over_seeds: float = 0.0,
    noise: Callable[..., np.ndarray] = normal,
) -> Images:
    """Return images on which both others are truly `margin` above SEA, at one radius `weakest`."""
    found: Images = {}
    hard = random.normal(50, 15, images)  # common to all attacks: images are compared in pairs
    for radius in RADII[:radii]:
        own = hard + random.normal(0, 5, images)
        found["sea", radius] = [own + random.normal(0, over_seeds) for _ in range(seeds)]
        for attack in ("js", "ce"):
            truth = weakest if weakest is not None and radius == RADII[0] else margin
            differ = noise(random, images)
            found[attack, radius] = [
                own + truth + differ + random.normal(0, over_seeds) for _ in range(seeds)
            ]
    return found


def one_seed_short(random: np.random.Generator) -> Images:
    """Return images of three training seeds, of which the second radius has the first alone."""
    found = accuracies(random, radii=2, seeds=3, over_seeds=4.0)
    return {what: seeds if what[1] == RADII[0] else seeds[:1] for what, seeds in found.items()}


RARE = np.array([0.6, 0.3, 0.08, 0.02])


def counts(
    random: np.random.Generator, images: int = 32, quality: Mapping[str, float] | None = None
) -> Images:
    """Return counts of four classes, one of them in few images, under equally strong attacks."""
    pixels = random.multinomial(1, RARE, (images, 6)).sum(axis=1) * 400
    found: Images = {}
    hard = random.beta(6, 3, (images, 1))
    for attack in ("sea", "js", "ce"):
        right = np.clip(hard + random.normal(0, 0.1, pixels.shape), 0, 1)
        part = np.round(pixels * right * (quality or {}).get(attack, 1.0))
        wrong = np.round(random.dirichlet(np.ones(4), images) * (pixels - part).sum(1)[:, None])
        found[attack, 4.0] = [np.stack([part, pixels + wrong], axis=1).astype(np.int64)]
    return found


def rarely(
    random: np.random.Generator, share: float = 0.05, images: int = 32, radii: int = 1
) -> Images:
    """Return images of which a share is better under each other attack, in truth by 15 points."""
    found: Images = {}
    for radius in RADII[:radii]:
        own = random.uniform(10, 70, images)
        found["sea", radius] = [own]
        for attack in RUNS:
            better = random.random(images) < share
            found[attack, radius] = [own + better * random.uniform(0, 30, images)]
    return found


SIZES_APART = 1.0
"""Standard deviation of the logarithm of images' sizes where these are very unequal."""


def unequal_counts(random: np.random.Generator, images: int = 32) -> Images:
    """Return counts of 21 classes, 19 in a tenth of the images each, in images of unequal sizes.

    SEA leaves 0.7 of the pixels that JS leaves right: of all images, 3.55 points of mIoU less.
    """
    pixels = np.where(
        random.random((images, 21)) < 0.1, random.lognormal(4, 1.5, (images, 21)), 0.0
    )
    pixels[:, 0], pixels[:, 1] = 4000, random.uniform(200, 3000, images)
    pixels = np.round(pixels * random.lognormal(0, SIZES_APART, (images, 1)))
    hard = np.clip(random.beta(2, 2, (images, 1)) + random.normal(0, 0.08, pixels.shape), 0, 1)
    where = random.dirichlet(np.full(21, 0.3), images)  # what is wrong is predicted as
    found: Images = {}
    for attack, quality in (("sea", 0.7), ("js", 1.0)):
        part = np.floor(pixels * hard * quality)
        wrong = np.floor((pixels - part).sum(axis=1, keepdims=True) * where)
        found[attack, 4.0] = [np.stack([part, pixels + wrong], axis=1).astype(np.int64)]
    return found


def near_zero(random: np.random.Generator, images: int = 32, radii: int = 1) -> Images:
    """Return images of which four in five are at 0; the lowest of two is 0.278 below either."""
    found: Images = {}
    for radius in RADII[:radii]:
        left = 100 * random.beta(1, 5, images) * (random.random(images) < 0.2)
        js, ce = (left * random.uniform(0.5, 1, images) for _ in RUNS)
        found |= {("js", radius): [js], ("ce", radius): [ce], ("sea", radius): [np.minimum(js, ce)]}
    return found


def nearly_none(random: np.random.Generator, images: int = 32) -> Images:
    """Return images of which most are at next to 0; their mean is 3.226."""
    return {("sea", 4.0): [100 * random.beta(0.1, 3, images)]}


def shares(random: np.random.Generator, truth: float = 0.02, images: int = 32) -> Images:
    """Return images of which each is robust or not, as a share `truth` of all is."""
    return {("sea", 4.0): [100.0 * (random.random(images) < truth)]}


@dataclass(frozen=True)
class Setting:
    """A claim on evidence at the border between true and false, on the side of `truth`."""

    about: str
    draw: Draw
    truth: bool
    words: Mapping[str, Any] = field(default_factory=dict)
    metric: str = "acc"
    nested: bool = False

    @property
    def predicate(self) -> dict[str, Any]:
        at = {"table": "table3", "metric": self.metric}
        ordered = {"lower": SEA, "than": OTHERS}
        return {"at": at, **({} if "close" in self.words else ordered), **self.words}

    @property
    def false_verdict(self) -> str:
        return "contradicted" if self.truth else "supported"


MOST, SOME, EQUAL = {"in": "most"}, {"in": "some"}, {"by_at_least": 0}
SEEDS = {"seeds": 3, "over_seeds": 4.0}
CLOSE = {"close": SEA, "to": {"attack": "js"}, "within": 3}
BORDER = [
    Setting("every of 12, all equal", partial(accuracies, radii=6), True, EQUAL),
    Setting("every of 12, two equal", partial(accuracies, radii=6, margin=5, weakest=0), False),
    Setting("most of 4, two equal", partial(accuracies, radii=2, margin=5, weakest=0), False, MOST),
    Setting("some of 12, all equal", partial(accuracies, radii=6), False, SOME),
    Setting(
        "below the lowest of two, 6 radii",
        partial(accuracies, radii=6),
        True,
        {**EQUAL, "than": {**OTHERS, "take": "lowest"}},
    ),
    Setting("within 3, 3 apart", partial(accuracies, margin=3), True, CLOSE),
    Setting("within 3, 3.001 apart", partial(accuracies, margin=3.001), False, CLOSE),
    Setting("8 images, some of 6", partial(accuracies, radii=3, images=8), False, SOME),
    Setting("heavy tails, some of 12", partial(accuracies, radii=6, noise=heavy), False, SOME),
    Setting("skewed, every of 6", partial(accuracies, radii=3, noise=skewed), True, EQUAL),
    Setting("3 seeds, every of 2", partial(accuracies, **SEEDS), True, EQUAL),
    Setting("3 seeds, some of 6", partial(accuracies, **SEEDS, radii=3), False, SOME),
    Setting("3 seeds, one radius of two in one seed alone", one_seed_short, True, EQUAL),
    Setting("mIoU, a class in few images, every of 2", counts, True, EQUAL, "miou"),
    Setting("mIoU, a class in few images, some of 2", counts, False, SOME, "miou"),
    Setting("2 % of images, below 2", shares, False, {"than": 2}),
    Setting(
        "5 % of all images are worse, every of 6",
        partial(rarely, radii=3),
        True,
        {"by_at_least": 0.75},
        nested=True,
    ),
    Setting(
        "four of five images at 0, below the lowest, 3 radii",
        partial(near_zero, radii=3),
        True,
        {"by_at_least": 0.277, "than": {**OTHERS, "take": "lowest"}},
        nested=True,
    ),
    Setting(
        "100 images, the same",
        partial(near_zero, radii=3, images=100),
        True,
        {"by_at_least": 0.277, "than": {**OTHERS, "take": "lowest"}},
        nested=True,
    ),
    Setting(
        "16 images, 5 % of all are worse",
        partial(rarely, images=16),
        True,
        {"than": {"attack": "js"}, "by_at_least": 0.75},
        nested=True,
    ),
]
"""All on 32 images if nothing else is said."""

CLEAR = [
    Setting("every of 12, 5 points apart", partial(accuracies, radii=6, margin=5), True),
    Setting("every of 12, one 5 above", partial(accuracies, radii=6, weakest=-5), False),
    Setting("3 seeds, 8 points apart", partial(accuracies, seeds=3, over_seeds=1, margin=8), True),
    Setting(
        "mIoU, SEA leaves 0.8 of the right pixels",
        partial(counts, quality={"sea": 0.8}),
        True,
        {},
        "miou",
    ),
]
"""Claims that are clearly true or false."""

BEYOND = [
    Setting(
        "8 images, skewed, every of 2", partial(accuracies, noise=skewed, images=8), True, EQUAL
    ),
    Setting(
        "8 images, skewed, every of 6",
        partial(accuracies, noise=skewed, images=8, radii=3),
        True,
        EQUAL,
    ),
    Setting(
        "very skewed, every of 6", partial(accuracies, noise=very_skewed, radii=3), True, EQUAL
    ),
    Setting(
        "16 images, skewed, every of 12",
        partial(accuracies, noise=skewed, images=16, radii=6),
        True,
        EQUAL,
    ),
    Setting("most images near 0, below 3.22", nearly_none, False, {"than": 3.22}),
    Setting("8 images, the same", partial(nearly_none, images=8), False, {"than": 3.22}),
    Setting(
        "mIoU, images and classes of very unequal size",
        unequal_counts,
        True,
        {"than": {"attack": "js"}, "by_at_least": 3.5},
        "miou",
    ),
]
"""Where verdicts are false more often than stated: few images show most of what there is."""


def rates(setting: Setting, claims: int, seed: int = 0) -> dict[str, float]:
    """Return how often each verdict is given."""
    random = np.random.default_rng(seed)
    drawn = [setting.draw(random) for _ in range(claims)]
    results = evaluate(setting.predicate, drawn, setting.nested)
    found: dict[str, float] = results["verdict"].value_counts(normalize=True).to_dict()
    return found


if __name__ == "__main__":
    for setting in BORDER + CLEAR + BEYOND:
        found = rates(setting, 1000, seed=1)
        shown = (f"{100 * found.get(word, 0.0):.1f}" for word in ("supported", "contradicted"))
        truth = str(setting.truth).lower()
        print(f"| {setting.about} | {truth} | {' | '.join(shown)} |")
