"""One row a request, whoever saw it."""

from __future__ import annotations

from typing import Any

from backend.contract.rows import RequestRow
from backend.contract.words import RequestOutcome, Vantage
from console.state.requests import one_a_request


def seen(vantage: Vantage, request_id: str = "a", ts: float = 1.0, **more: Any) -> RequestRow:
    fields: dict[str, Any] = {
        "ts": ts,
        "vantage": vantage,
        "request_id": request_id,
        "fleet": "local",
        "workload": "llm",
        "route": "/v1/completions",
        "stream": True,
        "status": 200,
        "outcome": RequestOutcome.OK,
    }
    return RequestRow(**fields | more)


def test_the_edge_is_believed_and_the_client_counts_tokens() -> None:
    rows = [
        seen(Vantage.ATTEMPT, replica="llm-0"),
        seen(Vantage.EDGE, replica="llm-1", total_s=2.0),
        seen(Vantage.CLIENT, total_s=2.1, tokens_in=7, tokens_out=24),
    ]
    for order in (rows, rows[::-1]):
        (row,) = one_a_request(order)
        assert (row.vantage, row.replica, row.total_s) == (Vantage.EDGE, "llm-1", 2.0)
        assert (row.tokens_in, row.tokens_out) == (7, 24)


def test_a_request_that_the_edge_never_ended_is_still_shown() -> None:
    assert [row.vantage for row in one_a_request([seen(Vantage.ATTEMPT), seen(Vantage.CLIENT, "b")])] == [
        Vantage.ATTEMPT,
        Vantage.CLIENT,
    ]


def test_an_id_used_twice_shows_the_newest() -> None:
    (row,) = one_a_request([seen(Vantage.EDGE, ts=2.0, status=500), seen(Vantage.EDGE, ts=1.0)])
    assert row.status == 500
