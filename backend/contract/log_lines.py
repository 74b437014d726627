"""Log lines as shims write them, and what can be read out of their text. Pure functions; no input raises.

A stored line is `2026-11-21T07:27:22.123456Z stdout|stderr F|P message`; `P` is a part that the next line of the
same stream continues. Owns level, correlation id and fields; never touches files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

import msgspec

from backend.contract.rows import LogRow, Scalar

_STAMP: Final = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z ")
_HEAD: Final = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z (stdout|stderr) ([FP])(?: |$)")
MAX_MESSAGE_BYTES: Final = 1024 * 1024
"""Parts of one message are joined up to this size; what follows starts a new row."""

# llama.cpp with --log-prefix writes `0.00.012.345 W srv  …`: seconds since start, then the verbosity letter.
_LETTER: Final = re.compile(r"\s*(?:\d+\.\d\d\.\d{3}\.\d{3} )?([DIWEF]) (?=\S| )")
_KLOG: Final = re.compile(r"([IWEF])\d{4} \d\d:\d\d:\d\d")
_WORD: Final = re.compile(r"\b(TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|ERR|CRITICAL|FATAL|PANIC|ALERT|EMERG)\b")
_LOGFMT: Final = re.compile(r"\b(?:level|lvl|severity)=\"?([A-Za-z]+)")
_LOWER: Final = re.compile(r"\s*(?:\S+: )?\[?(debug|info|warning|warn|error|critical|fatal)\]?:? ")
_CORRELATION: Final = re.compile(
    r"\b(?:x-request-id|request[_-]?id|correlation[_-]?id)\b\"?\s*[=:]\s*\"?([A-Za-z0-9][\w.:-]{0,127})", re.IGNORECASE
)
_LEVELS: Final[dict[str, str]] = {
    "t": "debug", "trace": "debug", "d": "debug", "debug": "debug",
    "i": "info", "info": "info", "information": "info", "notice": "info",
    "w": "warning", "warn": "warning", "warning": "warning",
    "e": "error", "err": "error", "error": "error",
    "f": "critical", "fatal": "critical", "critical": "critical", "panic": "critical", "alert": "critical",
    "emerg": "critical", "crit": "critical",
}  # fmt: skip
_LEVEL_KEYS: Final = ("level", "severity", "lvl", "levelname", "log.level")
_MESSAGE_KEYS: Final = ("message", "msg", "event", "text")
_CORRELATION_KEYS: Final = ("correlation_id", "request_id", "requestId", "x_request_id", "x-request-id", "trace_id")


class Piece(msgspec.Struct, frozen=True):
    """One stored line, before parts are joined."""

    ts: float
    stream: str
    whole: bool
    message: bytes


@lru_cache(maxsize=64)
def _second(text: bytes) -> float | None:
    """POSIX seconds of `YYYY-MM-DDTHH:MM:SS`; neighbours share a second, so a small cache serves most lines."""
    try:
        return datetime.strptime(text.decode(), "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC).timestamp()
    except (ValueError, OverflowError):
        return None


def _instant(match: re.Match[bytes]) -> float | None:
    second = _second(match[1])
    if second is None or match[2] is None:
        return second
    return second + float(b"0." + match[2])


def stamp_of(line: bytes) -> float | None:
    """The instant a stored line begins with, wall seconds; None where it does not."""
    match = _STAMP.match(line)
    return None if match is None else _instant(match)


def is_part(line: bytes) -> bool:
    """Whether a stored line (or its first 48 bytes) is a part that the next line continues."""
    match = _HEAD.match(line)
    return match is not None and match[4] == b"P"


def parse_piece(line: bytes, *, fallback_ts: float = 0.0) -> Piece:
    """One stored line without its newline. Foreign text becomes a whole stderr line at `fallback_ts`."""
    match = _HEAD.match(line)
    ts = None if match is None else _instant(match)
    if match is None or ts is None:
        return Piece(fallback_ts, "stderr", True, line)
    return Piece(ts, match[3].decode(), match[4] == b"F", line[match.end() :])


class Joiner:
    """Joins the parts of long lines, per stream. Feed stored lines in order."""

    def __init__(self, last_ts: float = 0.0) -> None:
        """`last_ts`: the instant of what came before, for foreign text that begins."""
        self._parts: dict[str, list[Piece]] = {}
        self._last_ts = last_ts

    @property
    def waiting(self) -> bool:
        """Whether a message has begun whose end has not come."""
        return any(self._parts.values())

    def feed(self, line: bytes) -> Piece | None:
        """The whole message this line completes, or None."""
        piece = parse_piece(line, fallback_ts=self._last_ts)
        self._last_ts = piece.ts
        parts = self._parts.setdefault(piece.stream, [])
        if not parts and piece.whole:
            return piece
        parts.append(piece)
        if not piece.whole and sum(len(part.message) for part in parts) < MAX_MESSAGE_BYTES:
            return None
        return self._take(piece.stream)

    def rest(self) -> Iterator[Piece]:
        """Messages whose end never came (the writer died)."""
        for stream in list(self._parts):
            if self._parts[stream]:
                yield self._take(stream)

    def _take(self, stream: str) -> Piece:
        parts = self._parts.pop(stream)
        return Piece(parts[0].ts, stream, True, b"".join(part.message for part in parts))


def join_pieces(lines: Iterable[bytes]) -> Iterator[Piece]:
    """Whole messages of stored lines; an unfinished one at the end is given as it is."""
    joiner = Joiner()
    for line in lines:
        piece = joiner.feed(line)
        if piece is not None:
            yield piece
    yield from joiner.rest()


def to_row(replica: str, piece: Piece) -> LogRow:
    """A message with what can be read out of it."""
    text = piece.message.decode("utf-8", errors="replace")
    if text.lstrip().startswith("{"):
        row = _json_row(replica, piece, text)
        if row is not None:
            return row
    found = _CORRELATION.search(text)
    return LogRow(
        ts=piece.ts,
        replica=replica,
        stream=piece.stream,
        level=level_of(text),
        message=text,
        correlation_id=found[1] if found else None,
    )


def level_of(text: str) -> str | None:
    """`debug`, `info`, `warning`, `error` or `critical` as the line itself says; None where it does not."""
    head = text[:120]
    for pattern in (_LETTER, _KLOG, _LOWER):
        match = pattern.match(head)
        if match is not None:
            return _LEVELS[match[1].lower()]
    for pattern in (_LOGFMT, _WORD):
        match = pattern.search(head)
        if match is not None and match[1].lower() in _LEVELS:
            return _LEVELS[match[1].lower()]
    return None


def _json_row(replica: str, piece: Piece, text: str) -> LogRow | None:
    try:
        held = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return None
    if not isinstance(held, dict):
        return None
    fields = {str(key): _flat(value) for key, value in held.items()}
    message = next((fields[key] for key in _MESSAGE_KEYS if isinstance(fields.get(key), str)), None)
    level = next((fields[key] for key in _LEVEL_KEYS if isinstance(fields.get(key), str)), None)
    correlation = next((fields[key] for key in _CORRELATION_KEYS if isinstance(fields.get(key), str | int)), None)
    return LogRow(
        ts=piece.ts,
        replica=replica,
        stream=piece.stream,
        level=_LEVELS.get(str(level).lower()) if level is not None else None,
        message=text if message is None else str(message),
        correlation_id=None if correlation is None else str(correlation),
        fields=fields,
    )


def _flat(value: object) -> Scalar:
    """A field's value; nested ones stay JSON text."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    try:
        return msgspec.json.encode(value).decode()
    except (RecursionError, msgspec.MsgspecError):
        return str(type(value).__name__)
