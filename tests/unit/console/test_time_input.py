"""A time is typed as people say it; what cannot be read is answered with what can."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract.errors import UsageError
from console.state.time_input import parse_instant

NOW = datetime(2026, 11, 21, 14, 30, 0).timestamp()


def local(*parts: int) -> float:
    return datetime(*parts).timestamp()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("14:05", local(2026, 11, 21, 14, 5)),
        ("9:05", local(2026, 11, 21, 9, 5)),
        ("14:05:30", local(2026, 11, 21, 14, 5, 30)),
        ("14:05:30.25", local(2026, 11, 21, 14, 5, 30) + 0.25),
        ("15:00", local(2026, 11, 20, 15, 0)),
        ("2026-11-20 14:05", local(2026, 11, 20, 14, 5)),
        ("2026-11-20T14:05:07", local(2026, 11, 20, 14, 5, 7)),
        ("  2026-11-20 ", local(2026, 11, 20)),
        ("now", NOW),
        ("-5m", NOW - 300),
        ("+30s", NOW + 30),
        ("-1h30m", NOW - 5400),
        ("-1.5 h", NOW - 5400),
        ("- 250ms", NOW - 0.25),
        ("-2d", NOW - 172800),
    ],
)
def test_what_people_type(text: str, instant: float) -> None:
    assert parse_instant(text, now=NOW) == pytest.approx(instant)


def test_a_distance_counts_from_the_cursor() -> None:
    assert parse_instant("+30s", now=NOW, origin=1000.0) == 1030.0
    assert parse_instant("-1m", now=NOW, origin=1000.0) == 940.0


@pytest.mark.parametrize(
    "text", ["", "yesterday", "25:00", "14:65", "2026-02-30 10:00", "5m", "14:05 pm", "+", "0-1-1"]
)
def test_anything_else_says_what_is_accepted(text: str) -> None:
    with pytest.raises(UsageError, match="Type 14:05, 14:05:30, 2026-11-21 14:05, -5m"):
        parse_instant(text, now=NOW)


@given(st.integers(min_value=0, max_value=86399))
def test_a_time_of_day_is_never_in_the_future_and_within_a_day(second: int) -> None:
    text = time.strftime("%H:%M:%S", time.gmtime(second))
    instant = parse_instant(text, now=NOW)
    assert NOW - 90_000 <= instant <= NOW
    assert time.strftime("%H:%M:%S", time.localtime(instant)) == text


@given(st.text(max_size=12))
def test_no_text_does_anything_but_answer_or_refuse(text: str) -> None:
    with suppress(UsageError):
        parse_instant(text, now=NOW)
