"""Framing of answers, whatever pieces they arrive in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.load.http1 import MalformedAnswer, ResponseParser

HEAD = b"HTTP/1.1 200 OK\r\n"


def _parse(*pieces: bytes, eof: bool = False) -> tuple[ResponseParser, bytes]:
    body = bytearray()
    parser = ResponseParser(body.extend)
    for piece in pieces:
        parser.feed(piece)
    if eof:
        parser.eof()
    return parser, bytes(body)


@pytest.mark.parametrize(
    ("answer", "body", "complete"),
    [
        (HEAD + b"Content-Length: 3\r\n\r\nabc", b"abc", True),
        (HEAD + b"Content-Length: 3\r\n\r\nab", b"ab", False),
        (HEAD + b"content-length: 0\r\n\r\n", b"", True),
        (
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n",
            b"abc0123456789",
            True,
        ),
        (HEAD + b"Transfer-Encoding: Chunked\r\n\r\n1\r\na\r\n0\r\nTrailer: x\r\n\r\n", b"a", True),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", b"abc", False),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"abc", False),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"Content-Length: 1\r\n\r\na", b"a", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
    ],
)
@pytest.mark.parametrize("eof", [False, True])
def test_the_end_is_where_the_framing_says(answer: bytes, body: bytes, complete: bool, eof: bool) -> None:
    parser, got = _parse(answer, eof=eof)
    assert (got, parser.complete) == (body, complete)
    parser, got = _parse(*(bytes([byte]) for byte in answer), eof=eof)
    assert (got, parser.complete) == (body, complete)


def test_a_body_until_close_ends_with_the_connection() -> None:
    parser, body = _parse(HEAD + b"\r\nabc")
    assert not parser.complete
    parser.eof()
    assert parser.complete and body == b"abc" and not parser.keep_alive


def test_keep_alive_is_what_the_peer_allows() -> None:
    assert _parse(HEAD + b"Content-Length: 0\r\n\r\n")[0].keep_alive
    assert not _parse(HEAD + b"Connection: Close\r\nContent-Length: 0\r\n\r\n")[0].keep_alive


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 2000 x\r\n\r\n",
        HEAD + b"nocolon\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 1e3\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
        b"x" * 70_000,
    ],
)
def test_what_is_not_http_is_said(answer: bytes) -> None:
    with pytest.raises(MalformedAnswer):
        _parse(answer)


@given(st.binary(max_size=300), st.sampled_from([b"", HEAD, HEAD + b"Transfer-Encoding: chunked\r\n\r\n"]))
def test_any_bytes_are_http_or_malformed(data: bytes, head: bytes) -> None:
    try:
        _parse(head + data, eof=True)
    except MalformedAnswer:
        return


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.integers(1, 7))
def test_chunked_round_trip(chunks: list[bytes], step: int) -> None:
    data = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    data += b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    parser, body = _parse(*(data[at : at + step] for at in range(0, len(data), step)))
    assert parser.complete and body == b"".join(chunks)
