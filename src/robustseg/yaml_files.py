"""YAML files, read so that a slip in them ends in a sentence."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from robustseg.errors import RobustsegError


class _UniqueKeyLoader(yaml.SafeLoader):
    """Refuses a mapping that names a key twice, which YAML would let the last one win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            where = f"{self.name}, line {key_node.start_mark.line + 1}"
            if not isinstance(key, Hashable):
                raise RobustsegError(f"{where}: a key is {key!r}; write a word")
            if key in seen:
                raise RobustsegError(f"{where}: the key {key} is there twice; keep one")
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(path: str | Path) -> Any:
    """Return the content of a YAML file.

    Raises:
        RobustsegError: it cannot be read, is not UTF-8 or not YAML, or a key is there twice.
    """
    try:
        with Path(path).open(encoding="utf-8") as file:
            return yaml.load(file, _UniqueKeyLoader)
    except UnicodeDecodeError as error:
        raise RobustsegError(f"{path} is not UTF-8 text; save it as UTF-8") from error
    except OSError as error:
        raise RobustsegError(f"{path} cannot be read: {error.strerror}") from error
    # A value can look like a date or a number and be none, such as 2024-02-31.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RobustsegError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
