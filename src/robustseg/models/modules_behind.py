"""The networks behind a function: what it runs, as far as what Python keeps of it tells."""

import gc
from collections import deque
from collections.abc import Iterator
from functools import partial
from itertools import islice
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from torch import nn

MANY, MOST_OBJECTS = 1000, 20_000
"""Of what a function uses, so many first entries of a list and so many objects are looked at."""

KEEPS = (list, tuple, dict, set, FunctionType, MethodType, partial)
"""What a module may keep others in without counting them among its own."""
OF_ANY_MODULE = frozenset(vars(nn.Module()))
"""Attributes that torch gives every module, hooks among them."""


def modules_behind(function: Any) -> Iterator[nn.Module]:
    """Yield the modules that a function may run, nearest first.

    They are looked for in its closure, defaults and arguments, among what its code names, and in
    collections and objects that are found so; not in code and objects of torch.
    """
    seen: dict[int, Any] = {}  # by id, kept so that no other object gets the same
    waiting = deque([function])
    while waiting and len(seen) < MOST_OBJECTS:
        one = waiting.popleft()
        if id(one) in seen:
            continue
        seen[id(one)] = one
        kind = one if isinstance(one, type) else type(one)
        if isinstance(one, nn.Module):
            yield one
        elif isinstance(one, FunctionType):
            waiting += [one.__defaults__, one.__kwdefaults__, one.__closure__, vars(one)]
            waiting += () if _is_of_torch(one) else _named_in(one)
        elif not isinstance(one, ModuleType) and not _is_of_torch(kind):
            waiting += filter(gc.is_tracked, islice(gc.get_referents(one), MANY))


def unregistered(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the modules that a module may run and does not count among its own.

    `eval`, `to` and `parameters` do not reach what it keeps in a list, a dict or a function.
    """
    own = set(module.modules())
    for one in module.modules():
        for name, value in vars(one).items():
            if name not in OF_ANY_MODULE and isinstance(value, KEEPS):
                yield from (found for found in modules_behind(value) if found not in own)


def _named_in(function: FunctionType) -> Iterator[Any]:
    """Yield what a function's code names, in its module and in modules that it names there."""
    names, codes = set[str](), [function.__code__]
    for code in codes:
        names.update(code.co_names)
        codes += [one for one in code.co_consts if isinstance(one, CodeType)]  # of inner functions
    modules = [function.__globals__]
    for module in modules:
        for name in sorted(names & module.keys()):
            value = module[name]
            if isinstance(value, ModuleType) and vars(value) not in modules:
                modules += [] if _is_of_torch(value) else [vars(value)]
            yield value


def _is_of_torch(code: Any) -> bool:
    """Return whether a function, class or module is torch's: it holds no network of anybody's."""
    name = getattr(code, "__module__", getattr(code, "__name__", ""))
    return str(name).partition(".")[0] == "torch"
