"""The filter language of tables: words, `phase:NotReady cpu>80 ttft>=500ms`, `-` or `!` for not. Pure.

Owns what a filter means; never raises for what is typed. What cannot hold (a column that is not there, a size
compared with a time) is left out with a note, and the rest of the filter still holds.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Generic, TypeVar

import msgspec

from console.state.column import Column, Kind, SortValue, find_column, natural, plain_name
from console.state.fuzzy import letters_in_order

T = TypeVar("T")
Test = Callable[[T, float], bool]

_TERM: Final = re.compile(
    r"""\s*(?P<no>[-!](?=\S))?
    (?:(?P<column>[^\W\d](?:[\w.-]*\w)?)(?P<op>>=|<=|!=|==|[:=<>]))?
    (?:"(?P<quoted>[^"]*)"?|(?P<bare>\S*))""",
    re.VERBOSE,
)
_NUMBER: Final = re.compile(r"([+-]?[0-9]{1,15}(?:\.[0-9]{0,9})?)\s*([a-zµμ%]*)")
_COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_SIZES: Final = {"b": 0, "k": 1, "m": 2, "g": 3, "t": 4}
UNITS: Final[dict[Kind, dict[str, float]]] = {
    "text": {},
    "number": {"": 1, "k": 1e3, "m": 1e6},
    "percent": {"": 1, "%": 1},
    "seconds": {"": 1, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400},
    "bytes": {
        "": 1.0,
        **{name: 1024.0**power for name, power in _SIZES.items()},
        **{f"{name}ib": 1024.0**power for name, power in _SIZES.items() if power},
        **{f"{name}b": 1000.0**power for name, power in _SIZES.items() if power},
    },
}
_WANTS: Final[dict[Kind, str]] = {
    "text": "text",
    "number": "a number, as in {0}>2",
    "percent": "a percentage, as in {0}>80",
    "seconds": "a time, as in {0}>500ms or {0}>5m",
    "bytes": "a size, as in {0}>1GiB",
}


class Word(msgspec.Struct, frozen=True):
    """A plain word, in lower case. `loose` also finds its letters in order within one word."""

    text: str
    negated: bool
    loose: re.Pattern[str] | None


class RowFilter(Generic[T]):
    """What was typed, ready to be asked. `notes` are sentences on what could not hold."""

    def __init__(self, text: str = "", columns: Sequence[Column[T]] = ()) -> None:
        self.text = text
        self.words: list[Word] = []
        self.tests: list[tuple[bool, Test[T]]] = []
        """(negated, test)"""
        self.notes: list[str] = []
        self.timely = False
        """Its answer changes as time goes by."""
        for found in _TERM.finditer(text):
            self._add(found, columns)

    def __bool__(self) -> bool:
        return bool(self.words or self.tests)

    def select(self, places: Iterable[int], items: Sequence[T], hays: Sequence[str], now: float) -> list[int]:
        """Of these places in `items`, those whose item it lets through. `hays` is text in lower case for the words;
        it may be empty where there are no words."""
        kept = list(places)
        for word in self.words:
            text, loose = word.text, word.loose
            if word.negated:
                kept = [at for at in kept if text not in hays[at]]
            elif loose is None:
                kept = [at for at in kept if text in hays[at]]
            else:
                search = loose.search
                kept = [at for at in kept if text in hays[at] or search(hays[at])]
        for negated, test in self.tests:
            kept = [at for at in kept if test(items[at], now) is not negated]
        return kept

    def _add(self, found: re.Match[str], columns: Sequence[Column[T]]) -> None:
        name, sign, negated = found["column"], found["op"], bool(found["no"])
        quoted = found["quoted"] is not None
        value = found["quoted"] if quoted else found["bare"]
        if not name:
            if value and value not in ("-", "!"):  # a sign alone is a filter that is being typed
                word = value.casefold()
                fuzzy = not quoted and not negated and len(word) > 1
                self.words.append(Word(word, negated, letters_in_order(word) if fuzzy else None))
            return
        column = find_column(columns, name)
        if column is None:
            there = " ".join(plain_name(one.title) for one in columns)
            self.notes.append(f"no column {name}; there are {there}" if columns else f"no column {name}")
        elif value or quoted:
            test = self._test(column, sign, value, split=not quoted)
            if test is None:
                self.notes.append(f"{name} is compared with {_WANTS[column.kind].format(name)}")
            else:
                self.tests.append((negated is not (sign == "!="), test))
                self.timely = self.timely or column.timely

    def _test(self, column: Column[T], sign: str, value: str, *, split: bool) -> Test[T] | None:
        """None where such a value cannot be compared with that column."""
        if sign in _COMPARE:
            return _comparison(column, sign, value)
        make = _says if sign == ":" else _equals
        wanted = [one for one in value.split(",") if one] if split else [value]
        tests = [make(column, one) for one in wanted]
        if len(tests) == 1:
            return tests[0]
        return lambda item, now: any(test(item, now) for test in tests)


def amount(text: str, kind: Kind) -> float | None:
    """A number with a unit of that kind, e.g. `500ms`, `1.5GiB`, `80%`; None where it is none."""
    found = _NUMBER.fullmatch(text.strip().casefold())
    if found is None:
        return None
    factor = UNITS[kind].get(found[2].replace("μ", "µ"))
    return None if factor is None else float(found[1]) * factor


def _value(column: Column[T]) -> Callable[[T, float], SortValue]:
    if column.value is not None:
        return column.value
    sort = column.sort
    return lambda item, _: sort(item)


def _comparison(column: Column[T], sign: str, text: str) -> Test[T] | None:
    compare, value = _COMPARE[sign], _value(column)
    if column.kind == "text":
        word, text_of = natural(text), _text(column)
        return lambda item, now: value(item, now) is not None and compare(natural(text_of(item, now)), word)
    limit = amount(text, column.kind)
    if limit is None:
        return None
    return lambda item, now: isinstance(found := value(item, now), int | float) and compare(found, limit)


def _says(column: Column[T], text: str) -> Test[T]:
    """`column:text`: a number is that number, one of a few words begins so, any other text contains it."""
    word = text.casefold()
    if column.kind != "text":
        return _equals(column, text)
    if column.words:
        value = _value(column)
        return lambda item, now: str(value(item, now)).casefold().startswith(word)
    text_of = _text(column)
    return lambda item, now: word in text_of(item, now)


def _equals(column: Column[T], text: str) -> Test[T]:
    """The number, or the text, as it is or as the cell writes it."""
    word, text_of, value = text.casefold(), _text(column), _value(column)
    limit = amount(text, column.kind) if column.kind != "text" else None
    close = word.replace(" ", "")
    return lambda item, now: (
        (limit is not None and value(item, now) == limit) or text_of(item, now).replace(" ", "") == close
    )


def _text(column: Column[T]) -> Callable[[T, float], str]:
    """The words of a value, in lower case: itself where it is text, else what the cell says."""
    value, cell = _value(column), column.cell
    if column.kind != "text":
        return lambda item, now: cell(item, now)[0].casefold()

    def words(item: T, now: float) -> str:
        found = value(item, now)
        return found.casefold() if isinstance(found, str) else cell(item, now)[0].casefold()

    return words


def complete(text: str, columns: Sequence[Column[T]]) -> str | None:
    """The filter with its last word completed to a column's name or to one of that column's words; None without."""
    last = re.split(r"\s", text)[-1]
    sign = last[:1] if last[:1] in ("-", "!") else ""
    word = last[len(sign) :]
    name, colon, begun = word.partition(":")
    if colon:
        column = find_column(columns, name)
        begun = begun.rpartition(",")[2]
        known = [one for one in column.words if one.casefold().startswith(begun.casefold())] if column and begun else []
        return f"{text}{known[0][len(begun) :]}" if known and len(known[0]) > len(begun) else None
    if len(word) < 2 or not word.isidentifier():
        return None
    for column in columns:
        for known_as in (column.key, plain_name(column.title), *column.names):
            if known_as.startswith(word.casefold()):
                return f"{text}{known_as[len(word) :]}{':' if column.kind == 'text' else '>'}"
    return None
