"""What a training depends on, gathered from the config's sections."""

import math
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from robustseg.attacks.losses import TRAINING_LOSSES
from robustseg.errors import RobustsegError, shown
from robustseg.names import (
    ADVERSARIAL_SHARE,
    ATTACK_MODES,
    ATTACK_STARTS,
    DECAYED,
    PRECISIONS,
    TRAINING_OPTIMIZERS,
)
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
    weight_decay_of: str
    """What decays: `all` parameters, or `matrices` and kernels alone."""
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
        if self.adversarial_share and not (self.attack.epsilon and self.attack.steps):
            raise RobustsegError(
                "adversarial training needs eps_255 and steps above 0; correct them, or train clean"
            )
        if self.adversarial_share and not self.attacked:
            raise RobustsegError(
                f"of passes of {self.images_per_pass} image a share of {self.adversarial_share:g} "
                "is none, so nothing would be attacked; raise images_per_pass"
            )

    @property
    def attacked(self) -> int:
        """Images of a pass that are attacked, the last ones."""
        return round(self.adversarial_share * self.images_per_pass)

    @property
    def passes(self) -> int:
        """Passes through the network that make one batch."""
        return self.batch_size // self.images_per_pass


REQUIRED = object()
"""Stands for the default of a key that has none."""
Rule = tuple[Callable[[Any], bool], str]
"""What a value must be, and the same in words."""


def _whole(least: int) -> Rule:
    return lambda value: type(value) is int and value >= least, f"a whole number from {least}"


def _real(low: float, high: float, words: str) -> Rule:
    def fits(value: Any) -> bool:
        return type(value) in (int, float) and low <= value <= high

    return fits, words


def _one_of(*known: Any) -> Rule:
    return known.__contains__, f"one of {', '.join(map(str, known))}"


def _are_decays(values: Any) -> bool:
    fits, _ = BELOW_ONE
    return isinstance(values, list | tuple) and len(values) == 2 and all(map(fits, values))


POSITIVE = _real(math.ulp(0.0), sys.float_info.max, "a number above 0")
STEP = _real(math.ulp(0.0), 1, "a number above 0 and at most 1")
NOT_NEGATIVE = _real(0, sys.float_info.max, "a number from 0")
SHARE = _real(0, 1, "a number from 0 to 1")
BELOW_ONE = _real(0, math.nextafter(1, 0), "a number from 0 to below 1")
SUBJECT: dict[str, tuple[Rule, Any]] = {
    "epochs": (_whole(1), REQUIRED),
    "eps_255": (_real(0, 255, "a number from 0 to 255"), 0),
    "steps": (_whole(0), 0),
    "eps_ramp": (SHARE, 0.0),
    "background": (_one_of(True, False), True),
}
"""What a `models` or `backbones` entry says about a training, with rules and defaults."""
OF_OTHERS = {"kind", "architecture", "decoder", "backbone", "scheme", "dataset", "training"}
"""What it says besides."""
TRAINING: dict[str, tuple[Rule, Any]] = {
    "optimizer": (_one_of(*TRAINING_OPTIMIZERS), REQUIRED),
    "learning_rate": (POSITIVE, REQUIRED),
    "learning_rate_ratio": (POSITIVE, 1.0),
    "weight_decay": (NOT_NEGATIVE, REQUIRED),
    "weight_decay_of": (_one_of(*DECAYED), "all"),
    "betas": ((_are_decays, "two numbers from 0 to below 1"), None),
    "momentum": (BELOW_ONE, None),
    "batch_size": (_whole(1), REQUIRED),
    "images_per_pass": (_whole(1), None),
    "warmup": (SHARE, REQUIRED),
    "power": (POSITIVE, REQUIRED),
    "drop_path": (BELOW_ONE, 0.0),
    "auxiliary_weight": (NOT_NEGATIVE, 0.0),
    "step_size": (STEP, REQUIRED),
    "attack_loss": (_one_of(*TRAINING_LOSSES), "ce"),
    "attack_start": (_one_of(*ATTACK_STARTS), "image"),
    "attack_mode": (_one_of(*ATTACK_MODES), "eval"),
    "gradient_contamination": (_one_of(True, False), False),
    "precision": (_one_of(*PRECISIONS), "fp32"),
}
"""A `training` entry. Configurations have their own types, which know more; jobs of a file alone
these."""


def _values(
    given: Mapping[str, Any], keys: Mapping[str, tuple[Rule, Any]], others: Collection[str] = ()
) -> dict[str, Any]:
    """Return the value of each key; null counts as not given.

    Raises:
        RobustsegError: a key is unknown or missing, or its value none that it may have.
    """
    if unknown := sorted(set(given) - set(keys) - set(others)):
        raise RobustsegError(
            f"{shown(unknown[0])} is not a training setting; known are {', '.join(keys)}"
        )
    values = {}
    for key, ((fits, words), default) in keys.items():
        values[key] = default if given.get(key) is None else given[key]
        if values[key] is REQUIRED:
            raise RobustsegError(f"the training's settings have no {key}; add it: {words}")
        if values[key] is not None and not fits(values[key]):
            raise RobustsegError(
                f"the training's {key} is {shown(values[key])}; it should be {words}"
            )
    return values


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
        RobustsegError: a key is unknown or missing or has a value that it may not have,
            images_per_pass does not divide the batch, or there is nothing to attack.
    """
    if scheme not in ADVERSARIAL_SHARE:
        known = ", ".join(ADVERSARIAL_SHARE)
        raise RobustsegError(f"the training's scheme is {shown(scheme)}; it should be {known}")
    about, how = _values(subject, SUBJECT, OF_OTHERS), _values(training, TRAINING)
    attack = TrainingAttack(
        loss=how["attack_loss"],
        epsilon=about["eps_255"] / 255,
        steps=about["steps"],
        step_size=how["step_size"],
        start=how["attack_start"],
        mode=how["attack_mode"],
        contaminates=how["gradient_contamination"],
    )
    betas = how["betas"]
    return TrainingSettings(
        epochs=about["epochs"],
        batch_size=how["batch_size"],
        images_per_pass=how["images_per_pass"] or how["batch_size"],
        optimizer=how["optimizer"],
        learning_rate=how["learning_rate"],
        learning_rate_ratio=how["learning_rate_ratio"],
        weight_decay=how["weight_decay"],
        weight_decay_of=how["weight_decay_of"],
        betas=betas and (betas[0], betas[1]),
        momentum=how["momentum"],
        warmup=how["warmup"],
        power=how["power"],
        drop_path=how["drop_path"],
        auxiliary_weight=how["auxiliary_weight"],
        precision=how["precision"],
        adversarial_share=ADVERSARIAL_SHARE[scheme],
        attack=attack,
        eps_ramp=about["eps_ramp"],
        background=about["background"],
        training_seed=training_seed,
    )
