"""Figure 1: targeted attacks, which make models predict one class everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robustseg.errors import RobustsegError
from robustseg.evidence.attacked_images import perturbed, read_targeted
from robustseg.evidence.runs import Models
from robustseg.evidence.wording import percent, printed, radius
from robustseg.exhibits import PICTURES
from robustseg.figures.figure import Drawing
from robustseg.figures.picture import (
    LETTERS_PT,
    Picture,
    colours,
    grid,
    legend,
    name_lines,
    on_lines,
    show,
)
from robustseg.names import SCHEME_LABELS

if TYPE_CHECKING:
    import pandas as pd

Arrays = Mapping[str, NDArray[Any]]


def draw(paths: Mapping[str, str | Path], models: Models) -> tuple[Drawing, pd.DataFrame]:
    """Draw for each image its picture and classes, then a column a model and target."""
    import pandas as pd

    kept = {model: read_targeted(path) for model, path in paths.items()}
    first = next(iter(kept.values()))
    _check_alike(paths, kept)
    targets = [str(name) for name in first["targets"]]
    columns = [(model, index) for model in kept for index in range(len(targets))]
    canvas, axes = grid(2 * len(first["image_ids"]), 1 + len(columns), first["labels"].shape[1:])
    rows: list[dict[str, Any]] = []
    for place, image_id in enumerate(first["image_ids"]):
        pictures, maps = axes[2 * place], axes[2 * place + 1]
        show(pictures[0], first["images"][place], "original")
        show(maps[0], colours(first["labels"][place], first["palette"]), "ground truth")
        name_lines(pictures[0], maps[0])
        for column, (model, index) in enumerate(columns, start=1):
            one, at = kept[model], (index, place)
            share, clean = (percent(float(one[name][at])) for name in ("share", "clean_share"))
            head = f"{SCHEME_LABELS[models[model]['scheme']]} model\n→ {targets[index]}"
            show(pictures[column], perturbed(one["images"][place], one["perturbation"][at]), head)
            show(maps[column], colours(one["prediction"][at], one["palette"]))
            said = on_lines(maps[column], f"{printed(share)} % on target")
            maps[column].set_xlabel(said, fontsize=LETTERS_PT, labelpad=3)
            about = {"model": model, "image_id": str(image_id), "target": targets[index]}
            rows.append({**about, "eps_255": float(one["eps_255"]), "value": share, "clean": clean})
    seen = [first["labels"], *(one["prediction"] for one in kept.values())]
    legend(canvas, first, seen)
    said = "; ".join(
        f"{row['model']} towards {row['target']}: {printed(row['value'])} % of the pixels, "
        f"{printed(row['clean'])} % without an attack"
        for row in rows
    )
    drawing = Drawing(
        canvas,
        "Targeted attacks on segmentation models",
        f"An image of {models[next(iter(kept))]['dataset']} perturbed within "
        f"{radius(float(first['eps_255']))} by red-ε APGD on the negative JS divergence to a "
        "target class for all pixels, and below the classes that the models predict, with the "
        "share of the pixels predicted as the target. First column: the image and its ground "
        "truth.",
        f"Pictures and maps of classes. {said}.",
    )
    return drawing, pd.DataFrame(rows).assign(metric="share_on_target")


def _check_alike(paths: Mapping[str, str | Path], kept: Mapping[str, Arrays]) -> None:
    """Refuse files of different images, targets or radii in one figure."""
    first = next(iter(kept))
    for model, one in kept.items():
        for name in ("image_ids", "images", "labels", "targets", "eps_255"):
            if not np.array_equal(one[name], kept[first][name]):
                raise RobustsegError(
                    f"{paths[model]} has other {name} than {paths[first]}; make both files again"
                )


PICTURE = Picture(
    id="figure1",
    label="Figure 1",
    question=PICTURES,
    shows="Targeted attacks: images perturbed so that models predict one class everywhere, and "
    "what they predict.",
    targeted=True,
    draw=draw,
)
