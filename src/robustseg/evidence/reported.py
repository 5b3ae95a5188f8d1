"""The numbers that the paper prints, read from `config/paper/{table}.csv`."""

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustseg.bounds import NUMBER
from robustseg.errors import RobustsegError
from robustseg.evidence.wording import architecture, training
from robustseg.names import SCHEME_LABELS
from robustseg.text_files import read_csv

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("table", "dataset", "model", "attack", "eps_255", "metric", "value", "std", "by")
KEY = ("table", "dataset", "model", "attack", "eps_255", "metric")
PERCENT = ("acc", "miou")
SETTINGS = (
    "base_size_px",
    "crop_height_px",
    "crop_width_px",
    "learning_rate",
    "weight_decay",
    "images_per_gpu",
    "gpus",
    "epochs_short",
    "epochs_long",
    "warmup_epochs_short",
    "warmup_epochs_long",
    "sgd_momentum",
    "adamw_beta1",
    "adamw_beta2",
    "schedule_power",
    "lr_ratio_encoder",
    "lr_ratio_decoder",
    "auxiliary_loss_weight",
)
"""Metrics of Table 5, which prints settings and not scores."""

MODEL = re.compile(r"(\w+?)(?:_(\d+))?_(\d+)ep_([a-z]+)_(\w+)")
"""How the models of Table 3 are named: scheme, steps, epochs, decoder and backbone."""
BACKBONES = {"convnext_t": "convnext_tiny", "convnext_s": "convnext_small", "vit_s": "vit_small"}


def read_reported(folder: str | Path) -> "pd.DataFrame":
    """Read every CSV of a folder into one long table of the paper's printed numbers.

    Args:
        folder: holds the files; their words are described in its README.md.

    Returns:
        One row per printed number, with the columns of `COLUMNS`: `eps_255` float in [0, 255];
        `value` float, in percent for the metrics `acc` and `miou`; `std` float or NaN; `by`
        "paper", or "others" for a number that the paper takes from someone else.

    Raises:
        RobustsegError: no file, a wrong column, a value that is no number or out of range, or a
            number given twice; names the file and the line.

    Source: arXiv 2306.12941, Tables 1-11, and Appendix C.3, which has its numbers in its text.
    """
    import pandas as pd

    paths = sorted(Path(folder).glob("*.csv"), key=lambda path: (len(path.stem), path.stem))
    if not paths:
        raise RobustsegError(
            f"{folder} holds no *.csv; give the folder of the paper's numbers, config/paper"
        )
    return pd.DataFrame([row for path in paths for row in _read_table(path)], columns=list(COLUMNS))


def reported_numbers(table: str, folder: str | Path) -> dict[tuple[Any, ...], float]:
    """Return what the paper prints in one table, by (dataset, model, attack, eps_255, metric)."""
    rows = read_reported(folder)
    rows = rows[rows["table"] == table]
    keys = rows[["dataset", "model", "attack", "eps_255", "metric"]].itertuples(index=False)
    return dict(zip(map(tuple, keys), rows["value"], strict=True))


def reported_label(model: str) -> str:
    """Return a model of Table 3 in words: "PIR-AT, 5 steps, 50 epochs, UPerNet + ConvNeXt-T"."""
    found = MODEL.fullmatch(model)
    if found is None or found[1] not in SCHEME_LABELS:
        return model
    scheme, steps, epochs, decoder, backbone = found.groups()
    trained = training({"scheme": scheme, "steps": steps, "epochs": epochs})
    built = architecture({"decoder": decoder, "backbone": BACKBONES.get(backbone, backbone)})
    return f"{trained}, {built}"


def _read_table(path: Path) -> list[dict[str, str | float]]:
    """Return the checked rows of one file."""
    rows = []
    first_line: dict[tuple[str | float, ...], int] = {}
    (_, header), *lines = read_csv(path) or [(1, [])]
    if tuple(header) != COLUMNS:
        raise RobustsegError(
            f"{path}, line 1: the columns are {','.join(header)}; they must be {','.join(COLUMNS)}"
        )
    for number, fields in lines:
        place = f"{path}, line {number}"
        row = _check_row(fields, path.stem, place)
        key = tuple(row[name] for name in KEY)
        if key in first_line:
            raise RobustsegError(
                f"{place} repeats the number of line {first_line[key]}; delete one of them"
            )
        first_line[key] = number
        rows.append(row)
    return rows


def _check_row(fields: list[str], table: str, place: str) -> dict[str, str | float]:
    """Return one row with its numbers as floats; `place` names it in an error."""
    if len(fields) != len(COLUMNS):
        raise RobustsegError(f"{place} has {len(fields)} fields; it must have {len(COLUMNS)}")
    text = dict(zip(COLUMNS, fields, strict=True))
    if text["table"] != table:
        raise RobustsegError(f"{place}: table is {text['table']}; in this file it must be {table}")
    for name in ("dataset", "model", "attack"):
        if not text[name].strip():
            raise RobustsegError(f"{place}: {name} is empty; fill it in")
    _check_word(text["metric"], "metric", (*PERCENT, *SETTINGS), place)
    _check_word(text["by"], "by", ("paper", "others"), place)
    highest = 100.0 if text["metric"] in PERCENT else math.inf
    row: dict[str, str | float] = {**text}
    row["eps_255"] = _number(text["eps_255"], "eps_255", 255.0, place)
    row["value"] = _number(text["value"], "value", highest, place)
    row["std"] = _number(text["std"], "std", highest, place) if text["std"] else math.nan
    return row


def _check_word(word: str, column: str, known: tuple[str, ...], place: str) -> None:
    if word not in known:
        raise RobustsegError(f"{place}: {column} is {word!r}; use one of {', '.join(known)}")


def _number(text: str, column: str, highest: float, place: str) -> float:
    """Return `text` as a finite float in [0, highest]."""
    if not NUMBER.fullmatch(text):
        raise RobustsegError(f"{place}: {column} is {text!r}; write a number")
    number = float(text)
    if not (math.isfinite(number) and 0 <= number <= highest):
        allowed = "0 or more" if math.isinf(highest) else f"between 0 and {highest:g}"
        raise RobustsegError(f"{place}: {column} is {text}; it must be {allowed}")
    return abs(number)
