"""The generated data sets: the same bytes everywhere, and cues as robust or faint as they claim."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from robustseg.data.arrays import save_split
from robustseg.data.generate import generate_split
from robustseg.data.scenes import LOOK, OBJECT_NAMES, class_tiles, generate_scenes, generate_shapes
from robustseg.errors import RobustsegError
from robustseg.files import sha256

SCENES = {"kind": "scenes", "size_px": 32, "train_images": 5, "val_images": 3, "seed": 7}
SHAPES = SCENES | {"kind": "shapes"}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (SCENES, "87fe06ecde54d70af6b3721b5948fca87153e0aa0b7d30a2ad323cf42ec12e3e"),
        (SHAPES, "f91b3e02b4bcd7b13c3abbcec1130ff25e677f8f3e11f07b95b3d852b9cf3ce1"),
    ],
)
def test_files_have_the_same_bytes_everywhere(tmp_path, settings, expected):
    save_split(tmp_path / "a.npz", generate_split(settings, "train"))
    assert sha256(tmp_path / "a.npz") == expected


# Machado, Oliveira and Fernandes (2009), severity 1, for linear RGB.
BLINDNESS = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)


def cielab(linear):
    xyz = np.clip(linear, 0, 1) @ TO_XYZ.T / TO_XYZ.sum(1)
    x, y, z = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def test_colours_of_classes_are_apart_for_every_reader():
    """Red plain and green plain were once 1.7 apart under deuteranopia."""
    colours = np.array(generate_split(SCENES, "val").palette) / 255
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    seen = {name: cielab(linear @ np.array(matrix).T) for name, matrix in BLINDNESS.items()}
    full = cielab(linear)
    places = np.triu_indices(len(colours), 1)
    for name, lab in {**seen, "full colour": full, "grey": full * (1, 0, 0)}.items():
        apart = np.linalg.norm(lab[:, None] - lab[None], axis=-1)[places]
        assert apart.min() > (6 if name == "grey" else 17), name


def test_an_image_does_not_depend_on_how_many_follow():
    few, few_labels = generate_scenes("train", 3, 32, seed=0)
    many, many_labels = generate_scenes("train", 150, 32, seed=0)
    assert np.array_equal(few, many[:3])
    assert np.array_equal(few_labels, many_labels[:3])
    assert len({hashlib.sha256(image.tobytes()).digest() for image in many}) == 150


def test_splits_and_seeds_differ():
    train, _ = generate_scenes("train", 4, 32, seed=0)
    val, _ = generate_scenes("val", 4, 32, seed=0)
    other, _ = generate_scenes("train", 4, 32, seed=1)
    assert not np.array_equal(train, val)
    assert not np.array_equal(train, other)


def test_every_class_occurs_and_background_does_not_dominate():
    _, labels = generate_scenes("train", 200, 48, seed=0)
    shares = np.bincount(labels.ravel(), minlength=10) / labels.size
    assert len(shares) == 10
    assert shares.min() > 0.04
    assert 0.2 < shares[0] < 0.45


def test_objects_are_as_large_as_asked_for():
    """A disc of radius 3 has 29 pixels, of radius 4 has 49; squares and diamonds fewer of 81."""
    few = SCENES | {"train_images": 40}
    small = generate_split(few | {"object_radius_px": [3, 4]}, "train").labels
    large = generate_split(few | {"object_radius_px": [12, 13]}, "train").labels
    covered = (small > 0).mean(), (large > 0).mean()
    assert covered[0] < 7 * 81 / 32**2
    assert covered[0] < 0.5 * covered[1]


def test_the_size_of_objects_is_as_before_without_it():
    given = generate_split(SCENES | {"object_radius_px": [6, 10]}, "train")
    usual = generate_split(SCENES, "train")
    assert np.array_equal(given.images, usual.images)


def test_shapes_are_balanced_and_hold_one_object():
    _, labels = generate_shapes("train", 450, 32, seed=0)
    counts = np.bincount(labels, minlength=9)
    assert counts.sum() == 450
    assert len(counts) == 9
    assert counts.min() > 25


def test_colour_shows_in_the_mean_and_the_structure_in_the_variance():
    """A reader that knows only the names recovers them from the pixels of noiseless objects."""
    look = replace(LOOK, colour_jitter=0, pixel_noise=0, tile_amplitude=0, shape_match_percent=100)
    images, labels = generate_scenes("train", 30, 48, seed=0, look=look)
    checked = 0
    for image, label in zip(images.astype(int), labels, strict=True):
        for kind in np.unique(label[label > 0]):
            pixels = image[label == kind]
            colour, structure = OBJECT_NAMES[kind - 1].split()
            assert pixels.mean(0).argmax() == ("red", "green", "blue").index(colour)
            if structure == "plain" and len(np.unique(pixels, axis=0)) == 1:
                checked += 1
    assert checked > 10


def test_without_tiles_images_differ_by_their_amplitude_inside_objects_only():
    with_tiles, labels = generate_scenes("train", 20, 48, seed=0)
    without, _ = generate_scenes("train", 20, 48, seed=0, look=replace(LOOK, tile_amplitude=0))
    difference = np.abs(with_tiles.astype(int) - without.astype(int)).max(-1)
    assert difference.max() == LOOK.tile_amplitude
    assert (difference[labels == 0] == 0).all()
    assert (difference[labels > 0] > 0).mean() > 0.99


def test_tiles_are_faint_distinct_free_of_colour_and_symmetric():
    tiles = class_tiles(3)
    assert tiles.shape == (9, 4, 4, 3)
    assert set(np.unique(tiles)) == {-3, 3}
    assert (tiles.sum((1, 2)) == 0).all()
    assert np.array_equal(tiles, tiles[:, :, ::-1])
    assert len({tile.tobytes() for tile in tiles}) == 9


def share_read_from_tiles(look):
    """Return the share of a scene's objects whose tile, of all nine, fits their pixels best.

    The mean over every fourth column is taken away first, and with it colour and bars.
    """
    images, labels = generate_scenes("val", 100, 48, seed=0, look=look)
    patterns = np.tile(class_tiles(LOOK.tile_amplitude), (1, 12, 12, 1))
    columns = np.broadcast_to(np.arange(48) % 4, (48, 48))
    right = []
    for image, label in zip(images.astype(float), labels, strict=True):
        for kind in np.unique(label[label > 0]):
            own = label == kind
            for column in np.unique(columns[own]):
                some = own & (columns == column)
                image[some] -= image[some].mean(0)
            fit = (patterns[:, own] * image[own]).sum((1, 2))
            right.append(fit.argmax() == kind - 1)
    return np.mean(right)


def test_a_linear_filter_reads_the_class_from_the_tiles_and_from_nothing_else():
    assert share_read_from_tiles(LOOK) > 0.95
    assert share_read_from_tiles(replace(LOOK, tile_amplitude=0)) < 0.25  # chance: 0.11


def test_unknown_kind_is_named():
    with pytest.raises(RobustsegError, match=r"'clouds'.*scenes, shapes"):
        generate_split(SCENES | {"kind": "clouds"}, "train")
