"""From the config's section of a generated data set to its files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robustseg.data.arrays import ArrayDataset, save_split
from robustseg.data.scenes import OBJECT_NAMES, SCENE_CLASSES, generate_scenes, generate_shapes
from robustseg.errors import RobustsegError

BACKGROUND_COLOUR = (80, 80, 80)
OBJECT_PALETTE = [
    (230, 85, 54), (93, 171, 85), (72, 120, 170),
    (254, 156, 151), (150, 252, 149), (162, 206, 239),
    (170, 56, 52), (1, 45, 1), (22, 63, 121),
]  # fmt: skip
"""Hue by colour, lightness by structure, and apart for colour-blind readers and on grey paper."""
GENERATORS = {"scenes": generate_scenes, "shapes": generate_shapes}


def generate_split(settings: Mapping[str, Any], split: str) -> ArrayDataset:
    """Generate "train" or "val" of a data set as its config section describes it.

    Args:
        settings: kind ("scenes" or "shapes"), size_px, train_images, val_images, seed, and of
            scenes maybe object_radius_px.
        split: "train" or "val".

    Raises:
        RobustsegError: unknown kind.
    """
    kind = settings["kind"]
    if kind not in GENERATORS:
        raise RobustsegError(f"unknown kind of data {kind!r}; known are {', '.join(GENERATORS)}")
    count = settings[f"{split}_images"]
    background = kind == "scenes"
    size_px, seed, radius = settings["size_px"], settings["seed"], settings.get("object_radius_px")
    if radius:
        images, labels = generate_scenes(split, count, size_px, seed, radius_px=tuple(radius))
    else:
        images, labels = GENERATORS[kind](split, count, size_px, seed)
    return ArrayDataset(
        images=images,
        labels=labels,
        image_ids=[f"{split}-{index:05d}" for index in range(count)],
        class_names=list(SCENE_CLASSES if background else OBJECT_NAMES),
        palette=[BACKGROUND_COLOUR] * background + OBJECT_PALETTE,
    )


def generate(settings: Mapping[str, Any], split: str, path: str | Path) -> None:
    """Generate a split and write it as .npz."""
    save_split(path, generate_split(settings, split))
