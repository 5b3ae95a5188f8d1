"""Figures of attacked images: Figure 1 (targeted) and Figures 7-10 (untargeted, by radius)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robustseg.data.datasets import IGNORE_LABEL
from robustseg.errors import RobustsegError
from robustseg.evidence.book import Models, a_model_of, percent, printed, radius
from robustseg.figures.figures import Drawing, style, write_drawing
from robustseg.names import LOSS_LABELS, SCHEME_LABELS
from robustseg.page.gallery import (
    IGNORE_COLOUR,
    perturbed,
    read_arrays,
    read_shots,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Arrays = Mapping[str, NDArray[Any]]

SHOWN_IMAGES = 2
"""Images in one of Figures 7-10, as in the paper."""

TARGETED_ARRAYS = (
    *("image_ids", "labels", "images", "class_names", "palette", "targets", "eps_255"),
    *("perturbation", "prediction", "share", "clean_share"),
)
"""What Figure 1 needs of a file of attacks.gallery.attack_targeted."""

PANEL_INCHES = 1.15
LEGEND_INCHES = 1.3
"""Sizes on paper: width of a panel and of an entry of the legend."""
PANEL_PX = 300
"""Pixels that a panel has room for; more would only make files larger."""
LEGEND_CLASSES = 24
"""Classes that a legend names; under attack, models of ADE20K predict many."""


def make_picture(
    figure_id: str,
    shots: Mapping[str, str | Path],
    models: Models,
    out_paths: Mapping[str, str | Path],
) -> None:
    """Draw one figure of attacked images and write it in every format asked for.

    Args:
        figure_id: figure1, or one of figure7 to figure10.
        shots: files by model: of attacks.gallery.attack_targeted for figure1, otherwise one of
            attack_gallery.
        models: the configuration's models.
        out_paths: files by format: any of pdf, png, svg, csv (the numbers printed).

    Raises:
        RobustsegError: no file, or one is missing or damaged; the sentence names it.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    if not shots:
        raise RobustsegError(f"{figure_id} was given no attacked images; name a model to show")
    with mpl.rc_context(style(figure_id)):
        if figure_id == "figure1":
            drawing, numbers = _targeted(shots, models)
        else:
            drawing, numbers = _by_radius(*next(iter(shots.items())), models)
        write_drawing(drawing, numbers, out_paths)


def _by_radius(model: str, path: str | Path, models: Models) -> tuple[Drawing, pd.DataFrame]:
    """Figures 7-10: two lines an image (picture, classes), a column a radius."""
    import pandas as pd

    shots = read_shots(path)
    places = most_varied(shots.labels, SHOWN_IMAGES)
    figure, axes = _grid(2 * len(places), 1 + len(shots.eps_255))
    rows = []
    for line, place in enumerate(places):
        pictures, maps = axes[2 * line], axes[2 * line + 1]
        _show(pictures[0], shots.images[place], "" if line else "original")
        _show(maps[0], colours(shots.labels[place], shots.palette), "ground truth")
        _name_lines(pictures[0], maps[0])
        for column, eps_255 in enumerate(shots.eps_255, start=1):
            at = (column - 1, place)
            value = percent(float(shots.accuracy[at]))
            said = f"ACC {printed(value)} %"
            head = said if line else f"ε = {radius(eps_255)}\n{said}"
            _show(pictures[column], perturbed(shots.images[place], shots.perturbation[at]), head)
            _show(maps[column], colours(shots.prediction[at], shots.palette))
            about = {"model": model, "image_id": str(shots.image_ids[place])}
            rows.append({**about, "eps_255": float(eps_255), "metric": "acc", "value": value})
    _legend(figure, shots, [shots.labels[places], shots.prediction[:, places]])
    numbers = pd.DataFrame(rows)
    loss = LOSS_LABELS[str(shots.loss)]
    drawing = Drawing(
        figure,
        f"Attacks at growing radii on {a_model_of(SCHEME_LABELS[models[model]['scheme']])}",
        f"Images of {models[model]['dataset']} perturbed by APGD on {loss} at growing radii (at "
        f"0 they are not attacked), and below what the model {model} predicts there, with the "
        "accuracy over the pixels of the image. First column: the image and its ground truth.",
        f"Pictures and maps of classes by radius. {_spoken(numbers)}",
    )
    return drawing, numbers


def _targeted(paths: Mapping[str, str | Path], models: Models) -> tuple[Drawing, pd.DataFrame]:
    """Figure 1: for each image its picture and classes, then a column a model and target."""
    import pandas as pd

    kept = {model: read_arrays(path, TARGETED_ARRAYS) for model, path in paths.items()}
    first = next(iter(kept.values()))
    _check_alike(paths, kept)
    targets = [str(name) for name in first["targets"]]
    columns = [(model, index) for model in kept for index in range(len(targets))]
    figure, axes = _grid(2 * len(first["image_ids"]), 1 + len(columns))
    rows: list[dict[str, Any]] = []
    for place, image_id in enumerate(first["image_ids"]):
        pictures, maps = axes[2 * place], axes[2 * place + 1]
        _show(pictures[0], first["images"][place], "original")
        _show(maps[0], colours(first["labels"][place], first["palette"]), "ground truth")
        _name_lines(pictures[0], maps[0])
        for column, (model, index) in enumerate(columns, start=1):
            one, at = kept[model], (index, place)
            share, clean = (percent(float(one[name][at])) for name in ("share", "clean_share"))
            head = f"{SCHEME_LABELS[models[model]['scheme']]} model\n→ {targets[index]}"
            _show(pictures[column], perturbed(one["images"][place], one["perturbation"][at]), head)
            _show(maps[column], colours(one["prediction"][at], one["palette"]))
            maps[column].set_xlabel(f"{printed(share)} % on target", fontsize=7.5, labelpad=3)
            about = {"model": model, "image_id": str(image_id), "target": targets[index]}
            rows.append({**about, "eps_255": float(one["eps_255"]), "value": share, "clean": clean})
    seen = [first["labels"], *(one["prediction"] for one in kept.values())]
    _legend(figure, first, seen)
    said = "; ".join(
        f"{row['model']} towards {row['target']}: {printed(row['value'])} % of the pixels, "
        f"{printed(row['clean'])} % without an attack"
        for row in rows
    )
    drawing = Drawing(
        figure,
        "Targeted attacks on segmentation models",
        f"An image of {models[next(iter(kept))]['dataset']} perturbed within "
        f"{radius(float(first['eps_255']))} by red-ε APGD on the negative JS divergence to a "
        "target class for all pixels, and below the classes that the models predict, with the "
        "share of the pixels predicted as the target. First column: the image and its ground "
        "truth.",
        f"Pictures and maps of classes. {said}.",
    )
    return drawing, pd.DataFrame(rows).assign(metric="share_on_target")


def most_varied(labels: NDArray[np.uint8], count: int) -> list[int]:
    """Return the places of the images with most classes, ascending; of equals the first."""
    # ASSUME: images that show much; the paper does not say how it chose its two.
    classes = [len(set(np.unique(one).tolist()) - {IGNORE_LABEL}) for one in labels]
    ranked = sorted(range(len(labels)), key=lambda place: -classes[place])
    return sorted(ranked[:count])


def colours(classes: NDArray[np.uint8], palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a map of classes (H, W) in colours (H, W, 3)."""
    table = np.full((256, 3), IGNORE_COLOUR, dtype=np.uint8)
    table[: len(palette)] = palette
    return np.asarray(table[classes])


def _check_alike(paths: Mapping[str, str | Path], kept: Mapping[str, Arrays]) -> None:
    """Refuse files of different images, targets or radii in one figure."""
    first = next(iter(kept))
    for model, one in kept.items():
        for name in ("image_ids", "images", "labels", "targets", "eps_255"):
            if not np.array_equal(one[name], kept[first][name]):
                raise RobustsegError(
                    f"{paths[model]} has other {name} than {paths[first]}; make both files again"
                )


def _grid(rows: int, columns: int) -> tuple[Figure, Any]:
    import matplotlib.pyplot as plt

    size = (PANEL_INCHES * columns, (PANEL_INCHES - 0.04) * rows + 0.7)
    return plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)


def _show(axis: Axes, picture: NDArray[np.uint8], title: str = "") -> None:
    """Show a picture pixel by pixel, or of a large one every so many pixels, without ticks."""
    step = -(-max(picture.shape[:2]) // PANEL_PX)
    axis.imshow(picture[::step, ::step], interpolation="nearest")
    axis.set_xticks([])
    axis.set_yticks([])
    axis.grid(False)
    axis.spines[:].set_visible(False)
    if title:
        axis.set_title(title, fontsize=7.5, pad=3)


def _name_lines(picture: Axes, classes: Axes) -> None:
    """Write beside two lines what they show."""
    for axis, name in ((picture, "image"), (classes, "segmentation")):
        axis.set_ylabel(name, fontsize=7.5)


def _legend(figure: Figure, kept: Any, seen: Sequence[NDArray[np.uint8]]) -> None:
    """Name the colours of the classes that cover most of the figure, and count the others."""
    from matplotlib.patches import Patch

    arrays = kept if isinstance(kept, Mapping) else kept._asdict()
    names, palette = arrays["class_names"], arrays["palette"]
    pixels = np.sum([np.bincount(maps.ravel(), minlength=256) for maps in seen], axis=0)
    present = np.flatnonzero(pixels)
    shown = sorted(sorted(present, key=lambda label: -pixels[label])[:LEGEND_CLASSES])
    handles = [
        Patch(color=tuple(palette[label] / 255), label=str(names[label]))
        if label != IGNORE_LABEL
        else Patch(color=tuple(np.array(IGNORE_COLOUR) / 255), label="not labelled")
        for label in shown
    ]
    if len(present) > len(shown):
        handles.append(Patch(alpha=0, label=f"and {len(present) - len(shown)} more"))
    columns = max(1, int(figure.get_figwidth() / LEGEND_INCHES))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=7.5)


def _spoken(numbers: pd.DataFrame) -> str:
    """Return all accuracies drawn, for alternative texts."""
    values = (
        f"{row['image_id']} at {radius(row['eps_255'])}: ACC {printed(row['value'])} %"
        for row in numbers.to_dict("records")
    )
    return f"{'; '.join(values)}."
