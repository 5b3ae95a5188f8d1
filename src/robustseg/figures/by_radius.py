"""Figures 7 to 10: images at growing radii, and what the model predicts there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from robustseg.attacks.losses import LOSSES
from robustseg.data.interface import IGNORE_BYTE
from robustseg.evidence.attacked_images import perturbed, read_shots
from robustseg.evidence.runs import Models
from robustseg.evidence.wording import a_model_of, percent, printed, radius
from robustseg.exhibits import PICTURES
from robustseg.figures.figure import Drawing
from robustseg.figures.picture import Picture, colours, grid, legend, name_lines, show
from robustseg.names import SCHEME_LABELS

if TYPE_CHECKING:
    import pandas as pd

SHOWN_IMAGES = 2
"""Images in one figure, as in the paper."""


def draw(paths: Mapping[str, str | Path], models: Models) -> tuple[Drawing, pd.DataFrame]:
    """Draw two lines an image (picture, classes), a column a radius."""
    import pandas as pd

    (model, path), *_ = paths.items()

    shots = read_shots(path)
    places = most_varied(shots.labels, SHOWN_IMAGES)
    canvas, axes = grid(2 * len(places), 1 + len(shots.eps_255), shots.labels.shape[1:])
    rows = []
    for line, place in enumerate(places):
        pictures, maps = axes[2 * line], axes[2 * line + 1]
        show(pictures[0], shots.images[place], "" if line else "original")
        show(maps[0], colours(shots.labels[place], shots.palette), "ground truth")
        name_lines(pictures[0], maps[0])
        for column, eps_255 in enumerate(shots.eps_255, start=1):
            at = (column - 1, place)
            value = percent(float(shots.accuracy[at]))
            said = f"ACC {printed(value)} %"
            head = said if line else f"ε = {radius(eps_255)}\n{said}"
            show(pictures[column], perturbed(shots.images[place], shots.perturbation[at]), head)
            show(maps[column], colours(shots.prediction[at], shots.palette))
            about = {"model": model, "image_id": str(shots.image_ids[place])}
            rows.append({**about, "eps_255": float(eps_255), "metric": "acc", "value": value})
    legend(canvas, shots, [shots.labels[places], shots.prediction[:, places]])
    numbers = pd.DataFrame(rows)
    loss = LOSSES[str(shots.loss)].label
    drawing = Drawing(
        canvas,
        f"Attacks at growing radii on {a_model_of(SCHEME_LABELS[models[model]['scheme']])}",
        f"Images of {models[model]['dataset']} perturbed by APGD on {loss} at growing radii (at "
        f"0 they are not attacked), and below what the model {model} predicts there, with the "
        "accuracy over the pixels of the image. First column: the image and its ground truth.",
        f"Pictures and maps of classes by radius. {_spoken(numbers)}",
    )
    return drawing, numbers


def most_varied(labels: NDArray[np.uint8], count: int) -> list[int]:
    """Return the places of the images with most classes, ascending; of equals the first."""
    # ASSUME: images that show much; the paper does not say how it chose its two.
    classes = [len(set(np.unique(one).tolist()) - {IGNORE_BYTE}) for one in labels]
    ranked = sorted(range(len(labels)), key=lambda place: -classes[place])
    return sorted(ranked[:count])


def _spoken(numbers: pd.DataFrame) -> str:
    """Return all accuracies drawn, for alternative texts."""
    values = (
        f"{row['image_id']} at {radius(row['eps_255'])}: ACC {printed(row['value'])} %"
        for row in numbers.to_dict("records")
    )
    return f"{'; '.join(values)}."


PAPER_SHOWS = {
    7: "the clean model of PASCAL VOC",
    8: "the PIR-AT model of PASCAL VOC",
    9: "the clean model of ADE20K",
    10: "the PIR-AT model of ADE20K",
}
"""By number of the figure; a configuration names the model."""

PICTURES_BY_RADIUS = tuple(
    Picture(
        id=f"figure{number}",
        label=f"Figure {number}",
        question=PICTURES,
        shows="Images at growing radii, and below each what the model predicts there, with its "
        f"accuracy: in the paper {shown}.",
        targeted=False,
        draw=draw,
    )
    for number, shown in PAPER_SHOWS.items()
)
