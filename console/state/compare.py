"""Two instants of a fleet side by side: what appeared, went, changed, and by how much. Pure; draws nothing.

Owns what counts as worse or better and what comes first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, Literal

import msgspec

from backend.contract.control import ReplicaView, Snapshot, WorkloadView
from backend.contract.fleet import ExitRecord
from backend.contract.rows import ActionRow, EventRow
from backend.contract.words import Phase, Severity
from console.state.scrub import Happening

Tone = Literal["worse", "better", "changed", "same"]
Unit = Literal["latency", "rate", "count", "percent"]

BROKEN: Final = (Phase.FAILED, Phase.CRASH_LOOP)
_SEVERITIES: Final = list(Severity)


class Side(msgspec.Struct, frozen=True):
    """One of the two instants, by the name it has on screen."""

    name: str
    ts: float
    snapshot: Snapshot


class NumberChange(msgspec.Struct, frozen=True):
    """One number at both instants; null where nobody measured it."""

    label: str
    unit: Unit
    before: float | None
    after: float | None
    tone: Tone


class Change(msgspec.Struct, frozen=True):
    """What became of one replica, workload or the fleet itself. Phases are null for what was not there."""

    subject: str
    rank: int
    """0 comes first."""
    tone: Tone
    before: Phase | None = None
    after: Phase | None = None
    notes: tuple[str, ...] = ()


class Count(msgspec.Struct, frozen=True):
    """How often something happened between the two instants."""

    kind: str
    number: int
    severity: Severity | None = None
    """Null for an action."""
    who: tuple[str, ...] = ()


class Comparison(msgspec.Struct, frozen=True):
    """From the earlier instant to the later one, the most important first."""

    before: Side
    after: Side
    numbers: tuple[NumberChange, ...]
    changes: tuple[Change, ...]
    happened: tuple[Count, ...]


def compare(one: Side, other: Side, found: Iterable[Happening] = ()) -> Comparison:
    """What differs; the earlier one is `before`, whichever was marked first."""
    before, after = (one, other) if one.ts <= other.ts else (other, one)
    old, new = before.snapshot, after.snapshot
    changes = [*_fleet(old, new), *_workloads(old, new), *_replicas(old, new)]
    return Comparison(
        before=before,
        after=after,
        numbers=_numbers(old, new),
        changes=tuple(sorted(changes, key=lambda change: (change.rank, change.subject))),
        happened=_counts(row for row in found if before.ts < row.ts <= after.ts),
    )


# -- numbers -------------------------------------------------------------------------------------------------------

_Number = tuple[str, Unit, Callable[[Snapshot], float | None], int]
_NUMBERS: Final[tuple[_Number, ...]] = (
    ("ready", "count", lambda s: s.point.ready, 1),
    ("wanted", "count", lambda s: s.point.wanted, 0),
    ("errors/s", "rate", lambda s: s.point.errors_per_s, -1),
    ("queue", "count", lambda s: s.point.queued, -1),
    ("TTFT p50", "latency", lambda s: s.point.ttft.p50_s, -1),
    ("TTFT p95", "latency", lambda s: s.point.ttft.p95_s, -1),
    ("TTFT p99", "latency", lambda s: s.point.ttft.p99_s, -1),
    ("requests/s", "rate", lambda s: s.point.requests_per_s, 0),
    ("tokens/s", "rate", lambda s: s.point.tokens_per_s, 0),
    ("in flight", "count", lambda s: s.point.in_flight, 0),
    ("cpu", "percent", lambda s: s.point.cpu_percent, 0),
    ("memory", "percent", lambda s: s.point.memory_percent, 0),
)
"""Label, unit, where it stands, and which way is better: 1 up, -1 down, 0 neither."""
_LEAST: Final[dict[Unit, float]] = {"latency": 0.005, "rate": 0.05, "count": 0.5, "percent": 0.5}
"""Less than that is the same."""
NOISE: Final = 0.1
"""A measured number that differs by less than this share is neither worse nor better."""


def _numbers(old: Snapshot, new: Snapshot) -> tuple[NumberChange, ...]:
    out: list[NumberChange] = []
    for label, unit, read, good in _NUMBERS:
        before, after = read(old), read(new)
        out.append(NumberChange(label, unit, before, after, _tone(before, after, unit, good)))
    return tuple(out)


def _tone(before: float | None, after: float | None, unit: Unit, good: int) -> Tone:
    if before is None or after is None:
        return "same" if before is after else "changed"
    step = after - before
    if abs(step) < _LEAST[unit]:
        return "same"
    small = unit != "count" and abs(step) < NOISE * max(abs(before), abs(after))
    if good == 0 or small:
        return "changed"
    return "better" if step * good > 0 else "worse"


# -- what became of whom -------------------------------------------------------------------------------------------


def _fleet(old: Snapshot, new: Snapshot) -> list[Change]:
    notes: list[str] = []
    tone: Tone = "changed"
    if old.health != new.health:
        notes.append(f"health {old.health} → {new.health}")
        tone = "better" if new.health == "ok" else "worse"
    if old.edge_up != new.edge_up:
        notes.append("the edge came up" if new.edge_up else "the edge went down")
        tone = "better" if new.edge_up else "worse"
    if old.load.running != new.load.running:
        notes.append(f"demo load {new.load.rate:g}/s started" if new.load.running else "demo load stopped")
    if old.drills_blocked != new.drills_blocked:
        notes.append("drills are blocked" if new.drills_blocked else "drills may start again")
    if old.version != new.version:
        notes.append(f"version {old.version} → {new.version}")
    lost = new.dropped_rows - old.dropped_rows
    if lost > 0:
        notes.append(f"{lost} rows lost")
        tone = "worse"
    return [Change(new.fleet, 0, tone, notes=tuple(notes))] if notes else []


def _workloads(old: Snapshot, new: Snapshot) -> list[Change]:
    was = {view.name: view for view in old.workloads}
    now = {view.name: view for view in new.workloads}
    out = [Change(name, 1, "worse", notes=("workload went",)) for name in was if name not in now]
    for name, view in now.items():
        before = was.get(name)
        if before is None:
            out.append(Change(name, 1, "changed", notes=(f"new workload, {view.wanted} wanted",)))
        elif notes := _workload_notes(before, view):
            short = view.wanted - view.ready > before.wanted - before.ready
            out.append(Change(name, 1, "worse" if short else "changed", notes=tuple(notes)))
    return out


def _workload_notes(before: WorkloadView, after: WorkloadView) -> list[str]:
    notes: list[str] = []
    for word, was, now in (
        ("wanted", before.wanted, after.wanted),
        ("ready", before.ready, after.ready),
        ("slots", before.slots, after.slots),
    ):
        if was != now:
            notes.append(f"{word} {was} → {now}")
    for word, held, holds in (
        ("maintenance", before.maintenance, after.maintenance),
        ("autoscaling", before.autoscale, after.autoscale),
    ):
        if held != holds:
            notes.append(f"{word} {'on' if holds else 'off'}")
    return notes


def _replicas(old: Snapshot, new: Snapshot) -> list[Change]:
    was = {view.status.name: view for view in old.replicas}
    now = {view.status.name: view for view in new.replicas}
    out = [
        Change(name, 3, "worse" if view.status.phase == Phase.READY else "changed", before=view.status.phase)
        for name, view in was.items()
        if name not in now
    ]
    for name, view in now.items():
        before = was.get(name)
        if before is None:
            out.append(Change(name, 5, "changed", after=view.status.phase))
        elif before is not view and (change := _replica(before, view)) is not None:
            out.append(change)
    return out


def _replica(before: ReplicaView, after: ReplicaView) -> Change | None:
    was, now = before.status, after.status
    notes: list[str] = []
    if was.created_ts != now.created_ts:
        notes.append("replaced under its name")
    elif now.restarts > was.restarts:
        times = now.restarts - was.restarts
        notes.append(f"restarted{'' if times == 1 else f' {times} times'}{_cause(now.last_exit)}")
    elif now.last_exit is not None and now.last_exit != was.last_exit:
        notes.append(f"ended{_cause(now.last_exit)}")
    if was.host != now.host or (was.port != now.port and now.restarts == was.restarts):
        notes.append(f"moved {was.host}:{was.port} → {now.host}:{now.port}")
    if was.revision != now.revision:
        notes.append(f"revision {was.revision or 'none'} → {now.revision or 'none'}")
    if was.phase == now.phase and not notes:
        return None
    return Change(now.name, *_weight(was.phase, now.phase), was.phase, now.phase, tuple(notes))


def _weight(before: Phase, after: Phase) -> tuple[int, Tone]:
    """How far up it stands, and whether it is good news."""
    if after != before and after in BROKEN:
        return 2, "worse"
    if before == Phase.READY and after != Phase.READY:
        return 3, "worse"
    if before == after:
        return 4, "changed"
    return (6, "better") if after == Phase.READY else (5, "changed")


def _cause(record: ExitRecord | None) -> str:
    if record is None:
        return ""
    how = f", signal {record.signal}" if record.signal is not None else ""
    how = f", exit code {record.code}" if record.code is not None else how
    return f": {record.reason}{how}"


# -- what happened between -----------------------------------------------------------------------------------------


def _counts(found: Iterable[Happening]) -> tuple[Count, ...]:
    """Actions first, then events, the gravest first."""
    verbs: Counter[str] = Counter()
    who: dict[str, dict[str, None]] = {}
    kinds: Counter[str] = Counter()
    gravest: dict[str, Severity] = {}
    for one in found:
        row = one.row
        if isinstance(row, ActionRow):
            verbs[row.verb] += 1
            who.setdefault(row.verb, {})[row.actor] = None
        else:
            kinds[row.kind] += 1
            gravest[row.kind] = _graver(gravest.get(row.kind), row)
    actions = [Count(verb, number, who=tuple(who[verb])) for verb, number in verbs.most_common()]
    events = [Count(kind, number, gravest[kind]) for kind, number in kinds.items()]
    events.sort(key=lambda count: (-_SEVERITIES.index(count.severity or Severity.DEBUG), -count.number, count.kind))
    return (*actions, *events)


def _graver(known: Severity | None, row: EventRow) -> Severity:
    return row.severity if known is None else max(known, row.severity, key=_SEVERITIES.index)
