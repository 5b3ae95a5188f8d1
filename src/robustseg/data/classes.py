"""Classes of anybody's data set, and values of its masks that are none. Imports no torch."""

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from robustseg.data.interface import IGNORE_BYTE
from robustseg.errors import RobustsegError, reason_of
from robustseg.text_files import LONGEST_LIST_BYTES, text_of

COLOURED = re.compile(r"(.*\S)\s+([0-9]+)\s+([0-9]+)\s+([0-9]+)")
"""A line with a class and its colour."""
LARGEST_VALUE = 65535
"""Of a mask."""
RANGE = re.compile(r"([0-9]+)(?:-([0-9]+))?")
"""A value, or the first and the last of several."""
OTHERS = "others"
"""In place of values to ignore: all that are no class."""

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Classes:
    """Names in the order of the labels, and what stands for them in masks.

    Attributes:
        names: of the labels 0, 1, ...
        colours: RGB, 0..255, of masks that hold colours; None: masks hold numbers.
        values: the number of each class in masks; None: that of its label.
    """

    names: list[str]
    colours: list[Colour] | None = None
    values: list[int] | None = None

    @property
    def in_masks(self) -> Sequence[int]:
        """The number of each class in masks; of masks of colours the place of its colour."""
        return self.values or range(len(self.names))


def class_lines(classes: int | str | PathLike[str] | Sequence[str]) -> list[str]:
    """Return one line a class, `name` or `name R G B`.

    Args:
        classes: how many there are, a text file of such lines, or the lines.

    Raises:
        RobustsegError: the file cannot be read, or `classes` is something else.
    """
    if isinstance(classes, str | PathLike):
        return _lines_of(Path(classes))
    if isinstance(classes, int) and not isinstance(classes, bool):
        if classes > LARGEST_VALUE + 1:
            raise RobustsegError(
                f"`classes` is {classes}, and masks hold at most {LARGEST_VALUE + 1}; give fewer"
            )
        return [f"class {label}" for label in range(classes)]
    if isinstance(classes, Sequence) and all(isinstance(line, str) for line in classes):
        return list(classes)
    raise RobustsegError(
        f"`classes` should be a file, a list of names or a number, not {classes!r}; "
        "in YAML, names such as yes and 1 need quotes"
    )


def read_classes(
    classes: int | str | PathLike[str] | Sequence[str],
    values: str | Sequence[int] | None = None,
) -> Classes:
    """Return classes as `class_lines` takes them.

    Args:
        classes: see `class_lines`.
        values: the number of each class in the masks, in order: `1-150`, `7,8,11-13`, or a list;
            None: 0, 1, ...

    Raises:
        RobustsegError: as `class_lines`; fewer than two, a name or colour twice, colours of some
            only, or a colour that is none; or not one different value for each class.
    """
    where = str(classes) if isinstance(classes, str | PathLike) else "`classes`"
    lines = class_lines(classes)
    found = [COLOURED.fullmatch(line.strip()) for line in lines]
    names = [match[1] if match else line.strip() for match, line in zip(found, lines, strict=True)]
    colours = [(int(match[2]), int(match[3]), int(match[4])) for match in found if match]
    without = [name for name, match in zip(names, found, strict=True) if not match]
    problem = _problem(names, colours, without)
    if problem:
        raise RobustsegError(f"{where} {problem}")
    if values is not None and colours:
        raise RobustsegError(
            f"{where} gives colours, and `values` the numbers of classes in masks; leave one out"
        )
    return Classes(names, colours or None, None if values is None else _values(values, len(names)))


def _values(values: str | Sequence[int], classes: int) -> list[int]:
    """Return the values of classes in masks.

    Raises:
        RobustsegError: they are no values of masks, or not one different for each class.
    """
    found: list[Any] = []
    for part in values.split(",") if isinstance(values, str) else values:
        match = RANGE.fullmatch(part.strip()) if isinstance(part, str) else None
        first, last = (
            (int(match[1]), int(match[2] or match[1])) if match else (0, LARGEST_VALUE + 1)
        )
        found += range(first, last + 1) if last <= LARGEST_VALUE else [part]
    wrong = [value for value in found if not _is_value(value)]
    if wrong:
        raise RobustsegError(
            f"`values` should hold values of masks, whole numbers from 0 to {LARGEST_VALUE}, as in "
            f"1-150 or 7,8,11-13, not {wrong[0]!r}"
        )
    if value := _twice(found):
        raise RobustsegError(f"`values` names {value} twice; each class needs its own")
    if len(found) != classes:
        raise RobustsegError(
            f"`values` names {len(found)} values and there are {classes} classes; give one for each"
        )
    return found


def _lines_of(path: Path) -> list[str]:
    """Return the lines of a file that are not empty."""
    try:
        text = text_of(path, LONGEST_LIST_BYTES)
    except (OSError, ValueError) as error:
        raise RobustsegError(
            f"the file of classes {path} is missing or not text ({reason_of(error)}); it should "
            "have one class a line: `name`, or `name R G B` with its colour"
        ) from error
    return [line for line in text.splitlines() if line.strip()]


def _problem(names: list[str], colours: list[Colour], without: list[str]) -> str | None:
    """Return what is wrong with classes, as the predicate of a sentence."""
    wrong = [colour for colour in colours if max(colour) > 255]
    if len(names) < 2:
        return f"names {len(names)} classes; at least 2 are needed"
    if "" in names:
        return "has a class without a name; give it one"
    if name := _twice(names):
        return f"names the class {name!r} twice; choose another name"
    if colours and without:
        return f"gives no colour to {without[0]!r}, but to others; give one to each class, or none"
    if wrong:
        return f"has the colour {wrong[0]}; red, green and blue are from 0 to 255"
    if colour := _twice(colours):
        return f"gives the colour {colour} to two classes; each needs its own"
    return None


def _twice(values: Iterable[Hashable]) -> Hashable | None:
    """Return the first value that is there more than once."""
    return next((value for value, count in Counter(values).items() if count > 1), None)


def ignored_values(ignore: int | str | Sequence[int] | None, classes: Classes) -> list[int] | str:
    """Return the values of masks whose pixels are ignored, or OTHERS.

    Args:
        ignore: one, several, None for none, or OTHERS for all that are no class. They may be those
            of classes, whose pixels are ignored then.
        classes: of the data set.

    Raises:
        RobustsegError: not such values; or the default, 255, where a class has this value.
    """
    if ignore == OTHERS:
        return OTHERS
    values: list[Any] = (
        [] if ignore is None else [ignore] if isinstance(ignore, int) else list(ignore)
    )
    wrong = [value for value in values if not _is_value(value)]
    if wrong:
        raise RobustsegError(
            f"`ignore` should hold values of masks, whole numbers from 0 to {LARGEST_VALUE}, "
            f"not {wrong[0]!r}; {OTHERS}: all that are no class"
        )
    if ignore == IGNORE_BYTE in classes.in_masks:
        name = classes.names[classes.in_masks.index(IGNORE_BYTE)]
        raise RobustsegError(
            f"`ignore` is {IGNORE_BYTE}, which is the value of the class {name!r} too: if its "
            f"pixels count, write null (on the command line --ignore none), and if they do not, "
            f"[{IGNORE_BYTE}] (--ignore {IGNORE_BYTE})"
        )
    return values


def _is_value(value: object) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole and 0 <= value <= LARGEST_VALUE  # type: ignore[operator]
