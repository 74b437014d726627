"""What expressions may say: the function table and the type check of a parsed tree.

Kinds: a number, a time, a rate (by their exponent of seconds), `bool`, or `series` (a set of durations to take a
quantile of). Knows the names a scenario declares, nothing about measured values.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from backend.drills.expression import Binary, Call, Expr, ExpressionError, Name, Number, Unary, parse

Place = Literal["rate", "live", "verdict"]
"""Where an expression stands: an arrival rate, a rule evaluated while running, or an expectation."""
Argument = Literal["load", "pool", "replica", "target", "fault", "series", "load-or-target"]
Kind = int | Literal["bool", "series"]
NUMBER: Final = 0
TIME: Final = 1
RATE: Final = -1


class Function(msgspec.Struct, frozen=True):
    """One function: its arguments, the options it takes and what it gives."""

    arguments: tuple[Argument, ...]
    result: Kind
    options: tuple[str, ...] = ()
    places: tuple[Place, ...] = ("live", "verdict")


_WINDOW = ("last", "spans")
_COUNTS = (
    "count",
    "ok",
    "slow",
    "wrong",
    "shed",
    "failed",
    "truncated",
    "failed_before_first_byte",
    "retried",
    "ok_ratio",
    "refused_connects",
)
FUNCTIONS: Final[Mapping[str, Function]] = {
    **{name: Function(("load",), NUMBER, _WINDOW) for name in _COUNTS},
    **{name: Function(("load",), "series", _WINDOW) for name in ("latency", "ttft", "service")},
    **{name: Function(("series",), TIME, _WINDOW) for name in ("p50", "p95", "p99", "max", "min")},
    "extra_attempts": Function(("load",), NUMBER, _WINDOW, places=("verdict",)),
    "share": Function(("replica",), NUMBER, ("last",)),
    **{name: Function(("fault",), TIME) for name in ("detect", "exposure", "recovery", "mttr", "undone", "edge_gap")},
    # Only the edge's rows tell who took over, and they are joined after the run.
    "failover": Function(("fault",), TIME, places=("verdict",)),
    **{name: Function(("pool",), NUMBER) for name in ("ejections", "false_ejections", "poisoned")},
    **{name: Function((), NUMBER, places=("live",)) for name in ("host_mem_free", "host_disk_free")},
    "healthy": Function(("target",), NUMBER),
    "restarts": Function(("target",), NUMBER),
    "size": Function(("pool",), NUMBER, places=("rate", "live", "verdict")),
    "in_flight": Function(("load-or-target",), NUMBER, places=("live",)),
    "capacity": Function(("pool",), RATE, ("replicas",), places=("rate",)),
}
_ROW_FUNCTIONS: Final = frozenset(
    {*_COUNTS, "extra_attempts", "latency", "ttft", "service", "p50", "p95", "p99", "max", "min"}
)
_OPTION_KINDS: Final[Mapping[str, Kind | Literal["fault"]]] = {"last": TIME, "spans": "fault", "replicas": NUMBER}
_KIND_NAMES: Final[Mapping[int | str, str]] = {
    NUMBER: "a number",
    TIME: "a time",
    RATE: "a rate (/s)",
    "bool": "true or false",
    "series": "a set of times (take p50, p95, p99, min or max of it)",
}


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """The names an expression may use, and where it stands."""

    loads: frozenset[str]
    pools: frozenset[str]
    replicas: frozenset[str]
    faults: frozenset[str]
    phases: frozenset[str]
    place: Place


def compile_expression(text: str, scope: Scope, wanted: Kind) -> Expr:
    """The checked tree of `text`, which must give `wanted`. Raises ExpressionError with a column."""
    tree = parse(text)
    found = kind_of(tree, scope)
    if found != wanted:
        raise ExpressionError(
            f"the expression gives {describe(found)}, {describe(wanted)} is wanted.",
            "Compare it with something." if wanted == "bool" else "",
            1,
        )
    return tree


def describe(kind: Kind) -> str:
    """A kind in words."""
    return _KIND_NAMES.get(kind, f"seconds^{kind}")


def mentions(tree: Expr, function: str) -> bool:
    """Whether the tree calls `function` anywhere."""
    if isinstance(tree, Call):
        inner = (*tree.args, *(value for _, value in tree.options))
        return tree.name == function or any(mentions(part, function) for part in inner)
    if isinstance(tree, Binary):
        return mentions(tree.left, function) or mentions(tree.right, function)
    return isinstance(tree, Unary) and mentions(tree.operand, function)


def kind_of(tree: Expr, scope: Scope) -> Kind:
    """The kind a tree gives. Raises ExpressionError where parts do not fit together."""
    if isinstance(tree, Number):
        return tree.dim
    if isinstance(tree, Unary):
        return _unary(tree, scope)
    if isinstance(tree, Binary):
        return _binary(tree, scope)
    if isinstance(tree, Call):
        return _call(tree, scope)
    raise ExpressionError(
        f"`{tree.name}` stands alone.", f"Use it as an argument, e.g. count({tree.name}).", tree.column
    )


def _unary(tree: Unary, scope: Scope) -> Kind:
    kind = kind_of(tree.operand, scope)
    if (tree.op == "not") != (kind == "bool") or kind == "series":
        raise ExpressionError(f"`{tree.op}` does not work on {describe(kind)}.", "", tree.column)
    return kind


def _binary(tree: Binary, scope: Scope) -> Kind:
    left, right = kind_of(tree.left, scope), kind_of(tree.right, scope)
    if tree.op in ("and", "or"):
        if left != "bool" or right != "bool":
            odd = left if left != "bool" else right
            raise ExpressionError(f"`{tree.op}` joins conditions, this is {describe(odd)}.", "", tree.column)
        return "bool"
    if isinstance(left, str) or isinstance(right, str):
        odd = left if isinstance(left, str) else right
        raise ExpressionError(f"`{tree.op}` does not work on {describe(odd)}.", "", tree.column)
    if tree.op == "*":
        return left + right
    if tree.op == "/":
        return left - right
    if left != right:
        message = f"`{tree.op}` cannot join {describe(left)} and {describe(right)}."
        raise ExpressionError(message, "Give literals a unit, e.g. 200ms.", tree.column)
    return "bool" if tree.op in ("<=", ">=", "==", "!=", "<", ">") else left


def _call(tree: Call, scope: Scope) -> Kind:
    if tree.name in ("min", "max") and len(tree.args) > 1:
        return _extreme(tree, scope)
    function = FUNCTIONS.get(tree.name)
    if function is None:
        raise ExpressionError(f"unknown function `{tree.name}`.", _near(tree.name, FUNCTIONS), tree.column)
    if scope.place not in function.places:
        where = " and ".join(
            {"rate": "rates", "live": "when/until/abort", "verdict": "expect"}[p] for p in function.places
        )
        raise ExpressionError(f"`{tree.name}` works only in {where}.", "", tree.column)
    if tree.phase is not None:
        if tree.name not in _ROW_FUNCTIONS:
            raise ExpressionError(f"`{tree.name}` has no value of its own per phase.", "", tree.column)
        if tree.phase not in scope.phases:
            raise ExpressionError(f"unknown phase `{tree.phase}`.", _near(tree.phase, scope.phases), tree.column)
    if len(tree.args) != len(function.arguments):
        wanted_count = {0: "no argument", 1: "1 argument"}[len(function.arguments)]
        raise ExpressionError(f"`{tree.name}` takes {wanted_count}, {len(tree.args)} given.", "", tree.column)
    for wanted, given in zip(function.arguments, tree.args, strict=True):
        _argument(tree, wanted, given, scope)
    _options(tree, function, scope)
    return function.result


def _extreme(tree: Call, scope: Scope) -> Kind:
    kinds = [kind_of(arg, scope) for arg in tree.args]
    if tree.options or tree.phase is not None:
        raise ExpressionError(f"`{tree.name}` of several values takes no options.", "", tree.column)
    if isinstance(kinds[0], str) or any(kind != kinds[0] for kind in kinds):
        names = ", ".join(describe(kind) for kind in kinds)
        raise ExpressionError(f"`{tree.name}` needs values of one kind, not {names}.", "", tree.column)
    return kinds[0]


def _options(tree: Call, function: Function, scope: Scope) -> None:
    for key, value in tree.options:
        if key not in function.options:
            allowed = ", ".join(function.options) or "none"
            raise ExpressionError(f"`{tree.name}` has no option `{key}`.", f"Allowed: {allowed}.", tree.column)
        wanted = _OPTION_KINDS[key]
        if wanted == "fault":
            _argument(tree, "fault", value, scope)
        elif not isinstance(value, Number) or value.dim != wanted:
            raise ExpressionError(f"option `{key}` wants {describe(wanted)}, as a literal.", "", tree.column)
    if tree.name == "capacity" and "replicas" not in dict(tree.options):
        raise ExpressionError("`capacity` wants replicas=n.", "Write capacity(pool, replicas=1).", tree.column)


def _argument(tree: Call, wanted: Argument, given: Expr, scope: Scope) -> None:
    if wanted == "series" and isinstance(given, Call):
        if given.name not in ("latency", "ttft", "service"):
            raise ExpressionError(f"`{tree.name}` wants a load or ttft/latency/service of one.", "", given.column)
        if given.phase is not None and tree.phase is not None:
            raise ExpressionError("the phase is named twice.", "Name it once.", given.column)
        kind_of(given, scope)
        return
    allowed = _allowed(wanted, scope)
    if not isinstance(given, Name):
        column = getattr(given, "column", tree.column)
        raise ExpressionError(f"`{tree.name}` wants the name of a {wanted}.", f"Known: {_list(allowed)}.", column)
    if given.name not in allowed:
        what = "load" if wanted == "series" else wanted
        raise ExpressionError(f"unknown {what} `{given.name}`.", _near(given.name, allowed), given.column)


def _allowed(wanted: Argument, scope: Scope) -> frozenset[str]:
    targets = scope.pools | scope.replicas
    table: dict[Argument, frozenset[str]] = {
        "load": scope.loads,
        "series": scope.loads,
        "pool": scope.pools,
        "replica": scope.replicas,
        "target": targets,
        "fault": scope.faults,
        "load-or-target": targets | scope.loads,
    }
    return table[wanted]


def _list(names: frozenset[str] | Mapping[str, object]) -> str:
    return ", ".join(sorted(names)) or "none"


def _near(name: str, names: frozenset[str] | Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name, sorted(names), n=1)
    hint = f"Did you mean `{close[0]}`? " if close else ""
    return f"{hint}Known: {_list(names)}."
