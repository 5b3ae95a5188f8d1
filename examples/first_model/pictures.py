"""Draws pictures of discs and squares with their masks: `python pictures.py FOLDER`.

FOLDER/train and FOLDER/val each get `images/` and `masks/`, PNG files of the same names. A mask's
value is the number of the line in classes.txt, from 0; 255 marks the outlines, which have no label.
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

SIZE_PX = 64
PICTURES = {"train": 200, "val": 16}
IGNORED = 255


def draw(random: np.random.Generator) -> tuple[Image.Image, Image.Image]:
    """Return a picture, RGB, and its mask, of SIZE_PX x SIZE_PX pixels."""
    picture = Image.fromarray(noise(random)).filter(ImageFilter.BoxBlur(1))
    mask = Image.new("L", picture.size)
    for _ in range(random.integers(1, 4)):
        number = int(random.integers(1, 3))
        radius = int(random.integers(8, 16))
        x, y = (int(place) for place in random.integers(radius, SIZE_PX - radius, size=2))
        box = (x - radius, y - radius, x + radius, y + radius)
        colour = tuple(int(value) for value in random.integers(0, 256, size=3))
        for image, fill, outline in ((picture, colour, colour), (mask, number, IGNORED)):
            pen = ImageDraw.Draw(image)
            shape = pen.ellipse if number == 1 else pen.rectangle
            shape(box, fill=fill, outline=outline)
    return picture, mask


def noise(random: np.random.Generator) -> NDArray[np.uint8]:
    """Return (H, W, 3) noise with a colour that changes from left to right."""
    grey = random.normal(128, 60, size=(SIZE_PX, SIZE_PX, 1)).clip(0, 255)
    ends = random.uniform(0.4, 1.2, size=(2, 1, 1, 3))
    along = np.linspace(0, 1, SIZE_PX)[None, :, None]
    bright: NDArray[np.float64] = grey * ((1 - along) * ends[0] + along * ends[1])
    return bright.clip(0, 255).astype(np.uint8)


def main(folder: Path) -> None:
    """Draw all pictures."""
    random = np.random.default_rng(0)
    for split, count in PICTURES.items():
        for kind in ("images", "masks"):
            (folder / split / kind).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            for kind, image in zip(("images", "masks"), draw(random), strict=True):
                image.save(folder / split / kind / f"{number:03}.png")
        print(f"{count} pictures in {folder / split / 'images'}, their masks beside them")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
