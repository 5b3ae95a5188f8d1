"""Exceptions that carry a sentence for the person at the keyboard."""


class RobustsegError(Exception):
    """Wrong input or a broken file: one sentence that names it and says what to do next."""


class GradientError(RobustsegError):
    """A model gives no gradient that an attack could follow."""
