"""Whatever stands in a file, the answer is typed data or one FileError with its place."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.config.fleet_file import FleetFile
from backend.config.strict_yaml import ByteSize, Duration, decode, parse_duration, parse_size, position
from backend.contract.errors import FileError


class Leaf(msgspec.Struct, frozen=True):
    size: ByteSize = 0
    wait: Duration = 0.0
    level: Literal["low", "high"] = "low"


class Tree(msgspec.Struct, frozen=True):
    name: str
    count: int = 0
    ratio: float = 0.0
    on: bool = False
    words: tuple[str, ...] = ()
    leaves: dict[str, Leaf] = {}
    maybe: int | None = None
    port: int | Literal["auto"] = "auto"


def failure(text: str, kind: Any = Tree) -> FileError:
    with pytest.raises(FileError) as caught:
        decode(text, "f.yaml", kind)
    return caught.value


def test_scalars_are_read_by_the_type_wanted_never_guessed() -> None:
    text = "name: on\ncount: 3\nratio: 2\non: true\nwords: [1, no]\nleaves:\n  a: {size: 2KiB, wait: 1m30s}\nport: 80\n"
    tree = decode(text, "f.yaml", Tree)
    assert tree == Tree("on", 3, 2.0, True, ("1", "no"), {"a": Leaf(2048, 90.0)}, None, 80)


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("name: x\ncuont: 2\n", 2, 1, ("unknown key `cuont`", "Did you mean `count`?", "Allowed here: count, leaves")),
        ("name: x\nleaves:\n  a:\n    sise: 1\n", 4, 5, ("unknown key `sise` in leaves.a", "size")),
        ("name: x\nname: y\n", 2, 1, ("duplicate key `name`", "line 1")),
        ("count: 1\n", 1, 1, ("lacks `name`",)),
        ("name: x\ncount: many\n", 2, 8, ("count", "`many`", "whole number")),
        ("name: x\nratio: .nan\n", 2, 8, ("number is wanted",)),
        ("name: x\non: yes\n", 2, 5, ("true or false",)),
        ("name: x\nwords: a\n", 2, 8, ("must be a list",)),
        ("name: [a]\n", 1, 7, ("single value",)),
        ("name: x\nleaves:\n  a: {wait: 3}\n", 3, 13, ("unit",)),
        ("name: x\nleaves:\n  a: {size: big}\n", 3, 13, ("size",)),
        ("name: x\nleaves:\n  a: {level: mid}\n", 3, 14, ("allowed: low, high",)),
        ("name: &a x\n", 1, 7, ("anchors",)),
        ("name: !!str x\n", 1, 7, ("tags",)),
        ("name: x\n\tcount: 1\n", 2, 1, ("not valid YAML", "spaces, not with tabs")),
        ("name: 'x\n", 2, 1, ("not valid YAML",)),
        ("", 1, 1, ("empty",)),
        ("--- {name: x}\n--- {name: y}\n", 2, 1, ("not valid YAML",)),
        ("[" * 70, 1, 65, ("deeper",)),
    ],
)
def test_a_mistake_is_named_with_line_and_column(text: str, line: int, column: int, words: tuple[str, ...]) -> None:
    error = failure(text)
    assert (error.line, error.column) == (line, column), str(error)
    assert str(error).startswith(f"f.yaml:{line}:{column}: ")
    for word in words:
        assert word in str(error)


def test_a_large_file_is_refused_before_it_is_read() -> None:
    assert "larger than" in str(failure("# " + "x" * 1_100_000))


def outcome(text: str, kind: Any) -> Any:
    """The typed data, or the FileError; anything else fails the test."""
    try:
        return decode(text, "f.yaml", kind)
    except FileError as error:
        return error


_PIECES = [*"abnmeulo:-[]{}#&*!|>'\"%@`,?~ \n\t0123.", "name", "count", "\u00e4", "\x00", "\ud800", "\u2028"]


@given(st.lists(st.sampled_from(_PIECES), max_size=60).map("".join))
def test_no_text_raises_anything_but_a_file_error(text: str) -> None:
    got = outcome(text, Tree)
    if isinstance(got, FileError):
        assert got.message.startswith("f.yaml")
        assert 0 <= got.line <= len(text) + 1
    else:
        assert isinstance(got, Tree)


_KEYS = st.sampled_from(["trinity", "workloads", "llm", "command", "builtin", "edge", "port", "probes", "x"])
_VALUES = st.recursive(
    st.one_of(st.integers(), st.text(max_size=8), st.booleans(), st.none(), st.just(1), st.just("5s")),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_KEYS, inner, max_size=3)),
    max_leaves=12,
)


@given(st.dictionaries(_KEYS, _VALUES, max_size=4))
def test_any_document_becomes_a_fleet_file_or_a_placed_error(document: dict[str, Any]) -> None:
    got = outcome(msgspec.yaml.encode(document).decode(), FleetFile)
    if isinstance(got, FileError):
        assert got.line >= 1
        assert got.column >= 1
    else:
        assert isinstance(got, FleetFile)


@given(st.integers(0, 86400), st.sampled_from(["us", "ms", "s", "m", "h", "d"]))
def test_durations_keep_their_unit(number: int, unit: str) -> None:
    factor = {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86400}[unit]
    assert parse_duration(f"{number}{unit}") == pytest.approx(number * factor)


@pytest.mark.parametrize("text", ["", "5", "-5s", "5 s", "5x", "s", "1s2", "1e3s"])
def test_a_duration_without_unit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="unit"):
        parse_duration(text)


def test_sizes() -> None:
    assert [parse_size(t) for t in ("12", "1KiB", "1.5MiB", "2 GB", "1Gi", "0B")] == [
        12,
        1024,
        1572864,
        2_000_000_000,
        2**30,
        0,
    ]
    with pytest.raises(ValueError, match="512MiB"):
        parse_size("-1")


def test_position_of_a_key_and_of_the_longest_part_that_is_there() -> None:
    text = "a: 1\nb:\n  c:\n    d: 2\n"
    assert position(text, "b", "c", "d") == (4, 5)
    assert position(text, "b", "x") == (2, 1)
    assert position(text, "y") == (0, 0)
    assert position("", "a") == (0, 0)
