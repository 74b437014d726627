"""Access-log records into rows: what each number means."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from backend.contract.words import RequestOutcome, Vantage
from backend.edge.flags import explain_flags
from backend.edge.join import EDGE_LOST, Joiner, outcome_of, outer_pid
from backend.edge.records import EndRecord, FirstRecord, parse_line

T = 1_800_000_000_000_000


# As HAProxy writes them, so that decoding is part of what is tested.
FIRST = {
    "k": "first", "u": "7-1-0", "id": "r", "t0": str(T + 1000), "now": str(T + 201_000), "pid": 7, "be": "llm:0",
    "rep": "llm-0", "p": "/v1", "st": 200, "ts": "--", "sse": "1", "eng": "1",
}  # fmt: skip
END = {
    "k": "end", "u": "7-1-0", "id": "r", "t0": str(T), "t1": str(T + 201_000), "now": str(T + 500_000), "pid": 7,
    "be": "llm", "srv": "s0", "rep": "llm-0", "m": "POST", "p": "/v1", "st": 200, "ts": "--", "sse": "1", "TR": 0,
    "Tw": 3, "Tc": 0, "Tr": 198, "Ta": 500, "rc": "0", "bi": 10, "bo": 99,
}  # fmt: skip


def first(**changes: Any) -> FirstRecord:
    record = parse_line(json.dumps(FIRST).encode())
    assert isinstance(record, FirstRecord)
    return msgspec.structs.replace(record, **changes)


def end(**changes: Any) -> EndRecord:
    record = parse_line(json.dumps(END).encode())
    assert isinstance(record, EndRecord)
    return msgspec.structs.replace(record, **changes)


def joiner() -> Joiner:
    return Joiner("local", lambda workload, slot: f"{workload}-by-slot-{slot}")


def test_plain_stream() -> None:
    j = joiner()
    attempt, row = j.first(first()), j.end(end())
    assert attempt.vantage is Vantage.ATTEMPT and attempt.ttft_s == pytest.approx(0.2) and attempt.workload == "llm"
    assert (row.ttft_s, row.total_s, row.queue_s) == (pytest.approx(0.201), pytest.approx(0.5), 0.003)
    assert row.ts == pytest.approx(T / 1e6) and row.replica == "llm-0" and row.outcome is RequestOutcome.OK
    assert j.open == {}


def test_only_a_request_that_the_edge_gave_up_has_a_cause() -> None:
    joiner = Joiner("local", lambda workload, slot: None)
    assert joiner.end(end(why="-")).error is None, "as HAProxy writes what was never set"
    assert joiner.end(end(u="7-1-1", why="retry_budget_spent")).error == "retry_budget_spent"


def test_ttft_is_null_where_nothing_streamed() -> None:
    j = joiner()
    assert j.first(first(sse="-")).ttft_s is None
    assert j.end(end(sse="-")).ttft_s is None


def test_queue_of_a_retried_request_is_the_gaps_between_its_attempts() -> None:
    j = joiner()
    j.first(first(t0=T + 50_000, now=T + 150_000, eng="-", st=425, ts="SH"))
    j.first(first(t0=T + 170_000, now=T + 400_000, be="llm:1", rep="llm-1"))
    row = j.end(end(rc="+1", Tw=170, rep="llm-1", t1=T + 400_000))
    assert row.queue_s == pytest.approx(0.05 + 0.02)
    assert row.ttft_s == pytest.approx(0.4)
    assert row.retries == 1 and row.attempt == 2


def test_request_that_ended_in_the_queue_waited_all_its_time() -> None:
    row = joiner().end(end(Tw=-1, Tr=-1, st=503, ts="sQ", srv="<NOSRV>", rep="-", t1=0, sse="-"))
    assert row.queue_s == pytest.approx(0.5) and row.replica is None and row.outcome is RequestOutcome.SHED


def test_replica_of_a_request_whose_client_left_first_comes_from_its_slot() -> None:
    j = joiner()
    row = j.end(end(rep="-", ts="CH", st=-1, t1=0, sse="-"))
    assert row.replica == "llm-by-slot-0" and row.outcome is RequestOutcome.FAILED
    j.first(first(ts="CH"), ended=True)
    assert j.open == {}


def test_process_that_is_gone_leaves_lost_rows_and_others_stay() -> None:
    j = joiner()
    j.first(first(u="7-1-0"))
    j.first(first(u="8-1-0", pid=8))
    rows = j.lose({7})
    assert [r.termination for r in rows] == [EDGE_LOST]
    assert rows[0].status == 200 and rows[0].total_s is None and rows[0].outcome is RequestOutcome.FAILED
    assert set(j.open) == {"8-1-0"}
    assert j.lose({7}) == []


def test_attempt_through_a_new_process_belongs_to_the_process_that_named_the_request() -> None:
    j = joiner()
    j.first(first(u="7-1-0", pid=8))
    assert j.open["7-1-0"].pid == 7
    assert outer_pid("client-made") is None


@pytest.mark.parametrize(
    ("status", "flags", "first_byte", "outcome"),
    [
        (200, "--", 1, "ok"),
        (404, "--", 1, "ok"),
        (401, "PR", 0, "ok"),
        (404, "LR", 0, "ok"),
        (429, "--", 1, "shed"),
        (500, "--", 1, "failed"),
        (200, "SD", 1, "failed"),
        (503, "sQ", 0, "shed"),
        (503, "SC", 0, "failed"),
        (200, "CD", 1, "ok"),
        (-1, "CH", 0, "failed"),
        (504, "--", 1, "failed"),
        (200, "KD", 1, "failed"),
    ],
)
def test_outcome_is_what_the_caller_got(status: int, flags: str, first_byte: int, outcome: str) -> None:
    assert outcome_of(end(st=status, ts=flags, t1=first_byte and T + 1)).value == outcome


def test_flags_are_explained() -> None:
    assert explain_flags("SD") == "The replica closed or refused the connection, while the answer was being sent."
    assert explain_flags("--") == "Ended cleanly."
    assert explain_flags("sQ--").startswith("The replica took too long, while it waited in the queue")
    assert "edge itself died" in explain_flags(EDGE_LOST)
    assert "`?`" in explain_flags("??")
