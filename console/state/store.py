"""The fleet as the console knows it: the newest snapshot, a window of history, events, actions, freshness.

Folds frames; never talks to a source and never draws. Everything kept is bounded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, Literal

from backend.contract.control import Frame, ReplicaView, ScalingView, SeriesPoint, Snapshot, WorkloadView
from backend.contract.platform import ForwardView, NodeStatus, PortView, Trouble
from backend.contract.rows import ActionRow, EventRow
from backend.contract.words import ActionOutcome, Severity, Verb
from console.state.replica_ttft import ReplicaTtft

HISTORY_S: Final = 900
KEPT_EVENTS: Final = 2000
KEPT_ACTIONS: Final = 500
ALARMING: Final = (Severity.ERROR, Severity.CRITICAL)

Link = Literal["connecting", "live", "stale"]


class FleetState:
    """What every panel reads. `link` says how much to believe it."""

    def __init__(self, first: Snapshot | None = None, points: Sequence[SeriesPoint] = ()) -> None:
        """`first` and `points` are what was recorded last, to be shown until something newer comes."""
        self.snapshot = first
        self.link: Link = "connecting"
        self.reason = ""
        """Why it is not live, a sentence."""
        self.past = ""
        """What the fleet line says of a past instant: `PAST 14:03:05 · 2h ago`; empty for the present."""
        self.points: deque[SeriesPoint] = deque(points, maxlen=HISTORY_S)
        self.events: deque[EventRow] = deque(maxlen=KEPT_EVENTS)
        self.replica_ttft = ReplicaTtft()
        self.acked_seq = 0
        self.missed_events = 0
        self.last_ts: float | None = first.ts if first else None
        self._actions: dict[str, ActionRow] = {}
        self._seen_seq = 0
        self._history_loaded = False

    # -- folding ---------------------------------------------------------------------------------------------

    def apply(self, frame: Frame) -> list[EventRow]:
        """Take a frame; returns new error and critical events that nobody has acknowledged (for the bell)."""
        self.link, self.reason = "live", ""
        if frame.snapshot is not None:
            self.snapshot = frame.snapshot
            self.last_ts = frame.snapshot.ts
            self._add_point(frame.snapshot.point)
            self.replica_ttft.take(frame.snapshot.ts, frame.snapshot.replicas)
        self.missed_events += frame.missed_events
        self.add_actions(frame.actions)
        fresh = self._add_events(frame.events)
        if not self._history_loaded:
            return []
        return [event for event in fresh if event.severity in ALARMING and event.seq > self.acked_seq]

    def load_history(
        self, points: Sequence[SeriesPoint], events: Sequence[EventRow], actions: Sequence[ActionRow]
    ) -> None:
        """What happened before this console attached, or while it was cut off. Rings no bell."""
        merged = {point.ts: point for point in (*points, *self.points)}
        self.points = deque((merged[ts] for ts in sorted(merged)), maxlen=HISTORY_S)
        self.add_actions(actions)
        known = {event.seq: event for event in (*events, *self.events)}
        self.events = deque((known[seq] for seq in sorted(known)), maxlen=KEPT_EVENTS)
        self._seen_seq = max([self._seen_seq, *known])
        self._history_loaded = True

    def lost(self, reason: str) -> None:
        """The daemon went away: everything stays, marked stale."""
        self.link = "stale" if self.snapshot is not None else "connecting"
        self.reason = reason

    def add_actions(self, rows: Iterable[ActionRow]) -> None:
        """Rows of one id: a finished one wins over `running`, the later over the earlier."""
        for row in rows:
            known = self._actions.get(row.id)
            if known is not None and known.outcome != ActionOutcome.RUNNING and row.outcome == ActionOutcome.RUNNING:
                continue
            self._actions[row.id] = row
            if row.verb == Verb.ACKNOWLEDGE and row.outcome == ActionOutcome.OK:
                seq = row.args.get("seq")
                if isinstance(seq, int):
                    self.acked_seq = max(self.acked_seq, seq)
        while len(self._actions) > KEPT_ACTIONS:
            del self._actions[next(iter(self._actions))]

    def _add_point(self, point: SeriesPoint) -> None:
        if self.points and self.points[-1].ts >= point.ts:
            return
        self.points.append(point)

    def _add_events(self, events: Iterable[EventRow]) -> list[EventRow]:
        fresh = [event for event in events if event.seq > self._seen_seq or event.seq == 0]
        for event in fresh:
            self.events.append(event)
            self._seen_seq = max(self._seen_seq, event.seq)
        return fresh

    # -- reading ---------------------------------------------------------------------------------------------

    @property
    def replicas(self) -> tuple[ReplicaView, ...]:
        return self.snapshot.replicas if self.snapshot else ()

    @property
    def workloads(self) -> tuple[WorkloadView, ...]:
        return self.snapshot.workloads if self.snapshot else ()

    @property
    def scaling(self) -> tuple[ScalingView, ...]:
        return self.snapshot.scaling if self.snapshot else ()

    @property
    def driver(self) -> str:
        """What the fleet runs on."""
        return self.snapshot.driver if self.snapshot else "local"

    @property
    def has_edge(self) -> bool:
        """Whether an edge is there whose requests are seen; so it is until the fleet says otherwise."""
        return self.snapshot.has_edge if self.snapshot else True

    @property
    def edge_slots(self) -> bool:
        """Whether each replica's place at it is known, too."""
        return self.snapshot.edge_slots if self.snapshot else True

    @property
    def nodes(self) -> tuple[NodeStatus, ...]:
        return self.snapshot.nodes if self.snapshot else ()

    @property
    def ports(self) -> tuple[PortView, ...]:
        return self.snapshot.ports if self.snapshot else ()

    @property
    def forwards(self) -> tuple[ForwardView, ...]:
        return self.snapshot.forwards if self.snapshot else ()

    @property
    def trouble(self) -> Trouble | None:
        """Why what is shown may be old, though the daemon answers."""
        return self.snapshot.trouble if self.snapshot else None

    def limit(self, verb: str) -> str:
        """Why nobody may do that here; empty where it may be tried."""
        return self.snapshot.limits.get(verb, "") if self.snapshot else ""

    @property
    def actions(self) -> list[ActionRow]:
        """Oldest first, one row an action."""
        return sorted(self._actions.values(), key=lambda row: row.ts)

    def replica(self, name: str) -> ReplicaView | None:
        return next((view for view in self.replicas if view.status.name == name), None)

    def workload(self, name: str) -> WorkloadView | None:
        return next((view for view in self.workloads if view.name == name), None)

    def scaling_of(self, workload: str) -> ScalingView | None:
        return next((view for view in self.scaling if view.workload == workload), None)

    def unacknowledged(self) -> list[EventRow]:
        """Error and critical events above the acknowledged mark, oldest first."""
        return [event for event in self.events if event.severity in ALARMING and event.seq > self.acked_seq]

    def last_undoable(self) -> ActionRow | None:
        """The newest finished action that can be undone and has not been."""
        undone = {
            row.undo_of
            for row in self._actions.values()
            if row.undo_of and row.outcome in (ActionOutcome.OK, ActionOutcome.RUNNING)
        }
        for row in reversed(self.actions):
            if row.undoable and row.outcome == ActionOutcome.OK and row.id not in undone:
                return row
        return None

    def stale_s(self, now: float) -> float | None:
        """Age of what is shown, while it is stale."""
        return None if self.link != "stale" or self.last_ts is None else max(0.0, now - self.last_ts)
