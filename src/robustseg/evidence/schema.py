"""What evidence says: columns, the words in them, and what made a file.

Evidence is one row for each (image, attack), in Parquet, from which every table is a query. Files
carry their provenance in the Parquet metadata and no wall clock: the same rows and the same
provenance give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any, cast

import numpy as np
import pyarrow as pa

from robustseg import __version__
from robustseg.attacks.losses import LOSSES
from robustseg.attacks.spec import CHOICES, CORNERS, OPTIMIZERS, RIGHT_PIXELS, SCHEDULES, SQUARE
from robustseg.commit import git_commit
from robustseg.errors import RobustsegError
from robustseg.evidence.enumerator import ALMA_PROX, MARGIN, NONE

SCHEMA_VERSION = "3"
"""Of the columns and words below; 2 had no `logit_margin` and no `choice`, 1 no `labelled`."""

VERSION_KEY, CLASSES_KEY, HASH_KEY = "schema_version", "class_names", "metadata_hash"
"""Keys of the metadata that are no provenance."""
PROVENANCE_KEYS = (
    *("robustseg", "git_commit", "config_hash", "torch", "timm", "numpy"),
    *("device", "precision", "warnings"),
)

WORDS: dict[str, dict[str, str]] = {
    "loss": {
        **{name: f"{loss.label}: {loss.about}" for name, loss in LOSSES.items()},
        MARGIN: "what ALMA prox drives below 0: the label's logit minus the largest other",
        RIGHT_PIXELS: "how many pixels are right, which the Square attack drives down",
        NONE: "no attack",
    },
    "optimizer": {
        "apgd": "APGD (arXiv 2003.01690)",
        "pgd": "PGD with a fixed step (arXiv 2306.12941, B.1)",
        ALMA_PROX: "ALMA prox (arXiv 2206.07179), which minimises the norm",
        SQUARE: "Square attack (arXiv 1912.00049): random search, with forward passes alone",
        CORNERS: "the worst of random corners of the ball: noise, with forward passes alone",
        NONE: "no attack",
    },
    "schedule": {
        **{name: f"{SCHEDULES[name].label} (arXiv 2306.12941, Sec. 2.3)" for name in SCHEDULES},
        NONE: "no attack; ALMA prox, which has no radius; or the Square attack, at constant radius",
    },
    "choice": CHOICES,
}
"""Every word that these columns may hold, and what it means."""

if set(OPTIMIZERS) | {ALMA_PROX, SQUARE, CORNERS, NONE} != set(WORDS["optimizer"]):
    raise AssertionError("evidence.schema.WORDS does not say what each optimizer is")

EPS_TOLERANCE_255 = 1e-3
"""Slack on a measured norm, in 1/255: float32 rounding of image plus perturbation."""


def field(name: str, kind: pa.DataType, unit: str, description: str) -> pa.Field:
    """Return a column that is never empty and says what it holds."""
    documentation = {"unit": unit, "description": description}
    return pa.field(name, kind, nullable=False, metadata=documentation)


COUNTS_TYPE = pa.list_(pa.field("item", pa.int32(), nullable=False))

SCHEMA: pa.Schema = pa.schema(
    [
        field("dataset", pa.string(), "name", "data set of the image, as in the configuration"),
        field("model", pa.string(), "name", "attacked model, as in the configuration"),
        field("training_seed", pa.int32(), "seed", "seed the model was trained with"),
        field("suite", pa.string(), "name", "set of attacks the row belongs to; `clean` for none"),
        field("attack", pa.string(), "name", "its name: see the names below"),
        field("loss", pa.string(), "name", "what is maximised: see the words below"),
        field("optimizer", pa.string(), "name", "how: see the words below"),
        field("schedule", pa.string(), "name", "radius over the iterations: see the words below"),
        field("iterations", pa.int32(), "iterations", "budget of the attack; 0 without one"),
        field(
            "logit_margin",
            pa.float64(),
            "logits",
            "mean margin to which the clean logits of the image are scaled; 0: not scaled",
        ),
        field("choice", pa.string(), "name", "what the paper leaves open: see the words below"),
        field("eps_255", pa.float64(), "1/255", "radius of the l_inf ball; 0 without an attack"),
        field("seed", pa.int32(), "seed", "seed of the attack's random draws"),
        field("image_id", pa.string(), "name", "the image's id in its data set, never a position"),
        field("pixels", pa.int64(), "pixels", "labelled pixels, that is, all but the ignored"),
        field("pixels_correct", pa.int64(), "pixels", "labelled pixels predicted as labelled"),
        field("labelled", COUNTS_TYPE, "pixels", "for each class: labelled as it"),
        field(
            "intersection", COUNTS_TYPE, "pixels", "for each class: predicted and labelled as it"
        ),
        field("union", COUNTS_TYPE, "pixels", "for each class: predicted or labelled as it"),
        field("linf_255", pa.float64(), "1/255", "measured l_inf norm of the perturbation"),
        field("forward_passes", pa.int32(), "passes", "forward passes this image cost"),
        field("backward_passes", pa.int32(), "passes", "backward passes this image cost"),
    ]
)


KEY = ("dataset", "model", "training_seed", "suite", "attack", "eps_255", "seed", "image_id")
"""What tells one row from all others."""

COUNTED = ("labelled", "intersection", "union")
"""Columns of counts by class."""


def provenance(config_hash: str, device: str, precision: str) -> dict[str, str]:
    """Return what evidence made now, by this code, has to say about its making.

    Args:
        config_hash: hash of the settings that the evidence depends on.
        device: where it ran, for example "cpu" or the GPU's name.
        precision: of the attack's passes, for example "float32".
    """
    versions = {name: _version(name) for name in ("torch", "timm", "numpy")}
    made_by = {"robustseg": __version__, "git_commit": git_commit(), "config_hash": config_hash}
    return made_by | versions | {"device": device, "precision": precision}


def hash_settings(*settings: Any) -> str:
    """Return 16 hexadecimal digits that tell settings (plain data) apart."""
    text = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def device_name(device: str) -> str:
    """Return what evidence says about a device: "cpu", or the GPU's model."""
    import torch

    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def metadata_hash(about: Mapping[str, str]) -> str:
    """Return the hash of a file's metadata, which the checksums of its pages do not cover."""
    return hash_settings(sorted(about.items()))


def said(warnings: Sequence[str]) -> dict[str, str]:
    """Return what makes evidence doubtful, as a part of its provenance; nothing if nothing does."""
    return {"warnings": "\n".join(warnings)} if warnings else {}


def _version(package: str) -> str:
    """Return an installed package's version without importing it."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def matrix(table: pa.Table, name: str) -> np.ndarray:
    """Return a count column as (rows, K) int32, without a copy when it is one chunk."""
    column = table.column(name)
    values = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return cast(np.ndarray, values.flatten().to_numpy().reshape(len(column), -1))


def twice(where: str, key: Sequence[Any]) -> RobustsegError:
    """Return the error that rows with this key are there twice."""
    what = ", ".join(f"{name} {value}" for name, value in zip(KEY, key, strict=True))
    return RobustsegError(f"{where}: a row is there twice ({what}); list each evidence file once")
