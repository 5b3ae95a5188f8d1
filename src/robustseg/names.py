"""The words that configs, evidence and tables share. Imports nothing, so that checks are instant.

Registries of losses, precisions and training's optimizers are compared with these on import.
"""

LOSSES = ("ce", "bal_ce", "cossim_ce", "js", "mask_ce", "mask_sph")
"""Sec. 2.2 of the paper, in the order of its Table 2."""

SEA_LOSSES = ("mask_ce", "bal_ce", "js", "mask_sph")
"""Sec. 2.4, in the order of its Table 9."""

OPTIMIZERS = ("pgd", "apgd")
SCHEDULES = ("constant", "restarts", "reduced")
"""const-eps, const-eps with 3 random restarts, red-eps (Sec. 2.3)."""

SCHEMES = ("clean", "at", "pir_at", "half_at")
"""Training: clean; AT from a clean and PIR-AT from a robust backbone (Sec. 3); AT on half clean and
half adversarial inputs, the nearest relative of DDC-AT that the generated data set allows."""
ADVERSARIAL_SHARE = {"clean": 0.0, "at": 1.0, "pir_at": 1.0, "half_at": 0.5}
"""Share of each batch that is attacked, by scheme. AT and PIR-AT differ in the backbone alone."""

TRAINING_OPTIMIZERS = ("adamw", "sgd")
ATTACK_STARTS = ("image", "random")
ATTACK_MODES = ("eval", "train")
PRECISIONS = ("fp32", "bf16")
"""Choices of a training: Table 5, and what the paper leaves open about PGD inside training."""

LOSS_LABELS = {
    "ce": "CE",
    "bal_ce": "Bal-CE",
    "cossim_ce": "CosSim-CE",
    "js": "JS",
    "mask_ce": "Mask-CE",
    "mask_sph": "Mask-Sph.",
}
SCHEME_LABELS = {
    "clean": "clean",
    "at": "AT",
    "pir_at": "PIR-AT",
    "half_at": "half-clean AT",
    "ddc_at": "DDC-AT",
}
"""By scheme; DDC-AT (Xu et al. 2021) is that of released weights and trains nothing here."""
SCHEDULE_LABELS = {"constant": "const-ε", "restarts": "const-ε, 3 restarts", "reduced": "red-ε"}
