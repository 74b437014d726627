"""The drills' small expression language: text -> tree. No evaluation here, and no Python eval anywhere.

Grammar (loosest first): `or`, `and`, `not`, one comparison, `+ -`, `* /`, unary `-`, then a literal with an optional
unit (`200ms`, `5%`, `10/s`), a call `fn(a, b, key=value)`, a call on an earlier phase `baseline.p99(embed)`, a name
(only as an argument), or parentheses. Names may hold hyphens (`kill-a`): a minus between names needs spaces.
"""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec

from backend.contract.errors import UsageError

MAX_LENGTH: Final = 2000
MAX_DEPTH: Final = 40

_UNITS: Final[dict[str, tuple[float, int]]] = {
    "": (1.0, 0),
    "%": (0.01, 0),
    "us": (1e-6, 1),
    "ms": (1e-3, 1),
    "s": (1.0, 1),
    "m": (60.0, 1),
    "h": (3600.0, 1),
    "/s": (1.0, -1),
    "/m": (1 / 60.0, -1),
}
_TOKEN: Final = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<number>\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)(?P<unit>%|(?:us|ms|s|m|h)(?![\w])|/[sm](?![\w(.]))?"
    r"|(?P<name>[A-Za-z_]\w*(?:-\w+)*)"
    r"|(?P<op><=|>=|==|!=|<|>|[-+*/(),.=])"
)


class ExpressionError(UsageError):
    """An expression that cannot be used. `column` counts from 1 within the expression."""

    kind = "expression"

    def __init__(self, message: str, next_step: str, column: int) -> None:
        super().__init__(message, next_step)
        self.column = column


class Number(msgspec.Struct, frozen=True):
    """A literal in base units; `dim` is the exponent of seconds: 0 number, 1 time, -1 rate."""

    value: float
    dim: int
    column: int


class Name(msgspec.Struct, frozen=True):
    """A bare name, only ever an argument."""

    name: str
    column: int


class Call(msgspec.Struct, frozen=True):
    """`fn(args, key=value)`, of phase `phase` where that is written in front."""

    name: str
    args: tuple[Expr, ...]
    options: tuple[tuple[str, Expr], ...]
    phase: str | None
    column: int
    text: str


class Unary(msgspec.Struct, frozen=True):
    """`-x` or `not x`."""

    op: Literal["-", "not"]
    operand: Expr
    column: int


class Binary(msgspec.Struct, frozen=True):
    """Two operands and an operator; `column` is the operator's."""

    op: str
    left: Expr
    right: Expr
    column: int


Expr = Number | Name | Call | Unary | Binary


class _Token(msgspec.Struct, frozen=True):
    kind: str
    text: str
    start: int
    end: int
    unit: str = ""


def _tokens(text: str) -> list[_Token]:
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"the expression is longer than {MAX_LENGTH} characters.", "Split it.", 1)
    found, position = [], 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ExpressionError(
                f"unexpected character {text[position]!r}.", "See the expression grammar in the manual.", position + 1
            )
        kind = match.lastgroup or ""
        if match.group("number") is not None:
            kind = "number"
        if kind != "space":
            body = match.group("number") if kind == "number" else match.group(0)
            found.append(_Token(kind, body, match.start(), match.end(), match.group("unit") or ""))
        position = match.end()
    found.append(_Token("end", "", len(text), len(text)))
    return found


def parse(text: str) -> Expr:
    """The tree of `text`. Raises ExpressionError with a column."""
    return _Parser(text).whole()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._at = 0
        self._depth = 0

    def whole(self) -> Expr:
        tree = self._or()
        if self._now.kind != "end":
            raise self._unexpected("an operator or the end")
        return tree

    @property
    def _now(self) -> _Token:
        return self._tokens[self._at]

    def _take(self) -> _Token:
        token = self._now
        self._at += 1
        return token

    def _is(self, *texts: str) -> bool:
        return self._now.kind in ("op", "name") and self._now.text in texts

    def _want(self, text: str) -> _Token:
        if not (self._now.kind == "op" and self._now.text == text):
            raise self._unexpected(f"`{text}`")
        return self._take()

    def _unexpected(self, wanted: str) -> ExpressionError:
        seen = f"`{self._now.text}`" if self._now.text else "the end"
        return ExpressionError(f"found {seen} where {wanted} was expected.", "", self._now.start + 1)

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ExpressionError(f"nested deeper than {MAX_DEPTH} levels.", "Simplify it.", self._now.start + 1)

    def _or(self) -> Expr:
        self._deeper()
        left = self._and()
        while self._is("or"):
            op = self._take()
            left = Binary("or", left, self._and(), op.start + 1)
        self._depth -= 1
        return left

    def _and(self) -> Expr:
        left = self._not()
        while self._is("and"):
            op = self._take()
            left = Binary("and", left, self._not(), op.start + 1)
        return left

    def _not(self) -> Expr:
        if self._is("not"):
            op = self._take()
            self._deeper()
            operand = self._not()
            self._depth -= 1
            return Unary("not", operand, op.start + 1)
        return self._comparison()

    def _comparison(self) -> Expr:
        left = self._sum()
        if self._is("<=", ">=", "==", "!=", "<", ">"):
            op = self._take()
            right = self._sum()
            if self._is("<=", ">=", "==", "!=", "<", ">"):
                raise ExpressionError("comparisons do not chain.", "Join two with `and`.", self._now.start + 1)
            return Binary(op.text, left, right, op.start + 1)
        return left

    def _sum(self) -> Expr:
        left = self._product()
        while self._is("+", "-"):
            op = self._take()
            left = Binary(op.text, left, self._product(), op.start + 1)
        return left

    def _product(self) -> Expr:
        left = self._signed()
        while self._is("*", "/"):
            op = self._take()
            left = Binary(op.text, left, self._signed(), op.start + 1)
        return left

    def _signed(self) -> Expr:
        if self._is("-"):
            op = self._take()
            self._deeper()
            operand = self._signed()
            self._depth -= 1
            return Unary("-", operand, op.start + 1)
        return self._primary()

    def _primary(self) -> Expr:
        token = self._now
        if token.kind == "number":
            self._take()
            scale, dim = _UNITS[token.unit]
            return Number(float(token.text) * scale, dim, token.start + 1)
        if token.kind == "op" and token.text == "(":
            self._take()
            inner = self._or()
            self._want(")")
            return inner
        if token.kind == "name" and token.text not in ("and", "or", "not"):
            return self._named()
        raise self._unexpected("a value")

    def _named(self) -> Expr:
        first = self._take()
        phase: str | None = None
        name = first
        if self._is("."):
            self._take()
            if self._now.kind != "name":
                raise self._unexpected("a function name")
            phase, name = first.text, self._take()
        if not self._is("("):
            if phase is not None:
                raise self._unexpected("`(`")
            return Name(first.text, first.start + 1)
        self._take()
        args: list[Expr] = []
        options: list[tuple[str, Expr]] = []
        while not self._is(")"):
            if args or options:
                self._want(",")
            self._argument(args, options)
        end = self._want(")").end
        return Call(name.text, tuple(args), tuple(options), phase, name.start + 1, self._text[first.start : end])

    def _argument(self, args: list[Expr], options: list[tuple[str, Expr]]) -> None:
        following = self._tokens[min(self._at + 1, len(self._tokens) - 1)]
        if self._now.kind == "name" and following.kind == "op" and following.text == "=":
            key = self._take()
            self._take()
            if key.text in dict(options):
                raise ExpressionError(f"option `{key.text}` is given twice.", "Remove one.", key.start + 1)
            options.append((key.text, self._or()))
            return
        if options:
            raise ExpressionError("plain arguments come before options.", "Reorder them.", self._now.start + 1)
        args.append(self._or())
