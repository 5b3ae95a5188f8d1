"""What Snakemake takes for granted of whoever starts it; without, it ends in a traceback."""

import getpass
import os
from pathlib import Path

from robustseg.errors import RobustsegError, UnwritableError
from robustseg.files import refuse_unwritable


def check_surroundings(cache: str | Path) -> None:
    """Refuse a user without a name, and a cache that cannot be made.

    Args:
        cache: Snakemake's folder for its cache.

    Raises:
        RobustsegError: says what to set, or to free.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError):  # the latter since Python 3.13
        raise RobustsegError(
            f"this machine knows no name of user {os.getuid()}, and Snakemake asks for one; set "
            "USER, for example `export USER=me`"
        ) from None
    try:
        refuse_unwritable([Path(cache) / "source"])
    except UnwritableError as error:
        raise RobustsegError(
            f"Snakemake's cache, whose place XDG_CACHE_HOME can change: {error}"
        ) from error
