"""Sample data for console tests: one replica, one snapshot, one point, with any part replaced."""

from __future__ import annotations

from typing import Any

from backend.contract.control import Quantiles, ReplicaView, SeriesPoint, Snapshot, WorkloadView
from backend.contract.edge import EdgeServer
from backend.contract.fleet import ReplicaStatus
from backend.contract.rows import ActionRow, EventRow
from backend.contract.words import ActionOutcome, Phase, Severity, SlotState


class FixedClock:
    """A clock that stands until it is moved."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.at = now

    def now(self) -> float:
        return self.at

    def mono(self) -> float:
        return self.at


def point(ts: float = 1000.0, **parts: Any) -> SeriesPoint:
    values: dict[str, Any] = {
        "ttft": Quantiles(count=3, p50_s=0.05, p95_s=0.2, p99_s=0.4),
        "queued": 0,
        "in_flight": 1,
        "requests_per_s": 2.0,
        "tokens_per_s": 80.0,
        "errors_per_s": 0.0,
        "ready": 2,
        "wanted": 2,
        "cpu_percent": 20.0,
        "memory_percent": 40.0,
    }
    return SeriesPoint(ts=ts, **(values | parts))


def replica(name: str = "llm-0", *, phase: Phase = Phase.READY, **parts: Any) -> ReplicaView:
    status: dict[str, Any] = {"restarts": 0, "created_ts": 900.0, "started_ts": 950.0, "pid": 42}
    return ReplicaView(
        status=ReplicaStatus(name=name, fleet="local", workload="llm", phase=phase, **(status | parts)),
        edge=EdgeServer(
            workload="llm",
            slot=0,
            replica=name,
            state=SlotState.READY,
            up=phase == Phase.READY,
            status="UP" if phase == Phase.READY else "DOWN",
            in_flight=1,
            queued=0,
            sessions_total=10,
            retries_total=0,
            errors_total=0,
        ),
        ttft=Quantiles(count=3, p50_s=0.05, p95_s=0.2, p99_s=0.4),
    )


def snapshot(**parts: Any) -> Snapshot:
    values: dict[str, Any] = {
        "seq": 1,
        "ts": 1000.0,
        "fleet": "local",
        "version": "0",
        "health": "ok",
        "replicas": (replica("llm-0"), replica("llm-1")),
        "workloads": (
            WorkloadView(name="llm", wanted=2, ready=2, total=2, slots=8, routes=("/v1",), queued=0, in_flight=0),
        ),
        "point": point(),
        "edge_up": True,
    }
    return Snapshot(**(values | parts))


def event(seq: int, severity: Severity = Severity.INFO, **parts: Any) -> EventRow:
    values: dict[str, Any] = {"ts": 1000.0 + seq, "kind": "test.event", "subject": "llm-0", "message": f"event {seq}"}
    return EventRow(seq=seq, severity=severity, **(values | parts))


def action(identity: str, outcome: ActionOutcome = ActionOutcome.OK, **parts: Any) -> ActionRow:
    values: dict[str, Any] = {"ts": 1000.0, "actor": "console:ada", "verb": "scale", "target": "llm"}
    return ActionRow(id=identity, outcome=outcome, **(values | parts))
