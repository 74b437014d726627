"""One replica of a platform's edge: its stored log lines into request rows, each request once, none forgotten.

Owns the join of that replica's lines and what of it the next daemon needs. A container that was started again has lost
what its former life had open. Reads nothing itself; what addresses and backends are called here, its caller says.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from backend.contract.ledger import RowSink
from backend.contract.log_lines import Joiner as LineJoiner
from backend.contract.log_lines import Piece
from backend.contract.rows import EventRow, RequestRow
from backend.contract.words import Severity
from backend.daemon.observed.stored import Position, Step
from backend.edge.config import EMPTY, END_KILLS, PUBLIC, inner_name, slot_of
from backend.edge.events import poison_event
from backend.edge.join import Joiner, OpenRequest
from backend.edge.records import EndRecord, FirstRecord, Words, parse_line

_REMEMBERED: Final = 8192
_CONTAINER: Final = b"[edge] "
"""What lines of our container begin with in the log of a pod that has others beside it."""
_TWICE: Final = (b"[NOTICE]", b"[WARNING]")
"""What HAProxy says on stderr it also logs."""


class LogMemory(msgspec.Struct, frozen=True, kw_only=True):
    """What the next daemon needs of one replica: how far its log was read, whose end had not come, in which life."""

    position: Position = Position()
    open: dict[str, OpenRequest] = {}
    life_ns: int = 0


class Names(msgspec.Struct, frozen=True):
    """What things are called here."""

    replica: Callable[[str, float], str]
    """(address, wall seconds) -> replica, or the address where nobody is known to have had it."""
    workload: Callable[[str], str]
    """Backend -> workload."""
    edge: Callable[[], str]
    """The edge's own workload: of requests that it answered itself."""


class EdgeLog:
    """Feed it steps in order. `unreadable` counts lines that looked like ours and were not."""

    def __init__(self, replica: str, sink: RowSink, fleet: str, names: Names, memory: LogMemory | None = None) -> None:
        known = memory or LogMemory()
        self.replica, self.position = replica, known.position
        self._sink, self._names = sink, names
        self._life_ns = known.life_ns
        self._joiner = Joiner(fleet, lambda workload, slot: None, known.open)
        self._lines = LineJoiner()
        self._over: dict[str, None] = {}
        """Requests that ended here lately, or were given up: `u`."""
        self._over_order: deque[str] = deque()
        self.unreadable = 0
        self.rows = 0

    def memory(self) -> LogMemory:
        return LogMemory(position=self.position, open=dict(self._joiner.open), life_ns=self._life_ns)

    @property
    def open_count(self) -> int:
        """Requests whose first byte was read and whose end was not."""
        return len(self._joiner.open)

    def take(self, step: Step, starts: Iterable[int]) -> None:
        """The next step. `starts` are the lives as they were noted before it was read."""
        ahead = deque(ns for ns in starts if ns > self._life_ns)
        for line in step.lines:
            piece = self._lines.feed(line)
            if piece is None:
                continue
            while ahead and round(piece.ts * 1e6) >= ahead[0] // 1000:
                self._begin(ahead.popleft())
            self._record(piece)
        if step.at_end:
            # What was noted before the reading began, and wrote nothing yet, is a life of its own all the same.
            for ns in ahead:
                self._begin(ns)
        self.position = step.position

    def lose(self) -> int:
        """Its container ended, and its log was read to the end: what is open never ends. Returns how many."""
        opened = self._joiner.open
        pids, uids = {request.pid for request in opened.values()}, list(opened)
        rows = self._joiner.lose(pids)
        for u in uids:
            self._remember(u)
        for row in rows:
            self._sink.append(row)
        self.rows += len(rows)
        return len(rows)

    def _begin(self, life_ns: int) -> None:
        self.lose()
        self._over.clear()  # HAProxy counts anew: within a second of its start the same words may come again
        self._over_order.clear()
        self._life_ns = life_ns

    def _record(self, piece: Piece) -> None:
        message = piece.message.removeprefix(_CONTAINER)
        if message.startswith(b"[") and b"] {" in message[:80]:
            return  # of a container beside ours
        record = parse_line(message)
        if isinstance(record, FirstRecord):
            named = self._first(record, piece.ts)
            self._append(self._joiner.first(named, ended=named.u in self._over))
        elif isinstance(record, EndRecord):
            if record.u in self._over:
                return  # it was given up
            self._remember(record.u)
            tried = self._joiner.open.get(record.u)
            row = self._joiner.end(self._end(record, piece.ts))
            if record.be == PUBLIC:
                row = msgspec.structs.replace(row, workload=self._names.edge())
            self._append(row)
            if record.why == END_KILLS:
                self._sink.append(poison_event(row, tried.attempts if tried else ()))
        elif isinstance(record, Words):
            if message.startswith(_TWICE):
                return
            self._sink.append(
                EventRow(
                    ts=piece.ts,
                    kind="edge.haproxy",
                    severity=Severity.DEBUG,
                    subject=self.replica,
                    message=record.text,
                )
            )
        elif record is not None:
            self.unreadable += 1

    def _append(self, row: RequestRow) -> None:
        self._sink.append(row)
        self.rows += 1

    def _first(self, record: FirstRecord, ts: float) -> FirstRecord:
        place = slot_of(record.be)
        be = record.be if place is None else inner_name(self._names.workload(place[0]), place[1])
        return msgspec.structs.replace(record, rep=self._replica(record.rep, ts), be=be)

    def _end(self, record: EndRecord, ts: float) -> EndRecord:
        be = record.be if record.be == PUBLIC else self._names.workload(record.be)
        return msgspec.structs.replace(record, rep=self._replica(record.rep, ts), be=be)

    def _replica(self, address: str, ts: float) -> str:
        return address if address in ("", EMPTY) else self._names.replica(address, ts)

    def _remember(self, u: str) -> None:
        if u in self._over:
            return
        if len(self._over_order) >= _REMEMBERED:
            del self._over[self._over_order.popleft()]
        self._over_order.append(u)
        self._over[u] = None
