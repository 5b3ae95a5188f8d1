"""The generated data sets: scenes of textured objects, in integer arithmetic alone.

A class is a colour and a structure (plain, fine bars, coarse checks), which are robust cues and
noisy ones, and mostly a shape. Inside each object also lies a faint tile of a few /255, the same
for all objects of a class: a cue from which alone a linear filter tells the class of 19 in 20
objects whose outline it knows, and which a perturbation of that size erases. So clean training is
accurate and not robust, for the same reason as on photographs.

Only the raw 64-bit output of PCG64 is used, which NumPy guarantees, and integer operations, so the
same settings give the same bytes on every machine. Image i depends on (seed, kind, split, i) alone.
Every cue survives a horizontal flip.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robustseg.seeds import derive_seed

Ints = NDArray[np.int32]
Bytes = NDArray[np.uint8]

COLOURS = {"red": (2, -1, -1), "green": (-1, 2, -1), "blue": (-1, -1, 2)}
"""Direction of each colour's contrast over red, green and blue, in halves."""
STRUCTURES = ("plain", "bars", "checks")
OBJECT_NAMES = tuple(f"{colour} {structure}" for structure in STRUCTURES for colour in COLOURS)
SCENE_CLASSES = ("background", *OBJECT_NAMES)
TILE_PX = 4
CHUNK = 128
"""Images that are rendered at once: bounds the memory and changes nothing else."""


@dataclass(frozen=True)
class Look:
    """How strong the cues are. Amplitudes in 1/255, lengths in pixels, ranges inclusive."""

    colour_contrast: tuple[int, int] = (22, 48)
    colour_jitter: int = 10
    structure_amplitude: tuple[int, int] = (12, 28)
    bar_width: int = 2
    check_width: int = 5
    shape_match_percent: int = 90
    tile_amplitude: int = 3
    background_amplitude: int = 25
    background_cells: int = 5
    clutter_percent: int = 50
    pixel_noise: int = 3


LOOK = Look()


@dataclass(frozen=True)
class Layout:
    """How many objects an image holds and how large they are, in pixels."""

    objects: tuple[int, int]
    radius: tuple[int, int]
    margin: int
    """Smallest distance of an object's centre from the border."""


class Row:
    """Random words of some images, one row an image, used up from left to right."""

    def __init__(self, words: NDArray[np.uint64]) -> None:
        self._words, self._used = words, 0

    def integers(self, low: int, high: int, *shape: int) -> Ints:
        """Return integers in [low, high] of shape (images, *shape), one word each."""
        words = self._take(int(np.prod(shape, dtype=int))) >> np.uint64(32)
        drawn = (words * np.uint64(high - low + 1)) >> np.uint64(32)
        return (drawn.astype(np.int32) + np.int32(low)).reshape(-1, *shape)

    def noise(self, amplitude: int, *shape: int) -> Ints:
        """Return integers in [-amplitude, amplitude] of shape (images, *shape), eight a word."""
        count = int(np.prod(shape, dtype=int))
        words = np.ascontiguousarray(self._take(-(-count // 8)).astype("<u8"))
        drawn = words.view(np.uint8)[:, :count].astype(np.int32)
        steps = (drawn * np.int32(2 * amplitude + 1)) >> 8
        return (steps - np.int32(amplitude)).reshape(-1, *shape)

    def _take(self, count: int) -> NDArray[np.uint64]:
        self._used += count
        return self._words[:, self._used - count : self._used]


def generate_scenes(
    split: str,
    count: int,
    size_px: int,
    seed: int,
    look: Look = LOOK,
    radius_px: tuple[int, int] | None = None,
) -> tuple[Bytes, Bytes]:
    """Generate segmentation scenes with several overlapping objects.

    Args:
        split: "train" or "val"; each has a random stream of its own.
        count: number of images N.
        size_px: height and width S.
        seed: of the data set.
        look: strength of the cues.
        radius_px: of the objects, smallest and largest; None: 10/48 to 16/48 of the size.

    Returns:
        Images (N, S, S, 3) and labels (N, S, S): 0 for background, 1..9 for the objects.
    """
    radius = radius_px or (size_px * 10 // 48, size_px * 16 // 48)
    layout = Layout(objects=(5, 7), radius=radius, margin=0)
    return _generate(("scenes", split, seed), count, size_px, layout, look)


def generate_shapes(split: str, count: int, size_px: int, seed: int) -> tuple[Bytes, Bytes]:
    """Generate a classification set: one object an image.

    Arguments as for `generate_scenes`.

    Returns:
        Images (N, S, S, 3) and labels (N,) in 0..8, the object's class.
    """
    radius = (size_px * 9 // 32, size_px * 15 // 32)
    layout = Layout(objects=(1, 1), radius=radius, margin=size_px * 10 // 32)
    images, labels = _generate(("shapes", split, seed), count, size_px, layout, LOOK)
    return images, labels.reshape(count, -1).max(axis=1) - np.uint8(1)


def _generate(
    key: tuple[object, ...], count: int, size_px: int, layout: Layout, look: Look
) -> tuple[Bytes, Bytes]:
    """Render the images chunk by chunk from one random stream."""
    source = np.random.PCG64(derive_seed(*key))
    tiles = class_tiles(look.tile_amplitude)
    images = np.empty((count, size_px, size_px, 3), np.uint8)
    labels = np.empty((count, size_px, size_px), np.uint8)
    words = 512 + size_px * size_px  # what one image uses at most
    for start in range(0, count, CHUNK):
        part = slice(start, min(start + CHUNK, count))
        rows = part.stop - start
        row = Row(source.random_raw(rows * words).reshape(rows, words))
        canvas, labels[part] = _render(row, size_px, layout, look, tiles)
        images[part] = np.clip(canvas, 0, 255)
    return images, labels


def _render(row: Row, size_px: int, layout: Layout, look: Look, tiles: Ints) -> tuple[Ints, Bytes]:
    """Paint background, clutter, objects and noise, in this order."""
    canvas = 128 + _smooth_noise(row, look.background_cells, size_px, look.background_amplitude)
    labels = np.zeros(canvas.shape[:3], np.uint8)
    number = row.integers(*layout.objects)
    clutter = row.integers(1, 100) <= look.clutter_percent
    _paint(row, canvas, labels, clutter, layout, look, tiles=None)
    for index in range(layout.objects[1]):
        _paint(row, canvas, labels, index < number, layout, look, tiles)
    return canvas + row.noise(look.pixel_noise, size_px, size_px, 3), labels


def _paint(
    row: Row,
    canvas: Ints,
    labels: Bytes,
    present: NDArray[np.bool_],
    layout: Layout,
    look: Look,
    tiles: Ints | None,
) -> None:
    """Paint one object of a random class into each image where it is `present`.

    Without `tiles` it is clutter: it has some colour, structure and shape and counts as background.
    """
    size_px = canvas.shape[1]
    kind = row.integers(0, len(OBJECT_NAMES) - 1)
    mask = _outline(row, size_px, kind, layout, look) & present[:, None, None]
    structure = kind // len(COLOURS) if tiles is not None else row.integers(0, 2)
    image, y, x = np.nonzero(mask)
    texture = _structure(row, size_px, structure, look)[image, y, x]
    colour = _colour(row, kind % len(COLOURS), look)[image]
    painted = 128 + colour + texture[:, None]
    if tiles is not None:
        painted += tiles[kind[image], y % TILE_PX, x % TILE_PX]
    canvas[image, y, x] = painted
    labels[image, y, x] = kind[image] + 1 if tiles is not None else 0


def _outline(row: Row, size_px: int, kind: Ints, layout: Layout, look: Look) -> NDArray[np.bool_]:
    """Return masks (N, S, S) of a disc, a square or a diamond; mostly the one of the class."""
    matches = row.integers(1, 100) <= look.shape_match_percent
    own = (kind + kind // len(COLOURS)) % 3
    shape = np.where(matches, own, row.integers(0, 2))[:, None, None]
    radius = row.integers(*layout.radius)[:, None, None]
    centre = row.integers(layout.margin, size_px - 1 - layout.margin, 2)
    axis = np.arange(size_px, dtype=np.int32)
    dy = np.abs(axis[None, :, None] - centre[:, :1, None])
    dx = np.abs(axis[None, None, :] - centre[:, 1:, None])
    disc = dy * dy + dx * dx <= radius * radius
    square = np.maximum(dy, dx) * 8 <= radius * 7
    diamond = (dy + dx) * 4 <= radius * 5
    return np.choose(shape, (disc, square, diamond))


def _structure(row: Row, size_px: int, structure: Ints, look: Look) -> Ints:
    """Return nothing, upright bars or checks, of one amplitude an image, (N, S, S)."""
    amplitude = row.integers(*look.structure_amplitude)[:, None, None]
    phase = row.integers(0, 2 * look.check_width - 1, 2)[:, :, None]
    axis = np.arange(size_px, dtype=np.int32)
    x, y = axis + phase[:, 1:], axis[:, None] + phase[:, :1]
    bars = 1 - 2 * ((x // look.bar_width) & 1)
    checks = 1 - 2 * ((x // look.check_width + y // look.check_width) & 1)
    texture = np.choose(structure[:, None, None], (np.zeros_like(bars), bars, checks))
    return texture * amplitude


def _colour(row: Row, colour: Ints, look: Look) -> Ints:
    """Return one colour an image as offsets from grey, (N, 3)."""
    directions = np.array(list(COLOURS.values()), np.int32)
    contrast = row.integers(*look.colour_contrast)[:, None]
    jitter = row.integers(-look.colour_jitter, look.colour_jitter, 3)
    return (directions[colour] * contrast >> 1) + jitter


def _smooth_noise(row: Row, cells: int, size_px: int, amplitude: int) -> Ints:
    """Return noise (N, S, S, 3): random values on a grid, interpolated in integers between."""
    grid = row.integers(-amplitude, amplitude, cells + 1, cells + 1, 3)
    place = np.arange(size_px, dtype=np.int32) * cells
    cell, weight = np.divmod(place, size_px)
    down, right = weight[:, None, None], weight[:, None]
    lines = grid[:, cell] * (size_px - down) + grid[:, cell + 1] * down
    values: Ints = lines[:, :, cell] * (size_px - right) + lines[:, :, cell + 1] * right
    return values // np.int32(size_px * size_px)


def class_tiles(amplitude: int) -> Ints:
    """Return the faint tile of each class, (9, 4, 4, 3), values +-amplitude with mean 0.

    Columns 3 and 2 repeat 0 and 1, so that a tile looks the same after a horizontal flip.
    """
    source = np.random.PCG64(derive_seed("tiles"))
    order = np.argsort(source.random_raw(len(OBJECT_NAMES) * 3 * 8).reshape(-1, 3, 8), axis=2)
    half = (
        np.where(order < 4, amplitude, -amplitude)
        .astype(np.int32)
        .reshape(-1, 3, TILE_PX, 2)
        .transpose(0, 2, 3, 1)
    )
    return np.concatenate([half, half[:, :, ::-1]], axis=2)
