"""YAML files, read so that a slip in them ends in a sentence."""

from pathlib import Path
from typing import Any

import yaml

from robustseg.errors import RobustsegError, shown
from robustseg.text_files import read_text

DEEPEST = 50
MOST_VALUES = 200_000
"""ASSUME: what people write is far from both: config/claims.yaml has 9 levels and 2,673 values, all
aliases written out. Far beyond, stack and memory end first."""
MOST_BITS = 1000
"""ASSUME: of a whole number; what does not fit a float, and Python does not print, is a slip."""
MERGE = "tag:yaml.org,2002:merge"


def read_yaml(path: str | Path) -> Any:
    """Return the content of a YAML file.

    Raises:
        RobustsegError: it cannot be read, is not UTF-8 or not YAML, a key is there twice, or it
            unfolds to more than anybody writes.
    """
    return parse_yaml(read_text(path), str(path))


def parse_yaml(text: str, name: str) -> Any:
    """Return what a YAML text means; `name` says in messages where it stands.

    Raises:
        RobustsegError: as `read_yaml`.
    """
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            return None
        _check_size(root, name)
        _check_values(root, loader, name)
        return loader.construct_document(root)
    except RecursionError as error:
        raise _too_deep(name) from error
    except yaml.YAMLError as error:
        raise RobustsegError(
            f"{name} is not YAML: {' '.join(str(error).split())}; correct it there"
        ) from error


def _too_deep(name: str) -> RobustsegError:
    return RobustsegError(f"{name} is nested deeper than {DEEPEST} levels; flatten it")


def _check_size(root: yaml.Node, name: str) -> None:
    """Refuse what unfolds to too much: aliases of aliases, or one that holds itself."""
    known: dict[int, tuple[int, int]] = {}

    def look(node: yaml.Node, above: tuple[yaml.Node, ...]) -> tuple[int, int]:
        """Return how many values a node unfolds to, and on how many levels."""
        where = f"{name}, line {node.start_mark.line + 1}"
        if node in above:
            raise RobustsegError(f"{where}: an alias stands for what it is in; write it out")
        if id(node) not in known and len(above) < DEEPEST:
            inner = node.value if isinstance(node, yaml.CollectionNode) else []
            parts = [one for pair in inner for one in pair] if _is_map(node) else inner
            sizes, levels = zip((0, 0), *(look(one, (*above, node)) for one in parts), strict=True)
            known[id(node)] = 1 + sum(sizes), 1 + max(levels)
        size, level = known.get(id(node), (0, DEEPEST))
        if len(above) + level > DEEPEST:
            raise _too_deep(name)
        if size > MOST_VALUES:
            raise RobustsegError(
                f"{where}: unfolds to more than {MOST_VALUES:,} values; shorten it, aliases first"
            )
        return size, level

    look(root, ())


def _is_map(node: yaml.Node) -> bool:
    return isinstance(node, yaml.MappingNode)


def _check_values(root: yaml.Node, loader: yaml.SafeLoader, name: str) -> None:
    """Refuse keys that are there twice, of which YAML lets the last win, and what nothing holds."""
    waiting, met = [root], set()
    while waiting:
        node = waiting.pop()
        if id(node) in met:
            continue
        met.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            _value(node, loader, name)
        elif not _is_map(node):
            waiting += node.value
        else:
            _check_twice([key for key, _ in node.value], loader, name)
            waiting += [value for _, value in node.value]


def _check_twice(keys: list[yaml.Node], loader: yaml.SafeLoader, name: str) -> None:
    seen = set()
    for node in keys:
        where = f"{name}, line {node.start_mark.line + 1}"
        if not isinstance(node, yaml.ScalarNode):
            key = loader.construct_object(node, deep=True)
            raise RobustsegError(f"{where}: a key is {shown(key)}; write a word")
        key = "<<" if node.tag == MERGE else _value(node, loader, name)
        if key in seen:
            raise RobustsegError(f"{where}: the key {key} is there twice; keep one")
        seen.add(key)


def _value(node: yaml.ScalarNode, loader: yaml.SafeLoader, name: str) -> Any:
    """Return what a word, a number or a text is."""
    where, text = f"{name}, line {node.start_mark.line + 1}", node.value
    said = shown(text, 50)
    try:
        value = loader.construct_object(node)
        str(value).encode()
    except yaml.YAMLError:
        raise
    # It can look like a number or a date, or have their tag, and be none, such as 2024-02-31.
    except (ValueError, ArithmeticError, LookupError, AttributeError) as error:
        raise RobustsegError(
            f"{where} is not YAML: {error}; put {said} in quotes if it is text"
        ) from error
    if isinstance(value, int) and value.bit_length() > MOST_BITS:
        raise RobustsegError(f"{where}: {said} is too large for anything; write a smaller number")
    if isinstance(value, str) and "\0" in value:
        raise RobustsegError(f"{where}: {said} has a character NUL; delete it")
    return value
