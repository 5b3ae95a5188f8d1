"""What all sections of a configuration have in common."""

from collections.abc import Callable
from typing import Annotated, Any, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field

Name: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
Seed: TypeAlias = Annotated[int, Field(ge=0)]
Radius: TypeAlias = Annotated[float, Field(gt=0, le=255)]
Count: TypeAlias = Annotated[int, Field(ge=1)]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Percent: TypeAlias = Annotated[float, Field(ge=0, le=100)]
Positive: TypeAlias = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A part of the configuration: no unknown keys, no silent conversion, finite numbers."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


TAG = "kind:"
"""Begins the name of a kind in the location of an error."""


def tag_of(default: str | None = None) -> Callable[[Any], str | None]:
    """Return a function that says which kind of section a mapping is meant to be."""

    def tag(section: Any) -> str | None:
        if isinstance(section, dict):
            kind = section.get("kind", default)
        else:
            kind = getattr(section, "kind", default)
        return None if kind is None else f"{TAG}{kind}"

    return tag


def kinds_of(section: type[Section]) -> tuple[str, ...]:
    """Return the kinds that pick a section among several that may stand in one place."""
    return get_args(section.model_fields["kind"].annotation)


def sections_in(annotation: Any) -> list[type[Section]]:
    """Return the section classes inside a type such as dict[str, Section], each once."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    inner = (section for argument in get_args(annotation) for section in sections_in(argument))
    return list(dict.fromkeys(inner))
