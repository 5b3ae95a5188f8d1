"""The few words in which claims are written, read and checked from `config/claims.yaml`.

docs/claims.md describes them. The same predicates run on a run's measured tables and on the paper's
printed numbers, because they speak of roles ("pir_at_5") and a place (a data set with one
architecture) says which model plays which role there.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, TypeVar

from pydantic import Discriminator, Field, Tag, ValidationError, field_validator

from robustseg.errors import RobustsegError
from robustseg.figures.registry import FIGURES
from robustseg.sections import ATTACK, TAG, Location, Name, Percent, Section, Text, key_at, problems
from robustseg.tables.registry import TABLES
from robustseg.yaml_files import read_yaml

DIMENSIONS = ("role", "attack", "eps_255", "metric")
"""What tells the cells of one table apart, within one place."""

T = TypeVar("T")
OneOrMore: TypeAlias = Annotated[
    Annotated[T, Tag(f"{TAG}one")] | Annotated[list[T], Field(min_length=1), Tag(f"{TAG}list")],
    Discriminator(lambda value: f"{TAG}list" if isinstance(value, list) else f"{TAG}one"),
]
Attack: TypeAlias = Annotated[str, Field(pattern=ATTACK)]
Points: TypeAlias = Annotated[float, Field(ge=-100, le=100)]
"""Difference of two percentages."""


def _as_list(written: T | list[T]) -> list[T]:
    return written if isinstance(written, list) else [written]


def vocabulary() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the tables and figures that a claim may name, and the metrics."""
    named = [one for one in (*TABLES.values(), *FIGURES.values()) if one.in_paper]
    metrics = dict.fromkeys(metric for one in named for metric in one.metrics)
    return tuple(one.id for one in named), tuple(metrics)


class Words(Section):
    """A part of a claim; a key that is written has something behind it."""

    @field_validator("*", mode="before")
    @classmethod
    def _not_empty(cls, value: Any) -> Any:
        if value is None:
            raise ValueError("is empty; fill it in or delete it")
        return value


class Cells(Words):
    """Cells of one table: those with one of the words listed, in each dimension that is named."""

    table: str = Field(default="", description="a table or figure; may stand in `at`")
    role: OneOrMore[Name] = Field(default=[], description="which model, by its role in a place")
    attack: OneOrMore[Attack] = Field(default=[], description="as in config/paper/README.md")
    eps_255: OneOrMore[Annotated[float, Field(ge=0, le=255)]] = Field(
        default=[], description="radius in 1/255; 0 is the clean evaluation"
    )
    metric: OneOrMore[Name] = Field(default=[], description="a metric of the table")
    column: Literal["value", "std"] = Field(default="value", description="of the long form")
    take: Literal["lowest", "highest"] | None = Field(
        default=None, description="of the cells that meet one of the other side, only this"
    )

    @field_validator(*DIMENSIONS)
    @classmethod
    def _each_once(cls, written: Any) -> Any:
        for word, times in Counter(_as_list(written)).items():
            if times > 1:
                raise ValueError(f"lists {word} more than once; list each word once")
        return written

    @property
    def words(self) -> dict[str, list[str | float]]:
        """The words listed in each dimension that is named."""
        return {name: _as_list(getattr(self, name)) for name in DIMENSIONS if name in self.named}

    @property
    def radius(self) -> float | None:
        """The first radius that is named, None if none is."""
        return next(iter(_as_list(self.eps_255)), None)

    @property
    def named(self) -> frozenset[str]:
        """The dimensions that are named."""
        return frozenset(self.model_fields_set) & frozenset(DIMENSIONS)

    def with_words_of(self, other: "Cells") -> "Cells":
        """Return these cells with all that others name in place of what these do."""
        return self.model_copy(update={key: getattr(other, key) for key in other.model_fields_set})


Side: TypeAlias = Annotated[
    Annotated[Cells, Tag(f"{TAG}cells")] | Annotated[Percent, Tag(f"{TAG}number")],
    Discriminator(lambda value: f"{TAG}cells" if isinstance(value, dict) else f"{TAG}number"),
]
"""What cells are compared with: cells or a number."""


class Predicate(Words):
    """`left` is lower than, higher than or close to `right`, in every, most or some cells."""

    preposition: ClassVar[str] = "than"

    at: Cells = Field(default=Cells(), description="words that both sides share")
    quantifier: Literal["every", "most", "some"] = Field("every", alias="in")

    @property
    def verb(self) -> str:
        """One of `lower`, `higher` and `close`."""
        return type(self).__name__.lower()

    @property
    def left(self) -> Cells:
        """The cells that the verb speaks of."""
        return self.at.with_words_of(getattr(self, self.verb))

    @property
    def right(self) -> Cells | float:
        """What they are compared with."""
        right: Cells | float = getattr(self, self.preposition)
        return self.at.with_words_of(right) if isinstance(right, Cells) else right

    @property
    def own(self) -> frozenset[str]:
        """The dimensions that a side names itself, not through `at`."""
        sides = (getattr(self, self.verb), getattr(self, self.preposition))
        return frozenset().union(*(side.named for side in sides if isinstance(side, Cells)))

    @property
    def by(self) -> float | None:
        """The threshold, `by_at_least` or `within`, in points; None: strictly."""
        by: float | None = getattr(self, "within" if self.verb == "close" else "by_at_least")
        return by


class Ordered(Predicate):
    """One side is lower or higher than the other."""

    than: Side
    by_at_least: Points | None = None


class Lower(Ordered):
    """`lower: ... than: ...`."""

    lower: Cells


class Higher(Ordered):
    """`higher: ... than: ...`."""

    higher: Cells


class Close(Predicate):
    """`close: ... to: ..., within: ...`."""

    preposition: ClassVar[str] = "to"

    close: Cells
    to: Side
    within: Percent


VERBS = ("lower", "higher", "close")


def _verb_of(written: Any) -> str | None:
    """Return the tag of the one verb of a predicate as it is written, or None."""
    verbs = [verb for verb in VERBS if verb in written] if isinstance(written, dict) else []
    return f"{TAG}{verbs[0]}" if len(verbs) == 1 else None


AnyPredicate: TypeAlias = Annotated[
    Annotated[Lower, Tag(f"{TAG}lower")]
    | Annotated[Higher, Tag(f"{TAG}higher")]
    | Annotated[Close, Tag(f"{TAG}close")],
    Discriminator(
        _verb_of,
        custom_error_type="verb",
        custom_error_message=f"should have one verb of {', '.join(VERBS)}",
    ),
]


class Claim(Words):
    """One claim; all its predicates must hold."""

    id: Name
    sentence: Text
    source: Text = Field(description="where the paper says so")
    predicate: OneOrMore[AnyPredicate]
    datasets: OneOrMore[Text] = Field(
        [], description="those it is about, where it gives numbers of theirs"
    )

    @property
    def predicates(self) -> list[AnyPredicate]:
        """The predicates, in the order in which they are written."""
        return _as_list(self.predicate)

    @property
    def only_on(self) -> list[str]:
        """The data sets that it is about; empty: all."""
        return _as_list(self.datasets)


SLOT = re.compile(r"\{([^{}]*)\}")
"""A place in a sentence that is filled in: the radius, a figure, or one figure against another."""
RADIUS = "radius"


def figures_in(slot: str) -> list[str]:
    """Return the names of the figures that a place in a sentence is about: one or two."""
    return slot.split(" to ", 1)


class Answer(Words):
    """A sentence made of figures, and the claim whose verdict stands beside it."""

    claim: Name
    at: Cells = Field(default=Cells(), description="words that all figures share")
    figures: dict[Text, Cells] = Field(
        min_length=2,
        description="one cell each, by the name that it has in print; the first two are drawn. A "
        "figure that names no radius is shown at the middle one of those that all have",
    )
    sentence: Text = Field(
        description="with {radius} (of figures that name theirs the largest), {A} for the figure A "
        'and {A to B} for how they differ: "2.8 points less than"'
    )

    @property
    def cells(self) -> dict[str, Cells]:
        """The figures with the words that they share."""
        return {name: self.at.with_words_of(cells) for name, cells in self.figures.items()}


class Headline(Words):
    """A question of the paper's, which the page answers first."""

    question: Text
    answers: list[Answer] = Field(
        min_length=1, description="at each place the first counts that can be given"
    )


class Place(Words):
    """Where claims can be checked: a data set, and which model plays which role there."""

    title: Text
    dataset: Text
    roles: dict[Name, Text] = Field(min_length=1)


class ClaimsFile(Words):
    """The whole of `config/claims.yaml`."""

    places: list[Place]
    claims: list[Claim]
    headlines: list[Headline] = Field([], description="what the page says first")


def read_claims(path: str | Path) -> tuple[list[Claim], list[Place]]:
    """Read and check claims and places.

    Returns:
        The claims and the places of `config/claims.yaml`, in its order.

    Raises:
        RobustsegError: not UTF-8, not YAML, or what `parse_claims` refuses.
    """
    return parse_claims(read_yaml(path), str(path))


def parse_claims(content: Any, file: str) -> tuple[list[Claim], list[Place]]:
    """Return the claims and places of a mapping with the keys `places` and `claims`.

    Raises:
        RobustsegError: as `parse_file`.
    """
    parsed = parse_file(content, file)
    return parsed.claims, parsed.places


def read_headlines(path: str | Path) -> tuple[list[Headline], list[Place]]:
    """Read and check the questions that the page answers first, and the places.

    Raises:
        RobustsegError: as `read_claims`.
    """
    parsed = parse_file(read_yaml(path), str(path))
    return parsed.headlines, parsed.places


def parse_file(content: Any, file: str) -> ClaimsFile:
    """Return what a mapping with the keys `places`, `claims` and `headlines` says.

    Raises:
        RobustsegError: a sentence for each key that is unknown, missing or of a wrong type, each
            word that the vocabulary or the places do not have, and each name given twice; it
            names `file`, the claim and the key.
    """
    try:
        parsed = ClaimsFile.model_validate(content)
    except ValidationError as error:
        wrong = problems(error, ClaimsFile)
    else:
        wrong = [
            *_problems_of_places(parsed.places),
            *_problems_of_claims(parsed),
            *_problems_of_headlines(parsed),
        ]
        if not wrong:
            return parsed
    sentences = (f"{_where(location, content, file)} {problem}" for location, problem in wrong)
    raise RobustsegError("\n".join(" ".join(one.split()) for one in sentences))


def _where(location: Location, content: Any, file: str) -> str:
    """Return "claims.yaml, claim {id}: predicate.at.table" for where a file is wrong."""
    section, number = location[:2] if len(location) > 1 else (None, None)
    if not isinstance(number, int):
        return f"{file}: {key_at(location) or 'the file'}"
    item = content[section][number]
    name = str(item.get("id", "")) if section == "claims" and isinstance(item, dict) else ""
    is_id = name.isascii() and name.isidentifier()
    about = f"{str(section).removesuffix('s')} {name if is_id else number + 1}"
    return f"{file}, {about}: {key_at(location[2:]) or 'it'}"


def _problems_of_places(places: list[Place]) -> Iterator[tuple[Location, str]]:
    yield from _twice("places", "title", [place.title for place in places])
    for number, place in enumerate(places):
        for model, times in Counter(place.roles.values()).items():
            if times > 1:
                yield ("places", number, "roles"), f"gives {model!r} two roles; it can play one"


def _problems_of_claims(parsed: ClaimsFile) -> Iterator[tuple[Location, str]]:
    yield from _twice("claims", "id", [claim.id for claim in parsed.claims])
    known = _known_words(parsed.places)
    datasets = sorted({place.dataset for place in parsed.places})
    for number, claim in enumerate(parsed.claims):
        at: Location = ("claims", number)
        yield from _unknown(_as_list(claim.datasets), datasets, (*at, "datasets"))
        for index, predicate in enumerate(claim.predicates):
            place = [index] if isinstance(claim.predicate, list) else []
            yield from _problems_of_predicate(predicate, known, (*at, "predicate", *place))


def _problems_of_headlines(parsed: ClaimsFile) -> Iterator[tuple[Location, str]]:
    yield from _twice("headlines", "question", [one.question for one in parsed.headlines])
    known, claims = _known_words(parsed.places), [claim.id for claim in parsed.claims]
    for number, headline in enumerate(parsed.headlines):
        for index, answer in enumerate(headline.answers):
            at: Location = ("headlines", number, "answers", index)
            yield from _unknown([answer.claim], claims, (*at, "claim"))
            yield from _problems_of_words(answer.at, known, (*at, "at"))
            for name, cells in answer.figures.items():
                yield from _problems_of_words(cells, known, (*at, "figures", name))
            for name, cells in answer.cells.items():
                yield from _problems_of_figure(cells, (*at, "figures", name))
            slots = [one for one in SLOT.findall(answer.sentence) if one != RADIUS]
            for name in (name for slot in slots for name in figures_in(slot)):
                yield from _unknown([name], [*answer.figures], (*at, "sentence"))
            if set("{}") & set(SLOT.sub("", answer.sentence)):
                yield (*at, "sentence"), "has a brace without its other one; write {A} or {A to B}"
            if RADIUS in answer.figures:
                yield (*at, "figures", RADIUS), "is what {radius} is; give the figure another name"


def _problems_of_figure(cells: Cells, at: Location) -> Iterator[tuple[Location, str]]:
    if "table" not in cells.model_fields_set:
        yield at, "names no table; name one here or in `at`"
    for name in ("role", "attack", "metric"):
        words = cells.words.get(name, [])
        if len(words) != 1 and not (words and cells.take):
            yield at, f"names {len(words)} words as {name}, but a figure is one cell; name one"
    if len(cells.words.get("eps_255", [])) > 1:
        yield at, "names several radii, but a figure is one cell; name one or none"


def _known_words(places: list[Place]) -> dict[str, Sequence[str]]:
    tables, metrics = vocabulary()
    roles = sorted({role for place in places for role in place.roles})
    return {"table": tables, "role": roles, "metric": metrics}


def _problems_of_words(
    cells: Cells, known: Mapping[str, Sequence[str]], at: Location
) -> Iterator[tuple[Location, str]]:
    for key in (key for key in known if key in cells.model_fields_set):
        yield from _unknown(_as_list(getattr(cells, key)), known[key], (*at, key))


def _problems_of_predicate(
    predicate: Predicate, known: Mapping[str, Sequence[str]], at: Location
) -> Iterator[tuple[Location, str]]:
    sides = {predicate.verb: predicate.left, predicate.preposition: predicate.right}
    for part in ("at", *sides):
        cells = getattr(predicate, part)
        if isinstance(cells, Cells):
            yield from _problems_of_words(cells, known, (*at, part))
    for part, side in sides.items():
        if isinstance(side, Cells) and "table" not in side.model_fields_set:
            yield (*at, part), "names no table; name one here or in `at`"


def _unknown(
    words: Iterable[str], known: Sequence[str], at: Location
) -> Iterator[tuple[Location, str]]:
    for word in words:
        if word not in known:
            yield at, f"is {word!r}; use one of {', '.join(known)}"


def _twice(section: str, key: str, names: list[str]) -> Iterator[tuple[Location, str]]:
    for number, name in enumerate(names):
        if name in names[:number]:
            yield (section, number, key), f"is {name!r}, like an earlier one's; rename one of them"
