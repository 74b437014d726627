"""The event-stream parser against any bytes in any pieces."""

from __future__ import annotations

import itertools
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from backend.openai_wire import SseError, SseEvent, SseParser, encode_event

LINES = st.tuples(
    st.sampled_from([b"data: a", b"data:b", b"data", b": c", b"event: e", b"id: 1", b"", b"", b"data: [DONE]", b"x"]),
    st.sampled_from([b"\n", b"\r", b"\r\n"]),
).map(b"".join)
TOKENS = st.sampled_from(
    [b"data: ", b"data", b":", b"\n", b"\r", b"\r\n", b"x", b"[DONE]", b"id: ", b"\xef", b"\xbb\xbf", b"\0", b" "]
)
BYTES = st.one_of(
    st.binary(max_size=300), st.lists(TOKENS, max_size=60).map(b"".join), st.lists(LINES, max_size=40).map(b"".join)
)
PIECES = st.lists(st.integers(1, 30), min_size=1, max_size=20)


def _oracle(data: bytes) -> list[bytes]:
    """The data of all events, by the letter of the standard, from the whole stream at once."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    *lines, _unfinished = re.split(rb"\r\n|\n|\r", data)
    events: list[bytes] = []
    fields: list[bytes] = []
    for line in lines:
        if not line:
            if fields:
                events.append(b"\n".join(fields))
            fields = []
        elif line.split(b":", 1)[0] == b"data":
            value = line.partition(b":")[2]
            fields.append(value[1:] if value.startswith(b" ") else value)
    return events


@settings(max_examples=600, deadline=None)
@given(BYTES, PIECES)
def test_pieces_do_not_matter_and_the_standard_is_kept(data: bytes, sizes: list[int]) -> None:
    wanted = _oracle(data)
    for lengths in (sizes, [1]):
        parser = SseParser()
        got: list[SseEvent] = []
        rest = data
        for size in itertools.cycle(lengths):
            got += parser.feed(rest[:size])
            rest = rest[size:]
            if not rest:
                break
        assert [event.data for event in got] == wanted


@settings(max_examples=200, deadline=None)
@given(BYTES, st.integers(1, 64))
def test_memory_stays_within_its_bound(data: bytes, bound: int) -> None:
    parser = SseParser(max_event_bytes=bound)
    try:
        for at in range(len(data)):
            parser.feed(data[at : at + 1])
            assert len(parser._rest) + sum(map(len, parser._data)) <= bound + 1
    except SseError:
        return


@given(st.binary(max_size=200).filter(lambda data: b"\r" not in data))
def test_round_trip(data: bytes) -> None:
    assert [event.data for event in SseParser().feed(encode_event(data))] == [data]
