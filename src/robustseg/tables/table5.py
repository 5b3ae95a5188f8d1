"""Table 5: how everything is trained, from the configuration itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from robustseg.attacks.losses import LOSSES
from robustseg.errors import RobustsegError
from robustseg.evidence.numbers import Number, Sources
from robustseg.evidence.wording import DECODER_LABELS, MISSING
from robustseg.exhibits import ROBUST_BACKBONES
from robustseg.numbers_shown import Numbers
from robustseg.tables.layout import Cell, Group, Layout, Row
from robustseg.tables.table import Table

Training = Mapping[str, Any]
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


def _columns(trainings: Mapping[str, Training]) -> dict[tuple[str, str, str], list[Training]]:
    """Return the trainings by data set, kind of network and optimizer settings."""
    columns: dict[tuple[str, str, str], list[Training]] = {}
    for training in trainings.values():
        kind = training.get("decoder", CLASSIFIER)
        columns.setdefault((training["dataset"], kind, training["training"]), []).append(training)
    return columns


def layout(numbers: Numbers) -> Layout:
    """Lay out a column for each data set, kind of network and optimizer settings.

    `numbers.models` has for each backbone and model its training, data and own settings, see
    `config.Config.trainings`; a backbone has no `decoder`.
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


def _row(label: str, text: Callable[[Training], str], columns: Any) -> Row:
    """Return a line with the different values of each column's trainings, in their order."""
    values = [list(dict.fromkeys(map(text, trained))) for trained in columns]
    shown = ("/".join([v for v in each if v != MISSING] or [MISSING]) for each in values)
    return Row((label,), tuple(map(Cell, shown)))


def _size(training: Training) -> str:
    size = _size_px(training)
    return f"{size}×{size}"


def _size_px(training: Training) -> int:
    """Return the height and width that the network sees: a generated image's own, or a crop's."""
    data = training["data"]
    return int(data["crop_px"] if _photographs(training) else data["size_px"])


def _photographs(training: Training) -> bool:
    return "crop_px" in training["data"]


def _of_photographs(text: Callable[[Mapping[str, Any]], str]) -> Callable[[Training], str]:
    """Return what prints a setting that only photographs have."""
    return lambda training: text(training["data"]) if _photographs(training) else MISSING


def _adversarial(key: str, text: Callable[[Any], str]) -> Callable[[Training], str]:
    """Return what prints a setting that only adversarial training has."""
    return lambda training: text(training[key]) if training.get("steps") else MISSING


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _share(value: float) -> str:
    return f"{value:g}" if value else MISSING


def _passes(training: Training) -> int:
    """Return how many passes make a batch; in the paper each is a GPU's."""
    return int(training["batch_size"] // (training["images_per_pass"] or training["batch_size"]))


def _batch(training: Training) -> str:
    passes = _passes(training)
    return (
        f"{training['batch_size'] // passes}×{passes}"
        if passes > 1
        else str(training["batch_size"])
    )


def _decay(training: Training) -> str:
    """Return the weight decay, and what decays if not everything does."""
    alone = training["weight_decay"] and training["weight_decay_of"] != "all"
    return f"{training['weight_decay']:g}{' of matrices' if alone else ''}"


def _momenta(training: Training) -> Sequence[float]:
    """Return AdamW's two, or SGD's one."""
    return training["betas"] or [training["momentum"]]


def _ratio(training: Training) -> float:
    return float(training["learning_rate_ratio"])


def _training_images(data: Mapping[str, Any]) -> str:
    """Return the name of a split, the folder of a person's own images, or how many there are."""
    split = data.get("train_split")
    return split.replace("_", " ") if split else str(data["train_images"])


def _without_class(data: Mapping[str, Any]) -> str:
    """Return what VOC's void, or ADE20K's pixels of no object, are taken for."""
    return str(data.get("void") or data.get("background") or MISSING)


LINES: dict[str, dict[str, Callable[[Training], str]]] = {
    "Data": {
        "Base size": _of_photographs(lambda data: str(data["base_px"])),
        "Crop size": _size,
        "Random horizontal flip": lambda training: "yes",
        "Random Gaussian blur": lambda training: _yes(_photographs(training)),
        "Training images": lambda training: _training_images(training["data"]),
        "Pixels without a class": lambda training: _without_class(training["data"]),
        "Background class": lambda training: (
            MISSING
            if "decoder" not in training
            else "yes"
            if training.get("background", True)
            else "ignored"
        ),
    },
    "Training": {
        "Optimizer": lambda training: OPTIMIZER_LABELS[training["optimizer"]],
        "Base learning rate": lambda training: f"{training['learning_rate']:g}",
        "Weight decay": _decay,
        "Batch size": _batch,
        "Epochs": lambda training: str(training["epochs"]),
        "Warmup epochs": lambda training: f"{_warmup(training):g}",
        "Momentum": lambda training: ", ".join(f"{value:g}" for value in _momenta(training)),
        "LR schedule": lambda training: "poly dec.",
        "Warmup schedule": lambda training: "linear",
        "Schedule power": lambda training: f"{training['power']:.1f}",
        "LR ratio (Enc:Dec)": lambda training: (
            MISSING if _ratio(training) == 1 else f"1:{_ratio(training):g}"
        ),
        "Stochastic depth": lambda training: _share(training["drop_path"]),
        "Precision": lambda training: str(training["precision"]),
        "Auxiliary loss weight": lambda training: (
            f"{training['auxiliary_weight']:g}" if "decoder" in training else MISSING
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


def _warmup(training: Training) -> float:
    return round(float(training["warmup"] * training["epochs"]), 6)


def _numbers(key: tuple[str, str, str], trained: Sequence[Training]) -> list[Number]:
    """Return the numbers of one column in long form; `model` is the name of its settings."""
    dataset, kind, name = key
    first = trained[0]
    epochs = [training["epochs"] for training in trained]
    warmups = [_warmup(training) for training in trained]
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
