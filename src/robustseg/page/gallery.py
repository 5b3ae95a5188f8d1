"""Attacked images for the page: image, perturbation, prediction and truth, as data URIs.

Reads one file a model, `results/{run}/gallery/{model}.npz`, with the arrays of ARRAYS.
"""

from __future__ import annotations

import io
import zipfile
from base64 import b64encode
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robustseg.data.datasets import IGNORE_LABEL
from robustseg.errors import RobustsegError

ARRAYS = {
    "image_ids": ("N",),
    "labels": ("N", "H", "W"),
    "images": ("N", "H", "W", 3),
    "eps_255": ("R",),
    "perturbation": ("R", "N", "H", "W", 3),
    "prediction": ("R", "N", "H", "W"),
    "accuracy": ("R", "N"),
    "class_names": ("K",),
    "palette": ("K", 3),
    "loss": (),
}
"""Arrays of a file and their shapes, for N images, R radii (the first 0: not attacked), K classes.

labels, images, prediction, palette: uint8; perturbation: float16 in 1/255; accuracy: float64,
share of the image's labelled pixels; eps_255: float64, ascending; image_ids, class_names: str;
loss: str, one of names.LOSSES, which APGD maximised.
"""

IGNORE_COLOUR = (128, 128, 128)
BUDGET_BYTES = 6_000_000
"""Size of all pictures together; images beyond it are left out, and the page says so."""
LOSSLESS_PX = 192
"""Larger pictures are kept as JPEG, a tenth of the size, and the page says so."""
JPEG_QUALITY = 75


class Shots(NamedTuple):
    """The arrays of one file, see ARRAYS."""

    image_ids: NDArray[np.str_]
    labels: NDArray[np.uint8]
    images: NDArray[np.uint8]
    eps_255: NDArray[np.float64]
    perturbation: NDArray[np.float16]
    prediction: NDArray[np.uint8]
    accuracy: NDArray[np.float64]
    class_names: NDArray[np.str_]
    palette: NDArray[np.uint8]
    loss: NDArray[np.str_]


def read_shots(path: str | Path) -> Shots:
    """Read and check the file of one model.

    Raises:
        RobustsegError: the file is missing or damaged, lacks an array, or two arrays disagree.
    """
    shots = Shots(**read_arrays(path, ARRAYS))
    _check(path, shots)
    return shots


def read_arrays(path: str | Path, names: Collection[str]) -> dict[str, NDArray[Any]]:
    """Read some arrays of a file.

    Raises:
        RobustsegError: the file is missing or damaged, or lacks an array.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in names if name not in file.files]
            if missing:
                raise RobustsegError(f"{path} has no array {missing[0]}; make the file again")
            return {name: file[name] for name in names}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise RobustsegError(f"{path} cannot be read ({error}); make the file again") from error


def encode_gallery(
    files: Mapping[str, str | Path], budget_bytes: int = BUDGET_BYTES
) -> dict[str, Any] | None:
    """Return the gallery as plain data for the page's script, or None without files.

    Args:
        files: {model: file}; models are shown in this order.
        budget_bytes: of all pictures; each model keeps the same number of first images, and at
            least one.

    Returns:
        `models`: for each its name, classes, radii and `images`; `pictures`: data URIs, each once,
        which images name by index; `left_out`: images of the largest file that did not fit;
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


def _about(shots: Shots) -> dict[str, Any]:
    colours = map(_hex, shots.palette.tolist())
    return {
        "eps_255": shots.eps_255.tolist(),
        "amplification": round(amplification(shots.eps_255), 1),
        "classes": list(zip(shots.class_names.tolist(), colours, strict=True)),
    }


def _hex(colour: Sequence[int]) -> str:
    return f"#{bytes(colour).hex()}"


def _encode_image(shots: Shots, index: int, pictures: dict[str, int]) -> dict[str, Any]:
    """Return one image with its pictures as indices into `pictures`, which grows by new ones."""
    factor = amplification(shots.eps_255)

    def keep(uri: str) -> int:
        return pictures.setdefault(uri, len(pictures))

    radii = range(len(shots.eps_255))
    present = {int(label) for label in np.unique(shots.labels[index])}
    present |= {int(label) for label in np.unique(shots.prediction[:, index])}
    return {
        "id": str(shots.image_ids[index]),
        "image": keep(_picture(shots.images[index])),
        "truth": keep(_class_map(shots.labels[index], shots.palette)),
        "attacked": [
            keep(_picture(perturbed(shots.images[index], shots.perturbation[radius, index])))
            for radius in radii
        ],
        "perturbation": [
            keep(_picture(_magnified(shots.perturbation[radius, index], factor)))
            for radius in radii
        ],
        "prediction": [
            keep(_class_map(shots.prediction[radius, index], shots.palette)) for radius in radii
        ],
        "accuracy": [round(100 * float(share), 2) for share in shots.accuracy[:, index]],
        "present": sorted(present - {IGNORE_LABEL}),
        "unlabelled": IGNORE_LABEL in present,
    }


def perturbed(image: NDArray[np.uint8], perturbation: NDArray[np.float16]) -> NDArray[np.uint8]:
    """Return an image (H, W, 3) with a perturbation in 1/255, rounded to 8 bits."""
    return _to_bytes(perturbation.astype(np.float64) + image)


def _magnified(perturbation: NDArray[np.float16], factor: float) -> NDArray[np.uint8]:
    """Return a perturbation (in 1/255) times `factor` around mid-grey."""
    grey = 128 + perturbation.astype(np.float64) * factor
    return _to_bytes(grey)


def _to_bytes(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return pixels


def _picture(pixels: NDArray[np.uint8]) -> str:
    """Return an (H, W, 3) picture as a data URI, exact unless it is large."""
    from PIL import Image

    return _uri(Image.fromarray(pixels), "PNG" if max(pixels.shape) <= LOSSLESS_PX else "JPEG")


def _class_map(classes: NDArray[np.uint8], palette: NDArray[np.uint8]) -> str:
    """Return an (H, W) map of classes as a data URI, with one byte a pixel before compression."""
    from PIL import Image

    colours = np.full((256, 3), IGNORE_COLOUR, dtype=np.uint8)
    colours[: len(palette)] = palette
    picture = Image.fromarray(classes)
    picture.putpalette(colours.tobytes())
    return _uri(picture)


def _uri(picture: Any, kind: str = "PNG") -> str:
    """Return a picture as a data URI; a PNG's `optimize` would take up to 20 times as long."""
    written = io.BytesIO()
    picture.save(written, format=kind, **({"quality": JPEG_QUALITY} if kind == "JPEG" else {}))
    data = b64encode(written.getvalue()).decode("ascii")
    return f"data:image/{kind.lower()};base64,{data}"


def _check(path: str | Path, shots: Shots) -> None:
    """Refuse arrays whose shapes or values do not fit together."""
    sizes: dict[str, int] = {}
    for name, shape in ARRAYS.items():
        found = getattr(shots, name).shape
        pairs = zip(shape, found, strict=False)
        wanted = [sizes.setdefault(s, n) if isinstance(s, str) else s for s, n in pairs]
        if len(found) != len(shape) or list(found) != wanted:
            said = ", ".join(str(sizes.get(str(size), size)) for size in shape)
            raise RobustsegError(
                f"{path}: {name} has the shape {found} where ({said}) is needed; make it again"
            )
    classes = len(shots.class_names)
    labels = shots.labels[shots.labels != IGNORE_LABEL]
    for name, values in (("labels", labels), ("prediction", shots.prediction)):
        if values.size and values.max() >= classes:
            raise RobustsegError(
                f"{path}: {name} has class {values.max()}, but there are {classes} classes; "
                "make it again"
            )
    eps_255 = shots.eps_255
    if not len(eps_255) or eps_255[0] != 0 or (np.diff(eps_255) <= 0).any():
        raise RobustsegError(
            f"{path}: eps_255 is {eps_255.tolist()}; it must begin with 0 and ascend"
        )
