"""Regular expressions over messages: smart case, and which of many lines match, at the speed of C where that is exact.

A pattern means what `re.search` of it in one message means. ASCII patterns match the message's bytes, others its text.
Imported by the search process too, which must begin fast: little of the standard library, nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_CROSSES: Final = re.compile(r"\[\^|\\[sWDBAZnxuUN0-9]|\\[tfvra]-|[\x00-\x1f]|\(\?(?!:|P<)|[*+?}]\+")
"""What might match or look beyond a line's end, or anchors to the ends of a whole text: such go line by line."""
_CODES_OR_FLAGS: Final = re.compile(r"\\[xuUN0-9]|\(\?(?!:|P<|=|!|<)")
_CASED_RANGE: Final = re.compile(r"[a-z]-[a-z]|[0-9]-[0-9]")
_ODD_RANGE: Final = re.compile(r"\[[^\]]*[^\[\]^]-[^\]]")
_ESCAPED: Final = re.compile(r"\\.|\(\?P", re.DOTALL)


def _same_when_lowered(pattern: str) -> bool:
    """Whether matching lower-cased bytes is the same as ignoring case: no code points, flags or odd ranges."""
    return _CODES_OR_FLAGS.search(pattern) is None and _ODD_RANGE.search(_CASED_RANGE.sub("", pattern)) is None


def has_capital(pattern: str) -> bool:
    """Whether a pattern asks for a capital letter; `\\S` and `\\W` do not."""
    return any(letter.isupper() for letter in _ESCAPED.sub("", pattern))


class Matcher:
    """A compiled pattern. Raises UsageError for what is no regular expression."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        ignore = not has_capital(pattern)
        self._text = not pattern.isascii()
        self._lower = ignore and not self._text and _same_when_lowered(pattern)
        flags = re.IGNORECASE if ignore and not self._lower else 0
        try:
            compiled: re.Pattern[bytes] | re.Pattern[str]
            compiled = re.compile(pattern, flags) if self._text else re.compile(pattern.encode(), flags)
            self._single = compiled
            self._many = None
            if _CROSSES.search(pattern) is None:
                self._many = re.compile(compiled.pattern, flags | re.MULTILINE)
        except (re.error, OverflowError, RecursionError) as error:
            from backend.contract.errors import UsageError

            raise UsageError(f"`{pattern}` is no regular expression: {error}.", "Escape special characters.") from error

    def test(self, message: bytes) -> bool:
        """Whether a message matches."""
        if self._lower:
            message = message.lower()
        where = message.decode("utf-8", "replace") if self._text else message
        return self._single.search(where) is not None  # type: ignore[arg-type]  # text with text, bytes with bytes

    def hits(self, messages: Sequence[bytes]) -> list[int]:
        """The indexes of those that match, rising. No message holds a newline."""
        if self._many is None:
            test = self.test
            return [index for index, message in enumerate(messages) if test(message)]
        if not messages:
            return []
        joined = b"\n".join(messages)
        if self._lower:
            joined = joined.lower()
        if self._text:
            return _line_hits(self._many, joined.decode("utf-8", "replace"), "\n")
        return _line_hits(self._many, joined, b"\n")


def _line_hits(pattern: re.Pattern[str] | re.Pattern[bytes], text: str | bytes, newline: str | bytes) -> list[int]:
    """Lines of the text that hold a match; after a match the search goes on in the next line."""
    hits: list[int] = []
    search, count, find = pattern.search, text.count, text.find
    number = at = 0
    while (match := search(text, at)) is not None:  # type: ignore[arg-type]
        start = match.start()
        number += count(newline, at, start)  # type: ignore[arg-type]
        hits.append(number)
        at = find(newline, start) + 1  # type: ignore[arg-type]
        if at == 0:
            break
        number += 1
    return hits


class LineFilter:
    """A query's tests of single lines, compiled. Raises UsageError for a bad pattern."""

    def __init__(
        self,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        levels: frozenset[str] | None = None,
        *,
        must: str | None = None,
    ) -> None:
        self.include = [Matcher(pattern) for pattern in include]
        self.exclude = [Matcher(pattern) for pattern in exclude]
        self.must = None if must is None else Matcher(must)
        self.levels = levels
        self.keeps_all = self.must is None and not self.include and not self.exclude and levels is None

    def kept(self, messages: list[bytes]) -> Sequence[int]:
        """The indexes of the wanted ones, rising."""
        kept: Sequence[int] = range(len(messages))
        if self.keeps_all:
            return kept
        if self.must is not None:
            kept = self.must.hits(messages)
        if self.include and kept:
            wanted = {index for matcher in self.include for index in _among(matcher, messages, kept)}
            kept = sorted(wanted)
        for matcher in self.exclude:
            if kept:
                gone = set(_among(matcher, messages, kept))
                kept = [index for index in kept if index not in gone]
        if self.levels is not None:
            levels = self.levels
            kept = [index for index in kept if (message_level(messages[index]) or "") in levels]
        return kept


def _among(matcher: Matcher, messages: list[bytes], asked: Sequence[int]) -> Sequence[int]:
    """Those of the asked messages that match."""
    if len(asked) == len(messages):
        return matcher.hits(messages)
    return [asked[hit] for hit in matcher.hits([messages[index] for index in asked])]


def message_level(message: bytes) -> str | None:
    """The level a message names."""
    from backend.contract.log_lines import Piece, to_row

    return to_row("", Piece(0.0, "", True, message)).level
