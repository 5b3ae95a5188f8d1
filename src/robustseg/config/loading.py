"""From YAML files to a checked configuration, or to sentences that say what is wrong with them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from robustseg.config.checks import cross_checks
from robustseg.config.schema import Config
from robustseg.errors import RobustsegError
from robustseg.sections import key_at, problems
from robustseg.yaml_files import read_yaml


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
        wrong = [(key_at(location), said) for location, said in problems(error, Config)]
    else:
        wrong = list(cross_checks(config))
        if not wrong:
            return config
    raise RobustsegError(
        "\n".join(f"{_source(key, settings, sources)}: {key} {problem}" for key, problem in wrong)
    )


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
    """Return what a nested content has at a key such as models.at.seeds[0], or None."""
    for part in key.replace("]", "").replace("[", ".").split("."):
        if isinstance(content, list):
            content = dict(enumerate(content))
        if not isinstance(content, Mapping):
            return None
        content = {str(name): value for name, value in content.items()}.get(part)
    return content
