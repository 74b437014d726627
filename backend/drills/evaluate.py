"""Expressions over facts: rows, stamps and observations in, a value out. Pure; the same code live and afterwards.

A value is a float (base units), a bool, or None where there is no data to say. None spreads: a comparison with None
is None, so that an expectation without data is never taken for met.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import msgspec

from backend.contract.rows import EventRow
from backend.contract.words import RequestOutcome
from backend.drills.expression import Binary, Call, Expr, Name, Number, Unary
from backend.drills.expression_types import mentions
from backend.drills.incidents import ejections, poisonings
from backend.drills.records import DrillRow, FaultStamps, Observation, PhaseSpan
from backend.quantiles import quantile

Value = float | bool | None
SHARE_WINDOW_S = 2.0


class Facts(msgspec.Struct, kw_only=True):
    """What expressions are about. `rows` per load in the order they ended. `phase` None means the whole run."""

    rows: Mapping[str, Sequence[DrillRow]]
    phases: Sequence[PhaseSpan] = ()
    faults: Mapping[str, FaultStamps] = {}
    observations: Sequence[Observation] = ()
    sizes: Mapping[str, int] = {}
    members: Mapping[str, Collection[str]] = {}
    """Replicas that each target stands for, or stood for at any time."""
    events: Sequence[EventRow] = ()
    mono_offset_s: float = 0.0
    """What makes a monotonic instant of an event's wall time, for events that carry no monotonic one."""
    host: Mapping[str, float] = {}
    """`mem_free` and `disk_free` of this machine now, 0..1; live only."""
    outstanding: Mapping[str, int] = {}
    """Requests sent and not ended, per load; live only."""
    capacity_per_replica: Mapping[str, float] = {}
    """Calibrated requests/s of one replica, per pool."""
    phase: str | None = None
    now_s: float | None = None
    """For sliding windows; null afterwards, when they end with the phase."""
    grace_s: float = 0.0
    """Requests whose intended arrival lies within this after an injection are left out."""


class Reading(msgspec.Struct, frozen=True):
    """An evaluated expression: its value and what each measured call in it gave."""

    value: Value
    measured: dict[str, float | None]


def evaluate(tree: Expr, facts: Facts) -> Reading:
    """The value of a checked tree, with the measured values of the calls in it by their text."""
    worker = _Evaluator(facts, shed_is_named=mentions(tree, "shed"))
    value = worker.value(tree)
    return Reading(value, worker.measured)


def in_phase(row: DrillRow, span: PhaseSpan) -> bool:
    """Whether the row's intended arrival lies in the phase."""
    return span.start_s <= row.intended_s and (span.end_s is None or row.intended_s < span.end_s)


def spans_fault(row: DrillRow, fault: FaultStamps) -> bool:
    """Whether the request was alive when the fault was injected."""
    if fault.t_command is None:
        return False
    return row.intended_s <= (fault.t_effective or fault.t_command) and row.ended_s >= fault.t_command


def is_failed(row: DrillRow) -> bool:
    return row.request.outcome == RequestOutcome.FAILED


def is_shed(row: DrillRow) -> bool:
    return row.request.outcome == RequestOutcome.SHED


def is_truncated(row: DrillRow) -> bool:
    """An answer that had begun and then ended visibly broken."""
    return is_failed(row) and row.began


class _Evaluator:
    def __init__(self, facts: Facts, *, shed_is_named: bool) -> None:
        self._facts = facts
        self._shed_is_named = shed_is_named
        self.measured: dict[str, float | None] = {}

    def value(self, tree: Expr) -> Value:
        if isinstance(tree, Number):
            return tree.value
        if isinstance(tree, Unary):
            inner = self.value(tree.operand)
            if inner is None:
                return None
            return (not inner) if tree.op == "not" else -inner
        if isinstance(tree, Binary):
            return self._binary(tree)
        if isinstance(tree, Call):
            return self._call(tree)
        raise TypeError(f"a bare name is no value: {tree.name}")

    def _binary(self, tree: Binary) -> Value:
        left = self.value(tree.left)
        right = self.value(tree.right)
        if tree.op == "and":
            return False if left is False or right is False else None if left is None or right is None else True
        if tree.op == "or":
            return True if left is True or right is True else None if left is None or right is None else False
        if left is None or right is None:
            return None
        if tree.op == "/":
            return left / right if right else None
        return _OPERATORS[tree.op](left, right)

    def _call(self, tree: Call) -> Value:
        if tree.name in ("min", "max") and len(tree.args) > 1:
            values = [self.value(arg) for arg in tree.args]
            known = [value for value in values if value is not None]
            if len(known) < len(values):
                return None
            return min(known) if tree.name == "min" else max(known)
        result = self._measure(tree)
        self.measured[tree.text] = result
        return result

    def _measure(self, tree: Call) -> float | None:
        name = tree.name
        if name in _HOST_STATES:
            return self._facts.host.get(_HOST_STATES[name])
        first = tree.args[0]
        if name in _SERIES_FUNCTIONS:
            return _SERIES_FUNCTIONS[name](self._series(tree, first))
        assert isinstance(first, Name)
        if name in _FAULT_TIMES:
            return _fault_time(name, self._facts.faults.get(first.name))
        if name in _ROW_COUNTS:
            return self._count(name, tree, first.name)
        if name == "share":
            return self._share(tree, first.name)
        if name in ("ejections", "false_ejections", "poisoned"):
            return self._incidents(name, first.name)
        if name == "extra_attempts":
            rows = list(self._rows(tree, first.name))
            return sum(row.request.retries for row in rows) / len(rows) if rows else None
        if name == "ok_ratio":
            rows = list(self._rows(tree, first.name))
            return sum(row.answered for row in rows) / len(rows) if rows else None
        if name == "capacity":
            replicas = dict(tree.options)["replicas"]
            assert isinstance(replicas, Number)
            one = self._facts.capacity_per_replica.get(first.name)
            return None if one is None else one * replicas.value
        if name == "size":
            size = self._facts.sizes.get(first.name)
            return None if size is None else float(size)
        return self._state(name, first.name)

    def _count(self, name: str, tree: Call, load: str) -> float:
        return float(sum(_ROW_COUNTS[name](row, self._shed_is_named) for row in self._rows(tree, load)))

    def _share(self, tree: Call, target: str) -> float | None:
        """Part of the answers that the target's replica gave: live of the last 2 s, afterwards of the phase."""
        window = dict(tree.options).get("last")
        if window is None and self._facts.now_s is not None:
            tree = msgspec.structs.replace(tree, options=(("last", Number(SHARE_WINDOW_S, 1, tree.column)),))
        names = self._facts.members.get(target, ())
        served = [
            row.request.replica
            for load in self._facts.rows
            for row in self._rows(tree, load)
            if row.answered and row.request.replica is not None
        ]
        return sum(name in names for name in served) / len(served) if served and names else None

    def _incidents(self, name: str, pool: str) -> float | None:
        """Events of the pool in the phase (live: so far in the run)."""
        facts = self._facts
        members = facts.members.get(pool)
        if members is None:
            return None
        if name == "poisoned":
            found = poisonings(facts.events, members, facts.mono_offset_s)
        else:
            faults = tuple(facts.faults.values()) if name == "false_ejections" else ()
            found = ejections(facts.events, members, facts.mono_offset_s, explained_by=faults)
        span = self._span(facts.phase)
        inside = [at for at in found if span is None or span.start_s <= at < (span.end_s or float("inf"))]
        return float(len(inside))

    def _state(self, name: str, target: str) -> float | None:
        """The newest observation; afterwards, the one at the end of the phase."""
        if name == "in_flight" and target in self._facts.outstanding:
            return float(self._facts.outstanding[target])
        end = self._window_end(self._facts.phase)
        first: float | None = None
        for seen in reversed(self._facts.observations):
            if end is not None and seen.at_s > end:
                continue
            table = {"healthy": seen.healthy, "restarts": seen.restarts, "in_flight": seen.in_flight}[name]
            if target in table:
                first = float(table[target])
                break
        return first

    def _series(self, tree: Call, given: Expr) -> list[float]:
        kind, inner = "latency", tree
        if isinstance(given, Call):
            kind, inner = given.name, given
            given = given.args[0]
        assert isinstance(given, Name)
        options = (*tree.options, *(inner.options if inner is not tree else ()))
        joined = Call(tree.name, tree.args, options, tree.phase or inner.phase, tree.column, tree.text)
        rows = (row for row in self._rows(joined, given.name) if row.answered)
        values = (_SERIES[kind](row) for row in rows)
        return [value for value in values if value is not None]

    def _span(self, phase: str | None) -> PhaseSpan | None:
        return next((span for span in self._facts.phases if span.name == phase), None)

    def _window_end(self, phase: str | None) -> float | None:
        if self._facts.now_s is not None:
            return self._facts.now_s
        span = self._span(phase)
        return None if span is None else span.end_s

    def _rows(self, tree: Call, load: str) -> Iterator[DrillRow]:
        facts, options = self._facts, dict(tree.options)
        phase = tree.phase or facts.phase
        span = self._span(phase)
        if phase is not None and span is None:
            return
        last = options.get("last")
        since = None
        if isinstance(last, Number):
            end = self._window_end(phase)
            since = None if end is None else end - last.value
        spanned = options.get("spans")
        fault = facts.faults.get(spanned.name) if isinstance(spanned, Name) else None
        if isinstance(spanned, Name) and fault is None:
            return
        for row in reversed(facts.rows.get(load, ())):
            # Rows are in the order they ended, and none ended before it was intended.
            if (since is not None and row.ended_s < since) or (span is not None and row.ended_s < span.start_s):
                break
            if span is not None and not in_phase(row, span):
                continue
            if fault is not None and not spans_fault(row, fault):
                continue
            if tree.phase is None and self._graced(row):
                continue
            yield row

    def _graced(self, row: DrillRow) -> bool:
        grace = self._facts.grace_s
        if not grace:
            return False
        starts = (fault.t_command for fault in self._facts.faults.values())
        return any(start is not None and start <= row.intended_s <= start + grace for start in starts)


def _fault_time(name: str, fault: FaultStamps | None) -> float | None:
    if fault is None or fault.t_effective is None:
        return None
    effective = fault.t_effective
    if name == "undone":
        known = fault.t_undone is not None and fault.t_undo_issued is not None
        return max(0.0, (fault.t_undone or 0.0) - (fault.t_undo_issued or 0.0)) if known else None
    if name == "failover":
        return None if fault.t_first_failover_ok is None else max(0.0, fault.t_first_failover_ok - effective)
    if name == "exposure":
        return 0.0 if fault.t_last_dispatch is None else max(0.0, fault.t_last_dispatch - effective)
    end = fault.t_detected if name == "detect" else fault.t_ready
    if end is None:
        return None
    start = fault.t_healed if name == "recovery" and fault.t_healed is not None else effective
    return max(0.0, end - start)


def _is_failure(row: DrillRow, shed_is_named: bool) -> bool:
    return is_failed(row) or (is_shed(row) and not shed_is_named)


_ROW_COUNTS: Mapping[str, Callable[[DrillRow, bool], bool]] = {
    "count": lambda row, _: True,
    "ok": lambda row, _: row.request.outcome == RequestOutcome.OK,
    "slow": lambda row, _: row.request.outcome == RequestOutcome.SLOW,
    "wrong": lambda row, _: row.request.outcome == RequestOutcome.WRONG,
    "shed": lambda row, _: is_shed(row),
    "failed": _is_failure,
    "truncated": lambda row, _: is_truncated(row),
    "failed_before_first_byte": lambda row, named: _is_failure(row, named) and not row.began,
    "retried": lambda row, _: row.request.retries > 0,
    "refused_connects": lambda row, _: is_failed(row) and row.request.termination == "refused",
}
_FAULT_TIMES = frozenset({"detect", "exposure", "failover", "recovery", "mttr", "undone", "edge_gap"})
_HOST_STATES: Mapping[str, str] = {"host_mem_free": "mem_free", "host_disk_free": "disk_free"}
_SERIES: Mapping[str, Callable[[DrillRow], float | None]] = {
    "latency": lambda row: row.latency_s,
    "service": lambda row: row.service_s,
    "ttft": lambda row: row.ttft_s,
}
_SERIES_FUNCTIONS: Mapping[str, Callable[[list[float]], float | None]] = {
    "p50": lambda values: quantile(values, 0.5),
    "p95": lambda values: quantile(values, 0.95),
    "p99": lambda values: quantile(values, 0.99),
    "max": lambda values: max(values, default=None),
    "min": lambda values: min(values, default=None),
}
_OPERATORS: Mapping[str, Callable[[float, float], Value]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
}
