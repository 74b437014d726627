"""A summary is a function of its rows: whole, order-free, and honest about lateness."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract.rows import RequestRow
from backend.contract.words import RequestOutcome, Vantage
from backend.load import summarize
from backend.load.outcome import CANCELLED, CAP


def _row(
    outcome: RequestOutcome = RequestOutcome.OK,
    *,
    late: float = 0.0,
    total: float | None = 1.0,
    ttft: float | None = None,
    termination: str = "",
    tokens: int | None = None,
    bytes_out: int | None = 10,
) -> RequestRow:
    return RequestRow(
        ts=100.0 + late, intended_ts=100.0, vantage=Vantage.CLIENT, request_id="r", fleet="f", workload="w", route="/",
        status=200, outcome=outcome, total_s=total, ttft_s=ttft, termination=termination, tokens_out=tokens,
        tokens_in=None if tokens is None else 1, bytes_out=bytes_out,
    )  # fmt: skip


ROWS = st.lists(
    st.builds(
        _row,
        st.sampled_from(list(RequestOutcome)),
        late=st.floats(0, 2),
        total=st.floats(0.001, 10),
        ttft=st.one_of(st.none(), st.floats(0, 1)),
        termination=st.sampled_from(["", "reset", CAP, CANCELLED]),
        tokens=st.one_of(st.none(), st.integers(0, 100)),
        bytes_out=st.one_of(st.none(), st.integers(0, 5)),
    ),
    max_size=60,
)


@given(ROWS, st.randoms(use_true_random=False))
def test_every_arrival_is_counted_once_in_any_order(rows: list[RequestRow], shuffler: random.Random) -> None:
    summary = summarize(rows, duration_s=10.0)
    parts = summary.ok + summary.slow + summary.wrong + summary.shed + summary.failed
    assert parts + summary.refused_by_cap + summary.cancelled == summary.total == len(rows)
    assert sum(summary.terminations.values()) <= parts
    mixed = list(rows)
    shuffler.shuffle(mixed)
    assert summarize(mixed, duration_s=10.0) == summary


def test_latency_counts_from_the_intended_send() -> None:
    summary = summarize([_row(late=5.0, total=1.0, ttft=0.5)])
    assert summary.service.p50_s == 1.0
    assert summary.latency.p50_s == 6.0
    assert (summary.ttft.p50_s, summary.ttft_intended.p50_s) == (0.5, 5.5)
    assert summary.lag.max_s == 5.0


def test_failures_do_not_flatter_the_quantiles() -> None:
    summary = summarize([_row(total=1.0), _row(RequestOutcome.FAILED, total=0.001, termination="refused", bytes_out=0)])
    assert summary.service.count == 1
    assert summary.failed_before_first_byte == 1
    assert summary.terminations == {"refused": 1}


def test_unknown_tokens_stay_unknown() -> None:
    assert summarize([_row()]).tokens_out is None
    assert summarize([_row()]).tokens_per_s is None
    some = summarize([_row(), _row(tokens=7)], duration_s=2.0)
    assert (some.tokens_out, some.tokens_counted, some.tokens_per_s) == (7, 1, 3.5)


def test_the_cap_marks_the_run_and_is_no_failure() -> None:
    summary = summarize([_row(RequestOutcome.FAILED, termination=CAP, total=None), _row()])
    assert summary.overloaded and summary.refused_by_cap == 1 and summary.failed == 0


def test_nothing_at_all() -> None:
    empty = summarize([])
    assert (empty.total, empty.requests_per_s, empty.service.p99_s) == (0, 0.0, None)
    assert summarize([_row()]).duration_s == pytest.approx(1.0)
