"""What an attack is, in words that configs and evidence share; without torch, to be instant."""

import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from numbers import Real
from typing import Any, ClassVar, NamedTuple

from robustseg.attacks.losses import LOSSES, TSALLIS_Q
from robustseg.bounds import LARGEST_NUMBER, SMALLEST_Q
from robustseg.errors import RobustsegError
from robustseg.names import amount

TRANSFER = "transfer-"
"""Begins the name of an attack that was found on another model."""

UNBOUNDED_255 = 255.0
"""eps_255 of ALMA prox, which has no radius: no perturbation of an image is larger."""

OPTIMIZERS = ("pgd", "apgd")

SQUARE = "square"
"""The optimizer of the Square attack, which takes forward passes alone."""
CORNERS = "corners"
"""The optimizer that draws random corners of the ball."""
RIGHT_PIXELS = "right_pixels"
"""What these two drive down."""


@dataclass(frozen=True)
class Schedule:
    """How a budget of iterations is spent on radii (arXiv 2306.12941, Sec. 2.3).

    Attributes:
        label: in print.
        shares: of the budget that the parts get.
        radii: of the parts, in multiples of the attack's own.
        restarts: whether the parts are independent runs, each from a random start.
    """

    label: str
    shares: tuple[int, ...]
    radii: tuple[float, ...]
    restarts: bool = False


SCHEDULES = {
    "constant": Schedule("const-ε", (1,), (1.0,)),
    "restarts": Schedule("const-ε, 3 restarts", (1, 1, 1), (1.0, 1.0, 1.0), restarts=True),
    "reduced": Schedule("red-ε", (3, 3, 4), (2.0, 1.5, 1.0)),
}
"""const-eps, const-eps with 3 random restarts, red-eps."""


DEFAULT_CHOICE = "default"

CHOICES = {
    DEFAULT_CHOICE: "as robustseg does it",
    "lambda_whole": "lambda of Bal-CE and q of Tsallis grow over all radii, not anew in each",
    "js_by_ce": "JS is steered by CE, as in the released code",
    "checkpoints_floor": "APGD's checkpoints are rounded down, as in the released code",
    "returns_highest_loss": "the iterate of the highest objective is returned, not of the lowest "
    "accuracy",
}
"""What the paper leaves open about APGD, one at a time. ASSUME: the default, which is the stronger
where it was measured (docs/attacks.md)."""


class Member(NamedTuple):
    """A loss as suites name it: `js`, `js@10`, `tsallis:0:0@10`.

    Attributes:
        loss: one of `losses.LOSSES`.
        margin: to which the logits are scaled, see AttackSpec.
        q_range: of the Tsallis loss.
    """

    loss: str
    margin: float | None = None
    q_range: tuple[float, float] = TSALLIS_Q

    @classmethod
    def read(cls, text: str) -> "Member":
        """Read a member from its name.

        Raises:
            RobustsegError: an unknown loss, or what is no number.
        """
        found = MEMBER.fullmatch(text)
        loss, begin, end, margin = found.groups() if found else (text, None, None, None)
        _check_name("loss", loss, LOSSES)
        q_range = (float(begin), float(end)) if begin and end else TSALLIS_Q
        if begin and (loss != "tsallis" or max(q_range) > 1):
            raise RobustsegError(f"{text}: only tsallis has q, at most 1, like tsallis:-2:1")
        if min(q_range) < SMALLEST_Q:
            raise RobustsegError(f"{text}: q must be at least {SMALLEST_Q}, like tsallis:-2:1")
        if margin and float(margin) <= 0:
            raise RobustsegError(f"{text}: a margin must be above 0, like js@10")
        if margin and not 1 / LARGEST_NUMBER <= float(margin) <= LARGEST_NUMBER:
            raise RobustsegError(
                f"{text}: a margin must be between {1 / LARGEST_NUMBER:g} and {LARGEST_NUMBER:g}, "
                "like js@10"
            )
        return cls(loss, float(margin) if margin else None, q_range)


NUMBER = r"-?[0-9]+(?:\.[0-9]+)?"
MEMBER = re.compile(rf"(\w+?)(?::({NUMBER}):({NUMBER}))?(?:@({NUMBER}))?")


def ask_for_class_pixels(members: Iterable[str]) -> bool:
    """Return whether the loss of any member weighs pixels by their class.

    Raises:
        RobustsegError: what is no member.
    """
    return any(LOSSES[Member.read(member).loss].weighs_classes for member in members)


@dataclass(frozen=True)
class AttackSpec:
    """One attack: a loss, an optimizer, a schedule of radii and a budget.

    Attributes:
        member: a loss, and if wanted the scale of the logits and q, see `Member`.
        optimizer: one of OPTIMIZERS.
        schedule: one of SCHEDULES.
        iterations: the whole budget, over all parts of the schedule.
        step_size: of PGD, in [0, 1] image units; None for APGD, which chooses its own.
        choice: one of CHOICES.

    Raises:
        RobustsegError: an unknown name, a budget too small for the schedule, or a step size
            missing, not positive, or given to APGD.
    """

    member: str
    optimizer: str = "apgd"
    schedule: str = "constant"
    iterations: int = 100
    step_size: float | None = None
    choice: str = DEFAULT_CHOICE

    def __post_init__(self) -> None:
        Member.read(self.member)
        _check_name("choice", self.choice, CHOICES)
        _check_name("optimizer", self.optimizer, OPTIMIZERS)
        _check_name("schedule", self.schedule, SCHEDULES)
        parts = len(SCHEDULES[self.schedule].shares)
        if self.iterations < parts:
            raise RobustsegError(
                f"attack {self.name} needs at least {parts} iterations, one for each part of its "
                f"schedule; got {self.iterations}"
            )
        if self.optimizer == "apgd" and self.step_size is not None:
            raise RobustsegError(f"attack {self.name} chooses its own step size; remove step_size")
        if self.optimizer == "pgd" and not (self.step_size and self.step_size > 0):
            raise RobustsegError(
                f"attack {self.name} needs a step_size above 0; got {self.step_size}"
            )

    @property
    def name(self) -> str:
        """The attack in evidence, for example `apgd-mask_ce-reduced-300`."""
        choice = "" if self.choice == DEFAULT_CHOICE else f"-{self.choice}"
        return self.start + choice

    @property
    def start(self) -> str:
        """What random starts follow from: choices start alike, so that they compare in pairs."""
        return f"{self.optimizer}-{self.member}-{self.schedule}-{self.iterations}"

    @property
    def loss(self) -> str:
        """One of `losses.LOSSES`."""
        return Member.read(self.member).loss

    @property
    def margin(self) -> float | None:
        """The mean margin to which the logits of a clean image are scaled; None: they are not."""
        return Member.read(self.member).margin

    @property
    def q_range(self) -> tuple[float, float]:
        """The Tsallis loss's q at the begin and the end."""
        return Member.read(self.member).q_range


@dataclass(frozen=True)
class SquareSpec:
    """The Square attack, see `attacks.square`.

    Attributes:
        iterations: queries: forward passes for each image.
        p_init: p of arXiv 1912.00049, the share of an image's pixels that the first squares cover;
            above 1, they are as large as they can be for longer.

    Raises:
        RobustsegError: no query, or a p_init that is not above 0.
    """

    iterations: int
    p_init: float

    loss: ClassVar[str] = RIGHT_PIXELS
    optimizer: ClassVar[str] = SQUARE
    schedule: ClassVar[str] = "none"
    margin: ClassVar[None] = None
    choice: ClassVar[str] = DEFAULT_CHOICE

    def __post_init__(self) -> None:
        number = isinstance(self.p_init, Real) and not isinstance(self.p_init, bool)
        if self.iterations < 1 or not number or not 0 < self.p_init < math.inf:
            raise RobustsegError(
                "the Square attack needs a query or more and a p_init above 0; got "
                f"{self.iterations!r}, {self.p_init!r}"
            )

    @property
    def name(self) -> str:
        """The attack in evidence and seeds, for example `square-right_pixels-0.8-5000`."""
        return f"{self.optimizer}-{self.loss}-{self.p_init:g}-{self.iterations}"


Spec = AttackSpec | SquareSpec


def specs_of(suite: Mapping[str, Any], eps_255: float) -> tuple[AttackSpec, ...]:
    """Return the attacks of a suite at one radius, in the order choice, schedule, iterations, loss.

    Args:
        suite: its section, as plain data; every combination of `losses` (members), `schedules`,
            `iterations` and `choices` is an attack. That of a transfer has no `optimizer`: APGD.
        eps_255: the radius in 1/255, by which `step_size` says PGD's steps (B.1, C.1).

    Raises:
        RobustsegError: PGD without a step size at this radius, an attack named twice, or anything
            that AttackSpec refuses.
    """
    optimizer, step_size = suite.get("optimizer", "apgd"), None
    if optimizer == "pgd":
        by_eps = {float(eps): step for eps, step in (suite.get("step_size") or {}).items()}
        if float(eps_255) not in by_eps:
            raise RobustsegError(
                f"pgd has no step_size at eps_255 {eps_255:g} (there are some at: "
                f"{', '.join(f'{eps:g}' for eps in sorted(by_eps)) or 'none'}); add one"
            )
        step_size = by_eps[float(eps_255)]
    parts = (suite.get("choices", [DEFAULT_CHOICE]), suite["schedules"], suite["iterations"])
    attacks = tuple(
        AttackSpec(member, optimizer, schedule, budget, step_size, choice)
        for choice, schedule, budget, member in product(*parts, suite["losses"])
    )
    names = [attack.name for attack in attacks]
    for name in names:
        if names.count(name) > 1:
            raise RobustsegError(f"attack {name} is in the suite twice; name it once")
    return attacks


def check_radius(eps_255: float) -> None:
    """Refuse a radius that is no radius.

    Raises:
        RobustsegError: below 0, above 255, or not a number.
    """
    number = isinstance(eps_255, Real) and not isinstance(eps_255, bool)
    if not number or not 0 <= eps_255 <= 255:
        raise RobustsegError(
            f"eps_255 must be between 0 and 255, in units of 1/255; got {eps_255!r}"
        )


def _check_name(kind: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        raise RobustsegError(f"unknown {kind} {name}; choose one of {', '.join(known)}")


def images_of_shard(images: int, shard: int, shards: int, unit: int = 1) -> range:
    """Return the places of the images that one of `shards` jobs attacks: each is in just one.

    Shards begin at multiples of `unit`: where that is the batch size, the batches are those of a
    run without shards, so that the evidence is the same to the last bit.

    Raises:
        RobustsegError: there are more shards than units.
    """
    units = -(-images // unit)
    if shards > units:
        raise RobustsegError(
            f"{amount(images, 'image')} in batches of {unit} cannot be cut into {shards} shards; "
            f"ask for {units} or fewer (--shard; attacks.shards of a configuration)"
        )
    start, stop = (units * part // shards * unit for part in (shard, shard + 1))
    return range(start, min(stop, images))
