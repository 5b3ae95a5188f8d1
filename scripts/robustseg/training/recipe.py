"""What a training depends on, gathered from the config's sections."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ADVERSARIAL_SHARE = {"clean": 0.0, "half_at": 0.5, "at": 1.0, "pir_at": 1.0}
"""Share of each batch that is attacked, by scheme. AT and PIR-AT differ in the backbone alone."""


@dataclass(frozen=True)
class Recipe:
    """Settings of one training; a config that gives the same recipe gives the same weights."""

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    betas: tuple[float, float]
    warmup: float
    """Share of the updates over which the learning rate rises."""
    power: float
    """Exponent of the decay of the learning rate."""
    auxiliary_weight: float
    adversarial_share: float
    """Share of each batch that is attacked, from 0 to 1."""
    epsilon: float
    """Radius of the attack, in [0, 1]."""
    steps: int
    step_size: float
    eps_ramp: float
    """Share of the updates over which the radius rises from 0."""
    background: bool
    """Whether the background is a class; if not, its pixels are ignored (Appendix C.3)."""
    # ASSUME: its logit stays and is left out when the model is scored; the paper has 150 logits.
    training_seed: int


def recipe_of(
    subject: Mapping[str, Any], training: Mapping[str, Any], scheme: str, training_seed: int
) -> Recipe:
    """Join a `models` or `backbones` entry of the config with its `training` entry.

    Args:
        subject: epochs, and for adversarial training eps_255, steps and maybe eps_ramp.
        training: optimizer settings, for images in [0, 1].
        scheme: one of `ADVERSARIAL_SHARE`.
        training_seed: seed of initialisation, data order and flips.
    """
    return Recipe(
        epochs=subject["epochs"],
        batch_size=training["batch_size"],
        learning_rate=training["learning_rate"],
        weight_decay=training["weight_decay"],
        betas=(training["betas"][0], training["betas"][1]),
        warmup=training["warmup"],
        power=training["power"],
        auxiliary_weight=training.get("auxiliary_weight", 0.0),
        adversarial_share=ADVERSARIAL_SHARE[scheme],
        epsilon=subject.get("eps_255", 0) / 255,
        steps=subject.get("steps", 0),
        step_size=training["step_size"],
        eps_ramp=subject.get("eps_ramp", 0.0),
        background=subject.get("background", True),
        training_seed=training_seed,
    )
