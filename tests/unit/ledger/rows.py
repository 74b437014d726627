"""Rows for the ledger's tests."""

from __future__ import annotations

from backend.contract.rows import ActionRow, EventRow, RequestRow, SampleRow
from backend.contract.words import ActionOutcome, RequestOutcome, Severity, Vantage


def request(ts: float, request_id: str = "r", replica: str = "llm-0", ttft_s: float | None = 0.1) -> RequestRow:
    return RequestRow(
        ts=ts,
        vantage=Vantage.EDGE,
        request_id=request_id,
        fleet="local",
        workload="llm",
        replica=replica,
        route="/v1/completions",
        stream=True,
        status=200,
        termination="--",
        outcome=RequestOutcome.OK,
        queue_s=0.0,
        ttft_s=ttft_s,
        total_s=0.5,
        bytes_out=1000,
    )


def event(ts: float, message: str = "died", kind: str = "replica.died", subject: str = "llm-0") -> EventRow:
    return EventRow(
        ts=ts, kind=kind, severity=Severity.ERROR, subject=subject, message=message, attributes={"pid": 7, "by": None}
    )


def sample(ts: float, value: float = 1.0) -> SampleRow:
    return SampleRow(ts=ts, fleet="local", workload="llm", metric="queue_depth", value=value)


def action(ts: float, action_id: str, outcome: ActionOutcome = ActionOutcome.RUNNING) -> ActionRow:
    return ActionRow(
        ts=ts, id=action_id, actor="cli:ann", verb="kill", target="llm-0", args={"signal": 9}, outcome=outcome
    )


class SettableClock:
    """A clock that stands where a test puts it."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.wall = now

    def now(self) -> float:
        return self.wall

    def mono(self) -> float:
        return self.wall
