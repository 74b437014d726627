"""The head of a held log line: its stamp, where its message begins, and its key in the merged order. Pure.

Held lines have a head of fixed width, `2026-11-21T07:27:22.123456Z stderr F `, so that a message is a slice. A line
whose clock went backwards is held with the stamp it is ordered by and flag `B`; its own stamp begins its text.
Imported by the search process too, which must begin fast: little of the standard library, nothing else.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

LogKey = tuple[float, int, int]
"""(ts, stream number, line number in the stream): the total order of the merged log."""

STAMP: Final = 26
HEAD: Final = 37
FLAG_AT: Final = 35
WHOLE: Final = ord("F")
BACK_HEAD: Final = HEAD + STAMP + 1
PLAIN_HEADS: Final = frozenset((b"Z stdout F ", b"Z stderr F "))
_FIRST, _LAST = b"0001-01-01T00:00:00.000000", b"9999-12-31T23:59:59.999999"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=256)
def _minute(text: bytes) -> float:
    """POSIX seconds of `YYYY-MM-DDTHH:MM`; 0 for what is none, which only foreign text can bring."""
    try:
        return datetime.fromisoformat(text.decode() + "+00:00").timestamp()
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
    except (OverflowError, ValueError):
        return _LAST if ts > 0 else _FIRST
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f").encode().rjust(STAMP, b"0")


def message_of(line: bytes) -> bytes:
    """The message of a held line."""
    return line[HEAD:] if line[FLAG_AT] == WHOLE else line[BACK_HEAD:]
