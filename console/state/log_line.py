"""One held log line: its key in the merged order, where its parts stand in its bytes, and what can be read out of it.

Held lines have a head of fixed width, `2026-11-21T07:27:22.123456Z stderr F `, so that a message is a slice. A line
whose clock went backwards is held with the stamp it is ordered by and flag `B`; its own stamp begins its text.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

import msgspec

from backend.contract.log_lines import Piece, to_row
from backend.contract.rows import LogRow

LogKey = tuple[float, int, int]
"""(ts, stream number, line number in the stream): the total order of the merged log."""

STAMP: Final = 26
HEAD: Final = 37
FLAG_AT: Final = 35
WHOLE: Final = ord("F")
BACK_HEAD: Final = HEAD + STAMP + 1
PLAIN_HEADS: Final = frozenset((b"Z stdout F ", b"Z stderr F "))
EARLIEST: Final = b"1970-01-01T00:00:00.000000"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class LogLine(msgspec.Struct, frozen=True, gc=False):
    """A whole message with its place in the merged order."""

    key: LogKey
    replica: str
    incarnation: int
    ts: float
    stream: str
    message: bytes

    def row(self) -> LogRow:
        """Level, fields and correlation id, read now."""
        return to_row(self.replica, Piece(self.ts, self.stream, True, self.message))


@lru_cache(maxsize=256)
def _minute(text: bytes) -> float:
    """POSIX seconds of `YYYY-MM-DDTHH:MM`; 0 for what is none, which only foreign text can bring."""
    try:
        return datetime.strptime(text.decode(), "%Y-%m-%dT%H:%M").replace(tzinfo=UTC).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def stamp_ts(line: bytes) -> float:
    """The instant a held line (or its stamp) begins with."""
    try:
        # Seconds and fraction are added as they are elsewhere, so that the same stamp is the same float everywhere.
        return _minute(line[:16]) + int(line[17:19]) + int(line[20:26]) / 1_000_000
    except ValueError:
        return _minute(line[:16])


def stamp_of_ts(ts: float) -> bytes:
    """The stamp of an instant."""
    try:
        at = _EPOCH + timedelta(microseconds=round(ts * 1_000_000))
    except OverflowError:
        return EARLIEST
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f").encode().rjust(STAMP, b"0")


def held_line(piece: Piece, least: bytes) -> bytes:
    """A message as a held line without its newline; `least` is the stamp it must not come before."""
    own = stamp_of_ts(piece.ts)
    stream = piece.stream.encode()
    if own >= least:
        return b"%sZ %s F %s" % (own, stream, piece.message)
    return b"%sZ %s B %s %s" % (least, stream, own, piece.message)


def message_of(line: bytes) -> bytes:
    """The message of a held line."""
    return line[HEAD:] if line[FLAG_AT] == WHOLE else line[BACK_HEAD:]


def read_line(line: bytes, key: LogKey, replica: str, incarnation: int) -> LogLine:
    """A held line as a LogLine."""
    own = key[0] if line[FLAG_AT] == WHOLE else stamp_ts(line[HEAD:])
    return LogLine(key, replica, incarnation, own, line[28:34].decode(), message_of(line))
