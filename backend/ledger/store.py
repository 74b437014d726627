"""The ledger as the daemon holds it: append, recent rows from memory, subscriptions.

Owns the hot rows, the numbering of events and the lock on the directory (one writer). Files are written by the
journal threads, old journals become segments in a niced process (upkeep). Rows of `logs` are not kept here: see
backend.ledger.logs. Never blocks the loop: `append` only touches memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path

import msgspec

from backend.contract.clock import Clock
from backend.contract.errors import InternalError, TrinityError, UsageError
from backend.contract.rows import TABLES, EventRow, Row, Scalar, table_of
from backend.contract.words import Severity
from backend.ledger.hot import HotRows
from backend.ledger.journal import (
    JOURNALED,
    UNENCODABLE,
    JournalWriter,
    encode_rows,
    journal_name,
    list_files,
    sync_directory,
)
from backend.ledger.limits import Limits
from backend.ledger.rebuild import rebuild_table
from backend.ledger.upkeep import Upkeep
from backend.ledger.writer import JournalThreads, TableState

Listener = Callable[[Row], None]


class _Loaded(msgspec.Struct):
    """What was found on disk at opening."""

    tables: dict[str, TableState]
    hot: dict[str, HotRows]
    torn_bytes: int = 0
    unreadable_lines: int = 0


class Ledger:
    """RowSink and RowSource over one directory. Create with `open`; use from one event loop.

    `append` may also be called from other threads: the row is then handed to the loop.
    """

    def __init__(
        self, directory: Path, clock: Clock, limits: Limits, loaded: _Loaded, lock_fd: int, *, upkeep: bool
    ) -> None:
        self._directory, self._clock, self._limits = directory, clock, limits
        self._hot = loaded.hot
        self._lock_fd = lock_fd
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._listeners: dict[str, list[Listener]] = {name: [] for name in JOURNALED}
        self._closed = False
        self._late = 0
        self._upkeep = Upkeep(directory, clock, limits, report=self.append) if upkeep else None
        self._threads = JournalThreads(
            directory,
            clock,
            limits,
            loaded.tables,
            report=self.append,
            on_segment_closed=self._upkeep.wake if self._upkeep else lambda: None,
        )

    @classmethod
    async def open(cls, directory: Path, clock: Clock, *, limits: Limits | None = None, upkeep: bool = True) -> Ledger:
        """Open or create the ledger in `directory` and rebuild the hot rows (in a thread).

        `upkeep` false leaves closed journals as they are. Raises TrinityError when another process has the
        directory open for writing or it cannot be written.
        """
        chosen = limits or Limits()
        try:
            lock_fd = _lock(directory)
            try:
                loaded = await asyncio.to_thread(_load, directory, chosen)
            except BaseException:
                os.close(lock_fd)
                raise
        except OSError as error:
            raise TrinityError(
                f"The ledger in {directory} cannot be opened: {error.strerror or error}.",
                "Check that the state directory is writable and its disk is not full.",
            ) from error
        ledger = cls(directory, clock, chosen, loaded, lock_fd, upkeep=upkeep)
        ledger._threads.start()
        if ledger._upkeep is not None:
            ledger._upkeep.start()
        ledger._tell_repairs(loaded)
        return ledger

    def _tell_repairs(self, loaded: _Loaded) -> None:
        if not (loaded.torn_bytes or loaded.unreadable_lines):
            return
        self.append(
            EventRow(
                ts=self._clock.now(),
                mono_s=self._clock.mono(),
                kind="ledger.repaired",
                severity=Severity.WARNING,
                subject="ledger",
                message=f"The ledger was not closed cleanly: {loaded.torn_bytes} bytes of an unfinished row were cut "
                f"off, {loaded.unreadable_lines} unreadable lines were skipped.",
                attributes={"torn_bytes": loaded.torn_bytes, "unreadable_lines": loaded.unreadable_lines},
            )
        )

    @property
    def directory(self) -> Path:
        return self._directory

    @property
    def dropped(self) -> int:
        """Rows lost since opening: journals that could not be written, rows that came after closing."""
        return self._threads.dropped + self._late

    def append(self, row: Row) -> None:
        """Take a row; it is in its journal file within 250 ms. Raises InternalError for a logs row."""
        if threading.get_ident() != self._thread:
            # A loop that has ended takes nothing any more; the row came too late.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._take, row, None)
            return
        self._take(row, None)

    async def append_durable(self, row: Row) -> None:
        """Take a row and return once it was fsynced.

        Raises TrinityError when it cannot be written: then don't do the deed. The row stays visible and is
        written when the disk recovers, so record the outcome too.
        """
        if self._closed:
            raise InternalError("The ledger is closed.", "Start the daemon again.")
        try:
            encode_rows([row])
        except UNENCODABLE as error:
            raise InternalError(f"A row cannot be recorded: {str(error)!a}.", "Report this.") from error
        waiter: Future[None] = Future()
        self._take(row, waiter)
        await asyncio.wrap_future(waiter)

    def _take(self, row: Row, waiter: Future[None] | None) -> None:
        table = table_of(row)
        if table not in self._hot:
            raise InternalError(f"Rows of {table} are not appended.", "Log lines belong to the shims' files.")
        if self._closed:
            self._late += 1
            return
        stored = self._threads.add(table, row, durable=waiter)
        self._hot[table].add(stored)
        for listener in tuple(self._listeners[table]):
            self._tell(table, listener, stored)

    def _tell(self, table: str, listener: Listener, row: Row) -> None:
        try:
            listener(row)
        except Exception as error:  # a broken reader must not stop writers: it is removed, and that is an event
            self._listeners[table].remove(listener)
            self.append(
                EventRow(
                    ts=self._clock.now(),
                    mono_s=self._clock.mono(),
                    kind="ledger.listener_failed",
                    severity=Severity.ERROR,
                    subject="ledger",
                    message=f"A subscriber of {table} failed and was removed: {type(error).__name__}: {error}",
                    attributes={"table": table, "error": type(error).__name__},
                )
            )

    def recent(
        self,
        table: str,
        *,
        since_ts: float = 0.0,
        until_ts: float | None = None,
        limit: int = 1000,
        where: dict[str, Scalar] | None = None,
    ) -> Sequence[Row]:
        """The newest `limit` hot rows with since_ts <= ts < until_ts and equal columns, oldest first.

        Of an action only its latest row. Raises UsageError for an unknown table or column, and for `logs`.
        """
        unknown = (
            [name for name in where or () if name not in TABLES[table].__struct_fields__] if table in TABLES else []
        )
        if unknown:
            columns = ", ".join(TABLES[table].__struct_fields__)
            raise UsageError(f"{table} has no column {unknown[0]}.", f"Its columns are {columns}.")
        return self._hot_rows(table).select(since_ts=since_ts, until_ts=until_ts, limit=limit, where=where)

    def complete_since(self, table: str) -> float:
        """`recent` knows every row of a table later than this instant (0: all there ever were); older ones may
        be only in the files, for `query`. Raises UsageError for an unknown table."""
        return self._hot_rows(table).complete_since_ts

    def _hot_rows(self, table: str) -> HotRows:
        hot = self._hot.get(table)
        if hot is None:
            raise UsageError(f"{table} has no hot rows.", f"Ask for one of {', '.join(self._hot)}.")
        return hot

    def subscribe(self, table: str, listener: Listener) -> Callable[[], None]:
        """Call `listener` on the loop for each appended row of a table; returns what ends it."""
        if table not in self._listeners:
            raise InternalError(f"{table} cannot be subscribed to.", f"Ask for one of {', '.join(self._listeners)}.")
        listeners = self._listeners[table]
        listeners.append(listener)

        def end() -> None:
            with contextlib.suppress(ValueError):
                listeners.remove(listener)

        return end

    async def flush(self) -> None:
        """Return once every row appended so far is in its journal file. Raises TrinityError if one cannot be."""
        waiters = [asyncio.wrap_future(waiter) for waiter in self._threads.wait_written()]
        results = await asyncio.gather(*waiters, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def close(self) -> None:
        """Write and sync what is pending, end the threads, let the directory go. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._upkeep is not None:
            await asyncio.to_thread(self._upkeep.stop)
        await asyncio.to_thread(self._threads.stop)
        os.close(self._lock_fd)


def _lock(directory: Path) -> int:
    """Make the directory and hold its writer lock; the kernel releases it when we die."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(directory / "writer.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise TrinityError(
            f"The ledger in {directory} is being written by another process.",
            "Only one daemon may run per state directory: attach to it, or use another --state.",
        ) from error
    return descriptor


def _load(directory: Path, limits: Limits) -> _Loaded:
    """Open each table's newest journal and read the hot rows back. Raises OSError."""
    loaded = _Loaded(tables={}, hot={})
    files = list_files(directory)
    for name in JOURNALED:
        own = [file for file in files if file.table == name]
        found = rebuild_table(own, limits.hot_rows.get(name, 0))
        newest = own[-1] if own and not own[-1].parquet else None
        path = newest.path if newest else directory / journal_name(name, found.next_ordinal)
        journal = JournalWriter(path, name, newest.first if newest else found.next_ordinal)
        loaded.torn_bytes += journal.torn_bytes
        loaded.unreadable_lines += found.unreadable_lines
        loaded.tables[name] = TableState(
            name=name, journal=journal, next_ordinal=found.next_ordinal, first_row_ts=found.open_journal_ts
        )
        loaded.hot[name] = HotRows(limits.hot_rows.get(name, 0))
        loaded.hot[name].load(found.rows, complete=found.complete)
    sync_directory(directory)
    return loaded
