"""Whatever a probed program answers: an answer or a NotHttp, never another exception."""

from __future__ import annotations

import asyncio
import contextlib

from hypothesis import example, given, settings
from hypothesis import strategies as st

from backend.probes.http_get import HttpAnswer, NotHttp, _read_answer

PIECES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 \xb2 OK",
        b"HTTP/1.1 200",
        b"\r\n",
        b"\r\n\r\n",
        b"Content-Length: 5",
        b"Content-Length: -5",
        b"content-length: \xb2\xb2",
        b"Transfer-Encoding: chunked",
        b"5\r\nhello\r\n",
        b"-5\r\n",
        b"0x5\r\n",
        b"ffffffffffffffffffff\r\n",
        b"x" * 70_000,
    ]
)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def read(data: bytes, limit: int) -> HttpAnswer | None:
    reader = asyncio.StreamReader(limit=64 * 1024)
    reader.feed_data(data)
    reader.feed_eof()
    with contextlib.suppress(NotHttp):
        return await _read_answer(reader, limit)
    return None


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES | st.binary(max_size=30), max_size=10).map(b"".join), st.sampled_from([0, 1, 4, 1 << 20]))
@example(CHUNKED + b"-5\r\n", 100)
@example(CHUNKED + b"x" * 70_000, 100)
@example(b"HTTP/1.1 \xb2\xb2 OK\r\n\r\n", 0)
@example(b"HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\n", 9)
def test_any_bytes_are_an_answer_or_not_http(data: bytes, limit: int) -> None:
    answer = asyncio.run(read(data, limit))
    assert answer is None or (answer.status >= 0 and len(answer.body) <= limit)
