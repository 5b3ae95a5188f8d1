"""Drawings made lighter for the page: what nobody sees of them is left out."""

from __future__ import annotations

import io
import re
from base64 import b64decode
from pathlib import Path

from robustseg.data.image_files import image_of, sentence_of
from robustseg.errors import RobustsegError
from robustseg.page.data_uris import data_uri

EXACT_PX = 128
"""Larger photographs in a drawing are kept as JPEG, a tenth of the size."""
JPEG_QUALITY = 85
PICTURE = re.compile(r'data:image/png;base64,([^"]+)')


def lighter(svg: str, path: str | Path) -> tuple[str, bool]:
    """Return a drawing as matplotlib has written it, in less space, and whether pictures lost.

    Coordinates have two decimals of a point. Pictures of few colours, such as maps of classes, and
    small ones stay as they are, pixel by pixel.

    Args:
        svg: the drawing.
        path: its file, for messages.

    Raises:
        RobustsegError: a picture in it is damaged.
    """
    lost = False

    def picture(found: re.Match[str]) -> str:
        nonlocal lost
        try:
            photograph = _as_jpeg(b64decode(found[1]))
        except Exception as error:  # decoders raise whatever they come across
            problem = sentence_of(error).split(";")[0]
            raise RobustsegError(
                f"{path} holds a picture that {problem}; delete it and run again"
            ) from error
        lost |= photograph is not None
        return photograph or found[0]

    svg = PICTURE.sub(picture, svg)
    tags = re.sub(r"<[^>]+>", lambda tag: re.sub(r"(\.\d\d)\d+", r"\1", tag[0]), svg)
    return tags, lost


def _as_jpeg(png: bytes) -> str | None:
    """Return a photograph as a data URI; None for what is to stay exact."""
    shown = image_of(io.BytesIO(png))
    if max(shown.size) <= EXACT_PX or shown.getcolors(256):
        return None
    return data_uri(shown, "JPEG", quality=JPEG_QUALITY, subsampling=0)
