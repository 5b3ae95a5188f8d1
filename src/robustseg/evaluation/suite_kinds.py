"""What each kind of suite may say, in a configuration and for a model of one's own."""

from itertools import product
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Discriminator, Field, Tag, field_validator

from robustseg.attacks.losses import LOSSES
from robustseg.attacks.spec import (
    CHOICES,
    DEFAULT_CHOICE,
    OPTIMIZERS,
    SCHEDULES,
    AttackSpec,
    Member,
)
from robustseg.errors import RobustsegError
from robustseg.evidence.enumerator import radius_of
from robustseg.sections import Count, InName, Name, Passes, Radius, Section, Step, tag_of


def _is_member(text: str) -> str:
    try:
        Member.read(text)
    except RobustsegError as error:
        raise ValueError(f"is not a loss: {error}") from None
    return text


LossMember: TypeAlias = Annotated[str, AfterValidator(_is_member)]
"""A loss of a suite, see `spec.Member`."""


class SuiteKind(Section):
    """What all kinds of suites have in common."""

    kind: str

    @property
    def own_radius(self) -> float | None:
        """The one radius of its evidence, whatever a table asks for; None: those asked for."""
        return radius_of({"kind": self.kind})

    def attacks(self) -> list[AttackSpec]:
        """Return the combinations of a loss, an optimizer and a schedule that it is made of."""
        return []

    def at(self, *radii_255: float) -> dict[str, Any]:
        """Return the settings that matter at some radii."""
        return self.model_dump()


class Suite(SuiteKind):
    """A named set of attacks: every loss with every schedule and number of iterations."""

    kind: Literal["white_box"] = Field("white_box", description="attacks on the model itself")
    losses: list[LossMember] = Field(
        min_length=1,
        description=f"objectives, in the order in which the attacks run: {', '.join(LOSSES)}; "
        "`js@10` scales the logits of each image to a mean margin of 10, and `tsallis:-2:1` says "
        "from where to where q of Tsallis goes (docs/attacks.md)",
    )
    optimizer: Literal[OPTIMIZERS] = Field("apgd", description="`apgd` or `pgd`")  # type: ignore[valid-type]
    schedules: list[Literal[tuple(SCHEDULES)]] = Field(  # type: ignore[valid-type]
        min_length=1,
        description="radius over the iterations: `constant`; `restarts`: three constant runs of a "
        "third each; `reduced`: 2, 1.5 and 1 times the radius, 3:3:4 of the iterations",
    )
    iterations: list[Passes] = Field(
        min_length=1, description="forward and backward passes for each image and attack"
    )
    step_size: dict[Radius, Step] | None = Field(
        None,
        description="only for `pgd`: the step, for images in [0, 1], by radius in 1/255",
    )
    choices: list[Literal[tuple(CHOICES)]] = Field(  # type: ignore[valid-type]
        [DEFAULT_CHOICE],
        min_length=1,
        description="what the paper leaves open about APGD, one at a time (docs/attacks.md)",
    )

    def attacks(self) -> list[AttackSpec]:
        """Return the suite's attacks; PGD's with the step of the first radius."""
        step_size = next(iter(self.step_size.values())) if self.step_size else None
        return [
            AttackSpec(member, self.optimizer, schedule, iterations, step_size, choice)
            for member, schedule, iterations, choice in product(
                self.losses, self.schedules, self.iterations, self.choices
            )
        ]

    def at(self, *radii_255: float) -> dict[str, Any]:
        """Return the settings that matter at some radii: without the steps of other radii."""
        steps = self.step_size
        own = steps and {eps_255: steps[eps_255] for eps_255 in radii_255}
        return self.model_dump() | {"step_size": own}


class Transfer(SuiteKind):
    """Attacks that are found on other models and counted on the one that a table names."""

    kind: Literal["transfer"] = Field(description="`transfer`")
    sources: list[Name] = Field(min_length=1, description="models to attack, some of `models`")
    losses: list[LossMember] = Field(min_length=1, description="as in a suite")
    schedules: list[Literal[tuple(SCHEDULES)]] = Field(min_length=1, description="as in a suite")  # type: ignore[valid-type]
    iterations: list[Passes] = Field(min_length=1, description="as in a suite; always `apgd`")

    def attacks(self) -> list[AttackSpec]:
        """Return the attacks that each source is put under."""
        every = product(self.losses, self.schedules, self.iterations)
        return [AttackSpec(loss, "apgd", schedule, budget) for loss, schedule, budget in every]


class Alma(SuiteKind):
    """ALMA prox, which looks for the smallest perturbation and has no radius."""

    kind: Literal["alma"] = Field(description="`alma`")
    threshold: Annotated[InName, Field(le=1)] = Field(
        description="share of an image's pixels to misclassify"
    )
    iterations: Passes = Field(description="forward and backward passes for each image")
    images: Count | None = Field(None, description="images, drawn at random; all by default")


class Square(SuiteKind):
    """The Square attack, for which a model's labels are enough: forward passes, no gradient."""

    kind: Literal["square"] = Field(description="`square`")
    iterations: Passes = Field(description="queries: forward passes for each image")
    p_init: InName = Field(
        description="p of arXiv 1912.00049: the share of an image that the first squares cover; "
        "above 1, they stay as large as they can be for longer",
    )


class Doubt(SuiteKind):
    """A second opinion on the figures of another suite: signs that they are too high."""

    kind: Literal["doubt"] = Field(description="`doubt`")
    of: Name = Field(
        description="the suite whose figures are doubted, one of `suites` of the kind `white_box` "
        "or `square`; a table that reads the doubt reads it too"
    )
    images: Count = Field(
        description="images to check, drawn from the suite's; all if it has fewer"
    )
    iterations: Annotated[Passes, Field(ge=3)] = Field(
        description="of each attack: as many as the suite's attacks have, since more would "
        "find more by themselves. All attacks together take about four times as many passes of "
        "each image, more where gradients are hidden or random"
    )
    sources: list[Name] = Field(
        [], description="models whose attacks are tried on the doubted one, some of `models`"
    )


class Objects(SuiteKind):
    """No attack: the model scored on the classes but the background, whose logit is left out."""

    kind: Literal["objects"] = Field(description="`objects`")


AnySuite: TypeAlias = Annotated[
    Annotated[Suite, Tag("kind:white_box")]
    | Annotated[Transfer, Tag("kind:transfer")]
    | Annotated[Alma, Tag("kind:alma")]
    | Annotated[Square, Tag("kind:square")]
    | Annotated[Doubt, Tag("kind:doubt")]
    | Annotated[Objects, Tag("kind:objects")],
    Discriminator(tag_of("white_box")),
]


class AlmaOnAll(Alma):
    """ALMA prox for a model of one's own."""

    @field_validator("images")
    @classmethod
    def _is_left_out(cls, images: int | None) -> None:
        if images is not None:
            raise ValueError("is for configurations; `evaluate` has `images` for all its suites")


OwnSuite: TypeAlias = Annotated[
    Annotated[Suite, Tag("kind:white_box")]
    | Annotated[Transfer, Tag("kind:transfer")]
    | Annotated[AlmaOnAll, Tag("kind:alma")]
    | Annotated[Square, Tag("kind:square")],
    Discriminator(tag_of("white_box")),
]


class OwnSuites(Section):
    """Suites for a model of one's own, whose images are those that it is evaluated on."""

    suites: dict[Name, OwnSuite]
