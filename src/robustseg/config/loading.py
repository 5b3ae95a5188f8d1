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
        "\n".join(
            f"{_source(key, settings, sources)}: {key} {problem}" for key, problem in problems
        )
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


def _source(key: str, settings: Mapping[str, Any], sources: Mapping[str, Any]) -> str:
    """Return the last file that gives a key the value it has; if none does, it is `--config`.

    For a key that is missing, all files.
    """
    value = _find(key, settings)
    if value is None:
        return ", ".join(sources) or "--config"
    source = "--config"
    for file, content in sources.items():
        found = _find(key, content)
        merged = isinstance(found, Mapping) and isinstance(value, Mapping)
        if found is not None and (merged or str(found) == str(value)):
            source = file
    return source


def _find(key: str, content: Any) -> Any:
    """Return what a nested content has at a key such as tables.table1[0].model, or None."""
    for part in key.replace("]", "").replace("[", ".").split("."):
        if isinstance(content, list):
            content = dict(enumerate(content))
        if not isinstance(content, Mapping):
            return None
        content = {str(name): value for name, value in content.items()}.get(part)
    return content


PLAIN = {
    "bool_type": "should be true or false",
    "dict_type": "should be a section of keys",
    "finite_number": "should be a finite number",
    "float_type": "should be a number",
    "int_type": "should be a whole number",
    "list_type": "should be a list",
    "model_type": "should be a section of keys",
    "model_attributes_type": "should be a section of keys",
    "string_type": "should be text",
}
"""Words for pydantic's kinds of error whose own are about Python."""


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
    if kind == "too_short":
        return f"needs at least {_entries(error['ctx']['min_length'])}, not {value!r}"
    if kind == "too_long":
        return f"has room for {_entries(error['ctx']['max_length'])}, not {value!r}"
    message = PLAIN.get(kind) or (
        error["msg"].replace("Input should", "should", 1).replace("String", "", 1).strip()
    )
    hint = ""
    if kind == "float_type" and isinstance(value, str):
        hint = " (YAML reads 1e-3 as text: write 1.0e-3)"
    return f"{message}, not {value!r}{hint}"


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count} entries"


def _known_keys(location: tuple[str | int, ...]) -> list[str]:
    """Return the keys known in the section that holds the key at `location`."""
    sections: list[type[Section]] = [Config]
    for part in map(str, location[:-1]):
        if part.startswith(TAG):
            sections = [one for one in sections if part.removeprefix(TAG) in kinds_of(one)]
        elif part in sections[0].model_fields:
            sections = sections_in(sections[0].model_fields[part].annotation) or sections
    return list(sections[0].model_fields)
