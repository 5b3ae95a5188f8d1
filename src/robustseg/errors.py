"""Exceptions that carry a sentence for the person at the keyboard."""

import os
import re
import traceback
from pathlib import Path
from typing import Any
from unicodedata import category

NO_PRINT = ("Cc", "Cs", "Zl", "Zp")
"""Kinds of characters: of control, halves of others (bytes that are not UTF-8), line breaks."""
FULL_GPU = r"CUDA error: out of memory|(?<!HOST_)ALLOC(?:ATION)?_FAILED"
"""How CUDA, cuBLAS and cuDNN say that they got no memory."""
LONGEST_REASON = 200
"""Characters; some libraries quote whole files."""


class RobustsegError(Exception):
    """Wrong input or a broken file: one sentence that names it and says what to do next."""


class GradientError(RobustsegError):
    """A model gives no gradient that an attack could follow."""


class UnwritableError(RobustsegError):
    """A result could not be kept, whatever it is a result of: a full disk, missing permissions."""


class FullGpuError(RobustsegError):
    """A GPU has too little memory for what was asked for, whatever the model is worth."""


def is_of_full_gpu(error: BaseException) -> bool:
    """Return whether an error says so: torch's own kind, or one of NVIDIA's libraries in torch's.

    Of those that do not go through torch's allocator, only the words tell.
    """
    own = type(error).__name__ == "OutOfMemoryError"  # torch's, which may not be loaded
    return own or (isinstance(error, RuntimeError) and bool(re.search(FULL_GPU, str(error))))


def in_one_line(text: object) -> str:
    """Return text for a sentence, such as a path: line breaks and the like as their codes."""
    return "".join(
        character.encode("unicode_escape").decode()
        if category(character) in NO_PRINT
        else character
        for character in str(text)
    )


def reason_of(error: Exception) -> str:
    """Return what an error says, short and for a sentence; its kind if it says nothing."""
    said = in_one_line(error)
    short = said if len(said) <= LONGEST_REASON else f"{said[:LONGEST_REASON]}..."
    return short or type(error).__name__


def first_line(error: object) -> str:
    """Return the first line of what an error says: torch's go on with its own source."""
    return next(iter(str(error).strip().splitlines()), "it says nothing")


def said_by(error: BaseException) -> str:
    """Return what an error in anybody's own code says: its kind, its first line, and where.

    Where is the last line that is of no installed package, and not of the code here.
    """
    lines = str(error).strip().splitlines()
    said = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    here = Path(__file__).parent
    for place in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(place.filename)
        if not file.is_file() or {"site-packages", "dist-packages"} & set(file.parts):
            continue
        if here not in file.parents and Path(os.__file__).parent not in file.parents:
            return f"{said} ({in_one_line(file.name)}, line {place.lineno})"
    return said


def shown(value: Any, letters: int = LONGEST_REASON) -> str:
    """Return a value as it is written, for a sentence, cut where nobody would read on."""
    try:
        text = repr(value)
    except ValueError:  # Python prints no whole number of more than 4300 digits
        return "one of thousands of digits"
    return text if len(text) <= letters else f"{text[:letters]}…"
