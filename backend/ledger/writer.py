"""The journal threads: pending rows to files, and files to the disk.

Owns the promise "in the journal file within 250 ms, fsynced before a durable append returns". One thread encodes
and writes, one syncs (so that a slow disk delays only those who wait for it). A journal that cannot be written
(disk full) keeps its rows in memory up to a bound, counts what it drops and reports it once. Never reads rows back.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from pathlib import Path
from typing import Final

import msgspec

from backend.contract.clock import Clock
from backend.contract.errors import TrinityError
from backend.contract.rows import EventRow, Row, Scalar
from backend.contract.words import Severity
from backend.ledger.journal import UNENCODABLE, JournalWriter, encode_rows, journal_name, sync_directory
from backend.ledger.limits import Limits

_RETRY_PERIOD_S: Final = 1.0
_BATCH_ROWS: Final = 2000
"""Rows encoded at a time, so that a large backlog neither holds memory twice nor fails as a whole."""
_HURRY_ROWS: Final = 5000
"""So many pending rows of a table are written at once, whatever the period."""

Waiter = Future[None]


class _SyncJob(msgspec.Struct):
    """What the sync thread does next: sync (and close, after rotation) one journal, then release its waiters."""

    writer: JournalWriter
    waiters: list[Waiter]
    close: bool = False


class TableState(msgspec.Struct):
    """One table's pending rows and open journal. Pending fields are guarded by the writer's lock."""

    name: str
    journal: JournalWriter
    next_ordinal: int
    first_row_ts: float | None = None
    """When the first row of the open journal was written (or happened, after a restart); for closing by age."""
    pending: list[Row] = []
    pending_first: int = 0
    """Ordinal of pending[0]."""
    durable: list[Waiter] = []
    written: list[Waiter] = []
    failing: bool = False
    retry_mono_s: float = 0.0
    dropped: int = 0
    dropped_reported: int = 0


def release(waiters: list[Waiter], error: Exception | None = None) -> None:
    """Wake those who wait; one that was cancelled meanwhile is no error."""
    for waiter in waiters:
        try:
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)
        except InvalidStateError:
            continue


class JournalThreads:
    """Writes pending rows of all tables. `report` is called from its threads."""

    def __init__(
        self,
        directory: Path,
        clock: Clock,
        limits: Limits,
        tables: dict[str, TableState],
        *,
        report: Callable[[EventRow], None],
        on_segment_closed: Callable[[], None],
    ) -> None:
        self._directory, self._clock, self._limits = directory, clock, limits
        self._tables = tables
        self._report, self._on_segment_closed = report, on_segment_closed
        self._lock = threading.Lock()
        self._armed = threading.Event()
        self._urgent = threading.Event()
        self._stopping = False
        self._sync_jobs: queue.SimpleQueue[_SyncJob | None] = queue.SimpleQueue()
        self._flusher = threading.Thread(target=self._flush_loop, name="ledger-flush", daemon=True)
        self._syncer = threading.Thread(target=self._sync_loop, name="ledger-sync", daemon=True)

    def start(self) -> None:
        self._flusher.start()
        self._syncer.start()

    def stop(self) -> None:
        """Write what is pending, sync and close all journals. Blocks."""
        self._stopping = True
        self._urgent.set()
        self._armed.set()
        self._flusher.join()
        for table in self._tables.values():
            table.dropped += len(table.pending)  # only on a disk that is still full
            self._sync_jobs.put(_SyncJob(table.journal, [], close=True))
        self._sync_jobs.put(None)
        self._syncer.join()

    @property
    def dropped(self) -> int:
        """Rows lost because a journal could not be written."""
        return sum(table.dropped for table in self._tables.values())

    def add(self, name: str, row: Row, *, durable: Waiter | None = None) -> Row:
        """Queue a row; returns it as stored (an event gets its number)."""
        table = self._tables[name]
        with self._lock:
            if isinstance(row, EventRow):
                row = msgspec.structs.replace(row, seq=table.next_ordinal)
            if not table.pending:
                table.pending_first = table.next_ordinal
            table.pending.append(row)
            table.next_ordinal += 1
            if durable is not None:
                table.durable.append(durable)
            self._bound(table)
            hurry = durable is not None or len(table.pending) == _HURRY_ROWS
        if hurry:
            self._urgent.set()
        if not self._armed.is_set():
            self._armed.set()
        return row

    def wait_written(self) -> list[Waiter]:
        """One waiter a table, released when everything queued so far is in its file."""
        waiters: list[Waiter] = []
        with self._lock:
            for table in self._tables.values():
                waiter: Waiter = Future()
                table.written.append(waiter)
                waiters.append(waiter)
        self._urgent.set()
        self._armed.set()
        return waiters

    def _bound(self, table: TableState) -> None:
        surplus = len(table.pending) - self._limits.pending_rows
        if surplus > 0:
            del table.pending[:surplus]
            table.pending_first += surplus
            table.dropped += surplus

    def _flush_loop(self) -> None:
        while True:
            self._armed.wait()
            if not self._stopping:
                self._urgent.wait(self._limits.flush_period_s)
            self._armed.clear()
            self._urgent.clear()
            last_round = self._stopping
            for table in self._tables.values():
                self._flush(table)
            if last_round:
                return
            if any(table.failing for table in self._tables.values()):
                self._armed.set()

    def _flush(self, table: TableState) -> None:
        with self._lock:
            waited_for = bool(table.durable or table.written or self._stopping)
            if table.failing and not waited_for and self._clock.mono() < table.retry_mono_s:
                return
            rows, first = table.pending, table.pending_first
            durable, written = table.durable, table.written
            table.pending, table.durable, table.written = [], [], []
        done = 0
        try:
            while done < len(rows):
                end = done + _BATCH_ROWS
                rows[done:end], text = self._encode(table, rows[done:end])
                self._rotate_if_due(table, first + done)
                table.journal.append(text)
                if table.first_row_ts is None:
                    table.first_row_ts = self._clock.now()
                done += text.count(b"\n")
        except OSError as error:
            self._failed(table, rows[done:], first + done, error)
            release([*durable, *written], _cannot_write(table, error))
            return
        release(written)
        if durable:
            self._sync_jobs.put(_SyncJob(table.journal, durable))
        if rows and (table.failing or table.dropped > table.dropped_reported):
            self._recovered(table)

    def _encode(self, table: TableState, rows: list[Row]) -> tuple[list[Row], bytes]:
        """Rows and their bytes; one that has none (a lone surrogate, a foreign type) is dropped, counted and told."""
        try:
            return rows, encode_rows(rows)
        except UNENCODABLE:
            kept: list[Row] = []
        for row in rows:
            try:
                encode_rows([row])
            except UNENCODABLE as error:
                table.dropped += 1
                table.dropped_reported += 1
                self._tell(
                    table,
                    "ledger.row_refused",
                    Severity.ERROR,
                    f"A row of {table.name} was dropped, it has no JSON form: {str(error)!a}",
                    {"error": type(error).__name__},
                )
            else:
                kept.append(row)
        return kept, encode_rows(kept)

    def _failed(self, table: TableState, rows: list[Row], first: int, error: OSError) -> None:
        with self._lock:
            table.pending = rows + table.pending
            table.pending_first = first
            self._bound(table)
        table.retry_mono_s = self._clock.mono() + _RETRY_PERIOD_S
        if table.failing:
            return
        table.failing = True
        self._tell(
            table,
            "ledger.write_failed",
            Severity.ERROR,
            f"{table.name} cannot be written to {self._directory}: {error.strerror or error}; "
            f"up to {self._limits.pending_rows} rows wait in memory. Free disk space there.",
            {"errno": error.errno, "waiting": len(rows)},
        )

    def _recovered(self, table: TableState) -> None:
        lost = table.dropped - table.dropped_reported
        table.failing = False
        table.dropped_reported = table.dropped
        self._tell(
            table,
            "ledger.write_recovered",
            Severity.WARNING if lost else Severity.INFO,
            f"{table.name} is written again; {lost} rows were lost meanwhile.",
            {"lost": lost},
        )

    def _tell(
        self, table: TableState, kind: str, severity: Severity, message: str, attributes: dict[str, Scalar]
    ) -> None:
        self._report(
            EventRow(
                ts=self._clock.now(),
                mono_s=self._clock.mono(),
                kind=kind,
                severity=severity,
                subject=table.name,
                message=message,
                attributes={"table": table.name, **attributes},
            )
        )

    def _rotate_if_due(self, table: TableState, next_first: int) -> None:
        """Open the next journal when this one is full or old. The new file exists before the old one is let go."""
        journal, now = table.journal, self._clock.now()
        old = table.first_row_ts is not None and now - table.first_row_ts >= self._limits.segment_age_s
        if journal.size == 0 or next_first <= journal.first or not (old or journal.size >= self._limits.segment_bytes):
            return
        table.journal = JournalWriter(self._directory / journal_name(table.name, next_first), table.name, next_first)
        table.first_row_ts = None
        self._sync_jobs.put(_SyncJob(journal, [], close=True))
        self._on_segment_closed()
        sync_directory(self._directory)

    def _sync_loop(self) -> None:
        while (job := self._sync_jobs.get()) is not None:
            jobs = [job]
            while not self._sync_jobs.empty():  # group commit: one fsync for all who came meanwhile
                following = self._sync_jobs.get()
                if following is None:
                    self._sync(jobs)
                    return
                jobs.append(following)
            self._sync(jobs)

    def _sync(self, jobs: list[_SyncJob]) -> None:
        by_writer: dict[int, list[_SyncJob]] = {}
        for job in jobs:
            by_writer.setdefault(id(job.writer), []).append(job)
        for group in by_writer.values():
            writer = group[0].writer
            waiters = [waiter for job in group for waiter in job.waiters]
            try:
                writer.sync()
            except OSError as error:
                release(waiters, _cannot_write(self._tables[writer.table], error))
            else:
                release(waiters)
            if any(job.close for job in group):
                writer.close()


def _cannot_write(table: TableState, error: OSError) -> TrinityError:
    return TrinityError(
        f"The ledger cannot write {table.name} ({os.strerror(error.errno) if error.errno else error}).",
        "Free disk space in the state directory; nothing is done that cannot be recorded.",
    )
