"""The keys of attacks: suites, and images that are kept."""

from typing import Annotated, Any, Literal

from pydantic import Field

from robustseg.attacks.losses import LOSSES
from robustseg.attacks.spec import SCHEDULES
from robustseg.evaluation.suite_kinds import AnySuite
from robustseg.names import PRECISIONS
from robustseg.sections import AtOnce, Count, Name, Passes, Radius, Section, Text


class Attacks(Section):
    """How models are attacked."""

    batch_size: AtOnce = Field(
        8, description="images attacked at a time; changes speed and memory, not results"
    )
    shards: AtOnce = Field(
        1,
        description="jobs that share the images of one attack, cut between batches of "
        "`batch_size`; with fewer batches, one job per batch",
    )
    radii: Literal["apart", "together"] = Field(
        "apart",
        description="whether a suite attacks a model in one job per radius (`apart`), or in one "
        "job at all radii that tables and figures read (`together`), which saves small attacks "
        "most of the time that jobs take to start, but repeats all radii when one is added or left "
        "out; the same rows either way",
    )
    precision: Literal[tuple(PRECISIONS)] = Field(  # type: ignore[valid-type]
        "fp32",
        description="of the passes that search for a perturbation: `fp32`, or `bf16` by autocast; "
        "recorded counts are always made in full precision (docs/plan.md has gain and effect)",
    )
    compiled: bool = Field(
        False, description="whether these passes go through torch.compile; needs a C++ compiler"
    )
    suites: dict[Name, AnySuite] = Field({}, description="named sets of attacks")


class Gallery(Section):
    """Attacked images that are kept, for Figures 7-10 and the page."""

    images: Count = Field(description="the first images of the validation split that have labels")
    loss: Literal[tuple(LOSSES)] = Field(  # type: ignore[valid-type]
        description="objective, with `apgd` (the paper: `mask_ce`)"
    )
    schedule: Literal[tuple(SCHEDULES)] = Field(  # type: ignore[valid-type]
        description="as in a suite (the paper: `reduced`)"
    )
    iterations: Passes = Field(description="as in a suite")
    eps_255: dict[Name, Annotated[list[Radius], Field(min_length=1)]] = Field(
        description="ascending radii in 1/255, by model"
    )

    def of(self, model: str) -> dict[str, Any]:
        """Return the settings that matter to one model."""
        return self.model_dump() | {"eps_255": self.eps_255[model]}


class Targeted(Section):
    """Targeted attacks, for Figure 1."""

    images: Count = Field(
        1, description="the first images of the validation split that have labels"
    )
    classes: list[Text] = Field(min_length=1, description="target classes, by name")
    eps_255: Radius = Field(description="radius in 1/255")
    iterations: Annotated[Passes, Field(ge=3)] = Field(description="over all three radii")
