"""Small files: whatever is in them, or in their place, is read or refused in a sentence."""

import os
import random
from pathlib import Path

import pytest

from robustseg.errors import RobustsegError
from robustseg.text_files import LARGEST_BYTES, read_csv, read_json, read_text
from robustseg.yaml_files import DEEPEST, parse_yaml, read_yaml

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)
LONG_CHAIN = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 99))


@pytest.mark.parametrize("read", [read_text, read_json, read_yaml, read_csv])
def test_what_is_no_text_file_is_named(read: object, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(LARGEST_BYTES + 1)
    wrong = {
        "none": "cannot be read: No such file",
        "folder": "is a folder; put a file in its place",
        "pipe": "is a pipe or device; put a file in its place",
        "latin": "is not UTF-8 text",
        "huge": "bytes, where",
        "a" * 300: "cannot be read: File name too long",
        "nul\0": "is not a file name",
    }
    for name, says in wrong.items():
        with pytest.raises(RobustsegError, match=says) as refusal:
            read(tmp_path / name)  # type: ignore[operator]
        assert repr(name)[1:-1] in str(refusal.value)


def test_a_byte_order_mark_and_line_ends_of_windows_are_read(tmp_path: Path) -> None:
    for content in (b"\xef\xbb\xbfa: 1\nb: 2\n", b"a: 1\r\nb: 2\r\n"):
        (tmp_path / "file").write_bytes(content)
        assert read_yaml(tmp_path / "file") == {"a": 1, "b": 2}
    (tmp_path / "file").write_bytes(b'\xef\xbb\xbf{"a":\r\n1}')
    assert read_json(tmp_path / "file") == {"a": 1}
    (tmp_path / "file").write_bytes(b"\xef\xbb\xbfa,b\r\n\r\n1,2\r\n")
    assert read_csv(tmp_path / "file") == [(1, ["a", "b"]), (3, ["1", "2"])]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("a: &x {p: 1}\nb: {<<: *x, q: 2}", {"a": {"p": 1}, "b": {"p": 1, "q": 2}}),
        ("a: &x {<<: {p: 1}, p: 2}\nb: {<<: *x}", {"a": {"p": 2}, "b": {"p": 2}}),
        ("a: &x {p: 1}\nb: {<<: [*x, {q: 2}]}", {"a": {"p": 1}, "b": {"p": 1, "q": 2}}),
        ("[]", []),
        ("", None),
        ("# nothing", None),
    ],
)
def test_yaml_means_what_yaml_says(text: str, meant: object, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(text)
    assert read_yaml(tmp_path / "file") == meant


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BOMB, "line 6: unfolds to more than"),
        (LONG_CHAIN, "is nested deeper than"),
        ("&a [*a]", "line 1: an alias stands for what it is in"),
        ("a: &a {b: *a}", "line 1: an alias stands for what it is in"),
        ("[" * 3000 + "]" * 3000, "is nested deeper than"),
        ("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), "is nested deeper than"),
        ("- " * 100_000, "is nested deeper than"),
        ("[\n" * 60_000 + "]\n" * 60_000, "is nested deeper than"),
        ("{a: \n" * 60_000, "is nested deeper than"),
        ("\n".join(" " * level + "a:" for level in range(900)), "is nested deeper than"),
        ("a: 1\na: 2", "line 2: the key a is there twice"),
        ("{4: 1, 4.0: 2}", "the key 4.0 is there twice"),
        ("{<<: {a: 1}, <<: {b: 1}}", "the key << is there twice"),
        ("a: &x {p: 1, p: 2}\nb: {<<: *x}", "the key p is there twice"),
        ("{<<: 1}", "is not YAML"),
        ("a:\n\tb: 1", "is not YAML"),
        ("a: 1\n---\nb: 2", "is not YAML: expected a single document"),
        ("a: !!python/object:os.system x", "is not YAML"),
        ("!!bool x", "line 1 is not YAML"),
        ("!!timestamp x", "line 1 is not YAML"),
        ("!!int ''", "line 1 is not YAML"),
        ("a: 2024-02-31", "line 1 is not YAML: day is out of range"),
        ("a: " + "9" * 5000, "line 1 is not YAML: Exceeds the limit"),
        ("a: 0x" + "f" * 300, "line 1: '0xf+… is too large"),
        ('a: "\\0"', "has a character NUL"),
        ('a: "\\ud800"', "line 1 is not YAML"),
        ("a: 1\t# Snakemake, which reads it afterwards, refuses the tab", "is not YAML.*line 1"),
        ("? [a]\n: 1", r"a key is \['a'\]"),
    ],
)
def test_yaml_that_is_none_or_too_much_is_refused(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(RobustsegError, match=says) as refusal:
        read_yaml(tmp_path / "file")
    assert str(refusal.value).startswith(str(tmp_path / "file"))
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 600


def test_bytes_that_are_no_text_on_a_command_line_are_refused() -> None:
    with pytest.raises(RobustsegError, match="--config run is not YAML"):
        parse_yaml(b"my\xff".decode(errors="surrogateescape"), "--config run")


@pytest.mark.parametrize(
    "text",
    ["", "{", "{'a': 1}", "[NaN]", "[-Infinity]", '{"a": 1, "a": 2}', "[" * 100_000, "9" * 5000],
)
def test_json_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(RobustsegError, match=r"file is not JSON"):
        read_json(tmp_path / "file")


def test_whatever_bytes_are_in_a_file_the_answer_is_content_or_a_sentence(tmp_path: Path) -> None:
    draw, path = random.Random(0), tmp_path / "file"
    refusals: dict[str, list[str]] = {one.__name__: [] for one in (read_yaml, read_json, read_csv)}
    pieces = [
        b"a",
        b":",
        b" ",
        b"\n",
        b"- ",
        b"[",
        b"]",
        b"{",
        b"}",
        b",",
        b'"',
        b"'",
        b"&x ",
        b"*x",
    ]
    pieces += [
        b"<<: ",
        b"!!int ",
        b"\t",
        b"?",
        b"|",
        b">",
        b"\xff",
        b"\xc3\xa9",
        b"\0",
        b"1e9",
        b"#",
    ]
    for _ in range(500):
        path.write_bytes(b"".join(draw.choices(pieces, k=draw.randrange(1, 30))))
        for read in (read_yaml, read_json, read_csv):
            try:
                read(path)
            except RobustsegError as error:
                refusals[read.__name__].append(str(error))
    assert min(map(len, refusals.values())) > 250
    assert all(str(path) in sentence for said in refusals.values() for sentence in said)


def test_zeros_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "reported.csv"
    path.write_bytes(b"a,b\n1,\0\n")
    with pytest.raises(RobustsegError, match=r"reported.csv is not text \(it holds zeros\)"):
        read_csv(path)
