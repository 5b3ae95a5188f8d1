"""Table 5: how everything is trained, from the configuration itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from robustseg.attacks.losses import LOSSES
from robustseg.errors import RobustsegError
from robustseg.evidence.numbers import Number, Numbers, Sources
from robustseg.evidence.wording import DECODER_LABELS, MISSING
from robustseg.exhibits import ROBUST_BACKBONES
from robustseg.tables.layout import Cell, Group, Layout, Row
from robustseg.tables.table import Table

Recipe = Mapping[str, Any]
OPTIMIZER_LABELS = {"adamw": "AdamW", "sgd": "SGD"}
MOMENTA = {"adamw": ("adamw_beta1", "adamw_beta2"), "sgd": ("sgd_momentum",)}
"""Words of config/paper/README.md."""
CLASSIFIER = "classifier"


def own_numbers(table: Table, sources: Sources) -> Numbers:
    """Return the settings that are numbers, in the words of config/paper/README.md.

    Raises:
        RobustsegError: there is nothing to show.
    """
    if not sources.models:
        raise RobustsegError("table5 was given no settings; it shows those of the configuration")
    columns = _columns(sources.models)
    entries = [one for key, trained in columns.items() for one in _numbers(key, trained)]
    return Numbers(table, sources.models, tuple(entries))


def _columns(recipes: Mapping[str, Recipe]) -> dict[tuple[str, str, str], list[Recipe]]:
    """Return the trainings by data set, kind of network and optimizer settings."""
    columns: dict[tuple[str, str, str], list[Recipe]] = {}
    for recipe in recipes.values():
        kind = recipe.get("decoder", CLASSIFIER)
        columns.setdefault((recipe["dataset"], kind, recipe["training"]), []).append(recipe)
    return columns


def layout(numbers: Numbers) -> Layout:
    """Lay out a column for each data set, kind of network and optimizer settings.

    `numbers.models` has for each backbone and model its training, data and own settings, see
    `config.Config.recipes`; a backbone has no `decoder`.
    """
    columns = _columns(numbers.models)
    groups = tuple(
        Group(title, tuple(_row(label, text, columns.values()) for label, text in lines.items()))
        for title, lines in LINES.items()
    )
    return Layout(
        "Training and data configurations",
        "Settings of all trainings of this run; a/b: of different models. Classifiers are the "
        "backbones that models start from. All images are flipped at random; "
        "photographs are scaled and cropped at random too. Batch size a×b: b passes of a "
        "images for one update.",
        ("Configuration",),
        tuple((data, DECODER_LABELS.get(kind, kind), name) for data, kind, name in columns),
        groups,
    )


def _row(label: str, text: Callable[[Recipe], str], columns: Any) -> Row:
    """Return a line with the different values of each column's trainings, in their order."""
    values = [list(dict.fromkeys(map(text, trained))) for trained in columns]
    shown = ("/".join([v for v in each if v != MISSING] or [MISSING]) for each in values)
    return Row((label,), tuple(map(Cell, shown)))


def _size(recipe: Recipe) -> str:
    size = _size_px(recipe)
    return f"{size}×{size}"


def _size_px(recipe: Recipe) -> int:
    """Return the height and width that the network sees: a generated image's own, or a crop's."""
    data = recipe["data"]
    return int(data["crop_px"] if _photographs(recipe) else data["size_px"])


def _photographs(recipe: Recipe) -> bool:
    return "crop_px" in recipe["data"]


def _of_photographs(text: Callable[[Mapping[str, Any]], str]) -> Callable[[Recipe], str]:
    """Return what prints a setting that only photographs have."""
    return lambda recipe: text(recipe["data"]) if _photographs(recipe) else MISSING


def _adversarial(key: str, text: Callable[[Any], str]) -> Callable[[Recipe], str]:
    """Return what prints a setting that only adversarial training has."""
    return lambda recipe: text(recipe[key]) if recipe.get("steps") else MISSING


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _share(value: float) -> str:
    return f"{value:g}" if value else MISSING


def _passes(recipe: Recipe) -> int:
    """Return how many passes make a batch; in the paper each is a GPU's."""
    return int(recipe["batch_size"] // (recipe["images_per_pass"] or recipe["batch_size"]))


def _batch(recipe: Recipe) -> str:
    passes = _passes(recipe)
    return f"{recipe['batch_size'] // passes}×{passes}" if passes > 1 else str(recipe["batch_size"])


def _momenta(recipe: Recipe) -> Sequence[float]:
    """Return AdamW's two, or SGD's one."""
    return recipe["betas"] or [recipe["momentum"]]


def _ratio(recipe: Recipe) -> float:
    return float(recipe["learning_rate_ratio"])


def _without_class(data: Mapping[str, Any]) -> str:
    """Return what VOC's void, or ADE20K's pixels of no object, are taken for."""
    return str(data.get("void") or data.get("background") or MISSING)


LINES: dict[str, dict[str, Callable[[Recipe], str]]] = {
    "Data": {
        "Base size": _of_photographs(lambda data: str(data["base_px"])),
        "Crop size": _size,
        "Random horizontal flip": lambda recipe: "yes",
        "Random Gaussian blur": lambda recipe: _yes(_photographs(recipe)),
        "Training images": lambda recipe: (
            recipe["data"]["train_split"].replace("_", " ")
            if _photographs(recipe)
            else str(recipe["data"]["train_images"])
        ),
        "Pixels without a class": lambda recipe: _without_class(recipe["data"]),
        "Background class": lambda recipe: (
            MISSING
            if "decoder" not in recipe
            else "yes"
            if recipe.get("background", True)
            else "ignored"
        ),
    },
    "Training": {
        "Optimizer": lambda recipe: OPTIMIZER_LABELS[recipe["optimizer"]],
        "Base learning rate": lambda recipe: f"{recipe['learning_rate']:g}",
        "Weight decay": lambda recipe: f"{recipe['weight_decay']:g}",
        "Batch size": lambda recipe: _batch(recipe),
        "Epochs": lambda recipe: str(recipe["epochs"]),
        "Warmup epochs": lambda recipe: f"{_warmup(recipe):g}",
        "Momentum": lambda recipe: ", ".join(f"{value:g}" for value in _momenta(recipe)),
        "LR schedule": lambda recipe: "poly dec.",
        "Warmup schedule": lambda recipe: "linear",
        "Schedule power": lambda recipe: f"{recipe['power']:.1f}",
        "LR ratio (Enc:Dec)": lambda recipe: (
            MISSING if _ratio(recipe) == 1 else f"1:{_ratio(recipe):g}"
        ),
        "Stochastic depth": lambda recipe: _share(recipe["drop_path"]),
        "Precision": lambda recipe: str(recipe["precision"]),
        "Auxiliary loss weight": lambda recipe: (
            f"{recipe['auxiliary_weight']:g}" if "decoder" in recipe else MISSING
        ),
    },
    "Adversarial training": {
        "Radius (1/255)": _adversarial("eps_255", lambda eps_255: f"{eps_255:g}"),
        "PGD steps": _adversarial("steps", str),
        "PGD step size": _adversarial("step_size", lambda size: f"{size:g}"),
        "PGD loss": _adversarial("attack_loss", lambda name: LOSSES[name].label),
        "PGD start": _adversarial("attack_start", str),
        "Network during PGD": _adversarial("attack_mode", "{} mode".format),
        "PGD's gradients in the update": _adversarial("gradient_contamination", _yes),
    },
}
"""Lines by group: label, and how a training's value is printed."""


def _warmup(recipe: Recipe) -> float:
    return round(float(recipe["warmup"] * recipe["epochs"]), 6)


def _numbers(key: tuple[str, str, str], trained: Sequence[Recipe]) -> list[Number]:
    """Return the numbers of one column in long form; `model` is the name of its settings."""
    dataset, kind, name = key
    first = trained[0]
    epochs = [recipe["epochs"] for recipe in trained]
    warmups = [_warmup(recipe) for recipe in trained]
    numbers = {
        "learning_rate": first["learning_rate"],
        "weight_decay": first["weight_decay"],
        "images_per_gpu": first["batch_size"] // _passes(first),
        "epochs_short": min(epochs),
        "epochs_long": max(epochs),
        "warmup_epochs_short": min(warmups),
        "warmup_epochs_long": max(warmups),
        "schedule_power": first["power"],
    }
    if _photographs(first):
        size = _size_px(first)
        numbers |= {"base_size_px": first["data"]["base_px"]}
        numbers |= {"crop_height_px": size, "crop_width_px": size}
    momenta = MOMENTA[first["optimizer"]]
    numbers |= dict(zip(momenta, _momenta(first), strict=True))
    if _passes(first) > 1:
        numbers["gpus"] = _passes(first)
    if _ratio(first) != 1:
        numbers |= {"lr_ratio_encoder": 1, "lr_ratio_decoder": _ratio(first)}
    if kind != CLASSIFIER:
        numbers["auxiliary_loss_weight"] = first["auxiliary_weight"]
    return [
        Number(dataset, name, None, "none", 0.0, metric, float(value))
        for metric, value in numbers.items()
    ]


TABLE = Table(
    id="table5",
    label="Table 5",
    question=ROBUST_BACKBONES,
    shows="How backbones and models are trained: the configuration itself, no evidence.",
    metrics=(),
    select=None,
    own_numbers=own_numbers,
    layout=layout,
    of_settings=True,
)
