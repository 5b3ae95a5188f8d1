"""Pictures inside of a page."""

from __future__ import annotations

import io
from base64 import b64encode
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image


def data_uri(picture: Image, kind: str, **options: int) -> str:
    """Return a picture as a data URI.

    Args:
        picture: of a mode that `kind` takes.
        kind: "PNG", of which `optimize` would take up to 20 times as long, or "JPEG".
        options: of PIL, such as `quality`, which is of JPEG alone.
    """
    written = io.BytesIO()
    picture.save(written, format=kind, **options)
    return f"data:image/{kind.lower()};base64,{b64encode(written.getvalue()).decode('ascii')}"
