"""Journal files: append-only JSON lines, one row a line, one file open per table.

Owns the file format, its names and what survives a crash. A line counts only with its newline; a tail without
one (power loss, a write cut short) is truncated when the journal is opened for appending, and a line that does
not decode is skipped; both are counted, neither is fatal. JSON lines were chosen over framed binary because
`tail -f`, `jq` and polars read them as they are, also while the daemon appends.

Names: `<table>-<first ordinal>.jsonl` while a journal, `<table>-<first ordinal>-<last ordinal>.parquet` once it is
a segment. Ordinals count the rows of a table from 1 and never go back within a directory, so that a segment and
the journal it was made from are recognised as the same rows by their first ordinal. Never interprets rows.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from backend.contract.rows import TABLES, ActionRow, EventRow, RequestRow, Row, SampleRow

JOURNALED: Final[tuple[str, ...]] = ("requests", "samples", "events", "actions")
"""The tables that live in journals; `logs` is a view over the shims' files."""

_NAME = re.compile(r"(?P<table>[a-z]+)-(?P<first>\d{16})(?:-(?P<last>\d{16}))?\.(?P<kind>jsonl|parquet)")
_DECODERS: Final = {name: msgspec.json.Decoder(TABLES[name]) for name in JOURNALED}
_LISTINGS: Final = 10
_ENCODER: Final = msgspec.json.Encoder()
UNENCODABLE: Final = (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError)
"""What encoding a row raises where a column holds something that is no JSON (a caller's mistake)."""
_SYNC: Final = getattr(os, "fdatasync", os.fsync)  # macOS has only fsync


class LedgerFile(msgspec.Struct, frozen=True, order=True):
    """A journal or segment by name. `last` is None for journals: their end is not in their name."""

    table: str
    first: int
    parquet: bool
    path: Path
    last: int | None = None


def journal_name(table: str, first: int) -> str:
    return f"{table}-{first:016d}.jsonl"


def segment_name(table: str, first: int, last: int) -> str:
    return f"{table}-{first:016d}-{last:016d}.parquet"


def list_files(directory: Path) -> list[LedgerFile]:
    """All journals and segments by table and ordinal; a journal whose segment exists is left out (it is a copy)."""
    found = _all_files(directory)
    for _ in range(_LISTINGS):
        # A listing is not atomic: it can miss a new segment and, a moment later, the journal it replaced.
        before, found = found, _all_files(directory)
        if found == before:
            break
    segments = {(file.table, file.first) for file in found if file.parquet}
    return [file for file in found if file.parquet or (file.table, file.first) not in segments]


def superseded(directory: Path) -> list[Path]:
    """Journals whose segment exists: a crash came between writing the one and removing the other."""
    kept = set(list_files(directory))
    return [file.path for file in _all_files(directory) if file not in kept]


def _all_files(directory: Path) -> list[LedgerFile]:
    found: list[LedgerFile] = []
    try:
        names = os.listdir(directory)  # noqa: PTH208 - names only, one call
    except FileNotFoundError:
        return []
    for name in names:
        match = _NAME.fullmatch(name)
        if match is not None and match["table"] in JOURNALED:
            last = int(match["last"]) if match["last"] else None
            found.append(LedgerFile(match["table"], int(match["first"]), last is not None, directory / name, last))
    return sorted(found)


def encode_rows(rows: Iterable[Row]) -> bytes:
    """Rows as the bytes of a journal. Raises one of UNENCODABLE."""
    buffer = bytearray()
    for row in rows:
        _ENCODER.encode_into(row, buffer, -1)
        buffer += b"\n"
    return bytes(buffer)


def decode_line(table: str, line: bytes) -> Row | None:
    """The row of one line, or None where the line is not one."""
    try:
        row = _DECODERS[table].decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    assert isinstance(row, RequestRow | SampleRow | EventRow | ActionRow)
    return row


def decode_lines(table: str, lines: Sequence[bytes]) -> list[Row]:
    """The rows of many lines, those left out that are none. All at once: a daemon's start waits for it."""
    try:
        rows: list[Any] = _DECODERS[table].decode_lines(b"\n".join(lines))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        rows = []
    if len(rows) == len(lines):
        return rows
    return [row for line in lines if (row := decode_line(table, line)) is not None]


class JournalText(msgspec.Struct, frozen=True):
    """What a journal file holds: whole lines, and how many bytes of a torn tail follow them."""

    lines: Sequence[bytes]
    whole_bytes: int
    torn_bytes: int


def read_lines(path: Path) -> JournalText:
    """The whole lines of a journal. Tolerates one that is being appended to. Raises OSError."""
    data = path.read_bytes()
    end = data.rfind(b"\n") + 1
    lines = data[:end].split(b"\n")
    lines.pop()
    return JournalText(lines, end, len(data) - end)


class JournalWriter:
    """The open journal of one table. Used by one thread; `close` and `sync` may come from another.

    A write that fails leaves the file as it was before it (whole lines only).
    """

    def __init__(self, path: Path, table: str, first: int) -> None:
        """Open or create. Truncates a torn tail. Raises OSError."""
        self.path, self.table, self.first = path, table, first
        self.torn_bytes = 0
        self._cut_short = False
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.size = os.fstat(self._fd).st_size
        whole = self._whole_bytes()
        if whole < self.size:
            self.torn_bytes = self.size - whole
            os.ftruncate(self._fd, whole)
            self.size = whole

    def _whole_bytes(self) -> int:
        """Where the last newline ends, looking back from the end."""
        at = self.size
        while at > 0:
            start = max(0, at - 65536)
            found = os.pread(self._fd, at - start, start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            at = start
        return 0

    def append(self, data: bytes) -> None:
        """Write whole lines. On OSError (disk full) nothing of them stays in the file."""
        if self._cut_short:
            os.ftruncate(self._fd, self.size)
            self._cut_short = False
        view = memoryview(data)
        written = 0
        try:
            while written < len(view):
                written += os.write(self._fd, view[written:])
        except OSError:
            self._cut_short = written > 0
            if self._cut_short:
                os.ftruncate(self._fd, self.size)
                self._cut_short = False
            raise
        self.size += written

    def sync(self) -> None:
        """Return once what was written is on the disk. Raises OSError."""
        _SYNC(self._fd)

    def close(self) -> None:
        os.close(self._fd)


def sync_directory(path: Path) -> None:
    """Make created, renamed and removed names durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
