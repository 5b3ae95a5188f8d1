"""Changes that a hostile, or only a tired, user makes to a file of settings; a seed fixes them."""

import copy
import math
import random
from collections.abc import Iterator
from datetime import date
from typing import Any

EXTREMES: list[Any] = [
    *(True, False, None, 0, -0.0, -1, 2**31, 2**63, 10**30, 10**300, 1e308, 1e-308),
    *(math.inf, -math.inf, math.nan, 4.1234567, 1e-5, date(2024, 1, 1)),
    *("", " ", "x", "1e-3", "true", "{x}", "a\nb", "é", "a" * 5000, "../..", "٣", "2024-02-31"),
    *([], [[]], [None], ["x"], [1, "a"], ["sea", "sea"]),
    *({}, {1: 2}, {"kind": "x"}, {"kind": [1]}, {"kind": None}),
]
KEYS: list[Any] = ["x", 1, None, True, "", 2.5, "kind", "é"]


def places(node: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the keys and places in lists that lead to everything in nested settings."""
    inner = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in inner:
        yield (*above, key)
        if isinstance(value, dict | list):
            yield from places(value, (*above, key))


def at(node: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        node = node[key]
    return node


def changed(settings: Any, draw: random.Random) -> Any:
    """Return settings with a value replaced, dropped, doubled, nested, moved or renamed."""
    settings = copy.deepcopy(settings)
    path = draw.choice(list(places(settings)))
    parent, key = at(settings, path[:-1]), path[-1]
    how = draw.choice(["replace"] * 4 + ["drop", "double", "nest", "wrap", "rename", "move"])
    if how == "drop":
        del parent[key]
    elif how == "double" and isinstance(parent, list):
        parent.append(copy.deepcopy(parent[key]))
    elif how == "double":
        parent[f"{key}2"] = copy.deepcopy(parent[key])
    elif how == "rename" and isinstance(parent, dict):
        parent[draw.choice(KEYS)] = parent.pop(key)
    else:
        other = at(settings, draw.choice(list(places(settings))))
        nested = {"nest": {"x": parent[key]}, "wrap": [parent[key]], "move": copy.deepcopy(other)}
        parent[key] = nested.get(how, draw.choice(EXTREMES))
    return settings
