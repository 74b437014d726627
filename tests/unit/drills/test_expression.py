"""The expression language: what parses, what each mistake says and where, and what values come out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract.words import RequestOutcome
from backend.drills.evaluate import Facts, Value, evaluate
from backend.drills.expression import MAX_DEPTH, ExpressionError, parse
from backend.drills.expression_types import NUMBER, RATE, TIME, Kind, Place, Scope, compile_expression
from backend.drills.records import Observation
from tests.unit.drills.samples import SPANS, kill, row


def scope(place: Place = "verdict") -> Scope:
    return Scope(
        loads=frozenset({"chat", "plain"}),
        pools=frozenset({"pool"}),
        replicas=frozenset({"victim"}),
        faults=frozenset({"kill-a"}),
        phases=frozenset({"baseline", "one-down"}),
        place=place,
    )


def value(text: str, facts: Facts | None = None, kind: Kind = "bool", place: Place = "verdict") -> Value:
    return evaluate(compile_expression(text, scope(place), kind), facts or Facts(rows={})).value


@pytest.mark.parametrize(
    ("text", "kind", "wanted"),
    [
        ("1 + 2 * 3", NUMBER, 7.0),
        ("-(1 + 2) * 3", NUMBER, -9.0),
        ("10 - 4 - 3", NUMBER, 3.0),
        ("5%", NUMBER, 0.05),
        ("200ms", TIME, 0.2),
        ("1m + 30s", TIME, 90.0),
        ("10/s", RATE, 10.0),
        ("60/m", RATE, 1.0),
        ("2 * 3/s", RATE, 6.0),
        ("10/s * 3s", NUMBER, 30.0),
        ("6 / 3s", RATE, 2.0),
        ("min(3, 2, 1)", NUMBER, 1.0),
        ("max(200ms, 1s)", TIME, 1.0),
        ("1 < 2 and not 2 < 1", "bool", True),
        ("1 > 2 or 2 >= 2", "bool", True),
        ("1 == 2 or 1 != 1 and 1 == 1", "bool", False),
        ("not 1 == 2", "bool", True),
        ("1s == 1000ms", "bool", True),
    ],
)
def test_arithmetic_with_units(text: str, kind: Kind, wanted: Value) -> None:
    assert value(text, kind=kind) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("text", "message", "column"),
    [
        ("failed(chat) = 0", "expected", 14),
        ("failed(chta) == 0", "unknown load `chta`", 8),
        ("faild(chat) == 0", "unknown function `faild`", 1),
        ("p99(chat) <= 200", "cannot join a time and a number", 11),
        ("failed(chat)", "gives a number", 1),
        ("1 < 2 < 3", "do not chain", 7),
        ("1 and 2 == 2", "joins conditions", 3),
        ("not 3", "does not work on a number", 1),
        ("chat == 0", "stands alone", 1),
        ("latency(chat) == 0", "set of times", 15),
        ("p99(max(chat)) < 1s", "wants a load or ttft", 5),
        ("count(chat, last=5) > 1", "option `last` wants a time", 1),
        ("count(chat, first=5s) > 1", "no option `first`", 1),
        ("count(chat, last=5s, last=5s) > 1", "given twice", 22),
        ("count(last=5s, chat) > 1", "come before options", 16),
        ("count() > 1", "takes 1 argument", 1),
        ("detect(kill-b) < 1s", "unknown fault", 8),
        ("baselin.count(chat) > 1", "unknown phase", 9),
        ("baseline.detect(kill-a) < 1s", "per phase", 10),
        ("in_flight(victim) > 1", "works only in when", 1),
        ("size(victim) > 1", "unknown pool", 6),
        ("min(1, 1s) > 1", "one kind", 1),
        ("count(1) > 1", "name of a load", 7),
        ("1 + ", "the end", 5),
        ("(1 == 1", "`)`", 8),
        ("1 ? 2", "unexpected character", 3),
        ("1 == 1 1", "operator or the end", 8),
        ("", "the end", 1),
        ("and == 1", "a value", 1),
        ("a.b == 1", "`(`", 5),
        ("a.( == 1", "function name", 3),
        ("(" * (MAX_DEPTH + 2) + "1", "nested deeper", MAX_DEPTH + 1),
        ("1+" * 1500 + "1", "longer than", 1),
        ("p50(baseline.ttft(chat)) < one-down.p50(baseline.ttft(chat))", "named twice", 50),
    ],
)
def test_mistakes_say_what_and_where(text: str, message: str, column: int) -> None:
    with pytest.raises(ExpressionError) as caught:
        value(text)
    assert message in caught.value.message
    assert caught.value.column == column


def test_capacity_is_for_rates_and_wants_its_replicas() -> None:
    facts = Facts(rows={}, capacity_per_replica={"pool": 10.0})
    assert value("0.5 * capacity(pool, replicas=2)", facts, RATE, "rate") == 10.0
    assert value("min(3/s, capacity(pool, replicas=1))", facts, RATE, "rate") == 3.0
    assert value("capacity(pool, replicas=1)", Facts(rows={}), RATE, "rate") is None
    with pytest.raises(ExpressionError, match="replicas=n"):
        value("capacity(pool)", facts, RATE, "rate")
    with pytest.raises(ExpressionError, match="only in rates"):
        value("capacity(pool, replicas=1) > 1/s", facts)
    with pytest.raises(ExpressionError, match="gives a number"):
        value("5", facts, RATE, "rate")


FAILED, SHED, WRONG = RequestOutcome.FAILED, RequestOutcome.SHED, RequestOutcome.WRONG
ROWS = {
    "chat": [
        row(1.0, took=0.1),
        row(2.0, took=0.3, late=0.1, stream=True),
        row(11.0, took=2.0, outcome=FAILED, stream=True),
        row(11.5, took=1.0, outcome=FAILED, status=502, began=True),
        row(13.0, outcome=SHED, status=503, began=False),
        row(14.0, outcome=WRONG),
        row(15.0, outcome=RequestOutcome.SLOW, took=4.0, retries=1),
    ]
}


def facts(phase: str | None = "one-down", **changes: object) -> Facts:
    rows = {"chat": sorted(ROWS["chat"], key=lambda r: r.ended_s)}
    fields = {"rows": rows, "phases": SPANS, "faults": {"kill-a": kill()}, "phase": phase, **changes}
    return Facts(**fields)  # type: ignore[arg-type]  # test data by field name


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("count(chat)", 5),
        ("baseline.count(chat)", 2),
        ("failed(chat)", 3),
        ("failed(chat) + 0 * shed(chat)", 2),
        ("shed(chat)", 1),
        ("wrong(chat)", 1),
        ("slow(chat)", 1),
        ("ok(chat)", 0),
        ("truncated(chat)", 1),
        ("failed_before_first_byte(chat)", 2),
        ("failed(chat, spans=kill-a)", 2),
        ("truncated(chat, spans=kill-a)", 1),
        ("retried(chat)", 1),
        ("ok_ratio(chat)", 0.2),
        ("baseline.ok_ratio(chat)", 1.0),
    ],
)
def test_counts_of_a_phase(text: str, wanted: float) -> None:
    assert value(text, facts(), NUMBER) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("p99(chat)", 4.0),
        ("baseline.max(chat)", 0.4),
        ("baseline.max(service(chat))", 0.3),
        ("baseline.p50(ttft(chat))", 0.25),
        ("p50(baseline.ttft(chat))", 0.25),
        ("baseline.min(latency(chat))", 0.1),
        ("detect(kill-a)", 0.05),
        ("recovery(kill-a)", 2.0),
        ("mttr(kill-a)", 2.0),
        ("exposure(kill-a)", 0.0),
    ],
)
def test_times_count_from_the_intended_send(text: str, wanted: float) -> None:
    assert value(text, facts(), TIME) == pytest.approx(wanted)


def test_no_data_is_neither_true_nor_false() -> None:
    empty = Facts(rows={"chat": []}, phases=SPANS, phase="one-down")
    assert value("ok_ratio(chat) == 1.0", empty) is None
    assert value("p99(chat) < 1s", empty) is None
    assert value("detect(kill-a) < 1s", empty) is None
    assert value("not p99(chat) < 1s", empty) is None
    assert value("p99(chat) < 1s and 1 == 2", empty) is False
    assert value("p99(chat) < 1s or 1 == 1", empty) is True
    assert value("p99(chat) < 1s and 1 == 1", empty) is None
    assert value("p99(chat) < max(1s, baseline.p99(chat))", empty) is None
    assert value("1 / count(chat) == 1", empty) is None
    assert value("detect(kill-a) < 1s", facts(faults={"kill-a": kill(t_detected=None)})) is None
    assert value("healthy(pool) == 1", empty) is None


def test_sliding_windows_end_now() -> None:
    live = facts(None, now_s=14.2)
    assert value("count(chat, last=2s)", live, NUMBER, "live") == 5
    assert value("count(chat, last=2s)", facts(None, now_s=20.0), NUMBER, "live") == 1
    assert value("in_flight(chat)", facts(None, now_s=20.0, outstanding={"chat": 4}), NUMBER, "live") == 4


def test_grace_leaves_out_requests_that_came_right_after_the_fault() -> None:
    assert value("count(chat)", facts(grace_s=1.5), NUMBER) == 4
    assert value("baseline.count(chat)", facts(grace_s=100.0), NUMBER) == 2


def test_state_is_that_of_the_phase_end() -> None:
    seen = [Observation(at_s=at, healthy={"pool": n}) for at, n in ((0.0, 2), (12.0, 1), (14.0, 2), (25.0, 0))]
    assert value("healthy(pool)", facts(observations=seen), NUMBER) == 2
    assert value("healthy(pool)", facts("recovery", observations=seen), NUMBER) == 0
    assert value("healthy(pool)", facts(None, observations=seen, now_s=13.0), NUMBER) == 1
    assert value("size(pool)", facts(sizes={"pool": 2}), NUMBER) == 2


def mistake(work: Callable[[], object]) -> ExpressionError | None:
    try:
        work()
    except ExpressionError as error:
        return error
    return None


@given(st.text(max_size=60))
def test_any_text_parses_or_says_why(text: str) -> None:
    error = mistake(lambda: parse(text))
    assert error is None or (1 <= error.column <= len(text) + 1 and error.message)


@given(st.text(alphabet="failedp9(),.=<>+-*/ 0123456789ms%andortkil_chat", max_size=60))
def test_near_misses_compile_or_say_why(text: str) -> None:
    error = mistake(lambda: compile_expression(text, scope(), "bool"))
    assert error is None or 1 <= error.column <= len(text) + 1
