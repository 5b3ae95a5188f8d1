"""Every key of a configuration, with its unit."""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field

from robustseg.attacks.spec import AttackSpec
from robustseg.models.registry import BACKBONES, DECODERS
from robustseg.names import LOSSES, OPTIMIZERS, SCHEDULES, SCHEMES

TABLES = ("table1", "table2", "table3", "table4", "table7", "table8", "table9", "table10")
FIGURES = ("figure2", "figure3", "figure4", "figure5")

Name: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
Seed: TypeAlias = Annotated[int, Field(ge=0)]
Radius: TypeAlias = Annotated[float, Field(gt=0, le=255)]
Count: TypeAlias = Annotated[int, Field(ge=1)]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Positive: TypeAlias = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A part of the configuration: no unknown keys, no silent conversion between types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Generated(Section):
    """A data set that the workflow generates itself: `scenes` to segment, `shapes` to classify."""

    kind: Literal["scenes", "shapes"] = Field(
        description="`scenes`: several objects and a label for each pixel; "
        "`shapes`: one object and one label for the image, to pretrain backbones on"
    )
    size_px: int = Field(ge=16, multiple_of=16, description="height and width of an image, pixels")
    train_images: Count = Field(description="images in the training split")
    val_images: Count = Field(description="images in the validation split, which is attacked")
    seed: Seed = Field(description="seed of the generator")


class Training(Section):
    """Settings of an optimizer, shared by the models (or backbones) that name them."""

    optimizer: Literal["adamw"] = Field(description="optimizer")
    learning_rate: Positive = Field(description="highest learning rate, reached after the warm-up")
    weight_decay: float = Field(ge=0, description="decoupled weight decay")
    betas: Annotated[list[Share], Field(min_length=2, max_length=2)] = Field(
        description="decay rates of AdamW's two running means"
    )
    batch_size: Count = Field(description="images in a batch")
    warmup: Share = Field(description="share of all updates during which the learning rate rises")
    power: Positive = Field(description="exponent of the polynomial decay after the warm-up")
    step_size: Positive = Field(
        description="step of PGD inside training, for images in [0, 1] (the paper: 0.01)"
    )
    auxiliary_weight: float = Field(
        0.0, ge=0, description="weight of the auxiliary head's loss (the released code: 0.4)"
    )


class Backbone(Section):
    """A classifier that the workflow trains, robustly if it has a radius, as a start for models."""

    architecture: Literal[tuple(BACKBONES)] = Field(description="network")  # type: ignore[valid-type]
    dataset: Name = Field(description="classification set, one of `data`")
    training: Name = Field(description="optimizer settings, one of `training`")
    epochs: Count = Field(description="passes over the training split")
    eps_255: float = Field(
        0, ge=0, le=255, description="radius of adversarial training, in 1/255; 0: clean training"
    )
    steps: int = Field(0, ge=0, description="PGD steps for each batch; 0: clean training")
    eps_ramp: Share = Field(
        0, description="share of all updates during which the radius rises from 0 to eps_255"
    )

    @property
    def robust(self) -> bool:
        """Whether it is trained adversarially."""
        return self.eps_255 > 0


class Model(Section):
    """A segmentation model and how it is trained."""

    scheme: Literal[SCHEMES] = Field(  # type: ignore[valid-type]
        description="`clean`; `at`: adversarial training from a clean backbone; `pir_at`: the same "
        "from a robust backbone; `half_at`: half of each batch stays clean"
    )
    decoder: Literal[tuple(DECODERS)] = Field(description="decoder")  # type: ignore[valid-type]
    backbone: Name = Field(description="where its backbone starts from, one of `backbones`")
    dataset: Name = Field(description="segmentation set, one of `data`")
    training: Name = Field(description="optimizer settings, one of `training`")
    epochs: Count = Field(description="passes over the training split")
    eps_255: float = Field(0, ge=0, le=255, description="radius of its training, in 1/255")
    steps: int = Field(0, ge=0, description="PGD steps for each batch of its training")


class Suite(Section):
    """A named set of attacks: every loss with every schedule and number of iterations."""

    losses: list[Literal[LOSSES]] = Field(  # type: ignore[valid-type]
        min_length=1, description="objectives, in the order in which the attacks run"
    )
    optimizer: Literal[OPTIMIZERS] = Field(description="`apgd` or `pgd`")  # type: ignore[valid-type]
    schedules: list[Literal[SCHEDULES]] = Field(  # type: ignore[valid-type]
        min_length=1,
        description="radius over the iterations: `constant`; `restarts`: three constant runs of a "
        "third each; `reduced`: 2, 1.5 and 1 times the radius, 3:3:4 of the iterations",
    )
    iterations: list[Count] = Field(
        min_length=1, description="forward and backward passes for each image and attack"
    )
    step_size: dict[Radius, Positive] | None = Field(
        None,
        description="only for `pgd`: the step, for images in [0, 1], by radius in 1/255",
    )

    def attacks(self) -> list[AttackSpec]:
        """Return the suite's attacks; PGD's with the step of the first radius."""
        step_size = next(iter(self.step_size.values())) if self.step_size else None
        return [
            AttackSpec(loss, self.optimizer, schedule, iterations, step_size)
            for loss, schedule, iterations in product(self.losses, self.schedules, self.iterations)
        ]

    def at(self, eps_255: float) -> dict[str, Any]:
        """Return the settings that matter at one radius: without the steps of other radii."""
        steps = self.step_size
        return self.model_dump() | {"step_size": steps and {eps_255: steps[eps_255]}}


class Attacks(Section):
    """How models are attacked."""

    batch_size: Count = Field(
        description="images attacked at a time; changes speed and memory, not results"
    )
    shards: Count = Field(1, description="jobs that share the images of one attack")
    suites: dict[Name, Suite] = Field(description="named sets of attacks")


class Read(Section):
    """Evidence that a table or figure reads; the model's clean evaluation always comes with it."""

    model: Name = Field(description="one of `models`")
    suites: list[Name] = Field(min_length=1, description="some of `attacks.suites`")
    eps_255: list[Radius] = Field(min_length=1, description="radii of the attack, in 1/255")
    seeds: list[Seed] = Field([0], min_length=1, description="seeds of the attack")


class Config(Section):
    """The whole configuration."""

    run: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")] = Field(
        description="name of the run: everything is written under `results/{run}/`"
    )
    training_seeds: list[Seed] = Field(
        min_length=1,
        description="seeds of training; tables and figures read the first, `seeds` reads all",
    )
    data: dict[Name, Generated] = Field(description="data sets")
    backbones: dict[Name, Backbone] = Field(description="classifiers that models start from")
    training: dict[Name, Training] = Field(description="optimizer settings")
    models: dict[Name, Model] = Field(description="segmentation models")
    attacks: Attacks = Field(description="how models are attacked")
    tables: dict[Literal[TABLES], list[Read]] = Field(  # type: ignore[valid-type]
        description="what each table reads, row by row"
    )
    figures: dict[Literal[FIGURES], list[Read]] = Field(  # type: ignore[valid-type]
        description="what each figure reads"
    )
    seeds: list[Read] = Field(
        [], description="what the table over all training seeds reads (target `seeds`)"
    )

    def reads_of(self, *names: str) -> list[Read]:
        """Return what these tables and figures (or `seeds`) read."""
        known: Mapping[str, list[Read]] = {**self.tables, **self.figures, "seeds": self.seeds}
        return [read for name in names for read in known[name]]

    def training_seeds_of(self, name: str) -> list[int]:
        """Return the training seeds that a table or figure is about."""
        return self.training_seeds if name == "seeds" else self.training_seeds[:1]

    def settings_of(self, name: str) -> list[dict[str, Any]]:
        """Return what a table or figure reads, as plain data."""
        return [read.model_dump() for read in self.reads_of(name)]

    def model_of(self, name: str) -> dict[str, Any]:
        """Return a model's settings as plain data, with the `architecture` of its backbone."""
        model = self.models[name]
        return model.model_dump() | {"architecture": self.backbones[model.backbone].architecture}

    def lineage_of(self, name: str) -> dict[str, dict[str, Any]]:
        """Return all settings that a model's weights follow from, as plain data."""
        model = self.models[name]
        backbone = self.backbones[model.backbone]
        return {
            "model": self.model_of(name),
            "training": self.training_of(model),
            "data": self.data[model.dataset].model_dump(),
            "backbone": backbone.model_dump(),
            "backbone_training": self.training_of(backbone),
            "backbone_data": self.data[backbone.dataset].model_dump(),
        }

    def models_of(self, name: str) -> dict[str, dict[str, Any]]:
        """Return the settings of the models that a table or figure reads."""
        return {read.model: self.model_of(read.model) for read in self.reads_of(name)}

    def training_of(self, trained: Backbone | Model) -> dict[str, Any]:
        """Return the optimizer settings of a backbone or a model as plain data."""
        return self.training[trained.training].model_dump()

    def reads(self) -> Iterator[tuple[str, Read]]:
        """Yield everything that is read, with the key that says so."""
        for section, by_name in (("tables", self.tables), ("figures", self.figures)):
            for name, reads in by_name.items():
                for index, read in enumerate(reads):
                    yield f"{section}.{name}[{index}]", read
        for index, read in enumerate(self.seeds):
            yield f"seeds[{index}]", read


def section_in(annotation: Any) -> type[Section] | None:
    """Return the section class inside a type such as dict[str, Section], if there is one."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    inside = (section_in(argument) for argument in get_args(annotation))
    return next(filter(None, inside), None)
