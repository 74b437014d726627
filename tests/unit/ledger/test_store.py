"""The ledger in one process: append, read, subscribe, number, survive a full disk and a bad subscriber."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from backend.contract.clock import SystemClock
from backend.contract.errors import InternalError, TrinityError, UsageError
from backend.contract.ledger import RowSink, RowSource
from backend.contract.rows import ActionRow, EventRow, LogRow, RequestRow, Row
from backend.contract.words import ActionOutcome
from backend.ledger import Ledger, Limits
from backend.ledger.journal import JournalWriter, decode_line, list_files, read_lines
from tests.unit.ledger.rows import SettableClock, action, event, request, sample


async def until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition never held"
        await asyncio.sleep(0.01)


async def opened(directory: Path, **limits: object) -> Ledger:
    return await Ledger.open(directory, SystemClock(), limits=Limits(**limits), upkeep=False)  # type: ignore[arg-type]  # test shorthand


def lines_on_disk(directory: Path, table: str) -> list[bytes]:
    lines: list[bytes] = []
    for file in list_files(directory):
        if file.table == table:
            lines.extend(read_lines(file.path).lines)
    return lines


def test_importing_the_ledger_loads_no_polars() -> None:
    code = "import sys, backend.ledger, backend.ledger.query, backend.ledger.logs; print('polars' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


async def test_it_is_what_the_contract_asks_for(tmp_path: Path) -> None:
    ledger = await opened(tmp_path)
    sink: RowSink = ledger
    source: RowSource = ledger
    sink.append(request(1.0, "a"))
    assert [row.ts for row in source.recent("requests")] == [1.0]
    await ledger.close()


async def test_an_appended_row_is_soon_in_its_file_without_being_asked_for(tmp_path: Path) -> None:
    assert Limits().flush_period_s <= 0.1
    ledger = await opened(tmp_path)
    for n in range(10):
        ledger.append(request(float(n), str(n)))
        await until(lambda n=n: len(lines_on_disk(tmp_path, "requests")) == n + 1)  # type: ignore[misc]  # binds n
    await ledger.close()


async def test_rows_come_back_after_reopening_and_event_numbers_go_on(tmp_path: Path) -> None:
    ledger = await opened(tmp_path)
    numbers: list[int] = []
    ledger.subscribe("events", lambda row: numbers.append(row.seq) if isinstance(row, EventRow) else None)
    rows: list[Row] = [request(1.0, "a"), sample(2.0), event(3.0), event(3.5, "again"), action(4.0, "x")]
    for row in rows:
        ledger.append(row)
    before = {table: ledger.recent(table) for table in ("requests", "samples", "events", "actions")}
    await ledger.close()
    ledger = await opened(tmp_path)
    assert {table: list(ledger.recent(table)) for table in before} == {k: list(v) for k, v in before.items()}
    ledger.append(event(5.0))
    newest = ledger.recent("events")[-1]
    assert isinstance(newest, EventRow) and newest.seq == 3
    assert numbers == [1, 2]
    await ledger.close()


async def test_the_later_row_of_an_action_wins_also_after_reopening(tmp_path: Path) -> None:
    ledger = await opened(tmp_path)
    await ledger.append_durable(action(1.0, "x"))
    assert len(lines_on_disk(tmp_path, "actions")) == 1
    ledger.append(action(1.0, "x", ActionOutcome.OK))
    for _ in range(2):
        held = ledger.recent("actions")
        assert [row.outcome for row in held if isinstance(row, ActionRow)] == [ActionOutcome.OK]
        await ledger.close()
        ledger = await opened(tmp_path)
    await ledger.close()


async def test_durable_appends_share_syncs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs: list[str] = []
    real_sync, may_sync = JournalWriter.sync, threading.Event()

    def slow_sync(self: JournalWriter) -> None:
        syncs.append(self.table)
        may_sync.wait()  # a disk
        real_sync(self)

    monkeypatch.setattr(JournalWriter, "sync", slow_sync)
    ledger = await opened(tmp_path)
    durable = asyncio.gather(*(ledger.append_durable(action(float(n), f"a{n}")) for n in range(100)))
    await until(lambda: len(lines_on_disk(tmp_path, "actions")) == 100)
    assert not durable.done()
    may_sync.set()
    await durable
    assert 1 <= len(syncs) <= 5
    assert len(lines_on_disk(tmp_path, "actions")) == 100
    await ledger.close()


async def test_a_slow_sync_does_not_delay_plain_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncing, may_sync = threading.Event(), threading.Event()

    def slow_sync(self: JournalWriter) -> None:
        if self.table == "actions":
            syncing.set()
            may_sync.wait()

    monkeypatch.setattr(JournalWriter, "sync", slow_sync)
    ledger = await opened(tmp_path)
    durable = asyncio.create_task(ledger.append_durable(action(1.0, "x")))
    await until(syncing.is_set)
    ledger.append(request(1.0, "a"))
    await until(lambda: len(lines_on_disk(tmp_path, "requests")) == 1)
    assert not durable.done()
    may_sync.set()
    await durable
    await ledger.close()


async def test_journals_close_by_size_and_reading_back_spans_them(tmp_path: Path) -> None:
    ledger = await opened(tmp_path, segment_bytes=2_000, flush_period_s=0.01)
    for n in range(60):
        ledger.append(event(float(n)))
        if n % 5 == 4:
            await ledger.flush()
    await ledger.close()
    files = [file for file in list_files(tmp_path) if file.table == "events"]
    assert len(files) > 3
    assert [file.first for file in files] == sorted({file.first for file in files})
    ledger = await opened(tmp_path)
    assert [row.seq for row in ledger.recent("events") if isinstance(row, EventRow)] == list(range(1, 61))
    await ledger.close()


async def test_journals_close_by_age(tmp_path: Path) -> None:
    clock = SettableClock(1_000.0)
    ledger = await Ledger.open(tmp_path, clock, limits=Limits(segment_age_s=100.0), upkeep=False)
    for now in (1_000.0, 1_050.0, 1_101.0, 1_150.0):
        clock.wall = now
        ledger.append(request(now, str(now)))
        await ledger.flush()
    await ledger.close()
    assert [file.first for file in list_files(tmp_path) if file.table == "requests"] == [1, 3]


class FullDisk:
    """Stands in for a disk that is full until `full` is set to False."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = True
        real_append = JournalWriter.append

        def append(writer: JournalWriter, data: bytes) -> None:
            if self.full:
                raise OSError(28, "No space left on device")
            real_append(writer, data)

        monkeypatch.setattr(JournalWriter, "append", append)


async def test_a_full_disk_keeps_rows_counts_drops_and_recovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(monkeypatch)
    ledger = await opened(tmp_path, pending_rows=50, flush_period_s=0.01)
    for n in range(80):
        ledger.append(request(float(n), str(n)))
    for _ in range(3):
        with pytest.raises(TrinityError, match="cannot write requests"):
            await ledger.flush()
    await until(lambda: any(row.subject == "requests" for row in ledger.recent("events") if isinstance(row, EventRow)))
    assert ledger.dropped == 30
    with pytest.raises(TrinityError, match="No space left"):
        await ledger.append_durable(action(1.0, "x"))
    disk.full = False
    await ledger.flush()
    kept = [row.request_id for row in ledger.recent("requests", limit=1000) if isinstance(row, RequestRow)]
    assert kept == [str(n) for n in range(80)]  # memory never lost them
    assert len(lines_on_disk(tmp_path, "requests")) == 50
    await until(lambda: len(_kinds(ledger, "ledger.write_recovered")) == 3)
    failed = _kinds(ledger, "ledger.write_failed")
    assert sorted(row.subject for row in failed) == ["actions", "events", "requests"]  # one a table, not one a try
    assert [
        row.attributes["lost"] for row in _kinds(ledger, "ledger.write_recovered") if row.subject == "requests"
    ] == [30]
    ledger.append(request(99.0, "after"))
    await ledger.close()
    ledger = await opened(tmp_path)
    assert len(ledger.recent("requests")) == 51
    assert ledger.dropped == 0
    await ledger.close()


def _kinds(ledger: Ledger, kind: str) -> list[EventRow]:
    return [row for row in ledger.recent("events", where={"kind": kind}) if isinstance(row, EventRow)]


@pytest.mark.parametrize("value", ["lone \udcff surrogate", object(), Path("p")])
async def test_a_row_without_a_json_form_stops_nothing(tmp_path: Path, value: object) -> None:
    ledger = await opened(tmp_path)
    bad = replace(event(2.0), attributes={"x": value})
    ledger.append(event(1.0))
    ledger.append(bad)
    ledger.append(event(3.0))
    with pytest.raises(InternalError, match="cannot be recorded"):
        await ledger.append_durable(bad)
    await ledger.flush()
    await until(lambda: len(_kinds(ledger, "ledger.row_refused")) == 1)
    assert ledger.dropped == 1
    ledger.append(event(4.0))
    await ledger.close()
    assert [decode_line("events", line).ts for line in lines_on_disk(tmp_path, "events")][:2] == [1.0, 3.0]  # type: ignore[union-attr]  # whole lines
    ledger = await opened(tmp_path)
    numbers = [row.seq for row in ledger.recent("events") if isinstance(row, EventRow)]
    assert sorted(set(numbers)) == sorted(numbers)
    assert len(numbers) == 4
    await ledger.close()


async def test_a_failing_subscriber_is_removed_and_told(tmp_path: Path) -> None:
    ledger = await opened(tmp_path)
    seen: list[Row] = []

    def broken(row: Row) -> None:
        raise KeyError("x")

    ledger.subscribe("requests", broken)
    end = ledger.subscribe("requests", seen.append)
    ledger.append(request(1.0, "a"))
    ledger.append(request(2.0, "b"))
    end()
    end()
    ledger.append(request(3.0, "c"))
    assert [row.ts for row in seen] == [1.0, 2.0]
    assert len(_kinds(ledger, "ledger.listener_failed")) == 1
    await ledger.close()


async def test_a_torn_tail_is_told(tmp_path: Path) -> None:
    ledger = await opened(tmp_path)
    ledger.append(request(1.0, "a"))
    await ledger.close()
    path = next(file.path for file in list_files(tmp_path) if file.table == "requests")
    path.write_bytes(path.read_bytes() + b'{"ts":2.0,"van')
    ledger = await opened(tmp_path)
    assert len(ledger.recent("requests")) == 1
    assert [row.attributes["torn_bytes"] for row in _kinds(ledger, "ledger.repaired")] == [14]
    await ledger.close()


async def test_rows_from_other_threads_arrive_on_the_loop(tmp_path: Path) -> None:
    ledger = await opened(tmp_path)
    await asyncio.to_thread(lambda: [ledger.append(request(float(n), str(n))) for n in range(100)])
    await until(lambda: len(ledger.recent("requests")) == 100)
    await ledger.close()


async def test_it_says_how_far_back_memory_reaches(tmp_path: Path) -> None:
    ledger = await opened(tmp_path, hot_rows={"requests": 100})
    assert ledger.complete_since("requests") == 0.0
    for n in range(5_000):
        ledger.append(request(float(n), str(n)))
    assert ledger.complete_since("requests") == 4_899.0
    held = ledger.recent("requests", limit=10**6)
    assert len(held) == 100
    await ledger.close()
    ledger = await opened(tmp_path, hot_rows={"requests": 100})
    assert ledger.complete_since("requests") == 4_900.0
    assert ledger.complete_since("events") == 0.0
    await ledger.close()


async def test_misuse_is_named(tmp_path: Path) -> None:
    ledger = await opened(tmp_path)
    with pytest.raises(InternalError, match="logs"):
        ledger.append(LogRow(ts=1.0, replica="a", message="x"))
    with pytest.raises(UsageError, match="no hot rows"):
        ledger.recent("logs")
    ledger.append(request(1.0))
    with pytest.raises(UsageError, match="no column nope"):
        ledger.recent("requests", where={"nope": 1})
    with pytest.raises(UsageError, match="no hot rows"):
        ledger.recent("nope", where={"nope": 1})
    with pytest.raises(TrinityError, match="another process"):
        await opened(tmp_path)
    await ledger.close()
    await ledger.close()
    ledger.append(request(2.0))
    assert ledger.dropped == 1
    with pytest.raises(InternalError, match="closed"):
        await ledger.append_durable(action(1.0, "x"))


async def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrinityError, match="cannot be opened"):
        await opened(tmp_path / "file" / "ledger")


async def test_appending_does_not_wait_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_append, writing, may_write = JournalWriter.append, threading.Event(), threading.Event()

    def slow_append(self: JournalWriter, text: bytes) -> None:
        writing.set()
        may_write.wait()
        real_append(self, text)

    monkeypatch.setattr(JournalWriter, "append", slow_append)
    ledger = await opened(tmp_path)
    ledger.append(request(0.0, "x"))
    await until(writing.is_set)
    for n in range(1, 2_000):
        ledger.append(request(float(n), "x"))
    assert lines_on_disk(tmp_path, "requests") == []
    may_write.set()
    await ledger.close()
    assert len(lines_on_disk(tmp_path, "requests")) == 2_000
