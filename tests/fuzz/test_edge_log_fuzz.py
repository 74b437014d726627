"""The access log's reader on lines nobody should have written: it never raises, and never loses a good line."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from backend.edge.join import Joiner
from backend.edge.records import EndRecord, FirstRecord, Unreadable, Words, parse_line

END = {
    "k": "end", "u": "7-1-0", "id": "r", "t0": "1", "t1": "0", "now": "2", "pid": 7, "be": "llm", "srv": "s0",
    "rep": "-", "m": "POST", "p": "/", "st": 200, "ts": "--", "sse": "-", "TR": 0, "Tw": 0, "Tc": 0, "Tr": 0,
    "Ta": 0, "rc": "+1", "bi": 0, "bo": 0,
}  # fmt: skip
FIRST = {
    "k": "first", "u": "7-1-0", "id": "r", "t0": "1", "now": "2", "pid": 7, "be": "llm:0", "rep": "llm-0", "p": "/",
    "st": -1, "ts": "SH", "sse": "-", "eng": "-",
}  # fmt: skip
values = st.one_of(st.none(), st.integers(-(2**70), 2**70), st.text(max_size=20), st.floats(), st.just([]))


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_a_value(line: bytes) -> None:
    record = parse_line(line)
    assert record is None or isinstance(record, EndRecord | FirstRecord | Words | Unreadable)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from([END, FIRST]), st.dictionaries(st.sampled_from([*END, *FIRST]), values, max_size=4))
def test_any_field_values_give_a_row_or_are_unreadable(base: dict[str, object], changes: dict[str, object]) -> None:
    record = parse_line(json.dumps(base | changes).encode())
    joiner = Joiner("local", lambda workload, slot: None)
    if isinstance(record, FirstRecord):
        joiner.first(record)
        assert len(joiner.lose({request.pid for request in joiner.open.values()})) == 1
    elif isinstance(record, EndRecord):
        row = joiner.end(record)
        assert row.total_s is None or row.total_s >= 0
    else:
        assert isinstance(record, Unreadable)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 400))
def test_line_that_was_cut_off_is_unreadable_not_half_true(length: int) -> None:
    whole = json.dumps(END).encode()
    record = parse_line(whole[:length])
    assert length >= len(whole) or record is None or isinstance(record, Unreadable)
