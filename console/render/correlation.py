"""A request's story as columns: when, who, what, and a bar on the request's own time axis. Pure."""

from __future__ import annotations

from typing import Final

from backend.contract.rows import EventRow, LogRow, RequestRow
from console.render import units
from console.render.log_lines import level_cell, message_style, name_style, without_clock
from console.render.spans import Line, Span, clean
from console.render.words import REQUESTS, SEVERITIES
from console.state.column import Column
from console.state.correlation import Piece

BAR: Final = 24


def bar(piece: Piece, width: int = BAR) -> str:
    """Where on the axis it lies: `·` waiting, `─` until the first token, `━` until the end, `•` an instant."""
    if piece.whole_s <= 0:
        return "•" + " " * (width - 1)

    def at(seconds: float) -> int:
        return min(width - 1, max(0, int((piece.offset_s + seconds) / piece.whole_s * (width - 1) + 0.5)))

    row = piece.row
    if not isinstance(row, RequestRow) or not row.total_s:
        return (" " * at(0.0) + "•").ljust(width)
    first, end = at(row.ttft_s if row.ttft_s is not None else row.total_s), at(row.total_s)
    begun = at(min(row.queue_s or 0.0, row.total_s))
    cells = [" "] * width
    for cell in range(at(0.0), end + 1):
        cells[cell] = "·" if cell < begun else "─" if cell < first else "━"
    return "".join(cells)


def offset_text(seconds: float) -> str:
    """`+0 ms`, `+12.4 ms`, `+1.204 s`."""
    if seconds < 0.0005:
        return "+0 ms"
    return f"+{seconds * 1000:.1f} ms" if seconds < 0.1 else f"+{seconds:.3f} s"


def what(piece: Piece) -> Span:
    """What the row says."""
    row = piece.row
    if isinstance(row, LogRow):
        glyph = level_cell(row.level, 1)[0].strip()
        return (f"{glyph} {without_clock(clean(row.message))}".strip(), message_style(row.level))
    if isinstance(row, EventRow):
        glyph, style = SEVERITIES[row.severity]
        return (f"{glyph} {clean(row.message)}", style)
    return _request(row)


def _request(row: RequestRow) -> Span:
    glyph, style = REQUESTS[row.outcome]
    status = "no answer" if row.status < 0 else f"HTTP {row.status}"
    said = [f"{glyph} {row.outcome}", status, clean(row.route)]
    said += [f"queue {units.latency(row.queue_s)}"] if row.queue_s else []
    said += [f"ttft {units.latency(row.ttft_s)}"] if row.ttft_s is not None else []
    said += [f"total {units.latency(row.total_s)}"] if row.total_s is not None else ["has not ended"]
    said += [f"{row.tokens_out} tokens"] if row.tokens_out is not None else []
    said += [units.plural(row.retries, "retry").replace("retrys", "retries")] if row.retries else []
    said += [clean(row.error)] if row.error else []
    return ("  ".join(said), style if style != "ok" else "text")


STORY_COLUMNS: tuple[Column[Piece], ...] = (
    Column(
        key="after",
        title="AFTER",
        width=9,
        align="right",
        cell=lambda p, _: (offset_text(p.offset_s), "text"),
        sort=lambda p: p.number,
    ),
    Column(
        key="time",
        title="TIME",
        width=8,
        priority=4,
        cell=lambda p, _: (units.time_of_day(p.ts), "faint"),
        sort=lambda p: p.number,
    ),
    Column(
        key="seen",
        title="SEEN BY",
        width=9,
        priority=1,
        cell=lambda p, _: (p.seen_by, "accent" if p.kind == "request" else "muted"),
        sort=lambda p: p.seen_by,
    ),
    Column(
        key="who",
        title="WHO",
        width=9,
        flex=1,
        priority=2,
        cell=lambda p, _: (clean(p.who), name_style(p.who)),
        sort=lambda p: p.who,
    ),
    Column(
        key="bar",
        title="ON ITS TIME AXIS",
        width=BAR,
        priority=6,
        cell=lambda p, _: (bar(p), "accent" if p.kind == "request" else "text"),
        sort=lambda p: p.number,
    ),
    Column(
        key="what", title="WHAT", width=14, flex=9, priority=0, cell=lambda p, _: what(p), sort=lambda p: what(p)[0]
    ),
)


def story_note(pieces: list[Piece]) -> Line:
    """Counts of each kind, and how long it all took."""
    if not pieces:
        return ()
    counts = [(sum(piece.kind == kind for piece in pieces), word) for kind, word in _KINDS]
    said = ", ".join(units.plural(count, word) for count, word in counts)
    return ((said, "muted"), (f"  {units.latency(pieces[0].whole_s)}", "text"))


_KINDS: Final = (("request", "request row"), ("log", "log line"), ("event", "event"))


def story_key(piece: Piece) -> str:
    return f"{piece.number}"


def story_haystack(piece: Piece) -> str:
    return f"{piece.seen_by} {piece.who} {what(piece)[0]}"
