"""Numbers and names in print: percentages, radii, what a model is. Imports nothing slow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from robustseg.attacks.losses import LOSSES, TSALLIS_Q
from robustseg.attacks.spec import Member
from robustseg.names import SCHEME_LABELS

METRIC_LABELS = {"acc": "ACC", "miou": "mIoU", "macc": "mAcc", "robust_images": "robust images"}
MISSING = "–"
"""Printed where there is a place for a number that was not asked for."""
SAME_PERCENT = 1e-6
"""Two percentages are the same: libraries differ in the last digits of their sums."""

DECODER_LABELS = {
    "upernet": "UPerNet",
    "upernet_demo": "UPerNet",
    "upernet_mini": "UPerNet",
    "pspnet": "PSPNet",
    "segmenter": "Segmenter",
}
ARCHITECTURE_LABELS = {
    "convnext_demo": "ConvNeXt (demo size)",
    "convnext_mini": "ConvNeXt (mini)",
    "convnext_tiny": "ConvNeXt-T",
    "convnext_small": "ConvNeXt-S",
    "convnext_base": "ConvNeXt-B",
    "convnext_large": "ConvNeXt-L",
    "resnet50": "ResNet-50",
    "vit_demo": "ViT (demo size)",
    "vit_small": "ViT-S",
}
HALF_AT_NOTE = (
    "half-clean AT: adversarial training on half clean and half adversarial inputs with few weak "
    "steps, trained here as the nearest relative of DDC-AT (Xu et al., 2021); it is not DDC-AT."
)

Settings = Mapping[str, Any]
"""Of one model, as `config.Config.model_of` gives them."""


def percent(fraction: float) -> float:
    """Turn a fraction in [0, 1] into a percentage: the only place where this is done.

    Rounded to 9 decimals, so that files do not depend on the order of a library's sums.
    """
    return round(100.0 * fraction, 9)


def printed(value: float) -> str:
    """Return a percentage as it is printed: one decimal, and no sign at what rounds to 0."""
    return f"{value:z.1f}"


def with_interval(shown: str, low: float | None, high: float | None) -> str:
    """Return a percentage in print with its interval, "40.2 (38.1 to 42.0)", if it has one."""
    return shown if low is None or high is None else f"{shown} ({printed(low)} to {printed(high)})"


def signed(value: float, decimals: int = 1) -> str:
    """Return a difference as it is printed: one decimal, if nothing else is said, and a sign.

    What rounds to 0 has none, as if it were on one side.
    """
    shown = f"{value:z.{decimals}f}"
    return f"{value:+.{decimals}f}".replace("-", "−") if float(shown) else shown


def member_label(member: Member) -> str:
    """Return a loss in print, with its q where that is not the usual one."""
    label = LOSSES[member.loss].label
    if member.q_range == TSALLIS_Q:
        return label
    begin, end = member.q_range
    return f"{label}, q = {begin:g}" + (f" to {end:g}" if end != begin else "")


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and sample standard deviation.

    ASSUME: the sample's (n - 1); the paper does not say which.
    """
    return fmean(values), stdev(values)


def radius(eps_255: float) -> str:
    """Return a radius as the paper prints it: 0 or a multiple of 1/255."""
    return f"{eps_255:g}/255" if eps_255 else "0"


def scheme(settings: Settings) -> str:
    """Return a model's training scheme, for example "PIR-AT"."""
    return SCHEME_LABELS[settings["scheme"]]


def a_model_of(label: str) -> str:
    """Return a training scheme with its article: "a clean model", "an AT model"."""
    return f"{'an' if label[0] in 'AEIOU' else 'a'} {label} model"


def training(settings: Settings) -> str:
    """Return a model's training in words, for example "PIR-AT, 5 steps, 50 epochs"."""
    if settings["scheme"] == "own":
        return scheme(settings)
    steps = f", {settings['steps']} steps" if settings.get("steps") else ""
    aimed = f", trained for {radius(settings['eps_255'])}" if settings.get("eps_255") else ""
    return f"{scheme(settings)}{steps}, {settings['epochs']} epochs{aimed}"


def architecture(settings: Settings) -> str:
    """Return a model's decoder and backbone in words."""
    backbone = settings.get("architecture", settings["backbone"])
    decoder = DECODER_LABELS.get(settings["decoder"], settings["decoder"])
    return f"{decoder} + {ARCHITECTURE_LABELS.get(backbone, backbone)}"


def alike(words: Mapping[str, Hashable]) -> set[str]:
    """Return the models whose words are also those of another, so that their names must be said."""
    counts = Counter(words.values())
    return {model for model, said in words.items() if counts[said] > 1}


def listed(values: Iterable[Any]) -> str:
    """Return different values with commas, each once."""
    return ", ".join(map(str, dict.fromkeys(values)))


def counted(what: str, values: Sequence[int]) -> str:
    """Return for example "attack seeds 0, 1"."""
    return f"{what}{'s' if len(values) > 1 else ''} {', '.join(map(str, values))}"
