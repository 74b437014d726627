"""A held log line as the screen sees it, and how a message becomes a held line. Pure."""

from __future__ import annotations

import msgspec

from backend.contract.log_lines import Piece, to_row
from backend.contract.rows import LogRow
from console.state.log_head import FLAG_AT, HEAD, WHOLE, LogKey, message_of, stamp_of_ts, stamp_ts

__all__ = ["LogKey", "LogLine", "held_line", "read_line"]


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


def held_line(piece: Piece, least: bytes) -> bytes:
    """A message as a held line without its newline; `least` is the stamp it must not come before."""
    own = stamp_of_ts(piece.ts)
    stream = piece.stream.encode()
    if own >= least:
        return b"%sZ %s F %s" % (own, stream, piece.message)
    return b"%sZ %s B %s %s" % (least, stream, own, piece.message)


def read_line(line: bytes, key: LogKey, replica: str, incarnation: int) -> LogLine:
    """A held line as a LogLine."""
    own = key[0] if line[FLAG_AT] == WHOLE else stamp_ts(line[HEAD:])
    return LogLine(key, replica, incarnation, own, line[28:34].decode(), message_of(line))
