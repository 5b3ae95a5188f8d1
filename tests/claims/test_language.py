"""Claims as they are written: slips end in a sentence that names file, claim and key."""

import math
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from robustseg.claims.language import parse_claims, read_claims, vocabulary
from robustseg.errors import RobustsegError
from tests.claims.test_verdicts import CONFIG, PLACES, WEAK, parse, sides

CLAIM = {"id": "x", "sentence": "s", "source": "t", "predicate": sides("lower", WEAK, 1)}


def test_every_table_of_the_paper_can_be_named() -> None:
    assert {f"table{number}" for number in range(1, 12)} <= set(vocabulary()[0])


SLIPS = [
    (sides("lower", {"table": "table12"}, 1), r"lower\.table is 'table12'; use one of table1, "),
    (sides("lower", {"column": "mean"}, 1), r"column should be 'value' or 'std', not 'mean'"),
    (sides("below", WEAK, 1), r"predicate should have one verb of lower, higher, close, not "),
    (
        sides("lower", WEAK, 1) | {"higher": WEAK},
        r"predicate should have one verb of lower, higher",
    ),
    ("sea < ce", r"predicate should have one verb of lower, higher, close, not 'sea < ce'"),
    ({}, r"predicate should have one verb of lower, higher, close, not {}"),
    ([], r"predicate needs at least 1 entry, not \[\]"),
    (None, r"predicate is empty; fill it in or delete it"),
    ([None], r"predicate\[0\] should have one verb of lower, higher, close, not None"),
    (
        sides("lower", WEAK, 1, within=2),
        r"within is not a known key; known here: at, in, than, by_at_least, lower$",
    ),
    ({"close": WEAK | {"table": "table3"}, "to": 1}, r"predicate\.within is missing"),
    (sides("lower", WEAK, 1, by_at_least=None), r"by_at_least is empty"),
    ({"lower": WEAK, "than": 1}, r"predicate\.lower names no table; name one here or in `at`"),
    (
        [sides("lower", WEAK, 1), {"lower": WEAK | {"table": "table3"}, "than": {"attack": "js"}}],
        r"predicate\[1\]\.than names no table",
    ),
    (
        sides("lower", {"roles": "weak"}, 1),
        r"lower\.roles is not a known key; known here: table, r",
    ),
    (sides("lower", WEAK, {"roles": "weak"}), r"than\.roles is not a known key; known here: table"),
    (sides("lower", {"role": "robust"}, 1), r"lower\.role is 'robust'; use one of strong, weak"),
    (sides("lower", {"attack": ["js", "js"]}, 1), r"lower\.attack lists js more than once; list"),
    (sides("lower", {"eps_255": [4, 4.0]}, 1), r"lower\.eps_255 lists 4\.0 more than once"),
    (sides("lower", {"role": []}, 1), r"lower\.role needs at least 1 entry, not \[\]"),
    (sides("lower", {"role": ["weak", 3]}, 1), r"lower\.role\[1\] should be text, not 3"),
    (sides("lower", {"metric": "iou"}, 1), r"lower\.metric is 'iou'; use one of acc, miou, robust"),
    (
        sides("lower", {"attack": "s e a"}, 1),
        r"lower\.attack should be the name of an attack.*, not 's e a'",
    ),
    (sides("lower", {"attack": True}, 1), r"lower\.attack should be text, not True"),
    (sides("lower", {"attack": {"a": 1}}, 1), r"lower\.attack should be text, not {'a': 1}"),
    (
        sides("lower", WEAK, 1, **{"in": "all"}),
        r"in should be 'every', 'most' or 'some', not 'all'",
    ),
    (sides("lower", {"take": "mean"}, 1), r"take should be 'lowest' or 'highest', not 'mean'"),
    (sides("lower", "sea", 1), r"predicate\.lower should be a section of keys, not 'sea'"),
    (sides("lower", WEAK, "ten"), r"predicate\.than should be a number, not 'ten'"),
    (sides("lower", WEAK, [1]), r"predicate\.than should be a number, not \[1\]"),
    (sides("lower", WEAK, True), r"predicate\.than should be a number, not True"),
    (sides("lower", WEAK, math.nan), r"predicate\.than should be a finite number, not nan"),
    (sides("lower", WEAK, math.inf), r"predicate\.than should be "),
    (sides("lower", WEAK, 1e308), r"predicate\.than should be less than or equal to 100, not 1e"),
    (sides("lower", WEAK, 10**400), r"predicate\.than should be "),
    (
        sides("lower", WEAK, 16**9999),
        r"than should be .*, not one of thousands of digits",
    ),
    (sides("lower", WEAK, 1, by_at_least="3"), r"by_at_least should be a number, not '3'"),
    (sides("lower", WEAK, 1, by_at_least=[3]), r"by_at_least should be a number, not \[3\]"),
    (sides("lower", WEAK, 1, by_at_least=101), r"by_at_least should be less than or equal to 100"),
    (sides("lower", {"eps_255": "4/255"}, 1), r"eps_255 should be a number, not '4/255'"),
    (sides("lower", {"eps_255": [4, 256]}, 1), r"eps_255\[1\] should be less than or equal to 255"),
]


@pytest.mark.parametrize(("predicate", "sentence"), SLIPS, ids=range(len(SLIPS)))
def test_a_slip_is_refused_when_parsed(predicate: Any, sentence: str) -> None:
    with pytest.raises(RobustsegError) as refusal:
        parse(predicate)
    line = str(refusal.value)
    assert "\n" not in line
    assert len(line) < 400
    assert line.startswith("claims.yaml, claim one: predicate")
    assert re.search(sentence, line)


WRONG = [
    (
        {"places": PLACES, "claims": [CLAIM, CLAIM]},
        "claim x: id is 'x', like an earlier one's; rena",
    ),
    (
        {"places": PLACES * 2, "claims": []},
        "place 2: title is 'toy', like an earlier one's; rename",
    ),
    ({"places": PLACES}, r"claims\.yaml: claims is missing"),
    ({"places": PLACES, "claims": CLAIM}, r"claims\.yaml: claims should be a list, not {'id'"),
    ({"places": PLACES, "claims": None}, r"claims\.yaml: claims is empty; fill it in or delete it"),
    ({"places": PLACES, "claims": ["x"]}, "claim 1: it should be a section of keys, not 'x'"),
    ({"places": PLACES, "claims": [{**CLAIM, "id": 3}]}, "claim 1: id should be text, not 3"),
    (
        {"places": PLACES, "claims": [{**CLAIM, "id": "a b"}]},
        "claim 1: id should have only letters",
    ),
    (
        {"places": PLACES, "claims": [{**CLAIM, "source": " "}]},
        "claim x: source should not be empty",
    ),
    (
        {"places": PLACES, "claims": [{**CLAIM, "sentense": "s"}]},
        "claim x: sentense is not a known",
    ),
    (
        {"places": PLACES, "claims": [{**CLAIM, "datasets": ["cars"]}]},
        "claim x: datasets is 'cars'; use one of toy",
    ),
    (
        {"places": [PLACES[0] | {"roles": {"a": "m", "b": "m"}}], "claims": []},
        "place 1: roles gives 'm' two roles; it can play one",
    ),
    (
        {"places": [PLACES[0] | {"roles": ["a"]}], "claims": []},
        "place 1: roles should be a section",
    ),
    ({"places": [PLACES[0] | {"roles": {}}], "claims": []}, "place 1: roles "),
    (
        {"places": [PLACES[0] | {"roles": {1: "m"}}], "claims": []},
        "place 1: roles.* should be text",
    ),
    (
        {1: 2, "places": [], "claims": []},
        r"claims\.yaml: \[1\] is not a known key; known here: places",
    ),
    ([], r"claims\.yaml: the file should be a section of keys, not \[\]"),
    (None, r"claims\.yaml: the file should be a section of keys, not None"),
]


@pytest.mark.parametrize(("content", "sentence"), WRONG, ids=range(len(WRONG)))
def test_broken_files_are_refused(content: Any, sentence: str) -> None:
    with pytest.raises(RobustsegError, match=sentence) as refusal:
        parse_claims(content, "claims.yaml")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"claims: [", "is not YAML: "),
        (
            b"claims: []\nplaces: []\nclaims: []\n",
            "line 3: the key claims is there twice; keep",
        ),
        (b"claims: []\nplaces:\n- {title: a, title: b}\n", "line 3: the key title is there twice"),
        (b"claims: []\nplaces:\n- {title: caf\xe9}\n", "is not UTF-8 text; save it as UTF-8"),
        (b"claims: []\nplaces: 2024-02-31\n", "is not YAML: day is out of range"),
        (b"? [a]\n: b\n", r"line 1: a key is \['a'\]; write a word"),
        (b"? {a: 1}\n: b\n", "line 1: a key is {'a': 1}; write a word"),
        (b"a: !!python/object:os.system {}\n", "is not YAML: could not determine a constructor"),
        (b"- " * 3000, "is nested deeper than 50 levels; flatten it"),
        (b"a: " + b"9" * 5000, "is not YAML: Exceeds the limit"),
        (b"a: \x00\n", r"is not text \(it holds zeros\); correct it"),
        (b"", "the file should be a section of keys, not None"),
    ],
)
def test_what_cannot_be_read_is_refused(text: bytes, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "claims.yaml"
    path.write_bytes(text)
    with pytest.raises(RobustsegError, match=rf"^{re.escape(str(path))}.*{sentence}") as refusal:
        read_claims(path)
    assert "\n" not in str(refusal.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RobustsegError, match=r"none\.yaml cannot be read: No such file"):
        read_claims(tmp_path / "none.yaml")


def nodes(content: Any) -> list[tuple[Any, Any]]:
    """Return (container, key) of everything inside a nested content."""
    inside = content.items() if isinstance(content, dict) else enumerate(content)
    found = [(content, key) for key, _ in inside]
    for container, key in list(found):
        if isinstance(container[key], dict | list):
            found += nodes(container[key])
    return found


ANYTHING = [
    None,
    True,
    3,
    -1,
    10**400,
    1e308,
    math.nan,
    math.inf,
    "",
    "sea",
    "1e-3",
    "a\nb",
    "é" * 999,
]
ANYTHING += [[], {}, [[]], [None], ["sea", 3], {"a": 1}, {1: 2}, {"attack": "sea"}, b"x"]


def mutate(content: dict[str, Any], draw: random.Random) -> None:
    """Replace, delete, rename or add one thing somewhere in a nested content."""
    container, key = draw.choice(nodes(content))
    slip = draw.choice(["replace", "delete", "rename", "add", "repeat"])
    if slip == "replace":
        container[key] = draw.choice(ANYTHING)
    elif slip == "delete":
        del container[key]
    elif slip == "repeat" and isinstance(container, list):
        container.append(container[key])
    elif isinstance(container, dict):
        value = container.pop(key) if slip == "rename" else draw.choice(ANYTHING)
        container[draw.choice(["table", "lower", "in", "a\nb", 7, None, 1.5, True])] = value


def said_of(read: Callable[[], object]) -> list[str]:
    """Return the sentences that reading ends in; none, if it succeeds."""
    try:
        read()
    except RobustsegError as error:
        return str(error).splitlines()
    return []


@pytest.mark.parametrize("seed", range(120))
def test_no_slip_ends_in_a_traceback(seed: int) -> None:
    draw = random.Random(seed)
    content = yaml.load((CONFIG / "claims.yaml").read_text(), yaml.CSafeLoader)
    for _ in range(draw.choice([1, 1, 1, 2, 5])):
        mutate(content, draw)
    for line in said_of(lambda: parse_claims(content, "claims.yaml")):
        assert re.match(r"claims\.yaml(, (claim|place|headline) .+)?: \S.* \S", line)


@pytest.mark.parametrize("seed", range(40))
def test_no_damaged_file_ends_in_a_traceback(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    text = bytearray((CONFIG / "claims.yaml").read_bytes()[:6000])
    for _ in range(draw.randint(1, 5)):
        at = draw.randrange(len(text))
        text[at : at + draw.randint(0, 3)] = draw.randbytes(draw.randint(0, 2))
    path = tmp_path / "claims.yaml"
    path.write_bytes(text)
    assert all(line.startswith(str(path)) for line in said_of(lambda: read_claims(path)))
