"""What Snakemake takes for granted of whoever starts it; without, it ends in a traceback."""

import getpass
import os
import tempfile
from pathlib import Path

from robustseg.errors import RobustsegError, UnwritableError
from robustseg.files import refuse_unwritable

PLAN_BYTES = 2**16
"""ASSUME: room that Snakemake needs to choose its next jobs, in the folder for temporary files."""


def check_surroundings(cache: str | Path) -> None:
    """Refuse a user without a name, a cache that cannot be made, a full disk of temporary files.

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
    # As Snakemake's solver chooses it; it does without one that may not be written to.
    folder = os.environ.get("TMP", os.environ.get("TMPDIR", "/tmp"))
    if os.access(folder, os.W_OK):
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(bytes(PLAN_BYTES))
        except OSError as error:
            raise RobustsegError(
                f"{folder}: {error.strerror}; Snakemake needs it for temporary files, so free "
                "some space there"
            ) from error
