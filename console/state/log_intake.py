"""Puts what a source sends into a log store: each line once, also when the connection broke and it sends some again.

Pure; owns per replica the last lines that were put in. Where lines between what is held and what came are missing,
says which time to ask for; lines that nobody has any more are counted as lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

import msgspec

from backend.contract.log_chunks import LogChunk
from backend.contract.log_lines import parse_piece, stamp_of, to_row
from backend.contract.rows import LogRow

REMEMBERED: Final = 8
"""Lines at the end of a replica's log that must come again to be sure where one was."""


class Sink(Protocol):
    """Takes chunks: a log store."""

    def append(self, chunk: LogChunk) -> object: ...


class Gap(msgspec.Struct, frozen=True):
    """A replica's lines from the instant `since_ts` to before `until_ts` were not sent."""

    replica: str
    since_ts: float
    until_ts: float


class LogIntake:
    """Feeds one store. Call `reconnecting` before each new connection."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self._tails: dict[str, list[bytes]] = {}
        self._seeking: set[str] = set()

    def reconnecting(self) -> None:
        """What comes next may have come before."""
        self._seeking = set(self._tails)

    def known(self) -> bool:
        """Whether anything was ever put in."""
        return bool(self._tails)

    def chunk(self, chunk: LogChunk) -> Gap | None:
        """Put in what is new of a chunk. Returns the gap before it, which `fill` closes; then it was not put in."""
        data, gap = chunk.data, None
        if chunk.replica in self._seeking and data:
            data, gap = self._fresh(chunk)
        if gap is None:
            self._put(chunk, data)
        return gap

    def fill(self, gap: Gap, rows: Sequence[LogRow], left_out: int, chunk: LogChunk) -> None:
        """Put in what lies in a gap, then the chunk after it; what is `left_out` is lost."""
        self._seeking.discard(gap.replica)
        held = self._tails.get(gap.replica, [])
        lines = [line for line in map(stored_line, rows) if line.rstrip(b"\n") not in held]
        first = chunk.data.split(b"\n", 1)[0]
        lines = [line for line in lines if line.rstrip(b"\n") != first]
        if lines or left_out:
            self._put(
                LogChunk(replica=gap.replica, incarnation=chunk.incarnation, data=b"".join(lines), lost=left_out),
                b"".join(lines),
            )
        self._put(chunk, chunk.data)

    def rows(self, rows: Iterable[LogRow], *, left_out: int = 0) -> None:
        """Lines of a source that sends rows; `left_out` are older ones that were not sent."""
        batches: dict[str, list[bytes]] = {}
        for row in rows:
            batches.setdefault(row.replica, []).append(stored_line(row))
        for replica, lines in batches.items():
            data = b"".join(lines)
            self._put(LogChunk(replica=replica, data=data, lost=left_out), data)
            left_out = 0

    def _put(self, chunk: LogChunk, data: bytes) -> None:
        if not data and not chunk.lost:
            return
        whole = data is chunk.data
        self.sink.append(chunk if whole else msgspec.structs.replace(chunk, data=data))
        if data:
            tail = data.rstrip(b"\n").rsplit(b"\n", REMEMBERED)[-REMEMBERED:]
            held = self._tails.get(chunk.replica, [])
            self._tails[chunk.replica] = [*held, *tail][-REMEMBERED:]

    def _fresh(self, chunk: LogChunk) -> tuple[bytes, Gap | None]:
        """What of a chunk comes after the lines that are held."""
        tail = self._tails[chunk.replica]
        at = _after_tail(chunk.data, tail)
        if at is not None:
            self._seeking.discard(chunk.replica)
            return chunk.data[at:], None
        newest = stamp_of(tail[-1]) or 0.0
        lines = chunk.data.splitlines(keepends=True)
        stamps = [stamp_of(line) for line in lines]
        fresh = next((index for index, ts in enumerate(stamps) if ts is not None and ts > newest), len(lines))
        if fresh == 0:
            return chunk.data, Gap(chunk.replica, newest, stamps[0] or newest)
        if fresh < len(lines):
            self._seeking.discard(chunk.replica)
        return b"".join(lines[fresh:]), None


def _after_tail(data: bytes, tail: list[bytes]) -> int | None:
    """Where the data goes on after the lines held last; None where they are not in it."""
    for size in range(len(tail), 0, -1):
        needle = b"\n".join(tail[-size:]) + b"\n"
        # Fewer lines than are remembered are proof only at the very beginning: the rest was cut off there.
        if size == len(tail):
            at = data.rfind(needle)
            while at > 0 and data[at - 1 : at] != b"\n":
                at = data.rfind(needle, 0, at)
            if at >= 0:
                return at + len(needle)
        elif data.startswith(needle):
            return len(needle)
    return None


def stored_line(row: LogRow) -> bytes:
    """A row as a shim would have written it. What its text does not say itself goes into a JSON line."""
    stamp = datetime.fromtimestamp(row.ts, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    message = row.message.replace("\n", " ").encode("utf-8", "replace")
    head = f"{stamp} {row.stream} F ".encode()
    read = to_row(row.replica, parse_piece(head + message))
    if (read.level, read.correlation_id, read.fields) != (row.level, row.correlation_id, row.fields):
        parts = {"message": row.message, "level": row.level, "request_id": row.correlation_id}
        message = msgspec.json.encode(row.fields or {name: said for name, said in parts.items() if said is not None})
    return head + message + b"\n"
