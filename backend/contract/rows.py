"""The five ledger tables: one frozen struct per row kind. Null means nobody saw it; it is never 0 instead.

Rows hold scalars only and can't be part of a cycle, so they are kept from the garbage collector (`gc=False`): a
daemon holds 100,000s of them, and a full collection that visits them all would stop its loop for 100 ms.
"""

from __future__ import annotations

from typing import Final

import msgspec

from backend.contract.words import ActionOutcome, RequestOutcome, Severity, Vantage

Scalar = str | int | float | bool | None


class RequestRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One request as seen from one vantage."""

    ts: float
    """Wall seconds when it was accepted (edge) or sent (client)."""
    mono_s: float | None = None
    """The same instant on CLOCK_MONOTONIC where known."""
    intended_ts: float | None = None
    """When an open-loop schedule wanted it sent."""
    vantage: Vantage
    request_id: str
    attempt: int = 1
    fleet: str
    workload: str
    replica: str | None = None
    route: str
    stream: bool = False
    status: int
    """HTTP status; -1 where the connection ended without one."""
    termination: str = ""
    """HAProxy's termination flags at the edge (`--` is a clean end), `edge_lost`, or a client error's name."""
    outcome: RequestOutcome
    queue_s: float | None = None
    ttft_s: float | None = None
    total_s: float | None = None
    """Null while the end was never seen."""
    retries: int = 0
    bytes_in: int | None = None
    bytes_out: int | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    drill_run: str | None = None
    error: str | None = None


class SampleRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One measured value. `replica` is null for a workload's value, `workload` too for the fleet's."""

    ts: float
    fleet: str
    workload: str | None = None
    replica: str | None = None
    metric: str
    value: float


class EventRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Something that happened. `subject` is a replica, workload, run id or the fleet's name."""

    ts: float
    mono_s: float | None = None
    seq: int = 0
    """Assigned by the ledger, rising by one within a state directory."""
    kind: str
    """Dotted, stable, e.g. `replica.died`, `replica.ready`, `edge.respawned`, `scaling.decision`."""
    severity: Severity
    subject: str
    message: str
    attributes: dict[str, Scalar] = {}


class LogRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One line a replica wrote; a view over the shim's segment files."""

    ts: float
    replica: str
    stream: str = "stderr"
    level: str | None = None
    message: str
    correlation_id: str | None = None
    fields: dict[str, Scalar] = {}


class ActionRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One verb, from intent (outcome `running`) to result: two rows with one id, the later one wins."""

    ts: float
    id: str
    actor: str
    """Who: `console:<user>`, `cli:<user>`, `autoscaler`, `drill:<run>`."""
    verb: str
    target: str
    args: dict[str, Scalar] = {}
    reason: str = ""
    preview: str = ""
    outcome: ActionOutcome
    result: str = ""
    undo_of: str | None = None
    undoable: bool = False
    duration_s: float | None = None


Row = RequestRow | SampleRow | EventRow | LogRow | ActionRow

TABLES: Final[dict[str, type[msgspec.Struct]]] = {
    "requests": RequestRow,
    "samples": SampleRow,
    "events": EventRow,
    "logs": LogRow,
    "actions": ActionRow,
}


def table_of(row: Row) -> str:
    """The name of the table a row belongs to."""
    for name, kind in TABLES.items():
        if isinstance(row, kind):
            return name
    raise TypeError(type(row).__name__)
