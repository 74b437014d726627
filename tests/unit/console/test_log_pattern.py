"""A pattern matches a message exactly where `re.search` does, however many messages are looked through at once."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backend.contract.errors import UsageError
from console.state.log_pattern import LineFilter, Matcher, has_capital

# Words that expressions are made of: what crosses lines, looks around, anchors, ignores case, and plain text.
ATOMS = [
    r"a",
    r"b",
    r"A",
    r"ab",
    r"error",
    r"Err",
    r"é",
    r".",
    r"\w",
    r"\W",
    r"\s",
    r"\S",
    r"\d",
    r"\D",
    r"\b",
    r"\B",
    r"^",
    r"$",
    r"[a-c]",
    r"[^a]",
    r"[;-_]",
    r"[\w.]",
    r"\x41",
    r"\.",
    r"\t",
    r"-",
    r"(",
    r"(?:",
    r"(?P<x>",
    r")",
    r"|",
    r"*",
    r"+",
    r"?",
    r"*+",
    r"++",
    r"{2}",
    r"(?=a)",
    r"(?!b)",
    r"(?<=\s)",
    r"(?<!a)",
    r"\A",
    r"\Z",
    r"(?>a)",
    r"(?i:a)",
    r"[A-z]",
    r"[0-z]",
    r"[!-~]",
    r"\n",
    r"z*",
]
patterns = st.lists(st.sampled_from([*ATOMS, " "]), min_size=1, max_size=6).map("".join)
messages = st.lists(st.text("aAbBcéÉ zE1.-_\t;^xror", max_size=8).map(lambda text: text.encode()), max_size=8)


def naive(pattern: str, message: bytes) -> bool:
    flags = 0 if has_capital(pattern) else re.IGNORECASE
    if pattern.isascii():
        return re.search(pattern.encode(), message, flags) is not None
    return re.search(pattern, message.decode("utf-8", "replace"), flags) is not None


@settings(max_examples=200, deadline=None)
@given(patterns, messages)
@example(r"a[^c]*c", [b"a x", b"a c"])
@example(r"foo(?!\s)", [b"foo", b"bar"])
@example(r"(?<!\s)foo", [b"x", b"foo"])
@example(r"a\s*b", [b"xa", b"b a b"])
@example(r"z*", [b"", b"a", b""])
@example(r"[;-_]", [b"A", b"a"])
@example(r"$", [b"", b""])
@example(r"a\Z", [b"a", b"a"])
def test_many_at_once_is_the_same_as_each_alone(pattern: str, told: list[bytes]) -> None:
    try:
        naive(pattern, b"")
        expected = [index for index, message in enumerate(told) if naive(pattern, message)]
    except re.error:
        with pytest.raises(UsageError, match="no regular expression"):
            Matcher(pattern)
        return
    matcher = Matcher(pattern)
    assert matcher.hits(told) == expected
    assert [index for index, message in enumerate(told) if matcher.test(message)] == expected


def test_smart_case() -> None:
    assert Matcher("error").hits([b"ERROR", b"Error", b"err"]) == [0, 1]
    assert Matcher("Error").hits([b"ERROR", b"Error"]) == [1]
    assert Matcher(r"\S+\W(?P<name>b)").hits([b"A B"]) == [0], "an escape's capital is none"
    assert Matcher("größe").hits(["GRÖSSE GRÖßE".encode(), b"grosse"]) == [0]


@settings(max_examples=80, deadline=None)
@given(messages, st.lists(patterns, max_size=2), st.lists(patterns, max_size=2), st.none() | patterns)
def test_a_filter_keeps_what_its_words_say(
    told: list[bytes], include: list[str], exclude: list[str], must: str | None
) -> None:
    try:
        expected = [
            index
            for index, message in enumerate(told)
            if (must is None or naive(must, message))
            and (not include or any(naive(pattern, message) for pattern in include))
            and not any(naive(pattern, message) for pattern in exclude)
        ]
        kept = list(LineFilter(include, exclude, must=must).kept(told))
    except (re.error, UsageError):
        return
    assert kept == expected


def test_levels_are_read_from_each_message() -> None:
    told = [b"E srv broke", b'{"level":"warn"}', b"plain", b"INFO x"]
    assert list(LineFilter(levels=frozenset({"error", "warning"})).kept(told)) == [0, 1]
    assert list(LineFilter(levels=frozenset({"", "info"})).kept(told)) == [2, 3]
