"""The words that configs, evidence and print share. Imports nothing, so that checks are instant.

Registries of losses, precisions and training's optimizers are compared with these on import.
"""

ADVERSARIAL_SHARE = {"clean": 0.0, "at": 1.0, "pir_at": 1.0, "half_at": 0.5}
"""Share of each batch that is attacked, by scheme. AT and PIR-AT differ in the backbone alone."""
SCHEMES = tuple(ADVERSARIAL_SHARE)
"""Training: clean; AT from a clean and PIR-AT from a robust backbone (Sec. 3); AT on half clean and
half adversarial inputs, the nearest relative of DDC-AT that the generated data set allows."""
ROBUST_START = ("pir_at",)
"""Schemes that start from a robust backbone."""

TRAINING_OPTIMIZERS = ("adamw", "sgd")
DECAYED = ("all", "matrices")
ATTACK_STARTS = ("image", "random")
ATTACK_MODES = ("eval", "train")
PRECISIONS = {"fp32": "float32", "bf16": "bfloat16"}
"""Choices of a training: Table 5, and what the paper leaves open about weight decay and about PGD
inside training."""

SCHEME_LABELS = {
    "clean": "clean",
    "at": "AT",
    "pir_at": "PIR-AT",
    "half_at": "half-clean AT",
    "ddc_at": "DDC-AT",
    "own": "own model",
}
"""By scheme; DDC-AT (Xu et al. 2021) is that of released weights, `own` that of anybody's model:
neither is trained here."""

INTERPOLATIONS = ("bilinear", "bicubic")
"""How images of kind `folder` are resized."""

IMAGENET_CLASSES = 1000
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Of RGB images in [0, 1], as most networks that start from ImageNet want them."""


def amount(number: int, one: str, several: str = "") -> str:
    """Return for example "1 image" or "1,449 images"; `several` if that is not `one` and an s."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"
