"""What a run leaves behind as data: client rows, phase spans, fault stamps, observations, the run record.

Everything a verdict needs is here and nothing else is consulted, so that it can be computed again from the files of
the run. All `_s` instants are CLOCK_MONOTONIC seconds of the controller unless the name says wall.
"""

from __future__ import annotations

from typing import Final

import msgspec

from backend.contract.rows import EventRow, RequestRow, Scalar
from backend.contract.words import RequestOutcome

RECORD_VERSION: Final = 1


class DrillRow(msgspec.Struct, frozen=True, kw_only=True):
    """One request of a drill's load, as its client saw it. One line of `ledger.jsonl`."""

    load: str
    request: RequestRow
    intended_s: float
    sent_s: float
    ended_s: float
    resent: bool = False
    """Its client sent it again: a row with the same intended time follows."""

    @property
    def answered(self) -> bool:
        return self.request.outcome in (RequestOutcome.OK, RequestOutcome.SLOW)

    @property
    def began(self) -> bool:
        """Whether any byte of a real answer (status 200) had arrived."""
        request = self.request
        return request.status == 200 and (request.ttft_s is not None or bool(request.bytes_out))

    @property
    def latency_s(self) -> float:
        """From the intended send time: waiting that the client itself caused counts."""
        return self.ended_s - self.intended_s

    @property
    def service_s(self) -> float:
        return self.ended_s - self.sent_s

    @property
    def ttft_s(self) -> float | None:
        """From the intended send time to the first byte; null where none came or the request did not stream."""
        ttft = self.request.ttft_s
        return None if ttft is None or not self.request.stream else ttft + (self.sent_s - self.intended_s)


class PhaseSpan(msgspec.Struct, frozen=True, kw_only=True):
    """When a phase ran. A request belongs to the phase of its intended arrival."""

    name: str
    gate: bool = False
    start_s: float
    end_s: float | None = None
    until_met: bool | None = None
    """Whether its `until` came true in time; null without one."""
    until_text: str = ""


class FaultStamps(msgspec.Struct, frozen=True, kw_only=True):
    """One injection's life."""

    id: str
    fault: str
    target: str
    workload: str
    replica: str = ""
    replicas: tuple[str, ...] = ()
    """Every victim of a fault of a whole pool; empty where there is the one `replica` only."""
    pid: int | None = None
    t_command: float | None = None
    t_effective: float | None = None
    t_suspect: float | None = None
    """When the edge first doubted the victim, where it says so; null elsewhere."""
    t_detected: float | None = None
    t_last_dispatch: float | None = None
    """The last request the edge sent to the victim between effect and readiness; null when there was none."""
    t_first_failover_ok: float | None = None
    t_undo_issued: float | None = None
    """When the first undo of it was sent, whoever sent it."""
    t_undone: float | None = None
    """When it was verified gone."""
    t_healed: float | None = None
    t_ready: float | None = None
    verified: bool = False
    evidence: tuple[str, ...] = ()
    problem: str = ""
    """Why it was not injected or not verified."""

    @property
    def victims(self) -> tuple[str, ...]:
        """Every replica it is about."""
        return self.replicas or ((self.replica,) if self.replica else ())


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet at one instant, per target; kept whenever it changes."""

    at_s: float
    healthy: dict[str, int] = {}
    restarts: dict[str, int] = {}
    in_flight: dict[str, int] = {}


class LoadSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What a load generator says of itself at its end."""

    name: str
    rate: float
    arrivals: int
    """Requests the schedule called for."""
    rows: int
    """Requests that ended and were reported; must equal `arrivals` and `resends` together."""
    resends: int = 0
    """Failed requests that the clients sent again; the schedule knows nothing of them."""
    lag_p50_s: float | None = None
    lag_p99_s: float | None = None
    lag_max_s: float | None = None
    problem: str = ""


class UndoSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One undo record's end."""

    id: str
    what: str
    done: bool
    verified: bool
    by: str = ""
    detail: str = ""


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`record.json`: everything about a run that is not a client row."""

    version: int = RECORD_VERSION
    run_id: str
    actor: str
    scenario_name: str
    scenario_digest: str
    seed: int
    confidence: float | None = None
    """`--confidence`: samples were cut to what proves this success ratio; null where the file's own were kept."""
    max_generator_lag_s: float | None = None
    """`--max-generator-lag`; null where the file's own limit held."""
    environment: str
    fleet: str
    driver: str = "local"
    started_ts: float
    started_mono_s: float
    ended_ts: float | None = None
    host: dict[str, Scalar] = {}
    versions: dict[str, str] = {}
    plan: tuple[str, ...] = ()
    rates: dict[str, float] = {}
    sizes: dict[str, int] = {}
    members: dict[str, tuple[str, ...]] = {}
    """Every replica each target stood for at any time of the run."""
    phases: tuple[PhaseSpan, ...] = ()
    faults: tuple[FaultStamps, ...] = ()
    observations: tuple[Observation, ...] = ()
    loads: tuple[LoadSummary, ...] = ()
    undo: tuple[UndoSummary, ...] = ()
    events: tuple[EventRow, ...] = ()
    causes: dict[str, RequestRow] = {}
    """The edge's row of each request that was not answered, by request id."""
    attempts: dict[str, tuple[RequestRow, ...]] = {}
    """The edge's rows of each try that came to nothing, oldest first, of unanswered and of the slowest requests."""
    aborted: str = ""
    """Who or what ended it early; empty when nothing did."""
    refused: str = ""
    gate_failed: str = ""
    internal_error: str = ""
