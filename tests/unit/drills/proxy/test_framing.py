"""Where messages end: the same however the bytes are cut, and never beyond what was said."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.drills.proxy.framing import Body, Framing, Malformed, may_be_request, parse_answer, parse_request


def chunked(parts: list[bytes], trailer: bytes = b"") -> bytes:
    body = b"".join(f"{len(part):x}".encode() + b";ext=1\r\n" + part + b"\r\n" for part in parts if part)
    return body + b"0\r\n" + trailer + b"\r\n"


def cuts(data: bytes, points: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(point % (len(data) + 1) for point in points)})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.lists(st.integers(0, 400)), st.binary(max_size=20))
def test_chunked_body_ends_where_it_ends_however_it_is_cut(parts: list[bytes], points: list[int], next_: bytes) -> None:
    wire = chunked(parts, b"X-Sum: 1\r\n")
    body, taken, starts = Body("chunked"), 0, 0
    for piece in cuts(wire + next_, points):
        assert body.complete == (taken == len(wire))
        taken += body.take(piece)
        starts += len(body.starts)
    assert body.complete and taken == len(wire)
    assert starts == len(parts) + 1  # each chunk and the last, empty one, each once


@given(st.integers(0, 300), st.lists(st.integers(0, 400)), st.binary(max_size=20))
def test_body_of_a_length_takes_exactly_that(length: int, points: list[int], next_: bytes) -> None:
    body, taken = Body("length", length), 0
    for piece in cuts(b"x" * length + next_, points):
        taken += body.take(piece)
    assert taken == length and body.complete


def test_body_until_close_ends_with_the_connection_only() -> None:
    body = Body("until-close")
    assert body.take(b"abc") == 3 and not body.complete
    body.eof()
    assert body.complete
    cut_short = Body("length", 5)
    cut_short.take(b"abc")
    cut_short.eof()
    assert not cut_short.complete


@pytest.mark.parametrize(
    "wire", [b"\r\n", b"x\r\n", b"-1\r\n", b"1\r\nab\r\n", b"f" * 16 + b"\r\n", b"1;" + b"e" * 9000]
)
def test_bad_chunks_are_malformed(wire: bytes) -> None:
    with pytest.raises(Malformed):
        Body("chunked").take(wire)


@pytest.mark.parametrize(
    ("head", "framing", "length", "closes"),
    [
        (b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n", "none", 0, False),
        (b"POST /a HTTP/1.1\r\nContent-Length: 12\r\nConnection: Close\r\n\r\n", "length", 12, True),
        (b"POST /a HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\nContent-Length: 3\r\n\r\n", "chunked", 0, False),
        (b"GET /a HTTP/1.0\r\n\r\n", "none", 0, True),
        (b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "none", 0, False),
    ],
)
def test_request_heads(head: bytes, framing: Framing, length: int, closes: bool) -> None:
    parsed = parse_request(head)
    assert (parsed.path, parsed.framing, parsed.length, parsed.closes) == (b"/a", framing, length, closes)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /\r\n\r\n",
        b"GET / HTTP/2\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
        b"GET / HTTP/1.1\r\n folded: line\r\n\r\n",
        b"\x16\x03\x01\r\n\r\n",
    ],
)
def test_heads_that_are_none(head: bytes) -> None:
    with pytest.raises(Malformed):
        parse_request(head)


@pytest.mark.parametrize(
    ("head", "method", "framing"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"GET", "length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"HEAD", "none"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"GET", "none"),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b"GET", "none"),
        (b"HTTP/1.0 200 OK\r\n\r\n", b"GET", "until-close"),
        (b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n", b"GET", "chunked"),
    ],
)
def test_answer_heads(head: bytes, method: bytes, framing: Framing) -> None:
    assert parse_answer(head, method).framing == framing


def test_first_bytes_tell_what_can_be_no_request() -> None:
    assert all(may_be_request(b"POST /v1 HTTP/1.1"[:size]) for size in range(17))
    assert not may_be_request(b"\x16\x03\x01") and not may_be_request(b" GET") and not may_be_request(b"A" * 60)
