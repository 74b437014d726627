"""The fleet in sentences: what is so, and what has changed since it was last said. Pure; for screen readers and logs.

Says a thing once, in words, the important first; many changes of one kind are one sentence. Numbers that always move
(TTFT, queue) are said only when they have moved far.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from backend.contract.control import DrillView, Frame, Quantiles, ReplicaView, SeriesPoint, Snapshot, WorkloadView
from backend.contract.platform import Trouble
from backend.contract.rows import ActionRow, EventRow
from backend.contract.words import ActionOutcome, Phase, Severity
from console.render import units
from console.render.spans import clean
from console.state.store import FleetState

FAR: Final = 2.0
"""A latency is said again when it is this many times what was said, or one part of it."""
NAMED: Final = 3
"""Replicas named in a sentence; the rest is counted."""
_LOUD: Final = (Severity.WARNING, Severity.ERROR, Severity.CRITICAL)


class Announcer:
    """Feed it frames; it answers with sentences. The first answer tells how things stand."""

    def __init__(self) -> None:
        self.state = FleetState()
        self._told: Snapshot | None = None
        self._p95_told: float | None = None
        self._queue_told = 0
        self._outcomes: dict[str, ActionOutcome] = {}

    def take(self, frame: Frame) -> list[str]:
        """What is worth saying about a frame; nothing where nothing changed."""
        was, lost = self._told, self.state.link == "stale"
        self.state.apply(frame)
        now = self.state.snapshot
        out = ["The daemon answers again."] if lost else []
        if now is None:
            return out
        self._told = now
        if was is None:
            self._p95_told = now.point.ttft.p95_s
            self._queue_told = now.point.queued
            return [*out, *self.summary()]
        out += _trouble(was, now)
        out += _health(was, now)
        out += _phases(was.replicas, now.replicas)
        out += _workloads(was.workloads, now.workloads)
        out += _drill(was.drill, now.drill)
        out += [event_words(row) for row in frame.events if row.severity in _LOUD]
        out += [words for row in frame.actions if (words := self._action(row))]
        out += self._numbers(now)
        if frame.missed_events:
            out.append(f"Lost because they came too fast: {units.plural(frame.missed_events, 'event')}.")
        return out

    def lost(self, reason: str) -> list[str]:
        """The fleet is out of sight; said once."""
        if self.state.link == "stale" or (self.state.link == "connecting" and self.state.reason == reason):
            return []
        self.state.lost(reason)
        if self.state.snapshot is None:
            return [f"Connecting. {reason}"]
        return [f"The fleet is out of sight: {reason} What was said before may be old."]

    def summary(self) -> list[str]:
        """How things stand, in a few sentences."""
        snapshot = self.state.snapshot
        if snapshot is None:
            return ["No fleet has answered yet."]
        point = snapshot.point
        because = f": {_sentence(snapshot.health_reason)}" if snapshot.health_reason else "."
        out = [f"Fleet {snapshot.fleet} is {snapshot.health}{because}"]
        out += [_workload(view) for view in snapshot.workloads]
        odd: dict[Phase, list[str]] = defaultdict(list)
        for view in snapshot.replicas:
            if view.status.phase != Phase.READY:
                odd[view.status.phase].append(view.status.name)
        out += [f"{_names(names)} {_is(names)} {phase}." for phase, names in odd.items()]
        if snapshot.has_edge:
            out.append(_requests(point))
        alarms = self.state.unacknowledged()
        if alarms:
            out.append(f"{units.plural(len(alarms), 'alarm')} not acknowledged.")
        if snapshot.drill is not None and snapshot.drill.ended_ts is None:
            out.append(f"Drill {snapshot.drill.name} is running, phase {snapshot.drill.phase}.")
        if snapshot.trouble is not None:
            out.append(f"What is said of it may be old: {_remedy(snapshot.trouble)}")
        return out

    def _action(self, row: ActionRow) -> str:
        """`console:ada: kill llm-0 is done.`, once for each outcome."""
        if self._outcomes.get(row.id) == row.outcome:
            return ""
        self._outcomes[row.id] = row.outcome
        while len(self._outcomes) > 500:
            del self._outcomes[next(iter(self._outcomes))]
        verb = f"{row.actor}: {row.verb} {row.target}".rstrip()
        result = f": {_sentence(row.result)}" if row.result else "."
        match row.outcome:
            case ActionOutcome.RUNNING:
                return f"{verb} began."
            case ActionOutcome.OK:
                return f"{verb} is done{result}"
            case ActionOutcome.REFUSED:
                return f"{verb} was refused{result}"
            case _:
                return f"{verb} failed{result}"

    def _numbers(self, now: Snapshot) -> list[str]:
        out: list[str] = []
        ttft = now.point.ttft
        if ttft.count and ttft.p95_s:
            told = self._p95_told
            if told is None or ttft.p95_s >= told * FAR or ttft.p95_s * FAR <= told:
                before = "" if told is None else f", it was {units.latency(told)}"
                out.append(
                    f"p95 TTFT is {units.latency(ttft.p95_s)} over {units.plural(ttft.count, 'request')}{before}."
                )
                self._p95_told = ttft.p95_s
        queued = now.point.queued
        if (queued > 0) != (self._queue_told > 0) or queued >= FAR * max(5, self._queue_told):
            waiting = f"{units.plural(queued, 'request')} {'is' if queued == 1 else 'are'} waiting."
            out.append(waiting if queued else "No request is waiting.")
            self._queue_told = queued
        return out


def event_words(row: EventRow) -> str:
    """`Error, llm-0: killed by signal 9.`"""
    return f"{row.severity.capitalize()}, {row.subject}: {_sentence(row.message)}"


def _requests(point: SeriesPoint) -> str:
    return (
        f"{_per_second(point.requests_per_s, 'request')}, {_per_second(point.errors_per_s, 'error')}, "
        f"{point.queued} waiting, {point.in_flight} in flight. {_ttft(point.ttft)}"
    )


def _trouble(was: Snapshot, now: Snapshot) -> list[str]:
    if now.trouble is None:
        return ["The platform answers again."] if was.trouble is not None else []
    same = was.trouble is not None and was.trouble.message == now.trouble.message
    return [] if same else [_remedy(now.trouble)]


def _remedy(trouble: Trouble) -> str:
    return f"{_sentence(trouble.message)} {_sentence(trouble.next_step)}".strip()


def _health(was: Snapshot, now: Snapshot) -> list[str]:
    if was.health == now.health:
        return []
    because = f": {_sentence(now.health_reason)}" if now.health_reason else "."
    return [f"Fleet {now.fleet} is {now.health} now{because}"]


def _phases(was: Sequence[ReplicaView], now: Sequence[ReplicaView]) -> list[str]:
    """One sentence for each way in which replicas changed."""
    before = {view.status.name: view for view in was}
    after = {view.status.name: view for view in now}
    moves: dict[tuple[Phase, Phase, str], list[str]] = defaultdict(list)
    fresh: dict[Phase, list[str]] = defaultdict(list)
    for name, view in after.items():
        old = before.get(name)
        if old is None:
            fresh[view.status.phase].append(name)
        elif old.status.phase != view.status.phase:
            moves[old.status.phase, view.status.phase, view.status.reason].append(name)
    gone = [name for name in before if name not in after]
    out = []
    for (old_phase, phase, reason), names in moves.items():
        because = f": {_sentence(reason)}" if reason else "."
        out.append(f"{_names(names)} went from {old_phase} to {phase}{because}")
    out += [f"{_names(names)} {_is(names)} new and {phase}." for phase, names in fresh.items()]
    if gone:
        out.append(f"{_names(gone)} {_is(gone)} gone.")
    return out


def _workloads(was: Sequence[WorkloadView], now: Sequence[WorkloadView]) -> list[str]:
    before = {view.name: view for view in was}
    out = []
    for view in now:
        old = before.get(view.name)
        if old is None:
            out.append(_workload(view))
            continue
        if old.wanted != view.wanted:
            out.append(f"Workload {view.name}: {view.wanted} wanted, {old.wanted} before.")
        if old.ready != view.ready:
            out.append(f"Workload {view.name}: {view.ready} of {view.wanted} ready.")
        if old.maintenance != view.maintenance:
            out.append(f"Workload {view.name}: maintenance {'began' if view.maintenance else 'ended'}.")
    return out


def _workload(view: WorkloadView) -> str:
    slots = f", {units.plural(view.slots, 'slot')}" if view.slots else ""
    rest = ", in maintenance" if view.maintenance else ""
    return f"Workload {view.name}: {view.ready} of {view.wanted} ready{slots}{rest}."


def _drill(was: DrillView | None, now: DrillView | None) -> list[str]:
    if now is None:
        return []
    same = was is not None and was.run_id == now.run_id
    out = [] if same else [f"Drill {now.name} began."]
    if now.ended_ts is not None:
        ended = was is not None and same and was.ended_ts is not None
        return (
            out
            if ended
            else [*out, f"Drill {now.name} ended: {now.outcome}. {_sentence(now.detail)}".rstrip(" .") + "."]
        )
    if now.phase and (was is None or not same or was.phase != now.phase):
        out.append(f"Drill {now.name}: phase {now.phase}.")
    return out


def _ttft(ttft: Quantiles) -> str:
    if not ttft.count:
        return "No answer has been streamed lately."
    values = f"p50 {units.latency(ttft.p50_s)}, p95 {units.latency(ttft.p95_s)}, p99 {units.latency(ttft.p99_s)}"
    return f"TTFT {values} over {units.plural(ttft.count, 'request')} in {ttft.window_s:.0f} s."


def _per_second(value: float, noun: str) -> str:
    return f"{units.rate(value)} {noun}s a second"


def _names(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    if len(names) <= NAMED:
        return f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{len(names)} replicas ({', '.join(names[:NAMED])} and {len(names) - NAMED} more)"


def _is(things: Sequence[object]) -> str:
    return "is" if len(things) == 1 else "are"


def _sentence(text: str) -> str:
    """Ends in a full stop and cannot move a cursor."""
    words = clean(text).strip()
    return words if not words or words[-1] in ".!?" else words + "."


def said(sentences: Iterable[str], ts: float) -> list[str]:
    """Lines to print: each with the time of day."""
    return [f"{units.time_of_day(ts)} {clean(words)}" for words in sentences]
