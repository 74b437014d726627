"""Rows, stamps and scenarios for the drills' unit tests."""

from __future__ import annotations

from backend.contract.rows import RequestRow
from backend.contract.words import RequestOutcome, Vantage
from backend.drills.records import DrillRow, FaultStamps, PhaseSpan

MINIMAL = """\
drill: 1
name: tiny
title: a tiny drill
targets:
  pool: {workload: llm, replicas: 2}
  victim: {from: pool, pick: busiest}
load:
  chat:
    kind: chat-plain
    arrival: {rate: "min(5/s, 0.5 * capacity(pool, replicas=1))"}
hypothesis:
  - {id: ok, expr: "failed(chat) == 0", grace: 100ms}
abort:
  - {expr: "failed(chat, last=2s) > 5", for: 100ms}
phases:
  - name: baseline
    hold: {for: 1s, min_requests: {chat: 2}}
    gate: true
    expect: ["ok_ratio(chat) == 1.0"]
  - name: one-down
    inject:
      - {id: kill-a, fault: process.kill, target: victim, when: "in_flight(victim) >= 1", verify: [pid_gone]}
    hold: {for: 1s, min_requests: {chat: 2}}
    expect: ["p99(chat) <= max(2 * baseline.p99(chat), 200ms)", "detect(kill-a) <= 100ms"]
  - name: recovery
    until: {expr: "healthy(pool) == size(pool)", within: 5s}
    hold: {for: 1s, min_requests: {chat: 2}}
"""


def row(
    at: float,
    *,
    took: float = 0.1,
    load: str = "chat",
    outcome: RequestOutcome = RequestOutcome.OK,
    status: int = 200,
    began: bool = True,
    stream: bool = False,
    late: float = 0.0,
    retries: int = 0,
    request_id: str = "",
) -> DrillRow:
    """A request intended at `at`, sent `late` after it, that took `took` from its send."""
    request = RequestRow(
        ts=1000.0 + at + late,
        mono_s=at + late,
        intended_ts=1000.0 + at,
        vantage=Vantage.CLIENT,
        request_id=request_id or f"r-{at}",
        fleet="local",
        workload="llm",
        route="/",
        stream=stream,
        status=status,
        outcome=outcome,
        ttft_s=took / 2 if began and stream else None,
        total_s=took,
        retries=retries,
        bytes_out=10 if began else 0,
    )
    return DrillRow(load=load, request=request, intended_s=at, sent_s=at + late, ended_s=at + late + took)


SPANS = (
    PhaseSpan(name="baseline", gate=True, start_s=0.0, end_s=10.0),
    PhaseSpan(name="one-down", start_s=10.0, end_s=20.0),
    PhaseSpan(name="recovery", start_s=20.0, end_s=30.0, until_met=True, until_text="healthy(pool) == size(pool)"),
)


def kill(**changes: object) -> FaultStamps:
    """A proven kill at 12 s, detected after 50 ms, Ready after 2 s."""
    fields: dict[str, object] = {
        "id": "kill-a", "fault": "process.kill", "target": "victim", "workload": "llm", "replica": "llm-0", "pid": 1,
        "t_command": 11.99, "t_effective": 12.0, "t_detected": 12.05, "t_ready": 14.0, "verified": True,
        "evidence": ("pid_gone: process 1 has ended",),
    }  # fmt: skip
    return FaultStamps(**{**fields, **changes})  # type: ignore[arg-type]  # test data by field name
