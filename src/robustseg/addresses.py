"""Addresses of files on the network or on this machine."""

import re
from urllib.parse import quote

SCHEMES = ("http://", "https://", "file:/")


def quoted(address: str) -> str:
    """Return an address with its spaces written as %20, in one piece.

    In the path of a file, # and ? are characters like others.

    Raises:
        ValueError: it has none of `SCHEMES`.
    """
    if not address.lower().startswith(SCHEMES):
        raise ValueError(
            f"{address!r} does not begin with http://, https:// or file://; "
            "a file of your own is file:///its/path"
        )
    unsafe = r"[\s#?]" if address.lower().startswith("file:") else r"\s"
    return re.sub(unsafe, lambda found: quote(found[0]), address)
