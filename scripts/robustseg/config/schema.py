"""Every key of a configuration, with its unit."""

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from robustseg.attacks.spec import AttackSpec
from robustseg.data.archives import ARCHIVES
from robustseg.data.splits import (
    ADE20K_SPLITS,
    ADE20K_VAL,
    VOC_SPLITS,
    VOC_VAL,
    VOC_VAL_SPLITS,
    archives_of,
)
from robustseg.models.published import (
    CLASSIFIERS,
    FILES,
    MARGIN,
    MODELS,
    SegmentationWeights,
    Weights,
)
from robustseg.models.registry import BACKBONES, DECODERS
from robustseg.names import (
    ATTACK_MODES,
    ATTACK_STARTS,
    LOSSES,
    OPTIMIZERS,
    PRECISIONS,
    SCHEDULES,
    SCHEMES,
    TRAINING_OPTIMIZERS,
)

TABLES = (*(f"table{number}" for number in range(1, 12)), "appendix_c3")
ABLATIONS = ("ablation_training",)
"""Tables of our own, which the paper does not have."""
FIGURES = ("figure2", "figure3", "figure4", "figure5", "figure6")
PICTURES = ("figure1", "figure7", "figure8", "figure9", "figure10")
"""Figures of attacked images, and not of numbers."""

UNBOUNDED_255 = 255.0
"""eps_255 of ALMA prox, which has no radius: no perturbation of an image is larger."""

Name: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
Seed: TypeAlias = Annotated[int, Field(ge=0)]
Radius: TypeAlias = Annotated[float, Field(gt=0, le=255)]
Count: TypeAlias = Annotated[int, Field(ge=1)]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Percent: TypeAlias = Annotated[float, Field(ge=0, le=100)]
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
    size_px: int = Field(ge=32, multiple_of=16, description="height and width of an image, pixels")
    train_images: Count = Field(description="images in the training split")
    val_images: Count = Field(description="images in the validation split, which is attacked")
    seed: Seed = Field(description="seed of the generator")


class Downloaded(Section):
    """What PASCAL-VOC and ADE20K have in common."""

    root: str | None = Field(
        None,
        description="folder of a copy of your own, with the folders of the archives in it; "
        "without it the archives are downloaded",
    )
    crop_px: int = Field(
        ge=32, description="height and width of an image for the model, pixels (Table 5)"
    )
    base_px: int = Field(
        ge=32,
        description="in training the short side is 0.5 to 2 times this (Table 5), pixels",
    )
    padding: Literal["ignore", "background"] = Field(
        "ignore",
        description="label of what is added to a training image smaller than the crop: no label, "
        "or 0 as in the released code",
    )
    check_counts: bool = Field(
        True, description="whether a split must have the published number of images"
    )

    @property
    def val_images(self) -> int | None:
        """Images in the validation split; None: unknown until the files are there."""
        return None


class Voc(Downloaded):
    """PASCAL-VOC 2012, with the additional training masks of SBD."""

    kind: Literal["voc"] = Field(description="`voc`")
    crop_px: int = Field(473, ge=32, description=Downloaded.model_fields["crop_px"].description)
    base_px: int = Field(512, ge=32, description=Downloaded.model_fields["base_px"].description)
    train_split: Literal[tuple(VOC_SPLITS)] = Field(  # type: ignore[valid-type]
        "paper_8498",
        description="training images; the first two contain images of `val`, see docs/data.md",
    )
    val_split: Literal[VOC_VAL_SPLITS] = Field(  # type: ignore[valid-type]
        "val", description="all validation images, or those in or outside the training split"
    )
    void: Literal["ignore", "background"] = Field(
        "ignore", description="label of the pixels between objects: none, or background"
    )

    @property
    def val_images(self) -> int | None:
        """Images in the validation split; None: unknown until the files are there."""
        return VOC_VAL.count if self.check_counts and self.val_split == "val" else None

    @property
    def num_classes(self) -> int:
        """Objects and background."""
        return 21


class Ade20k(Downloaded):
    """ADE20K of the scene parsing challenge (2016)."""

    kind: Literal["ade20k"] = Field(description="`ade20k`")
    crop_px: int = Field(512, ge=32, description=Downloaded.model_fields["crop_px"].description)
    base_px: int = Field(520, ge=32, description=Downloaded.model_fields["base_px"].description)
    train_split: Literal[tuple(ADE20K_SPLITS)] = Field(  # type: ignore[valid-type]
        "train", description="training images"
    )
    val_split: Literal["val"] = Field("val", description="validation images")
    background: Literal["class", "ignore"] = Field(
        "class",
        description="pixels of no object: a class of their own, 151 in all (the paper), or no "
        "label and 150 classes (the usual way)",
    )

    @property
    def val_images(self) -> int | None:
        """Images in the validation split; None: unknown until the files are there."""
        return ADE20K_VAL.count if self.check_counts else None

    @property
    def num_classes(self) -> int:
        """Objects, and background where it is a class."""
        return 151 if self.background == "class" else 150


class ImageNet(Section):
    """ImageNet's validation images, of your own, to check fetched backbones on."""

    kind: Literal["imagenet"] = Field(description="`imagenet`")
    root: str = Field(description="folder with one folder for each of the 1000 classes")
    images: Count | None = Field(
        None, description="how many images, the first by name; all by default"
    )
    resize_px: int = Field(256, ge=32, description="short side to which images are resized, pixels")
    crop_px: int = Field(224, ge=32, description="height and width of their centre, pixels")

    @property
    def val_images(self) -> int | None:
        """Images that are scored; None: as many as there are."""
        return self.images


class Archive(Section):
    """Where a file is to be fetched from instead of the published addresses."""

    urls: list[str] = Field(
        min_length=1, description="addresses (http, https or file), tried in this order"
    )
    sha256: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")] | None = Field(
        None, description="its hash, if it is not the published file"
    )


class Downloads(Section):
    """What is fetched from the network, and where it is kept for all runs."""

    folder: str = Field(
        default="data", min_length=1, description="folder of archives and what is in them"
    )
    archives: dict[Literal[tuple(ARCHIVES)], Archive] = Field(  # type: ignore[valid-type]
        default={}, description="mirrors of your own, by archive"
    )
    weights: dict[Literal[tuple(FILES)], Archive] = Field(  # type: ignore[valid-type]
        default={},
        description="mirrors of your own, or copies (file://), of published weights by file name; "
        "docs/weights.md lists them",
    )

    def source_of(self, file: str) -> dict[str, Any]:
        """Return `urls`, and what is `expected` of the file, of the archive with this file name."""
        name, published = next((n, a) for n, a in ARCHIVES.items() if a.file == file)
        own = self.archives.get(name)
        expected: dict[str, Any] = {
            key: getattr(published, key) for key in ("sha1", "md5", "size_bytes")
        }
        if own and own.sha256:
            expected = {"sha256": own.sha256}
        return {"urls": list(own.urls if own else published.urls), "expected": expected}

    def source_of_weights(self, file: str) -> dict[str, Any]:
        """Return the same of the file of published weights with this name."""
        own, published = self.weights.get(file), FILES[file]
        expected = {"sha256": published.sha256, "size_bytes": published.size_bytes}
        if own and own.sha256:
            expected = {"sha256": own.sha256, "size_bytes": None}
        return {"urls": list(own.urls if own else published.urls), "expected": expected}


class Training(Section):
    """Settings of an optimizer and of the attack inside training, for those that name them."""

    optimizer: Literal[TRAINING_OPTIMIZERS] = Field(description="`adamw` or `sgd`")  # type: ignore[valid-type]
    learning_rate: Positive = Field(
        description="highest learning rate, reached after the warm-up; the backbone's, if the "
        "decoder has another"
    )
    learning_rate_ratio: Positive = Field(
        1.0, description="learning rate of all but the backbone, over the backbone's"
    )
    weight_decay: float = Field(
        ge=0, description="weight decay: decoupled for `adamw`, part of the gradient for `sgd`"
    )
    betas: Annotated[list[Share], Field(min_length=2, max_length=2)] | None = Field(
        None, description="only for `adamw`: decay rates of its two running means"
    )
    momentum: Share | None = Field(None, description="only for `sgd`: momentum")
    batch_size: Count = Field(description="images in a batch: one update follows from all of them")
    images_per_pass: Count | None = Field(
        None,
        description="images that go through the network together, with BatchNorm's statistics of "
        "their own; the passes of a batch are shared by the GPUs or follow one another, with the "
        "same result. By default the whole batch",
    )
    warmup: Share = Field(description="share of all updates during which the learning rate rises")
    power: Positive = Field(description="exponent of the polynomial decay after the warm-up")
    drop_path: float = Field(
        0.0, ge=0, lt=1, description="stochastic depth: highest share of residual branches left out"
    )
    auxiliary_weight: float = Field(
        0.0, ge=0, description="weight of the auxiliary head's loss (Table 5: 0.4)"
    )
    step_size: Positive = Field(
        description="step of PGD inside training, for images in [0, 1] (the paper: 0.01)"
    )
    attack_loss: Literal[LOSSES] = Field(  # type: ignore[valid-type]
        "ce", description="what PGD inside training maximises (the paper: `ce`)"
    )
    attack_start: Literal[ATTACK_STARTS] = Field(  # type: ignore[valid-type]
        "image", description="PGD's first iterate: the `image`, or a `random` one in its radius"
    )
    attack_mode: Literal[ATTACK_MODES] = Field(  # type: ignore[valid-type]
        "eval",
        description="mode of the network during PGD: `eval`, or `train` with BatchNorm's "
        "statistics of the pass and stochastic depth",
    )
    gradient_contamination: bool = Field(
        False,
        description="whether the parameters' gradients of PGD's steps are added to the update, as "
        "in the released code",
    )
    precision: Literal[PRECISIONS] = Field(  # type: ignore[valid-type]
        "fp32",
        description="`fp32`, or `bf16`: mixed precision by autocast, weights and updates in fp32",
    )


class Backbone(Section):
    """A classifier that the workflow trains, robustly if it has a radius, as a start for models."""

    kind: Literal["trained"] = Field("trained", description="`trained`: by this workflow")
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


class FetchedBackbone(Section):
    """A classifier that others have trained, as a start for models: Table 6."""

    kind: Literal["fetched"] = Field(description="`fetched`: published weights")
    weights: Literal[tuple(CLASSIFIERS)] = Field(description="see docs/weights.md")  # type: ignore[valid-type]
    dataset: Name | None = Field(
        None,
        description="set of kind `imagenet` to score it on, for `table6` and the target "
        "`backbone_accuracy`; to start models from it none is needed",
    )
    min_clean_accuracy: Percent | None = Field(
        None,
        description="accuracy in percent below which it is not attacked; by default "
        f"{MARGIN:g} less than the paper reports",
    )

    @property
    def architecture(self) -> str:
        """Its network."""
        return self.published.architecture

    @property
    def robust(self) -> bool:
        """Whether it was trained adversarially."""
        return CLASSIFIERS[self.weights].robust

    @property
    def published(self) -> Weights:
        """What is known of its weights."""
        return CLASSIFIERS[self.weights]


class Model(Section):
    """A segmentation model and how it is trained."""

    kind: Literal["trained"] = Field("trained", description="`trained`: by this workflow")
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
    background: bool = Field(
        True, description="whether the background is learnt as a class; if not, it is ignored"
    )


class ReleasedModel(Section):
    """A segmentation model that others have trained: their weights are evaluated as they are."""

    kind: Literal["released"] = Field(description="`released`: published weights")
    weights: Literal[tuple(MODELS)] = Field(description="see docs/weights.md")  # type: ignore[valid-type]
    dataset: Name = Field(description="segmentation set of its classes, one of `data`")
    min_clean_accuracy: Percent | None = Field(
        None,
        description="mean pixel accuracy in percent below which it is not attacked; by default "
        f"{MARGIN:g} less than the paper reports",
    )

    @property
    def published(self) -> Weights:
        """What is known of its weights."""
        return MODELS[self.weights]


class Suite(Section):
    """A named set of attacks: every loss with every schedule and number of iterations."""

    own_radius: ClassVar[float | None] = None
    """The one radius of its evidence, whatever a table asks for; None: those asked for."""

    kind: Literal["white_box"] = Field("white_box", description="attacks on the model itself")
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


class Transfer(Section):
    """Attacks that are found on other models and counted on the one that a table names."""

    own_radius: ClassVar[float | None] = None

    kind: Literal["transfer"] = Field(description="`transfer`")
    sources: list[Name] = Field(min_length=1, description="models to attack, some of `models`")
    losses: list[Literal[LOSSES]] = Field(min_length=1, description="as in a suite")  # type: ignore[valid-type]
    schedules: list[Literal[SCHEDULES]] = Field(min_length=1, description="as in a suite")  # type: ignore[valid-type]
    iterations: list[Count] = Field(min_length=1, description="as in a suite; always `apgd`")

    def attacks(self) -> list[AttackSpec]:
        """Return the attacks that each source is put under."""
        every = product(self.losses, self.schedules, self.iterations)
        return [AttackSpec(loss, "apgd", schedule, budget) for loss, schedule, budget in every]

    def at(self, eps_255: float) -> dict[str, Any]:
        """Return the settings that matter at one radius."""
        return self.model_dump()


class Alma(Section):
    """ALMA prox, which looks for the smallest perturbation and has no radius."""

    own_radius: ClassVar[float | None] = UNBOUNDED_255

    kind: Literal["alma"] = Field(description="`alma`")
    threshold: float = Field(gt=0, le=1, description="share of an image's pixels to misclassify")
    iterations: Count = Field(description="forward and backward passes for each image")
    images: Count | None = Field(None, description="images, drawn at random; all by default")

    def attacks(self) -> list[AttackSpec]:
        """Return none: it is no combination of a loss, an optimizer and a schedule."""
        return []

    def at(self, eps_255: float) -> dict[str, Any]:
        """Return the settings."""
        return self.model_dump()


class Objects(Section):
    """No attack: the model scored on the classes but the background, whose logit is left out."""

    own_radius: ClassVar[float | None] = 0.0

    kind: Literal["objects"] = Field(description="`objects`")

    def attacks(self) -> list[AttackSpec]:
        """Return none."""
        return []

    def at(self, eps_255: float) -> dict[str, Any]:
        """Return the settings."""
        return self.model_dump()


TAG = "kind:"
"""Begins the name of a kind in the location of an error."""


def _tag(default: str | None = None) -> Callable[[Any], str | None]:
    """Return a function that says which kind of section a mapping is meant to be."""

    def tag(section: Any) -> str | None:
        if isinstance(section, dict):
            kind = section.get("kind", default)
        else:
            kind = getattr(section, "kind", default)
        return None if kind is None else f"{TAG}{kind}"

    return tag


AnyData: TypeAlias = Annotated[
    Annotated[Generated, Tag("kind:scenes")]
    | Annotated[Generated, Tag("kind:shapes")]
    | Annotated[Voc, Tag("kind:voc")]
    | Annotated[Ade20k, Tag("kind:ade20k")]
    | Annotated[ImageNet, Tag("kind:imagenet")],
    Discriminator(_tag()),
]
AnyBackbone: TypeAlias = Annotated[
    Annotated[Backbone, Tag("kind:trained")] | Annotated[FetchedBackbone, Tag("kind:fetched")],
    Discriminator(_tag("trained")),
]
AnyModel: TypeAlias = Annotated[
    Annotated[Model, Tag("kind:trained")] | Annotated[ReleasedModel, Tag("kind:released")],
    Discriminator(_tag("trained")),
]
AnySuite: TypeAlias = Annotated[
    Annotated[Suite, Tag("kind:white_box")]
    | Annotated[Transfer, Tag("kind:transfer")]
    | Annotated[Alma, Tag("kind:alma")]
    | Annotated[Objects, Tag("kind:objects")],
    Discriminator(_tag("white_box")),
]
SEGMENTATION_KINDS = ("scenes", "voc", "ade20k")


class Attacks(Section):
    """How models are attacked."""

    batch_size: Count = Field(
        description="images attacked at a time; changes speed and memory, not results"
    )
    shards: Count = Field(
        1,
        description="jobs that share the images of one attack, cut between batches of "
        "`batch_size`; where there are fewer batches, one job a batch",
    )
    suites: dict[Name, AnySuite] = Field(description="named sets of attacks")


class Gallery(Section):
    """Attacked images that are kept, for Figures 7-10 and the page."""

    images: Count = Field(description="the first images of the validation split")
    loss: Literal[LOSSES] = Field(description="objective, with `apgd` (the paper: `mask_ce`)")  # type: ignore[valid-type]
    schedule: Literal[SCHEDULES] = Field(description="as in a suite (the paper: `reduced`)")  # type: ignore[valid-type]
    iterations: Count = Field(description="as in a suite")
    eps_255: dict[Name, Annotated[list[Radius], Field(min_length=1)]] = Field(
        description="ascending radii in 1/255, by model"
    )

    def of(self, model: str) -> dict[str, Any]:
        """Return the settings that matter to one model."""
        return self.model_dump() | {"eps_255": self.eps_255[model]}


class Targeted(Section):
    """Targeted attacks, for Figure 1."""

    images: Count = Field(1, description="the first images of the validation split")
    classes: list[str] = Field(min_length=1, description="target classes, by name")
    eps_255: Radius = Field(description="radius in 1/255")
    iterations: Annotated[int, Field(ge=3)] = Field(description="over all three radii")


class Read(Section):
    """Evidence that a table or figure reads; the model's clean evaluation always comes with it."""

    model: Name = Field(description="one of `models`, or for `table6` of `backbones`")
    suites: list[Name] = Field(min_length=1, description="some of `attacks.suites`")
    eps_255: list[Radius] = Field(
        [],
        description="radii of the attack, in 1/255; `alma` and `objects` have one of their own",
    )
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
    data: dict[Name, AnyData] = Field(description="data sets")
    downloads: Downloads = Field(
        Downloads(), description="where archives come from and where they are kept"
    )
    backbones: dict[Name, AnyBackbone] = Field(description="classifiers that models start from")
    training: dict[Name, Training] = Field(description="optimizer settings")
    models: dict[Name, AnyModel] = Field(description="segmentation models")
    attacks: Attacks = Field(description="how models are attacked")
    tables: dict[Literal[(*TABLES, *ABLATIONS)], list[Read]] = Field(  # type: ignore[valid-type]
        description="what each table reads, row by row; `table5`, the configuration itself: []"
    )
    figures: dict[Literal[FIGURES], list[Read]] = Field(  # type: ignore[valid-type]
        description="what each figure reads"
    )
    gallery: Gallery | None = Field(None, description="attacked images to keep")
    targeted: Targeted | None = Field(None, description="targeted attacks")
    pictures: dict[Literal[PICTURES], list[Name]] = Field(  # type: ignore[valid-type]
        {},
        description="models that figures of attacked images show: `figure1` of `targeted`, "
        "the others of `gallery`, one each",
    )
    throughput: str | None = Field(
        None,
        description="for the target `plan`: a file of throughputs that was measured elsewhere "
        "(docs/plan.md); by default the device at hand is measured",
    )
    seeds: list[Read] = Field(
        [], description="what the table over all training seeds reads (target `seeds`)"
    )
    leak: list[Read] = Field(
        [],
        description="what the table of the validation images inside and outside training reads "
        "(target `leak`, docs/data.md)",
    )

    def reads_of(self, *names: str) -> list[Read]:
        """Return what these tables and figures (or `seeds` and `leak`) read."""
        more = {"seeds": self.seeds, "leak": self.leak}
        known: Mapping[str, list[Read]] = {**self.tables, **self.figures, **more}
        return [part for name in names for read in known[name] for part in self._by_radius(read)]

    def _by_radius(self, read: Read) -> list[Read]:
        """Split off the suites that have a radius of their own."""
        own = {name: self.attacks.suites[name].own_radius for name in read.suites}
        asked = [name for name, eps_255 in own.items() if eps_255 is None]
        parts = [read.model_copy(update={"suites": asked})] if asked else []
        for name, eps_255 in own.items():
            if eps_255 is not None:
                change = {"suites": [name], "eps_255": [eps_255], "seeds": [0]}
                parts.append(read.model_copy(update=change))
        return parts

    def training_seeds_of(self, name: str) -> list[int]:
        """Return the training seeds that a table or figure is about."""
        return self.training_seeds if name == "seeds" else self.training_seeds[:1]

    def settings_of(self, name: str) -> list[dict[str, Any]]:
        """Return what a table or figure reads, as plain data."""
        return [read.model_dump() for read in self.reads_of(name)]

    def data_of(self, name: str) -> dict[str, Any]:
        """Return what the images and labels of a data set follow from, not where they lie."""
        return self.data[name].model_dump(exclude={"root", "check_counts"})

    def folders_of(self, name: str) -> dict[str, str]:
        """Return the folder of each archive of a data set, relative to its root."""
        data = self.data[name]
        settings = data.model_dump()
        return {
            archive: "" if settings["root"] or not ARCHIVES[archive].wanted else archive
            for archive in archives_of(settings)
        }

    def dataset_of(self, name: str) -> str:
        """Return the data set of a model or a backbone."""
        dataset = (self.models.get(name) or self.backbones[name]).dataset
        assert dataset is not None, f"{name} is to be evaluated and has no data set"
        return dataset

    def published_of(self, name: str) -> Weights | None:
        """Return what is known of a model's or backbone's weights, if others have trained it."""
        return getattr(self.models.get(name) or self.backbones[name], "published", None)

    def weights_files(self) -> list[str]:
        """Return the files of published weights that this configuration needs."""
        published = map(self.published_of, [*self.backbones, *self.models])
        return list(dict.fromkeys(weights.file for weights in published if weights))

    def min_clean_accuracy_of(self, name: str) -> float | None:
        """Return the percentage that published weights must reach to be attacked; else None."""
        published = self.published_of(name)
        if published is None:
            return None
        entry = self.models.get(name) or self.backbones[name]
        own: float | None = getattr(entry, "min_clean_accuracy", None)
        return published.clean_accuracy - MARGIN if own is None else own

    def sources_of(self, suite: str) -> list[str]:
        """Return the models that a suite's perturbations are found on, if not on the target."""
        return getattr(self.attacks.suites[suite], "sources", [])

    def cut_of(self, suite: str, victim: str) -> tuple[int, int]:
        """Return how many shards a suite's images are cut into, and the unit that they are cut at.

        What is not cut has the unit 1, so that its evidence does not depend on `batch_size`.
        """
        unit = self.attacks.batch_size
        counts = (
            self.data[self.dataset_of(victim)].val_images,
            getattr(self.attacks.suites[suite], "images", None),
        )
        batches = [-(-count // unit) for count in counts if count]
        shards = min([self.attacks.shards, *batches])
        return (shards, unit) if shards > 1 else (1, 1)

    def model_of(self, name: str) -> dict[str, Any]:
        """Return the settings of a model, or a backbone, as plain data.

        A model has the `architecture` of its backbone, a backbone the `scheme` of its training.
        """
        if name in self.backbones:
            backbone = self.backbones[name]
            settings = _settings(backbone) | {"architecture": backbone.architecture}
            if isinstance(backbone, FetchedBackbone):
                settings["eps_255"] = TABLE6_EPS_255 if backbone.robust else 0
                settings["publisher"] = backbone.published.publisher
            return settings | {"scheme": "at" if backbone.robust else "clean"}
        model = self.models[name]
        if isinstance(model, ReleasedModel):
            return _settings(model) | _published_settings(MODELS[model.weights])
        return model.model_dump() | {"architecture": self.backbones[model.backbone].architecture}

    def lineage_of(self, name: str) -> dict[str, Any]:
        """Return all settings that a model's or backbone's weights follow from, as plain data."""
        if name in self.backbones:
            return self._lineage_of_backbone(name)
        model = self.models[name]
        lineage = {"model": self.model_of(name), "data": self.data_of(model.dataset)}
        if isinstance(model, ReleasedModel):
            return lineage | {"file": model.published.file}
        training = {"training": self.training_of(model)}
        return lineage | training | self._lineage_of_backbone(model.backbone)

    def _lineage_of_backbone(self, name: str) -> dict[str, Any]:
        backbone = self.backbones[name]
        lineage: dict[str, Any] = {"backbone": _settings(backbone)}
        if isinstance(backbone, FetchedBackbone):
            return lineage | {"backbone_file": backbone.published.file}
        return lineage | {
            "backbone_training": self.training_of(backbone),
            "backbone_data": self.data_of(backbone.dataset),
        }

    def models_of(self, name: str) -> dict[str, dict[str, Any]]:
        """Return the settings of the models that a table or figure reads, and of their sources.

        For an ablation, with those of their trainings.
        """
        reads = self.reads_of(name)
        targets = [read.model for read in reads]
        sources = [s for read in reads for suite in read.suites for s in self.sources_of(suite)]
        if name in ABLATIONS:
            recipes = self.recipes()
            return {model: recipes[model] for model in [*targets, *sources]}
        return {model: self.model_of(model) for model in [*targets, *sources]}

    def recipes(self) -> dict[str, Any]:
        """Return how everything is trained, as plain data: what Table 5 shows."""
        every: dict[str, Section] = {**self.backbones, **self.models}
        trained = {name: one for name, one in every.items() if isinstance(one, Backbone | Model)}
        return {
            name: {
                **self.training_of(one),
                **self.model_of(name),
                "training": one.training,
                "data": self.data_of(one.dataset),
            }
            for name, one in trained.items()
        }

    def training_of(self, trained: Backbone | Model) -> dict[str, Any]:
        """Return the optimizer settings of a backbone or a model as plain data."""
        return self.training[trained.training].model_dump()

    def reads(self) -> Iterator[tuple[str, Read]]:
        """Yield everything that is read, with the key that says so."""
        for section, by_name in (("tables", self.tables), ("figures", self.figures)):
            for name, reads in by_name.items():
                for index, read in enumerate(reads):
                    yield f"{section}.{name}[{index}]", read
        for section, reads in (("seeds", self.seeds), ("leak", self.leak)):
            for index, read in enumerate(reads):
                yield f"{section}[{index}]", read


TABLE6_EPS_255 = 4
"""Radius for which all robust classifiers of Table 6 were trained, in 1/255."""


def _settings(section: Section) -> dict[str, Any]:
    """Return a section as plain data, without what changes no result."""
    return section.model_dump(exclude={"min_clean_accuracy"})


def _published_settings(weights: SegmentationWeights) -> dict[str, Any]:
    """Return how others have trained a model, in the words of a model that is trained here."""
    return {
        "scheme": weights.scheme,
        "decoder": weights.decoder,
        "backbone": weights.architecture,
        "architecture": weights.architecture,
        "epochs": weights.epochs,
        "eps_255": weights.eps_255,
        "steps": weights.steps,
        "background": True,
        "publisher": weights.publisher,
    }


def kinds_of(section: type[Section]) -> tuple[str, ...]:
    """Return the kinds that pick a section among several that may stand in one place."""
    return get_args(section.model_fields["kind"].annotation)


def sections_in(annotation: Any) -> list[type[Section]]:
    """Return the section classes inside a type such as dict[str, Section], each once."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    inner = (section for argument in get_args(annotation) for section in sections_in(argument))
    return list(dict.fromkeys(inner))
