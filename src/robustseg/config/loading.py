"""From YAML files to a checked configuration, or to sentences that say what is wrong with them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from robustseg.config.checks import cross_checks
from robustseg.config.schema import Config
from robustseg.errors import RobustsegError, shown
from robustseg.sections import key_at, problems
from robustseg.yaml_files import parse_yaml, read_yaml

TYPED = "--config"
"""Where a setting comes from that is in no file."""
NAMED = (
    *("data", "backbones", "training", "models", "attacks.suites", "gallery.eps_255"),
    *("tables", "figures", "seeds", "pictures"),
)
"""Sections of entries by name, which null takes away."""


def load_config(
    settings: Mapping[str, Any],
    files: Sequence[str | Path],
    typed: Sequence[str] = (),
    as_text: Mapping[str, Any] | None = None,
) -> Config:
    """Check a configuration and return it with its defaults filled in.

    Args:
        settings: the merged configuration, as Snakemake hands it over.
        files: the files that it came from, later ones win; for messages and duplicate keys.
        typed: what was typed behind `--config`, KEY=VALUE each.
        as_text: the same as Snakemake merged it, which reads numbers inside of lists and mappings
            as text.

    Raises:
        RobustsegError: one sentence for each problem, naming file and key.
    """
    sources = {str(path): read_config(path) for path in files}
    meant = {key: value for key, value in map(_read_typed, typed) if key in (as_text or {})}
    known = {key: value for key, value in (as_text or {}).items() if key in meant}
    settings = _without_removed(_as_meant(settings, known, meant), list(sources.values()))
    try:
        config = Config.model_validate(settings)
    except ValidationError as error:
        wrong = [(key_at(location), said) for location, said in problems(error, Config)]
    else:
        wrong = list(cross_checks(config))
        if not wrong:
            return config
    sentences = (f"{_source(key, settings, sources)}: {key} {problem}" for key, problem in wrong)
    raise RobustsegError("\n".join(" ".join(one.split()) for one in sentences))


def read_config(path: str | Path) -> dict[str, Any]:
    """Return the content of a file of configuration.

    Raises:
        RobustsegError: not such a file, as `read_yaml`; or empty, a list, or a single word.
    """
    content = read_yaml(path)
    if not isinstance(content, dict):
        what = "is empty" if content is None else f"holds {shown(content)}"
        raise RobustsegError(
            f"{path} {what}; write keys and values, as docs/config.md lists them (run: my_run)"
        )
    return content


def _read_typed(text: str) -> tuple[str, Any]:
    """Return key and value of what was typed as KEY=VALUE, the value read as YAML."""
    key, _, value = text.partition("=")
    return key, parse_yaml(value, f"{TYPED} {key}")


def check_typed(typed: Sequence[str]) -> None:
    """Refuse what is typed behind `--config` and is no KEY=VALUE of a known key, or no YAML.

    Raises:
        RobustsegError: which, and what to write.
    """
    for text in typed:
        if not text.partition("=")[1]:
            raise RobustsegError(f"{TYPED} {text} is not KEY=VALUE; write {TYPED} run=my_run")
        key, _ = _read_typed(text)
        if key not in Config.model_fields:
            known = ", ".join(Config.model_fields)
            raise RobustsegError(f"{TYPED} {text}: {key!r} is not a known key; known are {known}")


def _as_meant(found: Any, text: Any, meant: Any) -> Any:
    """Return a setting with what was typed in place of the same as text."""
    if not all(isinstance(one, Mapping) for one in (found, text, meant)):
        # A run may be called 2024-05-01, which YAML means as a date.
        plain = meant is None or isinstance(meant, bool | int | float | str | list | dict)
        return meant if found == text and plain else found
    names = dict(zip(text, meant, strict=False))
    return {
        names.get(key, key): _as_meant(value, text[key], meant[names[key]])
        if key in names
        else value
        for key, value in found.items()
    }


def _without_removed(content: Any, sources: Sequence[Any], section: str = "") -> Any:
    """Return settings without what a file names and a later one, or `--config`, has set to null.

    What is null in all files is kept, to be refused: a list or a section was forgotten.
    """
    if not isinstance(content, Mapping):
        return content
    kept = {}
    for name, value in content.items():
        key = f"{section}.{name}" if section else str(name)
        named = section in NAMED and any(_find(key, source) is not None for source in sources)
        if value is not None or not named:
            kept[name] = _without_removed(value, sources, key)
    return kept


def _source(key: str, settings: Mapping[str, Any], sources: Mapping[str, Any]) -> str:
    """Return the last file that gives a key the value it has; if none does, it is `--config`.

    For a key that is missing, all files.
    """
    value = _find(key, settings)
    if value is None:
        return ", ".join(sources) or TYPED
    source = TYPED
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
