"""The engine's streams of a container's output, taken apart: frames of two streams, or a terminal's bytes. Pure.

Each log message carries the engine's own stamp: `2026-11-21T07:27:22.123456789Z text`.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from backend.fleet.docker_engine.reading import parse_ns

_HEAD: Final = 8
_STREAMS: Final = {0: "stdout", 1: "stdout", 2: "stderr"}
_STAMP: Final = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z ")
_PART_BYTES: Final = 16 * 1024
"""The engine cuts longer lines into messages of this size."""
_MAX_REST: Final = 1024 * 1024


class Message(msgspec.Struct, frozen=True):
    """One log message."""

    ns: int
    """POSIX nanoseconds, by the engine's clock; 0 where it had no stamp."""
    stream: str
    data: bytes
    whole: bool
    """False where the next message of the stream continues its line."""


class Demultiplexer:
    """Cuts a multiplexed stream into (stream, payload) frames."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[tuple[str, bytes]]:
        """The frames that `data` completes. A stream that is none is given as it is."""
        self._rest += data
        found: list[tuple[str, bytes]] = []
        start = 0
        while len(self._rest) - start >= _HEAD:
            kind = self._rest[start]
            if kind not in _STREAMS or any(self._rest[start + 1 : start + 4]):
                found.append(("stdout", bytes(self._rest[start:])))
                start = len(self._rest)
                break
            size = int.from_bytes(self._rest[start + 4 : start + _HEAD], "big")
            if len(self._rest) - start - _HEAD < size:
                break
            found.append((_STREAMS[kind], bytes(self._rest[start + _HEAD : start + _HEAD + size])))
            start += _HEAD + size
        del self._rest[:start]
        return found


class LogReader:
    """Cuts a log stream with stamps into messages; `tty` for containers with a terminal, which have one stream."""

    def __init__(self, *, tty: bool) -> None:
        self._tty, self._frames, self._rest = tty, Demultiplexer(), b""

    def feed(self, data: bytes) -> list[Message]:
        """The messages that `data` completes."""
        if not self._tty:
            return [_message(stream, payload) for stream, payload in self._frames.feed(data) if payload]
        *lines, self._rest = (self._rest + data).split(b"\n")
        found = [message for line in lines for message in _terminal_line(line + b"\n")]
        if len(self._rest) > _MAX_REST:
            found += _terminal_line(self._rest)
            self._rest = b""
        return found

    def flush(self) -> list[Message]:
        """What came without an end."""
        rest, self._rest = self._rest, b""
        return _terminal_line(rest) if rest else []


def _message(stream: str, payload: bytes) -> Message:
    found = _STAMP.match(payload)
    ns = parse_ns(payload[: found.end() - 1].decode("ascii")) if found is not None else None
    text = payload[found.end() :] if found is not None and ns is not None else payload
    whole = text.endswith(b"\n")
    return Message(ns or 0, stream, text.removesuffix(b"\n").removesuffix(b"\r"), whole)


def _terminal_line(line: bytes) -> list[Message]:
    """A long line of a terminal is several messages without a divider between them: a stamp follows 16 KiB of text."""
    found = []
    while True:
        head = _STAMP.match(line)
        cut = (head.end() if head is not None else 0) + _PART_BYTES
        if len(line) <= cut or _STAMP.match(line, cut) is None:
            found.append(_message("stdout", line))
            return found
        found.append(_message("stdout", line[:cut]))
        line = line[cut:]
