"""A request's story: every row that names it, once, in order, with a bar on its own time axis."""

from __future__ import annotations

from typing import Any

from backend.contract.rows import EventRow, LogRow, RequestRow
from backend.contract.words import RequestOutcome, Severity, Vantage
from console.render.correlation import STORY_COLUMNS, bar, offset_text, story_haystack, story_key, story_note, what
from console.state.correlation import AROUND_S, span, story


def request(**parts: Any) -> RequestRow:
    values: dict[str, Any] = {
        "ts": 100.0,
        "vantage": Vantage.EDGE,
        "request_id": "r-1",
        "fleet": "local",
        "workload": "llm",
        "replica": "llm-0",
        "route": "/v1/chat",
        "status": 200,
        "outcome": RequestOutcome.OK,
        "queue_s": 0.1,
        "ttft_s": 0.5,
        "total_s": 1.0,
    }
    return RequestRow(**(values | parts))


def log(ts: float, message: str, **parts: Any) -> LogRow:
    return LogRow(ts=ts, replica="llm-0", message=message, **parts)


def event(ts: float, message: str = "retried", **attributes: Any) -> EventRow:
    return EventRow(
        ts=ts, kind="edge.retry", severity=Severity.WARNING, subject="edge", message=message, attributes=attributes
    )


def test_rows_of_all_kinds_are_told_once_in_order() -> None:
    pieces = story(
        "r-1",
        [request(), request(vantage=Vantage.ATTEMPT, attempt=2, ts=100.2, replica=None), request(request_id="r-2")],
        [event(100.3, request="r-1"), event(100.4, "took r-1 back"), event(100.5)],
        [
            log(100.1, "begins", correlation_id="r-1"),
            log(100.1, "begins", correlation_id="r-1"),
            log(100.6, "r-1 ends"),
            log(100.7, "another", correlation_id="r-2"),
        ],
    )
    assert [(piece.seen_by, piece.who) for piece in pieces] == [
        ("edge", "llm-0"),
        ("log", "llm-0"),
        ("attempt 2", "llm"),
        ("event", "edge"),
        ("event", "edge"),
        ("log", "llm-0"),
    ]
    assert [round(piece.offset_s, 3) for piece in pieces] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.6]
    assert {round(piece.whole_s, 3) for piece in pieces} == {1.2}
    assert [story_key(piece) for piece in pieces] == list("012345")
    assert story("r-9", [request()], [], []) == []


def test_logs_and_events_are_looked_for_around_it() -> None:
    assert span("r-1", [request(), request(request_id="r-2", ts=1.0)], 100.4) == (100.0 - AROUND_S, 101.0 + AROUND_S)
    assert span("r-1", [], 50.0) == (50.0 - AROUND_S, 50.0 + AROUND_S)
    assert span("r-1", [request(total_s=None)], 100.0)[1] == 100.0 + AROUND_S


def test_a_bar_is_waiting_then_first_token_then_the_rest() -> None:
    edge, line = story("r-1", [request(queue_s=0.25)], [], [log(101.0, "r-1")])
    assert bar(edge, 21) == "·····─────━━━━━━━━━━━"
    assert bar(line, 21) == " " * 20 + "•"
    assert bar(story("r-1", [], [], [log(1.0, "r-1")])[0], 4) == "•   "
    assert bar(story("r-1", [request(ttft_s=None, queue_s=None)], [], [])[0], 4) == "───━"
    assert bar(story("r-1", [request(total_s=None)], [], [log(101.0, "r-1")])[0], 4) == "•   "


def test_what_each_row_says() -> None:
    said = [
        what(piece)
        for piece in story(
            "r-1",
            [request(tokens_out=7, retries=1, error="reset", outcome=RequestOutcome.FAILED, status=-1)],
            [event(101, "r-1 retried")],
            [log(102, "W r-1 slow", level="warning"), log(103, "r-1 plain")],
        )
    ]
    assert said == [
        (
            "✗ failed  no answer  /v1/chat  queue 100 ms  ttft 500 ms  total 1.00 s  7 tokens  1 retry  reset",
            "error",
        ),
        ("▲ r-1 retried", "warn"),
        ("▲ W r-1 slow", "warn"),
        ("r-1 plain", "text"),
    ]
    still = what(story("r-1", [request(total_s=None, ttft_s=None, queue_s=0.0, retries=2)], [], [])[0])
    assert still == ("✓ ok  HTTP 200  /v1/chat  has not ended  2 retries", "text")


def test_offsets_are_exact_where_it_matters() -> None:
    assert [offset_text(seconds) for seconds in (0.0, 0.0124, 1.2041)] == ["+0 ms", "+12.4 ms", "+1.204 s"]


def test_every_column_has_a_cell_and_an_order() -> None:
    pieces = story("r-1", [request()], [event(101, "r-1")], [log(102, "r-1")])
    for column in STORY_COLUMNS:
        assert all(column.cell(piece, 0.0)[0] for piece in pieces)
        assert sorted(pieces, key=column.sort)  # type: ignore[arg-type] # one column's values are of one kind
    assert "edge llm-0" in story_haystack(pieces[0])


def test_the_note_counts_each_kind() -> None:
    assert story_note([]) == ()
    text = "".join(words for words, _ in story_note(story("r-1", [request()], [], [log(100.5, "r-1")])))
    assert text == "1 request row, 1 log line, 0 events  1.00 s"
