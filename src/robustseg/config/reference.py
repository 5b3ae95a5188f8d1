"""The reference of all keys, written from the schema."""

import json
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from robustseg.attacks.losses import LOSSES
from robustseg.config.schema import Config
from robustseg.exhibits import Shown
from robustseg.figures.registry import FIGURES, PICTURES
from robustseg.sections import Section, sections_in
from robustseg.tables.registry import TABLES


def describe() -> str:
    """Return the reference of all keys as Markdown: the content of docs/config.md."""
    sections: list[type[Section]] = [Config]
    lines = [
        "# Configuration",
        "",
        "Every key of a configuration file. A key without a default is required.",
        "[`config/README.md`](../config/README.md) lists the project's configurations,",
        "and says how several are combined.",
        "",
        "<!-- `make docs` writes this page from `src/robustseg/config/`. -->",
    ]
    for section in sections:  # grows while it is read
        lines += ["", f"## {section.__name__}", "", section.__doc__ or "", ""]
        lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
        for name, field in section.model_fields.items():
            inner = sections_in(field.annotation)
            sections += [section for section in inner if section not in sections]
            default = "" if field.is_required() else _default(field.default)
            lines.append(
                f"| `{name}` | {_words(field.annotation)} | {default} | {field.description} |"
            )
    lines += ["", "## Losses", "", "What a suite may attack with."]
    lines += ["", "| name | in print | what it is |", "|---|---|---|"]
    lines += [f"| `{name}` | {loss.label} | {loss.about} |" for name, loss in LOSSES.items()]
    lines += ["", "## Tables and figures", ""]
    lines += [
        "What may stand in `tables`, `figures` (of numbers) and `pictures` (attacked images)."
    ]
    lines += ["", "| name | in print | what it shows |", "|---|---|---|"]
    shown: list[Shown] = [*TABLES.values(), *FIGURES.values(), *PICTURES.values()]
    for one in shown:
        lines.append(f"| `{one.id}` | {one.label} | {one.shows} |")
    return "\n".join(lines) + "\n"


def json_schema() -> str:
    """Return the JSON schema of a configuration, for editors: the content of config/schema.json."""
    return json.dumps(Config.model_json_schema(), indent=1, ensure_ascii=False) + "\n"


def _default(value: Any) -> str:
    """Return a default as it is shown; that of a section stands in its own table."""
    return "its defaults" if isinstance(value, Section) else f"`{value}`"


def _words(annotation: Any) -> str:
    """Return a type in words that a reader of YAML understands."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _words(arguments[0])
    if origin is Literal:
        return " or ".join(f"`{argument}`" for argument in arguments)
    if origin is list:
        return f"list of {_words(arguments[0])}"
    if origin is dict:
        return f"{_words(arguments[1])} by {_words(arguments[0])}"
    if origin in (UnionType, Union):
        words = [_words(one) for one in arguments if one is not type(None)]
        return " or ".join(dict.fromkeys(words))
    if issubclass(annotation, Section):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    return {"str": "text", "int": "integer", "float": "number", "bool": "yes or no"}[
        annotation.__name__
    ]
