"""Attacked images for the page: image, perturbation, prediction and truth, as data URIs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustseg.data.interface import IGNORE_BYTE
from robustseg.evidence.attacked_images import (
    IGNORE_COLOUR,
    AttackedImages,
    colour_table,
    perturbed,
    read_shots,
    to_bytes,
)
from robustseg.evidence.wording import percent, printed
from robustseg.page.data_uris import data_uri

BUDGET_BYTES = 5_000_000
"""Size of all pictures together; images beyond it are left out, and the page says so."""
LOSSLESS_PX = 192
"""Larger pictures are kept as JPEG, a tenth of the size, and the page says so."""
JPEG_QUALITY, NOISE_QUALITY = 75, 60
"""Of images, and of perturbations, which fill most of the space."""


def encode_gallery(
    files: Mapping[str, str | Path], budget_bytes: int = BUDGET_BYTES
) -> dict[str, Any] | None:
    """Return the gallery as plain data for the page's script, or None without files.

    Args:
        files: {model: file}; models are shown in this order.
        budget_bytes: of all pictures; each model keeps the same number of first images, and at
            least one.

    Returns:
        `models`: for each its name, loss, classes, radii and `images`, whose accuracies are in
        percent as they are printed; `pictures`: data URIs, each once, which images name by
        index; `left_out`: images of the largest file that did not fit;
        `lossy`: whether pictures are too large to be kept exactly; `unlabelled`: the colour of
        pixels without a label.

    Raises:
        RobustsegError: as read_shots.
    """
    if not files:
        return None
    shots = {model: read_shots(path) for model, path in files.items()}
    pictures: dict[str, int] = {}
    shown: dict[str, list[dict[str, Any]]] = {model: [] for model in shots}
    most = max(len(one.image_ids) for one in shots.values())
    for index in range(most):
        before = dict(pictures)
        added = {
            model: _encode_image(one, index, pictures)
            for model, one in shots.items()
            if index < len(one.image_ids)
        }
        if index and sum(map(len, pictures)) > budget_bytes:
            pictures, most = before, most - index
            break
        for model, image in added.items():
            shown[model].append(image)
    else:
        most = 0
    models = [
        {"name": model, **_about(one), "images": shown[model]} for model, one in shots.items()
    ]
    return {
        "models": models,
        "pictures": list(pictures),
        "left_out": most,
        "lossy": any(max(one.labels.shape[1:]) > LOSSLESS_PX for one in shots.values()),
        "unlabelled": _hex(IGNORE_COLOUR),
    }


def amplification(eps_255: NDArray[np.float64]) -> float:
    """Return the factor at which the largest radius fills the grey scale, 0 being mid-grey."""
    return 127.0 / float(eps_255.max()) if eps_255.max() > 0 else 1.0


def _about(shots: AttackedImages) -> dict[str, Any]:
    colours = map(_hex, shots.palette.tolist())
    return {
        "loss": str(shots.loss),
        "eps_255": shots.eps_255.tolist(),
        "amplification": round(amplification(shots.eps_255), 1),
        "classes": list(zip(shots.class_names.tolist(), colours, strict=True)),
    }


def _hex(colour: Sequence[int]) -> str:
    return f"#{bytes(colour).hex()}"


def _encode_image(shots: AttackedImages, index: int, pictures: dict[str, int]) -> dict[str, Any]:
    """Return one image with its pictures as indices into `pictures`, which grows by new ones."""
    factor = amplification(shots.eps_255)

    def keep(uri: str) -> int:
        return pictures.setdefault(uri, len(pictures))

    radii = range(len(shots.eps_255))
    predicted = [_pixels_by_class(shots.prediction[radius, index]) for radius in radii]
    present = {*_pixels_by_class(shots.labels[index])}.union(*predicted)
    return {
        "id": str(shots.image_ids[index]),
        "image": keep(_picture(shots.images[index])),
        "truth": keep(_class_map(shots.labels[index], shots.palette)),
        "attacked": [
            keep(_picture(perturbed(shots.images[index], shots.perturbation[radius, index])))
            for radius in radii
        ],
        "perturbation": [
            keep(_picture(_magnified(shots.perturbation[radius, index], factor), NOISE_QUALITY))
            for radius in radii
        ],
        "prediction": [
            keep(_class_map(shots.prediction[radius, index], shots.palette)) for radius in radii
        ],
        "accuracy": [float(printed(percent(share))) for share in shots.accuracy[:, index]],
        "predicted": predicted,
        "present": sorted(present - {IGNORE_BYTE}),
        "unlabelled": IGNORE_BYTE in present,
    }


def _pixels_by_class(classes: NDArray[np.uint8]) -> dict[int, int]:
    """Return how many pixels a map of classes has of each that is in it."""
    found, pixels = np.unique(classes, return_counts=True)
    return dict(zip(found.tolist(), pixels.tolist(), strict=True))


def _magnified(perturbation: NDArray[np.float16], factor: float) -> NDArray[np.uint8]:
    """Return a perturbation (in 1/255) times `factor` around mid-grey."""
    grey = 128 + perturbation.astype(np.float64) * factor
    return to_bytes(grey)


def _picture(pixels: NDArray[np.uint8], quality: int = JPEG_QUALITY) -> str:
    """Return an (H, W, 3) picture as a data URI, exact unless it is large."""
    from PIL import Image

    kind = "PNG" if max(pixels.shape) <= LOSSLESS_PX else "JPEG"
    return data_uri(Image.fromarray(pixels), kind, quality=quality)


def _class_map(classes: NDArray[np.uint8], palette: NDArray[np.uint8]) -> str:
    """Return an (H, W) map of classes as a data URI, with one byte a pixel before compression."""
    from PIL import Image

    picture = Image.fromarray(classes)
    picture.putpalette(colour_table(palette).tobytes())
    return data_uri(picture, "PNG")
