"""The event-stream parser against any bytes in any pieces."""

from __future__ import annotations

import itertools
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from backend.openai_wire import SseError, SseEvent, SseParser, encode_event

BYTES = st.one_of(
    st.binary(max_size=400),
    st.lists(
        st.sampled_from([b"data: ", b"data", b":", b"\n", b"\r", b"\r\n", b"x", b"[DONE]", b"id: ", b"event: ", b"\xef",
                         b"\xbb\xbf", b"\0", b" "]),
        max_size=60,
    ).map(b"".join),
)  # fmt: skip


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


@settings(max_examples=500, deadline=None)
@given(BYTES, st.lists(st.integers(0, 400), max_size=12))
def test_pieces_do_not_matter_and_the_standard_is_kept(data: bytes, cuts: list[int]) -> None:
    parser = SseParser()
    got: list[SseEvent] = []
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    for start, end in itertools.pairwise(edges):
        got += parser.feed(data[start:end])
    assert [event.data for event in got] == _oracle(data)


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
