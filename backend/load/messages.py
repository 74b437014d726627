"""What a load run says: a row for each request, progress, and a summary. One JSON object a line on the wire."""

from __future__ import annotations

import msgspec

from backend.contract.rows import RequestRow


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Nearest-rank quantiles in seconds; all null when `count` is 0."""

    count: int = 0
    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None
    max_s: float | None = None


class LoadSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What a run adds up to: total = ok + slow + wrong + shed + failed + refused_by_cap + cancelled."""

    total: int = 0
    """Requests: arrivals, and what the client sent again."""
    resends: int = 0
    """Requests among them that were sent again after a failure; the schedule called for the others."""
    ok: int = 0
    slow: int = 0
    wrong: int = 0
    shed: int = 0
    failed: int = 0
    refused_by_cap: int = 0
    """Arrivals not sent because `concurrency` requests were in flight. Not among `failed`."""
    cancelled: int = 0
    """Given up by us after a stop and its grace. Not among `failed`."""
    overloaded: bool = False
    """The generator was the limit (its cap was reached): the run proves nothing about latency."""
    interrupted: bool = False
    """Stopped before its schedule ended."""
    failed_before_first_byte: int = 0
    terminations: dict[str, int] = {}
    """How failures ended, by name."""
    duration_s: float = 0.0
    """From the start until the last answer."""
    requests_per_s: float = 0.0
    """Good answers (ok and slow)."""
    tokens_in: int | None = None
    tokens_out: int | None = None
    """Of requests whose engine said; null where none did."""
    tokens_counted: int = 0
    """Requests among them."""
    tokens_per_s: float | None = None
    ttft: Latency = Latency()
    """Streams: from the last request byte to the first body byte."""
    ttft_intended: Latency = Latency()
    """The same from the intended send: what a user in that schedule felt."""
    service: Latency = Latency()
    """Good answers: from the actual send to the last byte."""
    latency: Latency = Latency()
    """The same from the intended send (no coordinated omission)."""
    lag: Latency = Latency()
    """Actual minus intended send: the generator's own lateness."""
    max_in_flight: int = 0
    seed: int = 0
    run_id: str = ""


class RowMessage(msgspec.Struct, frozen=True, kw_only=True, tag="row", tag_field="kind"):
    """One request ended."""

    row: RequestRow
    had_first_byte: bool


class ProgressMessage(msgspec.Struct, frozen=True, kw_only=True, tag="progress", tag_field="kind"):
    """Twice a second."""

    ts: float
    elapsed_s: float
    start_mono_s: float | None = None
    """The schedule's zero on CLOCK_MONOTONIC, which all processes of a machine share."""
    arrivals: int
    in_flight: int
    ok: int
    slow: int
    wrong: int
    shed: int
    failed: int
    refused_by_cap: int
    tokens_out: int
    lag_p99_s: float | None = None
    """Over the last 1,000 arrivals."""


class SummaryMessage(msgspec.Struct, frozen=True, kw_only=True, tag="summary", tag_field="kind"):
    """The last line."""

    summary: LoadSummary


class ErrorMessage(msgspec.Struct, frozen=True, kw_only=True, tag="error", tag_field="kind"):
    """The run could not start; the only line then."""

    error: str
    message: str
    next_step: str = ""


LoadMessage = RowMessage | ProgressMessage | SummaryMessage
WireMessage = RowMessage | ProgressMessage | SummaryMessage | ErrorMessage


def had_first_byte(row: RequestRow) -> bool:
    """Whether the client had received any byte of what it asked for. An error's body is no such byte."""
    return bool(row.bytes_out) and 200 <= row.status < 300
