"""Access-log records into request rows: one row per request (vantage edge) and one per attempt.

Owns the join and what each number means. A pure state machine: `JoinState` in, rows and `JoinState` out; it reads
no file and asks no clock.

queue_s is the time without a replica; with retries it is the sum of the gaps between attempts. ttft_s counts from the
request's last byte to the first body byte of the answer, failed attempts included, and only for streams. total_s
counts from the same instant to the end.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection
from typing import Final

import msgspec

from backend.contract.rows import RequestRow
from backend.contract.words import RequestOutcome, Vantage
from backend.edge.config import EMPTY, PUBLIC, slot_of
from backend.edge.records import EndRecord, FirstRecord

EDGE_LOST: Final = "edge_lost"
EDGE_WORKLOAD: Final = "edge"
"""Workload of requests the edge answered itself, because no route or no key fitted."""
_MICRO: Final = 1e-6


class OpenRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request whose end has not been read; its attempts so far."""

    pid: int
    """Of the process whose outer layer has it."""
    attempts: tuple[FirstRecord, ...]


class Joiner:
    """Joins records of all processes. `open` is what a later reader needs to go on."""

    def __init__(
        self,
        fleet: str,
        replica_of: Callable[[str, int], str | None],
        opened: dict[str, OpenRequest] | None = None,
    ) -> None:
        """`replica_of(workload, slot)` names the replica of a request that ended before any attempt spoke."""
        self.fleet = fleet
        self._replica_of = replica_of
        self.open: dict[str, OpenRequest] = dict(opened or {})

    def first(self, record: FirstRecord, *, ended: bool = False) -> RequestRow:
        """Take an attempt; returns its row. `ended`: the request's end came first (its client left)."""
        before = self.open.get(record.u)
        attempts = (*(before.attempts if before else ()), record)
        if not ended:
            self.open[record.u] = OpenRequest(pid=outer_pid(record.u) or record.pid, attempts=attempts)
        place = slot_of(record.be)
        failed = record.eng != "1"
        return RequestRow(
            ts=record.t0 * _MICRO,
            vantage=Vantage.ATTEMPT,
            request_id=record.id,
            attempt=len(attempts),
            fleet=self.fleet,
            workload=place[0] if place else record.be,
            replica=_named(record.rep),
            route=record.p,
            stream=record.sse == "1",
            status=-1 if failed else record.st,
            termination=record.ts,
            outcome=RequestOutcome.FAILED if failed else _answered(record.st),
            ttft_s=_seconds(record.t0, record.now) if record.sse == "1" and not failed else None,
            total_s=_seconds(record.t0, record.now) if failed else None,
        )

    def end(self, record: EndRecord) -> RequestRow:
        """Take a request's end; returns its row."""
        before = self.open.pop(record.u, None)
        attempts = before.attempts if before else ()
        stream = record.sse == "1"
        began = record.t0 or record.now - max(record.Ta, 0) * 1000
        return RequestRow(
            ts=began * _MICRO,
            vantage=Vantage.EDGE,
            request_id=record.id,
            attempt=record.retries + 1,
            fleet=self.fleet,
            workload=EDGE_WORKLOAD if record.be == PUBLIC else record.be,
            replica=_named(record.rep) or (_named(attempts[-1].rep) if attempts else self._by_slot(record)),
            route=record.p,
            stream=stream,
            status=record.st,
            termination=record.ts,
            outcome=outcome_of(record),
            queue_s=_queue_s(record, attempts),
            ttft_s=_seconds(began, record.t1) if stream and record.t1 else None,
            total_s=_seconds(began, record.now),
            retries=record.retries,
            bytes_in=record.bi,
            bytes_out=record.bo,
            error=_named(record.why),
        )

    def lose(self, gone: Collection[int]) -> list[RequestRow]:
        """Rows of requests whose process, one of `gone`, ended without them. Call once its log was read to the end."""
        lost = [u for u, request in self.open.items() if request.pid in gone]
        return [self._lost(self.open.pop(u)) for u in lost]

    def _by_slot(self, record: EndRecord) -> str | None:
        number = record.srv[1:]
        return self._replica_of(record.be, int(number)) if number.isdecimal() else None

    def _lost(self, request: OpenRequest) -> RequestRow:
        first, last = request.attempts[0], request.attempts[-1]
        place = slot_of(last.be)
        stream = last.sse == "1" and last.eng == "1"
        return RequestRow(
            ts=first.t0 * _MICRO,
            vantage=Vantage.EDGE,
            request_id=last.id,
            attempt=len(request.attempts),
            fleet=self.fleet,
            workload=place[0] if place else last.be,
            replica=_named(last.rep),
            route=last.p,
            stream=stream,
            status=last.st if last.eng == "1" else -1,
            termination=EDGE_LOST,
            outcome=RequestOutcome.FAILED,
            ttft_s=_seconds(first.t0, last.now) if stream else None,
            retries=len(request.attempts) - 1,
        )


def outer_pid(u: str) -> int | None:
    """The process that gave a request its id: after a reload an attempt may run through the new one."""
    head = u.partition("-")[0]
    return int(head) if head.isdecimal() else None


def outcome_of(record: EndRecord) -> RequestOutcome:
    """What the caller got.

    A broken answer is failed, whatever its status. A caller that left while its answer came had what it wanted;
    one that left before any of it had waited in vain. 4xx other than 429 is the caller's own mistake, answered.
    """
    cause = record.ts[:1]
    if cause == "C":
        return RequestOutcome.OK if record.t1 and 0 < record.st < 400 else RequestOutcome.FAILED
    if record.st == 429 or (record.st == 503 and record.ts == "sQ"):
        return RequestOutcome.SHED
    if cause not in ("-", "L", "P") or record.st <= 0:
        return RequestOutcome.FAILED
    return _answered(record.st)


def _answered(status: int) -> RequestOutcome:
    if status == 429:
        return RequestOutcome.SHED
    return RequestOutcome.FAILED if status >= 500 or status <= 0 else RequestOutcome.OK


def _queue_s(record: EndRecord, attempts: tuple[FirstRecord, ...]) -> float | None:
    if record.be == PUBLIC:
        return None
    if record.retries and attempts and record.t0:
        gaps = attempts[0].t0 - record.t0
        gaps += sum(max(0, after.t0 - before.now) for before, after in itertools.pairwise(attempts))
        return round(max(0, gaps) * _MICRO, 6)
    if record.Tw >= 0:
        return record.Tw / 1000
    # It ended in the queue.
    return _seconds(record.t0, record.now) if record.t0 and not attempts else None


def _named(word: str) -> str | None:
    """What HAProxy writes for a variable, unless it has none."""
    return None if word in ("", EMPTY) else word


def _seconds(start_us: int, end_us: int) -> float:
    return round(max(0, end_us - start_us) * _MICRO, 6)
