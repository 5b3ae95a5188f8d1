"""What a training depends on, gathered from the config's sections."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from robustseg.errors import RobustsegError
from robustseg.names import ADVERSARIAL_SHARE
from robustseg.training.inner_attack import TrainingAttack


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of one training; a config that gives the same recipe gives the same weights."""

    epochs: int
    batch_size: int
    images_per_pass: int
    """Images that go through the network together; it divides the batch."""
    optimizer: str
    learning_rate: float
    learning_rate_ratio: float
    """Learning rate of all but the backbone, over the backbone's."""
    weight_decay: float
    betas: tuple[float, float] | None
    momentum: float | None
    warmup: float
    """Share of the updates over which the learning rate rises."""
    power: float
    """Exponent of the decay of the learning rate."""
    drop_path: float
    """Stochastic depth: share of residual branches left out, highest at the last block."""
    auxiliary_weight: float
    precision: str
    adversarial_share: float
    """Share of each pass that is attacked, from 0 to 1."""
    attack: TrainingAttack
    eps_ramp: float
    """Share of the updates over which the radius rises from 0."""
    background: bool
    """Whether the background is a class; if not, its pixels are ignored (Appendix C.3)."""
    # ASSUME: its logit stays and is left out when the model is scored; the paper has 150 logits.
    training_seed: int

    def __post_init__(self) -> None:
        if self.batch_size % self.images_per_pass:
            raise RobustsegError(
                f"images_per_pass {self.images_per_pass} does not divide the batch_size "
                f"{self.batch_size}; choose one that does"
            )

    @property
    def passes(self) -> int:
        """Passes through the network that make one batch."""
        return self.batch_size // self.images_per_pass


def settings_of(
    subject: Mapping[str, Any], training: Mapping[str, Any], scheme: str, training_seed: int
) -> TrainingSettings:
    """Join a `models` or `backbones` entry of the config with its `training` entry.

    Args:
        subject: epochs, and for adversarial training eps_255, steps and maybe eps_ramp.
        training: optimizer and attack settings, for images in [0, 1]; keys with a default in the
            config's schema may be left out.
        scheme: one of `names.SCHEMES`.
        training_seed: seed of initialisation, data order and flips.

    Raises:
        RobustsegError: images_per_pass does not divide the batch.
    """
    betas = training.get("betas")
    attack = TrainingAttack(
        loss=training.get("attack_loss", "ce"),
        epsilon=subject.get("eps_255", 0) / 255,
        steps=subject.get("steps", 0),
        step_size=training["step_size"],
        start=training.get("attack_start", "image"),
        mode=training.get("attack_mode", "eval"),
        contaminates=training.get("gradient_contamination", False),
    )
    return TrainingSettings(
        epochs=subject["epochs"],
        batch_size=training["batch_size"],
        images_per_pass=training.get("images_per_pass") or training["batch_size"],
        optimizer=training["optimizer"],
        learning_rate=training["learning_rate"],
        learning_rate_ratio=training.get("learning_rate_ratio", 1.0),
        weight_decay=training["weight_decay"],
        betas=betas and (betas[0], betas[1]),
        momentum=training.get("momentum"),
        warmup=training["warmup"],
        power=training["power"],
        drop_path=training.get("drop_path", 0.0),
        auxiliary_weight=training.get("auxiliary_weight", 0.0),
        precision=training.get("precision", "fp32"),
        adversarial_share=ADVERSARIAL_SHARE[scheme],
        attack=attack,
        eps_ramp=subject.get("eps_ramp", 0.0),
        background=subject.get("background", True),
        training_seed=training_seed,
    )
