"""What happened, as marks in time: actions, drills with their faults, events that want eyes. Pure; never draws."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal

import msgspec

from backend.contract.control import DrillView
from backend.contract.rows import ActionRow, EventRow
from backend.contract.words import ActionOutcome, Severity, Verb
from console.state.store import FleetState

MarkKind = Literal["action", "drill", "fault", "warning", "error", "critical"]
WEIGHT: Final[dict[MarkKind, int]] = {"drill": 0, "warning": 1, "action": 2, "fault": 3, "error": 4, "critical": 5}
"""Which one is seen where several fall into one cell."""
_SEVERE: Final[dict[Severity, MarkKind]] = {
    Severity.WARNING: "warning",
    Severity.ERROR: "error",
    Severity.CRITICAL: "critical",
}
_QUIET: Final = (Verb.ACKNOWLEDGE, Verb.DRILL_RUN, Verb.DRILL_STOP, Verb.INJECT, Verb.HEAL)
"""Verbs that change nothing a chart shows, or that the drill's own marks tell better."""


class Mark(msgspec.Struct, frozen=True):
    """One thing that happened. `until` is null for an instant, and for a span that goes on it is the newest second."""

    ts: float
    kind: MarkKind
    words: str
    until: float | None = None
    healed: bool = True
    """Whether a span has ended."""


class MarkBook:
    """The marks of what is shown; made anew only when something was added."""

    def __init__(self) -> None:
        self.runs: Sequence[DrillView] = ()
        """Earlier drill runs, where somebody asked for them."""
        self.events: Sequence[EventRow] = ()
        self.actions: Sequence[ActionRow] = ()
        """Rows from before those that the state holds, where somebody asked for them."""
        self._key: object = None
        self._marks: list[Mark] = []

    def of(self, state: FleetState) -> list[Mark]:
        """Oldest first."""
        drill = state.snapshot.drill if state.snapshot is not None else None
        actions = state.actions
        key = (
            id(state),
            len(state.events),
            state.events[-1] if state.events else None,
            [(row.id, row.outcome) for row in actions[-20:]],
            len(actions),
            drill and (drill.run_id, drill.faults, drill.outcome, int(drill.elapsed_s)),
            id(self.runs),
            id(self.events),
            id(self.actions),
        )
        if key != self._key:
            runs = {view.run_id: view for view in (*self.runs, *([drill] if drill is not None else []))}
            events = {row.seq: row for row in (*self.events, *state.events)}
            acts = {row.id: row for row in (*self.actions, *actions)}
            self._marks = marks_of(events.values(), acts.values(), runs.values())
            self._key = key
        return self._marks


def marks_of(events: Iterable[EventRow], actions: Iterable[ActionRow], runs: Iterable[DrillView]) -> list[Mark]:
    """Warnings and worse, actions of people and of the autoscaler, drills and their faults. Oldest first."""
    marks = [
        Mark(event.ts, _SEVERE[event.severity], f"{event.subject}: {event.message}")
        for event in events
        if event.severity in _SEVERE and not event.kind.startswith(("action.", "drill."))
    ]
    marks += [Mark(row.ts, "action", _action_words(row)) for row in actions if _is_told(row)]
    for view in runs:
        marks += _drill_marks(view)
    return sorted(marks, key=lambda mark: mark.ts)


def near(marks: Sequence[Mark], since: float, until: float) -> list[Mark]:
    """Marks that touch a stretch of time, the weightiest first."""
    found = [mark for mark in marks if mark.ts < until and (mark.until or mark.ts) >= since]
    return sorted(found, key=lambda mark: (-WEIGHT[mark.kind], mark.ts))


def _is_told(row: ActionRow) -> bool:
    return row.outcome != ActionOutcome.REFUSED and row.verb not in _QUIET and not row.actor.startswith("drill:")


def _action_words(row: ActionRow) -> str:
    """`scale llm 4 by ada`."""
    text = row.args.get("text") if row.verb == Verb.NOTE else row.args.get("replicas", row.args.get("rate"))
    who = row.actor.partition(":")[2] or row.actor
    failed = ", failed" if row.outcome == ActionOutcome.FAILED else ""
    return (
        " ".join(part for part in (row.verb, row.target, "" if text is None else str(text), "by", who) if part) + failed
    )


def _drill_marks(view: DrillView) -> list[Mark]:
    """The run as a span, and each fault from its effect until it was healed."""
    now = view.started_ts + view.elapsed_s
    end = view.ended_ts
    marks = [Mark(view.started_ts, "drill", f"drill {view.name} {view.outcome}", end or now, end is not None)]
    for fault in view.faults:
        begin = fault.effective_s if fault.effective_s is not None else fault.command_s
        if begin is None:
            continue
        healed = fault.healed_s if fault.healed_s is not None else fault.undone_s
        ended = healed if healed is not None else (end or now) - view.started_ts
        victims = ", ".join(fault.victims)
        words = f"{view.name}: {fault.fault} {victims}".rstrip()
        until = view.started_ts + max(begin, ended)
        marks.append(Mark(view.started_ts + begin, "fault", words, until, healed is not None or end is not None))
    return marks
