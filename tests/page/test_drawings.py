"""Drawings on the page: photographs become small, everything else stays as it is."""

import io
import re
from base64 import b64decode, b64encode

import numpy as np
import pytest
from PIL import Image

from robustseg.errors import RobustsegError
from robustseg.page.drawings import lighter


def embedded(pixels):
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, format="PNG")
    return f'<image xlink:href="data:image/png;base64,{b64encode(written.getvalue()).decode()}"/>'


def photograph(size):
    waves = 128 + 90 * np.sin(np.arange(size) / 9)
    noise = np.random.default_rng(0).normal(0, 4, (size, size, 3))
    smooth = (waves[:, None] + waves[None, :]) / 2
    return (smooth[..., None] + noise).clip(0, 255).astype(np.uint8)


def test_a_photograph_looks_the_same_in_a_fifth_of_the_space():
    pixels = photograph(160)
    svg = embedded(pixels)
    drawing, lost = lighter(svg, "a.svg")
    assert lost
    assert len(drawing) < len(svg) / 5
    data = re.search(r'data:image/jpeg;base64,([^"]+)', drawing)[1]
    shown = np.asarray(Image.open(io.BytesIO(b64decode(data))), dtype=float)
    assert np.abs(shown - pixels).mean() < 4


CLASSES = np.random.default_rng(0).integers(0, 21, (160, 160, 1), dtype=np.uint8).repeat(3, axis=2)


@pytest.mark.parametrize("pixels", [photograph(64), CLASSES], ids=["small", "classes"])
def test_small_pictures_and_maps_of_classes_stay_exact(pixels):
    assert lighter(embedded(pixels), "a.svg") == (embedded(pixels), False)


def test_places_have_two_decimals_and_words_all_of_theirs():
    svg = '<path d="M 1.23456 -7.890123 L 5 6.5"/><text x="1.5">0.12345</text>'
    drawing, lost = lighter(svg, "a.svg")
    assert drawing == '<path d="M 1.23 -7.89 L 5 6.5"/><text x="1.5">0.12345</text>'
    assert not lost


def test_a_damaged_picture_is_named_with_its_file():
    svg = embedded(photograph(160)).replace("AA", "BB")
    with pytest.raises(RobustsegError, match=r"a\.svg holds a picture that is damaged"):
        lighter(svg, "a.svg")
