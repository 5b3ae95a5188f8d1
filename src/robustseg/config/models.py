"""The keys of trainings, backbones and models."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Discriminator, Field, Tag

from robustseg.attacks.losses import TRAINING_LOSSES
from robustseg.models.published import CLASSIFIERS, MARGIN, MODELS, Weights
from robustseg.models.registry import BACKBONES, DECODERS
from robustseg.names import (
    ATTACK_MODES,
    ATTACK_STARTS,
    DECAYED,
    PRECISIONS,
    SCHEMES,
    TRAINING_OPTIMIZERS,
)
from robustseg.sections import (
    AnyNumber,
    AtOnce,
    FilePath,
    Name,
    NotNegative,
    Passes,
    Percent,
    Positive,
    RadiusOrZero,
    Reference,
    Section,
    Share,
    Side,
    Step,
    Steps,
    tag_of,
)

BelowOne: TypeAlias = Annotated[Share, Field(lt=1)]
EPOCHS = (
    "passes over the training split, each in an order of its own; the images that do not fill a "
    "last batch sit out the epoch"
)
MOST_CHANNELS = 1000
"""ASSUME: of a model's input; hyperspectral images have hundreds."""
Channels: TypeAlias = Annotated[list[AnyNumber], Field(min_length=1, max_length=MOST_CHANNELS)]
Deviations: TypeAlias = Annotated[list[Positive], Field(min_length=1, max_length=MOST_CHANNELS)]


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
    weight_decay: NotNegative = Field(
        description="weight decay: decoupled for `adamw`, part of the gradient for `sgd`"
    )
    weight_decay_of: Literal[DECAYED] = Field(  # type: ignore[valid-type]
        "all",
        description="what decays: `all` parameters, or `matrices` and kernels of convolutions "
        "alone, not biases, norms, layer scales and embeddings (the released code)",
    )
    betas: Annotated[list[BelowOne], Field(min_length=2, max_length=2)] | None = Field(
        None, description="only for `adamw`: decay rates of its two running means"
    )
    momentum: BelowOne | None = Field(None, description="only for `sgd`: momentum")
    batch_size: AtOnce = Field(description="images in a batch: one update follows from all of them")
    images_per_pass: AtOnce | None = Field(
        None,
        description="images that go through the network together, with BatchNorm's statistics of "
        "their own; the passes of a batch are shared by the GPUs or follow one another, with the "
        "same result. By default the whole batch",
    )
    warmup: Share = Field(description="share of all updates during which the learning rate rises")
    power: Positive = Field(description="exponent of the polynomial decay after the warm-up")
    drop_path: BelowOne = Field(
        0.0, description="stochastic depth: highest share of residual branches left out"
    )
    auxiliary_weight: NotNegative = Field(
        0.0, description="weight of the auxiliary head's loss (Table 5: 0.4)"
    )
    step_size: Step = Field(
        description="step of PGD inside training, for images in [0, 1] (the paper: 0.01)"
    )
    attack_loss: Literal[TRAINING_LOSSES] = Field(  # type: ignore[valid-type]
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
    precision: Literal[tuple(PRECISIONS)] = Field(  # type: ignore[valid-type]
        "fp32",
        description="`fp32`, or `bf16`: mixed precision by autocast, weights and updates in fp32",
    )


NO_ATTACK = {
    "step_size": 0.01,
    "attack_loss": "ce",
    "attack_start": "image",
    "attack_mode": "eval",
    "gradient_contamination": False,
}
"""Settings of the attack inside training where there is none: the paper's."""


class TrainedBackbone(Section):
    """A classifier that the workflow trains, robustly if it has a radius, as a start for models."""

    kind: Literal["trained"] = Field("trained", description="`trained`: by this workflow")
    architecture: Literal[tuple(BACKBONES)] = Field(description="network")  # type: ignore[valid-type]
    dataset: Name = Field(description="classification set, one of `data`")
    training: Name = Field(description="optimizer settings, one of `training`")
    epochs: Passes = Field(description=EPOCHS)
    eps_255: RadiusOrZero = Field(
        0, description="radius of adversarial training, in 1/255; 0: clean training"
    )
    steps: Steps = Field(0, description="PGD steps for each batch; 0: clean training")
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
        description="set of kind `imagenet` to score it on, for tables of backbones and the target "
        "`backbone_accuracy`; not needed to start models from it",
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


class TrainedModel(Section):
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
    epochs: Passes = Field(description=EPOCHS)
    eps_255: RadiusOrZero = Field(0, description="radius of its training, in 1/255")
    steps: Steps = Field(0, description="PGD steps for each batch of its training")
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


class OwnModel(Section):
    """A segmentation model of your own, whose weights are evaluated as they are."""

    kind: Literal["own"] = Field(description="`own`: see docs/own_model.md")
    load: Reference = Field(
        description="where it is: `file.py:name`, `package.module:name`, `hf:NAME`, "
        "`torchvision:NAME`, `smp:NAME` or `trained:FILE` (`weights.safetensors` of another run); "
        "the code that this names is run"
    )
    dataset: Name = Field(description="segmentation set, one of `data`")
    weights: FilePath | None = Field(
        None,
        description="state dict to load: .pth or .safetensors. A published file that the workflow "
        "knows (docs/weights.md) is fetched if it is named where it will be kept: "
        "`data/weights/FILE`",
    )
    normalise: Literal["auto", "none", "imagenet", "half"] = Field(
        "auto",
        description="of images in [0, 1]: `imagenet`, `half` (to [-1, 1]), `none`; `auto`: as its "
        "publisher says, none for your own file",
    )
    mean: Channels | None = Field(None, description="another mean, one value per channel")
    std: Deviations | None = Field(None, description="another deviation, one value per channel")
    scale: Positive = Field(1.0, description="255 if it wants values up to 255, before `mean`")
    output: (
        Annotated[str, Field(min_length=1)] | Annotated[int, Field(ge=-1000, le=1000)] | None
    ) = Field(
        None, description="where its output has the logits: key, attribute or place; found if usual"
    )
    classes: list[Annotated[int, Field(ge=0, lt=2**16)] | None] | None = Field(
        None,
        description="the data set's class for each output, or null for none; by default "
        "the outputs are the classes in order, and later ones are none",
    )
    divisor: Side | None = Field(None, description="images are padded to multiples of it, pixels")
    size_px: Annotated[list[Side], Field(min_length=2, max_length=2)] | None = Field(
        None, description="images are padded to this height and width, pixels"
    )

    @property
    def files(self) -> list[str]:
        """The files that it is made of, as far as they are known."""
        kind, _, name = self.load.partition(":")
        file = kind if kind.endswith(".py") else name if kind == "trained" else None
        return [path for path in (file, self.weights) if path]


AnyBackbone: TypeAlias = Annotated[
    Annotated[TrainedBackbone, Tag("kind:trained")]
    | Annotated[FetchedBackbone, Tag("kind:fetched")],
    Discriminator(tag_of("trained")),
]
AnyModel: TypeAlias = Annotated[
    Annotated[TrainedModel, Tag("kind:trained")]
    | Annotated[ReleasedModel, Tag("kind:released")]
    | Annotated[OwnModel, Tag("kind:own")],
    Discriminator(tag_of("trained")),
]
