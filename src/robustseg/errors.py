"""Exceptions that carry a sentence for the person at the keyboard."""

from unicodedata import category

NO_PRINT = ("Cc", "Cs", "Zl", "Zp")
"""Kinds of characters: of control, halves of others (bytes that are not UTF-8), line breaks."""


class RobustsegError(Exception):
    """Wrong input or a broken file: one sentence that names it and says what to do next."""


class GradientError(RobustsegError):
    """A model gives no gradient that an attack could follow."""


def in_one_line(text: object) -> str:
    """Return text for a sentence, such as a path: line breaks and the like as their codes."""
    return "".join(
        character.encode("unicode_escape").decode()
        if category(character) in NO_PRINT
        else character
        for character in str(text)
    )
