"""Suites by name, for models of one's own: the paper's, and what goes beyond it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from robustseg.attacks.losses import ECCV_LOSSES, PAPER_LOSSES, SEA_LOSSES
from robustseg.errors import RobustsegError, shown

Suite = Mapping[str, Any]


def _white_box(
    losses: tuple[str, ...],
    optimizer: str,
    schedules: list[str],
    iterations: list[int],
    step_size: Mapping[float, float] | None = None,
) -> Suite:
    return {
        "kind": "white_box",
        "losses": list(losses),
        "optimizer": optimizer,
        "schedules": schedules,
        "iterations": iterations,
        "step_size": step_size,
    }


PLUS_LOSSES = ("js@5", "js@20", "tsallis@5", "tsallis@20")
"""At SEA's price the strongest found, on the models of config/strength.yaml (docs/attacks.md)."""

FAST_LOSSES = ("js@10", "tsallis@5")
"""With a third of SEA's iterations not weaker than SEA on the same models."""

_STEPS_B1: dict[float, float] = {2: 2e-3, 4: 4e-3, 8: 5e-3, 12: 6e-3}
_STEPS_C1: dict[float, float] = {4: 5e-3, 8: 1e-2, 12: 1e-2, 16: 1e-2}

STANDARD_SUITES: dict[str, Suite] = {
    "sea": _white_box(SEA_LOSSES, "apgd", ["reduced"], [300]),
    "losses": _white_box(PAPER_LOSSES, "apgd", ["constant"], [100]),
    "baselines": _white_box(("cossim_ce", "bal_ce"), "pgd", ["constant"], [300], _STEPS_B1),
    "baselines_100": _white_box(("bal_ce", "cossim_ce"), "pgd", ["constant"], [100], _STEPS_C1),
    "schedules": _white_box(SEA_LOSSES, "apgd", ["constant", "restarts"], [300]),
    "iterations": _white_box(SEA_LOSSES, "apgd", ["reduced"], [50, 100, 500]),
    "sea_eccv": _white_box(ECCV_LOSSES, "apgd", ["reduced"], [300]),
    "sea_plus": _white_box(PLUS_LOSSES, "apgd", ["reduced"], [300]),
    "sea_fast": _white_box(FAST_LOSSES, "apgd", ["reduced"], [100]),
    "alma": {"kind": "alma", "threshold": 0.99, "iterations": 500, "images": None},
    "blackbox": {"kind": "square", "iterations": 5000, "p_init": 3.2},
}
"""By name; those that begin with `sea_` are not the paper's. `transfer` needs sources: TRANSFER."""

TRANSFER = {
    "kind": "transfer",
    "losses": ["mask_ce"],
    "schedules": ["reduced"],
    "iterations": [300],
}
"""Table 11, from the sources that are given."""


def named_suites(
    suites: Mapping[str, Suite] | list[str] | tuple[str, ...],
    iterations: int | None,
    sources: list[str],
) -> dict[str, Suite]:
    """Return suites by name, from names of standard ones or as they are.

    Args:
        suites: names of STANDARD_SUITES or "transfer"; or suites of one's own by name, in the words
            of a configuration.
        iterations: of each of their attacks, instead of their own.
        sources: models that "transfer" carries its attacks over from.

    Raises:
        RobustsegError: an unknown name, or none at all, sources that nothing attacks, or a suite of
            one's own that has the name of another.
    """
    known: dict[str, Suite] = STANDARD_SUITES | {"transfer": {**TRANSFER, "sources": sources}}
    if isinstance(suites, Mapping):
        own = {name: _with_iterations(suite, iterations) for name, suite in suites.items()}
        chosen = _checked(own)
        _refuse_misnamed(chosen)
    else:
        unknown = [name for name in suites if name not in known]
        if unknown:
            raise RobustsegError(
                f"{shown(unknown[0])} is not a suite; known are {', '.join(known)}"
            )
        chosen = {name: _with_iterations(known[name], iterations) for name in suites}
    if not chosen:
        raise RobustsegError(f"no suite is named; known are {', '.join(known)}")
    if sources and not any(suite["kind"] == "transfer" for suite in chosen.values()):
        raise RobustsegError(
            f"only the suite transfer attacks `sources`, and the suites are {', '.join(chosen)}; "
            "add transfer, or leave out the sources"
        )
    if "transfer" in chosen and not chosen["transfer"].get("sources"):
        raise RobustsegError("the suite transfer needs `sources`: models by name to attack instead")
    return chosen


def losses_of(suites: Mapping[str, Suite]) -> list[str]:
    """Return the members of all attacks on the model itself that follow its gradients."""
    return [
        member
        for suite in suites.values()
        if suite["kind"] == "white_box"
        for member in suite["losses"]
    ]


ALONE = ("alma", "square")
"""Kinds of suites with a single attack, and so a single number of iterations."""


def _checked(suites: Mapping[str, Any]) -> dict[str, Suite]:
    """Return suites of one's own with what they leave out, as a file of configuration has them.

    Raises:
        RobustsegError: a sentence for each key that is missing, unknown or wrong.
    """
    from pydantic import ValidationError

    from robustseg.evaluation.suite_kinds import OwnSuites
    from robustseg.sections import sentences

    try:  # as JSON, which a run's record is, and in which tuples are lists
        text = json.dumps({"suites": suites}, default=_plain)
    except TypeError as error:
        raise RobustsegError(f"suites: {error}") from None
    try:
        checked = OwnSuites.model_validate_json(text)
    except ValidationError as error:
        raise RobustsegError("\n".join(sentences(error, OwnSuites))) from None
    return dict(checked.model_dump()["suites"])


TOLD_BY_NAME = ("kind", "losses", "optimizer", "schedules", "choices")
"""What a standard suite is known for; steps and numbers of iterations may be others."""


def _refuse_misnamed(own: Mapping[str, Suite]) -> None:
    """Refuse a suite that is not what its name says: tables and rankings show it by its name.

    Raises:
        RobustsegError: one has the name of a standard suite, and other attacks or more of them.
    """
    for name, given in own.items():
        if name not in STANDARD_SUITES:
            continue
        standard = _checked({name: STANDARD_SUITES[name]})[name]
        differs = [key for key in TOLD_BY_NAME if not _alike(given.get(key), standard.get(key))]
        if not differs and given["kind"] not in ALONE:
            differs = ["iterations"] * (len(given["iterations"]) > len(standard["iterations"]))
        if differs:
            raise RobustsegError(
                f"suites.{name}.{differs[0]} is not that of the standard suite {name}, for which "
                "tables and rankings would take it; choose another name"
            )


def _alike(one: Any, other: Any) -> bool:
    """Return whether two settings say the same: the order of losses and schedules is none."""
    lists = isinstance(one, list) and isinstance(other, list)
    return sorted(one) == sorted(other) if lists else bool(one == other)


def _plain(value: Any) -> Any:
    """Return numbers and arrays of NumPy and torch as Python has them, all else as it is shown."""
    return value.tolist() if hasattr(value, "tolist") else shown(value)


def _with_iterations(suite: Any, iterations: int | None) -> Any:
    """Return a suite with other iterations; None: its own."""
    if iterations is None or not isinstance(suite, Mapping):
        return suite
    return {**suite, "iterations": iterations if suite.get("kind") in ALONE else [iterations]}
