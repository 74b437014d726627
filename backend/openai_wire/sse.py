"""Server-sent events, incrementally: bytes in, whole events out.

Follows the WHATWG event-stream rules: lines end in LF, CR or CRLF, a colon first is a comment, one leading space
of a value is dropped, several `data` lines are joined by LF, an event is dispatched at an empty line and dropped
when it has no data. Never decodes JSON and never holds more than `max_event_bytes` of an unfinished event.
"""

from __future__ import annotations

from typing import Final

import msgspec

DONE: Final = b"[DONE]"
_BOM: Final = b"\xef\xbb\xbf"


class SseError(ValueError):
    """The peer sent an event larger than agreed."""


class SseEvent(msgspec.Struct, frozen=True):
    """One dispatched event. `data` is the raw payload, `[DONE]` included."""

    data: bytes
    event: str = "message"
    id: str = ""

    @property
    def is_done(self) -> bool:
        """Whether this is OpenAI's end-of-stream mark."""
        return self.data.strip() == DONE


class SseParser:
    """Feed it bytes in pieces of any size; it returns the events that became whole."""

    def __init__(self, max_event_bytes: int = 16 * 1024 * 1024) -> None:
        self.done = False
        """Whether `[DONE]` was seen."""
        self.comments = 0
        self._max = max_event_bytes
        self._rest = bytearray()
        self._searched = 0
        self._skip_lf = False
        self._at_start = True
        self._data: list[bytes] = []
        self._held = 0
        self._event = ""
        self._id = ""

    @property
    def pending(self) -> bool:
        """Whether bytes of an unfinished event are held: the stream was cut if it ends now."""
        return bool(self._rest) or bool(self._data)

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """Take the next bytes. Raises SseError once an event exceeds `max_event_bytes`."""
        events: list[SseEvent] = []
        self._rest += chunk
        if self._at_start and not self._strip_bom():
            return events
        start = 0
        buffer = self._rest
        while True:
            if self._skip_lf and start < len(buffer):
                self._skip_lf = False
                if buffer[start] == 0x0A:
                    start += 1
            end = self._line_end(buffer, max(start, self._searched))
            if end < 0:
                break
            line = bytes(buffer[start:end])
            self._skip_lf = buffer[end] == 0x0D
            start = end + 1
            self._searched = start
            event = self._take_line(line)
            if event is not None:
                events.append(event)
        del buffer[:start]
        self._searched = len(buffer)
        if len(buffer) + self._held > self._max:
            raise SseError(f"an event is larger than {self._max} bytes")
        return events

    def _strip_bom(self) -> bool:
        """Drop a byte-order mark; False while too few bytes are there to tell."""
        if len(self._rest) < len(_BOM) and _BOM.startswith(self._rest):
            return False
        if self._rest.startswith(_BOM):
            del self._rest[: len(_BOM)]
        self._at_start = False
        return True

    @staticmethod
    def _line_end(buffer: bytearray, start: int) -> int:
        lf = buffer.find(b"\n", start)
        cr = buffer.find(b"\r", start, lf if lf >= 0 else len(buffer))
        return cr if cr >= 0 else lf

    def _take_line(self, line: bytes) -> SseEvent | None:
        if not line:
            return self._dispatch()
        if line[0] == 0x3A:
            self.comments += 1
            return None
        name, _, value = line.partition(b":")
        value = value[1:] if value.startswith(b" ") else value
        if name == b"data":
            self._held += len(value) + 1
            if self._held > self._max:
                raise SseError(f"an event is larger than {self._max} bytes")
            self._data.append(value)
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
        return None

    def _dispatch(self) -> SseEvent | None:
        kind, self._event = self._event, ""
        if not self._data:
            return None
        event = SseEvent(data=b"\n".join(self._data), event=kind or "message", id=self._id)
        self._data.clear()
        self._held = 0
        if event.is_done:
            self.done = True
        return event


def encode_event(data: bytes, event: str = "") -> bytes:
    """The bytes of one event; LF inside `data` becomes several data lines. CR must not occur in `data`."""
    if b"\r" in data:
        raise ValueError("an event's data must not contain CR")
    head = f"event: {event}\n".encode() if event else b""
    return head + b"".join(b"data: " + line + b"\n" for line in data.split(b"\n")) + b"\n"
