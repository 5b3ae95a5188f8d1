"""Arguments of an evaluation: what is refused before anything runs, each in a sentence."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from robustseg.attacks.inputs import check_counts, is_whole
from robustseg.attacks.spec import check_radius
from robustseg.bounds import (
    LARGEST_SEED,
    MOST_AT_ONCE,
    MOST_LETTERS,
    MOST_PASSES,
    SMALLEST_RADIUS_255,
)
from robustseg.errors import RobustsegError, shown
from robustseg.evaluation.standard_suites import Suite
from robustseg.evidence.enumerator import CLEAN_SUITE
from robustseg.evidence.findings import SUITE
from robustseg.sections import NAME

FLOAT32_NOISE = 2.0**-23
"""By which share of it float32 may change a number."""


def check_arguments(
    *,
    names: Mapping[str, str],
    images: int | None,
    batch_size: int,
    iterations: int | None,
    pictures: int,
    seed: int,
    shard: tuple[int, int],
    class_names: Sequence[str] | None,
) -> None:
    """Refuse what no evaluation can have; radii and suites are looked at for themselves.

    Args:
        names: by the argument's name.
        images, batch_size, iterations, pictures, seed, shard, class_names: as for `evaluate`.

    Raises:
        RobustsegError: naming the argument.
    """
    check_names(**names)
    check_counts(batch_size=batch_size, at_most=MOST_AT_ONCE)
    if images is not None:
        check_counts(images=images)
    if iterations is not None:
        check_counts(iterations=iterations, at_most=MOST_PASSES)
    if not is_whole(pictures) or pictures < 0:
        raise RobustsegError(f"pictures must be a whole number of at least 0; got {pictures!r}")
    if not is_whole(seed) or not 0 <= seed <= LARGEST_SEED:
        raise RobustsegError(f"seed must be a whole number from 0 to {LARGEST_SEED}; got {seed!r}")
    check_shard(shard)
    called = [] if class_names is None else list(map(str, class_names))
    if len(set(called)) < len(called):
        raise RobustsegError(f"class_names must differ; got {', '.join(called)}")


def radii_of(eps_255: float | Sequence[float]) -> list[float]:
    """Return radii in 1/255, ascending, each once.

    Raises:
        RobustsegError: none, 0, more than six digits, or one that no attack has.
    """
    plain: Any = eps_255.tolist() if hasattr(eps_255, "tolist") else eps_255  # of NumPy, torch
    values = list(plain) if isinstance(plain, Iterable) and not isinstance(plain, str) else [plain]
    if not values:
        raise RobustsegError("eps_255 is empty; name at least one radius, in 1/255")
    for value in values:
        check_radius(value)
        if value == 0:
            raise RobustsegError("eps_255 is 0: the clean score is always taken; name a radius")
        if value < SMALLEST_RADIUS_255:
            raise RobustsegError(f"eps_255 must be at least {SMALLEST_RADIUS_255}; got {value!r}")
    return sorted({_in_six_digits(float(value)) for value in values})


def _in_six_digits(value: float) -> float:
    """Return a radius as names of files have it; what float32 adds to it is no digit.

    Raises:
        RobustsegError: it has more digits.
    """
    named = float(f"{value:g}")
    if math.isclose(value, named, rel_tol=FLOAT32_NOISE):
        return named
    over = round(value * 255)
    is_share = value <= 1 and math.isclose(value * 255, over)
    meant = f", or {over} if {over}/255 was meant" if is_share else ""
    raise RobustsegError(
        f"eps_255 is {value!r}, but file names keep six digits; write {named:g}{meant}: radii are "
        "in 1/255"
    )


def check_names(**names: str) -> None:
    """Refuse names that files and rows of evidence cannot have, each by what it is of.

    Raises:
        RobustsegError: the first such name.
    """
    for what, name in names.items():
        if not isinstance(name, str) or not re.fullmatch(NAME, name) or len(name) > MOST_LETTERS:
            raise RobustsegError(
                f"{what} is {shown(name)}; use at most {MOST_LETTERS} letters, digits and _ only, "
                "beginning with a letter"
            )


def check_shard(shard: tuple[int, int]) -> None:
    """Refuse what is not (i, n), the i-th of n parts.

    Raises:
        RobustsegError: saying what it should be.
    """
    if not (isinstance(shard, Sequence) and len(shard) == 2 and all(map(is_whole, shard))):
        raise RobustsegError(f"shard must be (i, n): the i-th of n parts, from 0; got {shard!r}")
    own, parts = shard
    if parts > MOST_AT_ONCE:
        raise RobustsegError(f"shard is one of {parts} parts; at most {MOST_AT_ONCE} make sense")
    if not 0 <= own < parts:
        raise RobustsegError(f"shard is {own} of {parts}; shards of {parts} are 0..{parts - 1}")


def names_or_suites(
    suites: Sequence[str] | Mapping[str, Suite],
) -> Mapping[str, Suite] | list[str]:
    """Return suites by name, or a list of names of standard ones, of which one may be a string.

    Raises:
        RobustsegError: it is neither, or a name cannot be one.
    """
    if isinstance(suites, Mapping):
        check_names(**{f"suite {name}": name for name in suites})
        for name in (CLEAN_SUITE, SUITE):  # folders of other evidence of the run
            if name in suites:
                raise RobustsegError(f"a suite may not be called {name}; choose another name")
        return suites
    if not isinstance(suites, Iterable):
        raise RobustsegError(f"suites must be names, or a dict of suites by name; got {suites!r}")
    return [suites] if isinstance(suites, str) else list(suites)
