"""The few words in which claims are written, read and checked from `config/claims.yaml`.

docs/claims.md describes them. The same predicates run on a run's measured tables and on the paper's
printed numbers, because they speak of roles ("pir_at_5") and a place (a data set with one
architecture) says which model plays which role there.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustseg.errors import RobustsegError

TABLES = (
    *(f"table{number}" for number in range(1, 12)),
    *(f"figure{number}" for number in range(2, 7)),
    "appendix_c3",
)
"""Tables that a claim may name; a figure's is the long form of the numbers it draws."""

VERBS = {"lower": "than", "higher": "than", "close": "to"}
"""Verb and the word before what is compared with."""

QUANTIFIERS = ("every", "most", "some")
METRICS = ("acc", "miou", "robust_images")
COLUMNS = ("value", "std")
TAKES = ("lowest", "highest")
DIMENSIONS = ("role", "attack", "eps_255", "metric")

_SELECTION_KEYS = ("table", *DIMENSIONS, "column", "take")


@dataclass(frozen=True)
class Selection:
    """Cells of one table; `words` keeps, of each dimension named, only the words listed."""

    table: str
    words: Mapping[str, tuple[str | float, ...]]
    own: frozenset[str]  # the dimensions that this side names itself, not through `at`
    column: str
    take: str | None


@dataclass(frozen=True)
class Predicate:
    """`left` is lower than, higher than or close to `right`, in every, most or some cells."""

    verb: str
    left: Selection
    right: Selection | float
    by: float | None  # by_at_least or within, in points; None: strictly
    quantifier: str


@dataclass(frozen=True)
class Claim:
    """One claim; all its predicates must hold. `source` says where the paper makes it.

    `datasets` names those it is about where it gives numbers of theirs; empty: all.
    """

    id: str
    sentence: str
    source: str
    predicates: tuple[Predicate, ...]
    datasets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    """Where claims can be checked: a data set, and which model plays which role there."""

    title: str
    dataset: str
    roles: Mapping[str, str]


def read_claims(path: str | Path) -> tuple[tuple[Claim, ...], tuple[Place, ...]]:
    """Read and check claims and places.

    Returns:
        The claims and the places of `config/claims.yaml`, in its order.

    Raises:
        RobustsegError: not YAML, or a claim or place that `parse_claims` refuses.
    """
    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise RobustsegError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    return parse_claims(content, str(path))


def parse_claims(content: Any, file: str) -> tuple[tuple[Claim, ...], tuple[Place, ...]]:
    """Return the claims and places of a mapping with the keys `places` and `claims`.

    Raises:
        RobustsegError: an unknown key, table, column, verb, role or other word, or an id given
            twice; the sentence names `file` and the claim.
    """
    _check_keys(content, ("places", "claims"), (), file)
    for key, found in content.items():
        if not isinstance(found, list):
            raise RobustsegError(f"{file}: {key} is {found!r}; write a list")
    places = tuple(
        _parse_place(item, f"{file}, place {number}")
        for number, item in enumerate(content["places"], 1)
    )
    claims = tuple(
        _parse_claim(item, places, f"{file}, claim {_name(item, number)}")
        for number, item in enumerate(content["claims"], 1)
    )
    ids = [claim.id for claim in claims]
    for twice in sorted({name for name in ids if ids.count(name) > 1}):
        raise RobustsegError(f"{file}: two claims have the id {twice}; rename one of them")
    return claims, places


def _name(item: Any, number: int) -> Any:
    """Return what names a claim in an error: its id or, without one, its number."""
    return item.get("id", number) if isinstance(item, dict) else number


def _parse_place(item: Any, where: str) -> Place:
    _check_keys(item, ("title", "dataset", "roles"), (), where)
    if not isinstance(item["roles"], dict):
        raise RobustsegError(f"{where}: roles is {item['roles']!r}; write role: model pairs")
    models = list(item["roles"].values())
    for model in sorted({model for model in models if models.count(model) > 1}):
        raise RobustsegError(f"{where}: {model} plays two roles; it can play one")
    return Place(**item)


def _parse_claim(item: Any, places: tuple[Place, ...], where: str) -> Claim:
    _check_keys(item, ("id", "sentence", "source", "predicate"), ("datasets",), where)
    datasets = _as_tuple(item.get("datasets", []))
    for dataset in datasets:
        _check_word(dataset, sorted({place.dataset for place in places}), "dataset", where)
    roles = sorted({role for place in places for role in place.roles})
    predicates = tuple(
        _parse_predicate(predicate, roles, where) for predicate in _as_tuple(item["predicate"])
    )
    return Claim(item["id"], item["sentence"], item["source"], predicates, datasets)


def _parse_predicate(content: Any, roles: Iterable[str], where: str) -> Predicate:
    """Return one predicate; `where` names the claim in an error."""
    verbs = [key for key in content if key in VERBS] if isinstance(content, dict) else []
    if len(verbs) != 1:
        found = ", ".join(map(str, content)) if isinstance(content, dict) else content
        raise RobustsegError(
            f"{where}: a predicate has one verb of {', '.join(VERBS)}, but this has {found}"
        )
    verb = verbs[0]
    threshold = "within" if verb == "close" else "by_at_least"
    needed = (verb, VERBS[verb], threshold) if verb == "close" else (verb, VERBS[verb])
    _check_keys(content, needed, (threshold, "at", "in"), where)
    shared = content.get("at", {})
    left = _parse_selection(content[verb], shared, roles, where)
    other = content[VERBS[verb]]
    right = (
        _parse_selection(other, shared, roles, where)
        if isinstance(other, dict)
        else _number(other, VERBS[verb], where)
    )
    by = _number(content[threshold], threshold, where) if threshold in content else None
    quantifier = content.get("in", "every")
    _check_word(quantifier, QUANTIFIERS, "in", where)
    return Predicate(verb, left, right, by, quantifier)


def _parse_selection(own: Any, shared: Any, roles: Iterable[str], where: str) -> Selection:
    """Return the selection that one side of a verb and the predicate's `at` make together."""
    for part in (own, shared):
        _check_keys(part, (), _SELECTION_KEYS, where)
    merged = {**shared, **own}
    if "table" not in merged:
        raise RobustsegError(f"{where}: no table is named; name it in `at` or beside the verb")
    _check_word(merged["table"], TABLES, "table", where)
    column, take = merged.get("column", "value"), merged.get("take")
    _check_word(column, COLUMNS, "column", where)
    if take is not None:
        _check_word(take, TAKES, "take", where)
    words = {name: _as_tuple(merged[name]) for name in DIMENSIONS if name in merged}
    for role in words.get("role", ()):
        _check_word(role, roles, "role", where)
    for metric in words.get("metric", ()):
        _check_word(metric, METRICS, "metric", where)
    if "eps_255" in words:
        words["eps_255"] = tuple(_number(eps, "eps_255", where) for eps in words["eps_255"])
    return Selection(merged["table"], words, frozenset(own) & set(DIMENSIONS), column, take)


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list) else (value,)


def _number(value: Any, key: str, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RobustsegError(f"{where}: {key} is {value!r}; write a number")
    return float(value)


def _check_word(word: Any, known: Iterable[str], key: str, where: str) -> None:
    if word not in (known := tuple(known)):
        raise RobustsegError(f"{where}: unknown {key} {word!r}; use one of {', '.join(known)}")


def _check_keys(
    content: Any, needed: tuple[str, ...], optional: tuple[str, ...], where: str
) -> None:
    """Refuse what is no mapping, has an unknown key, or lacks one that is needed."""
    if not isinstance(content, dict):
        raise RobustsegError(f"{where}: {content!r} stands where a mapping must be")
    for key in content:
        _check_word(key, (*needed, *optional), "key", where)
    for key in needed:
        if key not in content:
            raise RobustsegError(f"{where}: the key {key!r} is missing; add it")
