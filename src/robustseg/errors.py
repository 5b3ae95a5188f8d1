"""The one exception that carries a sentence for the person at the keyboard."""


class RobustsegError(Exception):
    """Wrong input or a broken file: one sentence that names it and says what to do next."""
