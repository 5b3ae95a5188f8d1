"""From YAML files to a checked configuration, or to sentences that say what is wrong with them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from robustseg.config.checks import cross_checks
from robustseg.config.schema import Config
from robustseg.config.section import TAG, Section, kinds_of, sections_in
from robustseg.errors import RobustsegError


class _UniqueKeyLoader(yaml.SafeLoader):
    """Refuses a mapping that names a key twice, which YAML would let the last one win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise RobustsegError(
                    f"{self.name}, line {key_node.start_mark.line + 1}: "
                    f"the key {key} is there twice; keep one"
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(path: str | Path) -> Any:
    """Return the content of a YAML file.

    Raises:
        RobustsegError: a key is there twice, or it is not YAML.
    """
    with Path(path).open(encoding="utf-8") as file:
        try:
            return yaml.load(file, _UniqueKeyLoader)
        except yaml.YAMLError as error:
            raise RobustsegError(f"{path} is not YAML: {' '.join(str(error).split())}") from error


def load_config(settings: Mapping[str, Any], files: Sequence[str | Path]) -> Config:
    """Check a configuration and return it with its defaults filled in.

    Args:
        settings: the merged configuration, as Snakemake hands it over.
        files: the files that it came from, later ones win; for messages and duplicate keys.

    Raises:
        RobustsegError: one sentence for each problem, naming file and key.
    """
    sources = {str(path): read_yaml(path) for path in files}
    try:
        config = Config.model_validate(settings)
    except ValidationError as error:
        problems = [(_key(e["loc"]), _explain(e)) for e in error.errors()]
    else:
        problems = list(cross_checks(config))
        if not problems:
            return config
    raise RobustsegError(
        "\n".join(f"{_source(key, sources)}: {key} {problem}" for key, problem in problems)
    )


def _key(location: tuple[str | int, ...]) -> str:
    """Return a location as a person writes it, for example tables.table1[0].model."""
    key = ""
    for part in location:
        if isinstance(part, int):
            key += f"[{part}]"
        elif part != "[key]" and not part.startswith(TAG):
            key += f".{part}" if key else part
    return key


def _source(key: str, sources: Mapping[str, Any]) -> str:
    """Return the last file that has the key; if none has, it is missing or from `--config`."""
    found = ", ".join(sources) or "--config"
    for path, content in sources.items():
        node = content
        for part in key.replace("]", "").replace("[", ".").split("."):
            if isinstance(node, list):
                node = dict(enumerate(node)).get(int(part))
            else:
                node = node.get(part) if isinstance(node, dict) else None
        if node is not None:
            found = path
    return found


def _explain(error: Any) -> str:
    """Return the predicate of a sentence about one of pydantic's errors."""
    value, kind = error["input"], error["type"]
    if kind == "extra_forbidden":
        known = _known_keys(error["loc"])
        return f"is not a known key; known here: {', '.join(known)}"
    if kind == "missing":
        return "is missing"
    if kind == "union_tag_invalid":
        known_tags = error["ctx"]["expected_tags"].replace(TAG, "").replace("'", "")
        return f"has the kind {value['kind']!r}; known are {known_tags}"
    if kind == "union_tag_not_found":
        return "needs a kind"
    message = error["msg"].replace("Input should", "should", 1).replace("String", "", 1).strip()
    hint = ""
    if kind == "float_type" and isinstance(value, str):
        hint = " (YAML reads 1e-3 as text: write 1.0e-3)"
    return f"{message}, not {value!r}{hint}"


def _known_keys(location: tuple[str | int, ...]) -> list[str]:
    """Return the keys known in the section that holds the key at `location`."""
    sections: list[type[Section]] = [Config]
    for part in map(str, location[:-1]):
        if part.startswith(TAG):
            sections = [one for one in sections if part.removeprefix(TAG) in kinds_of(one)]
        elif part in sections[0].model_fields:
            sections = sections_in(sections[0].model_fields[part].annotation) or sections
    return list(sections[0].model_fields)
