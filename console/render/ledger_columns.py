"""The columns of the requests, events and actions tables. Pure."""

from __future__ import annotations

from backend.contract.rows import ActionRow, EventRow, RequestRow, Scalar
from backend.contract.words import ActionOutcome, RequestOutcome, Severity
from console.render import units
from console.render.cells import extra_number, extra_words, number_cell, time_column
from console.render.spans import Span, clean
from console.render.words import ACTIONS, REQUESTS, SEVERITIES
from console.state.table import Column


def _replica_of(row: RequestRow) -> Span:
    return (row.replica or units.NOTHING, "text" if row.replica else "faint")


def _status(row: RequestRow) -> Span:
    if row.status < 0:
        return ("none", "error")
    return (str(row.status), "muted" if row.status < 400 else "warn" if row.status < 500 else "error")


def _outcome(row: RequestRow) -> Span:
    if row.total_s is None and row.ttft_s is None and row.status == 0:
        return ("◔ open", "accent")
    glyph, style = REQUESTS[row.outcome]
    return (f"{glyph} {row.outcome}", style)


def _tokens(row: RequestRow) -> Span:
    if row.tokens_in is None and row.tokens_out is None:
        return (units.NOTHING, "faint")
    return (f"{units.count(row.tokens_in)}/{units.count(row.tokens_out)}", "text")


REQUEST_COLUMNS: tuple[Column[RequestRow], ...] = (
    time_column(lambda r: r.ts),
    Column(
        key="outcome",
        title="OUTCOME",
        width=8,
        words=("open", *(str(outcome) for outcome in RequestOutcome)),
        value=lambda r, _: _outcome(r)[0][2:],
        cell=lambda r, _: _outcome(r),
        sort=lambda r: r.outcome,
    ),
    Column(
        key="status",
        title="HTTP",
        width=4,
        align="right",
        kind="number",
        cell=lambda r, _: _status(r),
        sort=lambda r: r.status,
    ),
    Column(
        key="replica", title="REPLICA", width=9, priority=1, cell=lambda r, _: _replica_of(r), sort=lambda r: r.replica
    ),
    Column(
        key="route",
        title="ROUTE",
        width=12,
        flex=2,
        priority=7,
        cell=lambda r, _: (clean(r.route), "text"),
        sort=lambda r: r.route,
    ),
    Column(
        key="queue",
        kind="seconds",
        title="QUEUE",
        width=7,
        align="right",
        priority=4,
        cell=lambda r, _: (units.latency(r.queue_s), "warn" if (r.queue_s or 0) > 0.1 else "faint"),
        sort=lambda r: r.queue_s,
    ),
    Column(
        key="ttft",
        kind="seconds",
        title="TTFT",
        width=7,
        align="right",
        priority=2,
        cell=lambda r, _: number_cell(units.latency(r.ttft_s), quiet=r.ttft_s is None),
        sort=lambda r: r.ttft_s,
    ),
    Column(
        key="total",
        kind="seconds",
        title="TOTAL",
        width=7,
        align="right",
        priority=3,
        cell=lambda r, _: number_cell(units.latency(r.total_s), quiet=r.total_s is None),
        sort=lambda r: r.total_s,
    ),
    Column(
        key="retries",
        kind="number",
        title="RETRY",
        width=5,
        align="right",
        priority=5,
        cell=lambda r, _: (str(r.retries), "warn" if r.retries else "faint"),
        sort=lambda r: r.retries,
    ),
    Column(
        key="bytes",
        kind="bytes",
        names=("bytes_out",),
        title="OUT",
        width=7,
        align="right",
        priority=8,
        cell=lambda r, _: (units.size(r.bytes_out), "muted"),
        sort=lambda r: r.bytes_out,
    ),
    Column(
        key="tokens",
        kind="number",
        names=("tokens_out",),
        title="TOKENS",
        width=8,
        align="right",
        priority=9,
        cell=lambda r, _: _tokens(r),
        sort=lambda r: r.tokens_out,
    ),
    Column(
        key="end",
        title="END",
        width=5,
        priority=10,
        cell=lambda r, _: (clean(r.termination), "muted"),
        sort=lambda r: r.termination,
    ),
    Column(
        key="seen",
        title="SEEN BY",
        width=7,
        priority=12,
        cell=lambda r, _: (r.vantage, "faint"),
        sort=lambda r: r.vantage,
    ),
    Column(
        key="id",
        title="REQUEST ID",
        width=14,
        flex=1,
        priority=11,
        cell=lambda r, _: (clean(r.request_id), "faint"),
        sort=lambda r: r.request_id,
    ),
    extra_number("attempt", "ATTEMPT", lambda r: r.attempt),
    extra_words("fleet", "FLEET", 8, lambda r: r.fleet),
    extra_words("workload", "WORKLOAD", 9, lambda r: r.workload),
    extra_words("stream", "STREAM", 6, lambda r: "yes" if r.stream else "no"),
    extra_number("bytes_in", "IN", lambda r: r.bytes_in, units.size, kind="bytes", width=7),
    extra_number("tokens_in", "TOK IN", lambda r: r.tokens_in),
    extra_words("drill", "DRILL RUN", 12, lambda r: r.drill_run),
    extra_words("error", "ERROR", 20, lambda r: r.error),
)


def request_key(row: RequestRow) -> str:
    return f"{row.vantage}/{row.request_id}/{row.attempt}"


def request_haystack(row: RequestRow) -> str:
    return (
        f"{row.request_id} {row.replica or ''} {row.route} {row.status} {row.outcome} {row.vantage} "
        f"{row.termination} {row.error or ''}"
    )


def _pairs(values: dict[str, Scalar]) -> str:
    """`drain_s=5 force=True`."""
    return " ".join(f"{name}={value}" for name, value in values.items())


def event_glyph(row: EventRow) -> Span:
    glyph, style = SEVERITIES[row.severity]
    return (f"{glyph} {row.severity}", style)


EVENT_COLUMNS: tuple[Column[EventRow], ...] = (
    time_column(lambda r: r.ts),
    Column(
        key="severity",
        words=tuple(str(severity) for severity in Severity),
        value=lambda r, _: str(r.severity),
        title="SEVERITY",
        width=10,
        priority=1,
        cell=lambda r, _: event_glyph(r),
        sort=lambda r: list(SEVERITIES).index(r.severity),
    ),
    Column(
        key="subject",
        title="SUBJECT",
        width=10,
        flex=1,
        priority=3,
        cell=lambda r, _: (clean(r.subject), "text"),
        sort=lambda r: r.subject,
    ),
    Column(
        key="kind",
        title="KIND",
        width=18,
        priority=4,
        cell=lambda r, _: (clean(r.kind), "muted"),
        sort=lambda r: r.kind,
    ),
    Column(
        key="message",
        title="WHAT HAPPENED",
        width=20,
        flex=4,
        cell=lambda r, _: (
            clean(r.message),
            SEVERITIES[r.severity][1] if r.severity not in ("info", "debug") else "text",
        ),
        sort=lambda r: r.message,
    ),
    extra_number("seq", "SEQ", lambda r: r.seq),
    extra_words("attributes", "ATTRIBUTES", 24, lambda r: _pairs(r.attributes)),
)


def event_key(row: EventRow) -> str:
    return str(row.seq) if row.seq else f"{row.ts}/{row.kind}/{row.subject}"


def event_haystack(row: EventRow) -> str:
    return f"{row.severity} {row.kind} {row.subject} {row.message}"


def _action_outcome(row: ActionRow) -> Span:
    glyph, style = ACTIONS[row.outcome]
    return (f"{glyph} {row.outcome}", style)


ACTION_COLUMNS: tuple[Column[ActionRow], ...] = (
    time_column(lambda r: r.ts),
    Column(
        key="outcome",
        title="OUTCOME",
        width=9,
        words=tuple(str(outcome) for outcome in ActionOutcome),
        value=lambda r, _: str(r.outcome),
        cell=lambda r, _: _action_outcome(r),
        sort=lambda r: r.outcome,
    ),
    Column(
        key="actor",
        title="WHO",
        width=14,
        priority=2,
        cell=lambda r, _: (clean(r.actor), "muted"),
        sort=lambda r: r.actor,
    ),
    Column(key="verb", title="VERB", width=11, cell=lambda r, _: (r.verb, "text b"), sort=lambda r: r.verb),
    Column(
        key="target",
        title="TARGET",
        width=9,
        priority=1,
        cell=lambda r, _: (clean(r.target), "text"),
        sort=lambda r: r.target,
    ),
    Column(
        key="took",
        kind="seconds",
        title="TOOK",
        width=7,
        align="right",
        priority=4,
        cell=lambda r, _: (units.duration(r.duration_s), "muted"),
        sort=lambda r: r.duration_s,
    ),
    Column(
        key="result",
        title="RESULT",
        width=16,
        flex=1,
        priority=3,
        cell=lambda r, _: (clean(r.result or r.preview or r.reason), "text" if r.result else "muted"),
        sort=lambda r: r.result,
    ),
    Column(
        key="undo",
        value=lambda r, _: "yes" if r.undoable else "no",
        title="UNDO",
        width=4,
        priority=5,
        cell=lambda r, _: ("yes" if r.undoable else "", "accent"),
        sort=lambda r: str(r.undoable),
    ),
    extra_words("args", "ARGUMENTS", 16, lambda r: _pairs(r.args)),
    extra_words("reason", "REASON", 16, lambda r: r.reason),
    extra_words("preview", "PREVIEW", 20, lambda r: r.preview),
    extra_words("undo_of", "UNDOES", 12, lambda r: r.undo_of),
    extra_words("id", "ID", 12, lambda r: r.id),
)


def action_haystack(row: ActionRow) -> str:
    return f"{row.actor} {row.verb} {row.target} {row.outcome} {row.result} {row.reason}"
