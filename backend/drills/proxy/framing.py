"""Where HTTP/1.1 messages begin and end in a stream of bytes. Pure.

Owns heads and body framing, as far as a proxy needs them to tell one request from the next. Never changes a byte:
what it cannot read is `Malformed`, and the relay then passes the connection on as it is.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

MAX_HEAD_BYTES: Final = 64 * 1024
_MAX_LINE_BYTES: Final = 8 * 1024
_TOKEN: Final = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_HEX: Final = frozenset(b"0123456789abcdefABCDEF")
_MAX_METHOD_BYTES: Final = 24

Framing = Literal["none", "length", "chunked", "until-close"]
_Step = Literal["size", "data", "gap", "trailer"]


class Malformed(ValueError):
    """These bytes are no HTTP/1.x message."""


class RequestHead(msgspec.Struct, frozen=True, kw_only=True):
    """A request's head. Header names are in lower case; of a repeated header the last one stands."""

    method: bytes
    path: bytes
    """Without its query."""
    headers: dict[bytes, bytes]
    framing: Framing
    length: int = 0
    closes: bool = False
    """Whether the client wants the connection closed after the answer."""


class AnswerHead(msgspec.Struct, frozen=True, kw_only=True):
    """An answer's head."""

    status: int
    headers: dict[bytes, bytes]
    framing: Framing
    length: int = 0


def may_be_request(data: bytes) -> bool:
    """Whether these first bytes can still become a request line."""
    for index, byte in enumerate(data[: _MAX_METHOD_BYTES + 1]):
        if byte == 0x20:
            return index > 0
        if byte not in _TOKEN:
            return False
    return len(data) <= _MAX_METHOD_BYTES


def parse_request(head: bytes) -> RequestHead:
    """The head of a request, its empty line included or not. Raises Malformed."""
    first, headers = _lines(head)
    words = first.split(b" ")
    if len(words) != 3 or not words[2].startswith(b"HTTP/1.") or not may_be_request(first):
        raise Malformed("the request line is not HTTP/1.x")
    framing, length = _framing(headers, otherwise="none")
    wish = headers.get(b"connection", b"").lower()
    closes = b"close" in wish or (words[2] == b"HTTP/1.0" and b"keep-alive" not in wish)
    return RequestHead(
        method=words[0],
        path=words[1].partition(b"?")[0],
        headers=headers,
        framing=framing,
        length=length,
        closes=closes,
    )


def parse_answer(head: bytes, method: bytes) -> AnswerHead:
    """The head of the answer to a request of that method. Raises Malformed."""
    first, headers = _lines(head)
    words = first.split(b" ", 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or len(words[1]) != 3 or not words[1].isdigit():
        raise Malformed("the status line is not HTTP/1.x")
    status = int(words[1])
    framing, length = _framing(headers, otherwise="until-close")
    if method == b"HEAD" or status < 200 or status in (204, 304):
        framing, length = "none", 0
    return AnswerHead(status=status, headers=headers, framing=framing, length=length)


def _lines(head: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    headers: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        name = name.lower()
        if not colon or not name or any(byte not in _TOKEN for byte in name):
            raise Malformed("a header line has no name")
        value = value.strip()
        if name == b"content-length" and headers.get(name, value) != value:
            raise Malformed("two lengths are told")
        headers[name] = value
    return first, headers


def _framing(headers: dict[bytes, bytes], *, otherwise: Framing) -> tuple[Framing, int]:
    coding = headers.get(b"transfer-encoding", b"").lower()
    if coding:
        if coding.split(b",")[-1].strip() != b"chunked":
            raise Malformed("its transfer coding is unknown")
        return "chunked", 0
    told = headers.get(b"content-length")
    if told is None:
        return otherwise, 0
    if not told.isdigit() or len(told) > 18:
        raise Malformed("its length is no number")
    return "length", int(told)


class Body:
    """Follows one body through the bytes that carry it. `starts`: where chunks began in the bytes last taken."""

    def __init__(self, framing: Framing, length: int = 0) -> None:
        self.framing = framing
        self.complete = framing == "none" or (framing == "length" and length == 0)
        self.starts: list[int] = []
        self._left = length
        self._step: _Step = "size"
        self._line = b""

    def take(self, data: bytes) -> int:
        """How many of these bytes belong to the body. Raises Malformed."""
        self.starts = []
        if self.complete:
            return 0
        if self.framing == "chunked":
            return self._take_chunks(data)
        self.starts.append(0)
        if self.framing == "until-close":
            return len(data)
        taken = min(self._left, len(data))
        self._left -= taken
        self.complete = self._left == 0
        return taken

    def eof(self) -> None:
        """The peer closed: the end of a body that is framed by that."""
        if self.framing == "until-close":
            self.complete = True

    def _take_chunks(self, data: bytes) -> int:
        at = 0
        while at < len(data) and not self.complete:
            if self._step == "data":
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
                if self._left == 0:
                    self._step = "gap"
                continue
            if self._step == "size" and not self._line:
                self.starts.append(at)
            end = data.find(b"\n", at)
            self._line += data[at:] if end < 0 else data[at : end + 1]
            if len(self._line) > _MAX_LINE_BYTES:
                raise Malformed("a line of a chunk is too long")
            if end < 0:
                return len(data)
            at = end + 1
            line, self._line = self._line.rstrip(b"\r\n"), b""
            self._end_line(line)
        return at

    def _end_line(self, line: bytes) -> None:
        if self._step == "size":
            size = line.partition(b";")[0].strip()
            if not size or len(size) > 15 or any(byte not in _HEX for byte in size):
                raise Malformed("a chunk has no size")
            self._left = int(size, 16)
            self._step = "data" if self._left else "trailer"
        elif self._step == "gap":
            if line:
                raise Malformed("a chunk is longer than it says")
            self._step = "size"
        elif not line:
            self.complete = True
