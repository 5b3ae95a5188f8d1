"""Sections of a YAML file as pydantic models, and sentences about what is wrong in them."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeAlias, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from robustseg.bounds import (
    LARGEST_NUMBER,
    LARGEST_PX,
    LARGEST_SEED,
    MOST_AT_ONCE,
    MOST_ITEMS,
    MOST_LETTERS,
    MOST_PASSES,
    NUMBER,
    SMALLEST_NUMBER,
    SMALLEST_RADIUS_255,
    fits_a_name,
)
from robustseg.errors import RobustsegError, shown
from robustseg.names import amount
from robustseg.text_files import MEND, parse_json, read_text

Location: TypeAlias = tuple[str | int, ...]
"""Keys and places in lists that lead to a value, with the kinds of sections on the way."""


def _not_tiny(number: float) -> float:
    if number < SMALLEST_NUMBER:
        raise ValueError(f"should be at least {SMALLEST_NUMBER:g}, not {number:g}")
    return number


def _in_six_digits(number: float) -> float:
    """Refuse what the names of files and attacks, which have six digits, would take for another."""
    if not fits_a_name(number):
        raise ValueError(f"is {number!r}, but file names keep six digits; write {number:g}")
    return number


def _zero_or_radius(radius_255: float) -> float:
    """Refuse a radius that nothing can tell from 0."""
    if 0 < radius_255 < SMALLEST_RADIUS_255:
        raise ValueError(f"should be at least {SMALLEST_RADIUS_255:g}, not {radius_255:g}")
    return abs(radius_255)


NAME = r"^[A-Za-z][A-Za-z0-9_]*$"
RUN_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
TEXT = r"\S"
NO_NUL = r"^[^\x00]*$"
FILE_PATH = r"^[^{}\n]*$"
SHA256 = r"^[0-9a-fA-F]{64}$"
HASH = r"^[0-9a-f]{64}$"
REFERENCE = r"^[^:]+:.+$"
ATTACK = r"^[A-Za-z0-9_]+(/[a-z]+)?$"
PATTERNS = {
    NAME: "should have only letters (A to Z), digits and _, and begin with a letter",
    RUN_NAME: "should have only letters (A to Z), digits, _, . and -, and begin with one of the "
    "first two",
    TEXT: "should not be empty",
    NO_NUL: "should hold no character NUL",
    FILE_PATH: "should have no braces, which Snakemake takes for wildcards, and no line breaks",
    SHA256: "should be the 64 digits that `sha256sum` prints",
    HASH: "should be the 64 digits that `sha256sum` prints, in small letters",
    ATTACK: "should be the name of an attack, or one with its schedule behind a /",
    REFERENCE: "should be `file.py:name` or another of the forms in docs/own_model.md",
}
"""What text must look like, by pattern, and how to say that."""

Name: TypeAlias = Annotated[str, Field(pattern=NAME, max_length=MOST_LETTERS)]
RunName: TypeAlias = Annotated[str, Field(pattern=RUN_NAME, max_length=MOST_LETTERS)]
Seed: TypeAlias = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
Radius: TypeAlias = Annotated[
    float,
    Field(gt=0, le=255),
    AfterValidator(_zero_or_radius),
    AfterValidator(_in_six_digits),
]
RadiusOrZero: TypeAlias = Annotated[float, Field(ge=0, le=255), AfterValidator(_zero_or_radius)]
Count: TypeAlias = Annotated[int, Field(ge=1, le=MOST_ITEMS)]
Passes: TypeAlias = Annotated[int, Field(ge=1, le=MOST_PASSES)]
AtOnce: TypeAlias = Annotated[int, Field(ge=1, le=MOST_AT_ONCE)]
Steps: TypeAlias = Annotated[int, Field(ge=0, le=MOST_PASSES)]
Pixels: TypeAlias = Annotated[int, Field(ge=32, le=LARGEST_PX)]
Side: TypeAlias = Annotated[int, Field(ge=1, le=LARGEST_PX)]
# A zero may be written -0.0, which settings would show, and hash, as another number.
Share: TypeAlias = Annotated[float, Field(ge=0, le=1), AfterValidator(abs)]
Percent: TypeAlias = Annotated[float, Field(ge=0, le=100), AfterValidator(abs)]
NotNegative: TypeAlias = Annotated[float, Field(ge=0, le=LARGEST_NUMBER), AfterValidator(abs)]
Positive: TypeAlias = Annotated[float, Field(gt=0, le=LARGEST_NUMBER), AfterValidator(_not_tiny)]
InName: TypeAlias = Annotated[Positive, AfterValidator(_in_six_digits)]
Step: TypeAlias = Annotated[Positive, Field(le=1)]
AnyNumber: TypeAlias = Annotated[float, Field(ge=-LARGEST_NUMBER, le=LARGEST_NUMBER)]
Text: TypeAlias = Annotated[str, Field(pattern=TEXT)]
Typed: TypeAlias = Annotated[str, Field(pattern=NO_NUL)]
"""On a command line, where no NUL can be typed."""
FilePath: TypeAlias = Annotated[str, Field(min_length=1, pattern=FILE_PATH)]
"""Of a file or folder; Snakemake would take what stands in braces for a wildcard."""
Sha256: TypeAlias = Annotated[str, Field(pattern=SHA256)]
Reference: TypeAlias = Annotated[str, Field(pattern=REFERENCE)]


class Section(BaseModel):
    """A part of a file: no unknown keys, no silent conversion, finite numbers."""

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
    """Return the kinds that pick a section among several that may stand in one place.

    Those that its key `kind` may have; without such a key, its name in small letters.
    """
    field = section.model_fields.get("kind")
    return get_args(field.annotation) if field else (section.__name__.lower(),)


def sections_in(annotation: Any) -> list[type[Section]]:
    """Return the section classes inside a type such as dict[str, Section], each once."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    inner = (section for argument in get_args(annotation) for section in sections_in(argument))
    return list(dict.fromkeys(inner))


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


def problems(error: ValidationError, file: type[Section]) -> list[tuple[Location, str]]:
    """Return where a file is wrong and, as the predicate of a sentence, what is wrong there.

    Args:
        error: what validating the file's content raised.
        file: the section that the whole file is.
    """
    return [(one["loc"], _explain(one, file)) for one in error.errors()]


def sentences(error: ValidationError, file: type[Section]) -> list[str]:
    """Return the same as sentences that begin with the key."""
    return [f"{key_at(location)} {said}".lstrip() for location, said in problems(error, file)]


def read_section(path: str | Path, file: type[Section], advice: str = MEND) -> dict[str, Any]:
    """Return what a JSON file says under the keys of a section, as it stands there.

    Args:
        path: the file.
        file: the section that it is.
        advice: what to do if it is another.

    Raises:
        RobustsegError: it is not JSON, or not such a section; names file and key.
    """
    text = read_text(path, advice=advice)
    content = parse_json(text, str(path), advice)
    try:
        file.model_validate_json(text)
    except ValidationError as error:
        raise RobustsegError(f"{path}: {sentences(error, file)[0]}; {advice}") from error
    return {key: content[key] for key in file.model_fields if key in content}


def key_at(location: Location) -> str:
    """Return a location as a person writes it, for example tables.table1[0].model."""
    key = ""
    for part in location:
        if isinstance(part, int):
            key += f"[{part}]"
        elif part != "[key]" and not part.startswith(TAG):
            key += f".{part}" if key else part
    return key


def _explain(error: Any, file: type[Section]) -> str:
    value, kind = error["input"], error["type"]
    if kind == "value_error":  # raised by a validator of ours
        return str(error["ctx"]["error"])
    if kind in ("extra_forbidden", "invalid_key"):
        known = _known_keys(error["loc"], file)
        return f"is not a known key; known here: {', '.join(known)}"
    if kind == "missing":
        return "is missing"
    if kind == "union_tag_invalid":
        known_tags = error["ctx"]["expected_tags"].replace(TAG, "").replace("'", "")
        return f"has the kind {value['kind']!r}; known are {known_tags}"
    if kind == "union_tag_not_found":
        return "needs a kind"
    if kind == "too_short":
        least = amount(error["ctx"]["min_length"], "entry", "entries")
        return f"needs at least {least}, not {shown(value)}"
    if kind == "too_long":
        most = amount(error["ctx"]["max_length"], "entry", "entries")
        return f"has room for {most}, not {shown(value)}"
    message = PLAIN.get(kind) or PATTERNS.get(error.get("ctx", {}).get("pattern", ""))
    message = message or (
        error["msg"].replace("Input should", "should", 1).replace("String", "", 1).strip()
    )
    hint = ""
    if kind == "float_type" and isinstance(value, str) and NUMBER.fullmatch(value):
        hint = " (write numbers without quotes, and 1e-3 as 1.0e-3)"
    return f"{message}, not {shown(value)}{hint}"


def _known_keys(location: Location, file: type[Section]) -> list[str]:
    """Return the keys known in the section of `file` that holds the key at `location`."""
    sections: list[type[Section]] = [file]
    for part in map(str, location[:-1]):
        if part.startswith(TAG):
            kind = part.removeprefix(TAG)
            sections = [one for one in sections if kind in kinds_of(one)] or sections
        elif part in sections[0].model_fields:
            sections = sections_in(sections[0].model_fields[part].annotation) or sections
    return [field.alias or name for name, field in sections[0].model_fields.items()]
