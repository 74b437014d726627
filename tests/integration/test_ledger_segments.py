"""Journals become Parquet in a process of their own; queries see the same rows before, during and after."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from backend.contract.clock import SystemClock
from backend.contract.errors import TrinityError, UsageError
from backend.contract.rows import RequestRow
from backend.contract.words import ActionOutcome
from backend.ledger import Ledger, Limits
from backend.ledger import query as queries
from backend.ledger.journal import LedgerFile, list_files
from backend.ledger.query import query
from backend.ledger.segments import convert, surplus, tend
from backend.quantiles import summarize
from tests.unit.ledger.rows import action, event, request, sample

ROWS = 400
run_query = partial(queries.run_query, timeout_s=100.0)  # it runs niced: last on a busy machine
EVERYTHING = "SELECT COUNT(*) AS n, COUNT(DISTINCT request_id) AS d, SUM(ttft_s) AS s, MAX(ts) AS t FROM requests"


async def fill(directory: Path, rows: int = ROWS) -> Ledger:
    """A ledger with many small journals: 10 rows each."""
    ledger = await Ledger.open(directory, SystemClock(), limits=Limits(segment_bytes=1), upkeep=False)
    for n in range(rows):
        ledger.append(request(float(n), str(n), ttft_s=float(n)))
        ledger.append(event(float(n)))
        ledger.append(action(float(n), f"a{n // 2}", ActionOutcome.OK if n % 2 else ActionOutcome.RUNNING))
        if n % 10 == 9:
            await ledger.flush()
    return ledger


def tend_all(directory: Path, *, retention_s: float = 1e12, disk_bytes: int = 10**12) -> None:
    tend(directory, now=time.time(), retention_s=retention_s, disk_bytes=disk_bytes)


def kinds(directory: Path, table: str) -> list[bool]:
    return [file.parquet for file in list_files(directory) if file.table == table]


async def test_conversion_changes_no_answer(tmp_path: Path) -> None:
    ledger = await fill(tmp_path)
    before = query(tmp_path, EVERYTHING)
    assert before.rows == ((ROWS, ROWS, float(sum(range(ROWS))), float(ROWS - 1)),)
    actions = query(tmp_path, "SELECT outcome, COUNT(*) AS n FROM actions GROUP BY outcome")
    assert actions.rows == (("ok", ROWS // 2),)
    tend_all(tmp_path)
    assert kinds(tmp_path, "requests") == [True] * (ROWS // 10 - 2) + [False, False]
    assert query(tmp_path, EVERYTHING) == before
    assert query(tmp_path, "SELECT outcome, COUNT(*) AS n FROM actions GROUP BY outcome") == actions
    assert query(tmp_path, "SELECT MAX(seq) FROM events").rows == ((ROWS,),)
    await ledger.close()
    ledger = await Ledger.open(tmp_path, SystemClock(), upkeep=False)
    ledger.append(event(1.0))
    await ledger.flush()
    assert query(tmp_path, "SELECT MAX(seq) AS m, COUNT(DISTINCT seq) AS n FROM events").rows == ((ROWS + 1, ROWS + 1),)
    await ledger.close()


async def test_numbers_go_on_when_only_segments_are_left(tmp_path: Path) -> None:
    await (await fill(tmp_path, 30)).close()
    for file in list_files(tmp_path):
        if not file.parquet:
            convert(file)
    ledger = await Ledger.open(tmp_path, SystemClock(), upkeep=False)
    ledger.append(event(1.0))
    await ledger.close()
    assert query(tmp_path, "SELECT MAX(seq) AS m, COUNT(*) AS n FROM events").rows == ((31, 31),)


async def test_a_crash_between_segment_and_journal_gives_no_duplicates(tmp_path: Path) -> None:
    await (await fill(tmp_path, 50)).close()
    first = next(file for file in list_files(tmp_path) if file.table == "requests")
    copy = tmp_path.parent / "copy.jsonl"
    shutil.copy(first.path, copy)
    convert(first)
    shutil.copy(copy, first.path)  # as if killed before the journal was removed
    (tmp_path / "requests-0000000000000011-0000000000000020.part").write_bytes(b"half written")
    assert query(tmp_path, EVERYTHING).rows[0][:2] == (50, 50)
    ledger = await Ledger.open(tmp_path, SystemClock(), upkeep=False)
    assert len(ledger.recent("requests")) == 40  # hot rows come from journals; the first ten are in the segment
    await ledger.close()
    tend_all(tmp_path)
    assert not first.path.exists()
    assert not list(tmp_path.glob("*.part"))
    assert query(tmp_path, EVERYTHING).rows[0][:2] == (50, 50)


async def test_the_daemon_side_runs_the_program(tmp_path: Path) -> None:
    ledger = await Ledger.open(tmp_path, SystemClock(), limits=Limits(segment_bytes=1))
    for n in range(8):
        ledger.append(request(float(n), str(n)))
        await ledger.flush()
    deadline = time.monotonic() + 90
    while not any(kinds(tmp_path, "requests")):
        assert time.monotonic() < deadline, "no segment appeared"
        await asyncio.sleep(0.05)
    await ledger.close()
    assert not ledger.recent("events", where={"kind": "ledger.upkeep_failed"})
    assert query(tmp_path, "SELECT COUNT(*) FROM requests").rows == ((8,),)


async def test_a_program_that_fails_is_an_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    ledger = await Ledger.open(tmp_path, SystemClock(), limits=Limits(segment_bytes=1))
    for n in range(4):
        ledger.append(request(float(n), str(n)))
        await ledger.flush()
    deadline = time.monotonic() + 60
    while not ledger.recent("events", where={"kind": "ledger.upkeep_failed"}):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    await ledger.close()


async def test_queries_while_appending_and_converting_count_every_row_once(tmp_path: Path) -> None:
    ledger = await Ledger.open(
        tmp_path, SystemClock(), limits=Limits(segment_bytes=20_000, flush_period_s=0.01), upkeep=False
    )
    stop = asyncio.Event()
    appended = 0

    async def writer() -> None:
        nonlocal appended
        while not stop.is_set():
            for _ in range(20):
                ledger.append(request(float(appended), str(appended)))
                appended += 1
            await asyncio.sleep(0.01)

    async def tender() -> None:
        while not stop.is_set():
            await asyncio.to_thread(tend_all, tmp_path)
            await asyncio.sleep(0.02)

    tasks = [asyncio.create_task(writer()), asyncio.create_task(tender())]
    deadline = time.monotonic() + 90
    while kinds(tmp_path, "requests").count(True) < 8:
        assert time.monotonic() < deadline, "nothing was converted"
        floor = appended
        await ledger.flush()
        answer = await asyncio.to_thread(
            query, tmp_path, "SELECT COUNT(*) AS n, COUNT(DISTINCT request_id) AS d FROM requests"
        )
        count, distinct = answer.rows[0]
        assert isinstance(count, int)
        assert floor <= count == distinct
    stop.set()
    await asyncio.gather(*tasks)
    await ledger.close()


async def test_sql_quantiles_are_the_same_quantiles(tmp_path: Path) -> None:
    ledger = await fill(tmp_path, 137)
    values = [row.ttft_s for row in ledger.recent("requests") if isinstance(row, RequestRow) and row.ttft_s is not None]
    await ledger.close()
    columns = ", ".join(f"QUANTILE_DISC(ttft_s, {q}) AS q{n}" for n, q in enumerate((0.5, 0.95, 0.99)))
    expected = summarize(values)
    answer = query(tmp_path, f"SELECT {columns} FROM requests")
    assert answer.rows == ((expected.p50_s, expected.p95_s, expected.p99_s),)


async def test_old_and_surplus_segments_are_deleted(tmp_path: Path) -> None:
    await (await fill(tmp_path, 100)).close()
    tend_all(tmp_path)
    oldest = [file for file in list_files(tmp_path) if file.table == "requests"][:3]
    for file in oldest:
        os.utime(file.path, (time.time() - 1000, time.time() - 1000))
    tend_all(tmp_path, retention_s=500.0)
    assert [file.path.exists() for file in oldest] == [False] * 3
    assert query(tmp_path, "SELECT COUNT(*) FROM requests").rows == ((70,),)
    tend_all(tmp_path, disk_bytes=1)
    assert [len(kinds(tmp_path, table)) for table in ("requests", "events", "actions")] == [1, 1, 1]
    ledger = await Ledger.open(tmp_path, SystemClock(), upkeep=False)
    ledger.append(event(1_000.0))
    newest = ledger.recent("events")[-1]
    assert getattr(newest, "seq", None) == 101
    await ledger.close()


def test_space_is_taken_from_samples_and_requests_first() -> None:
    def entry(table: str, first: int, written: float) -> tuple[LedgerFile, int, float]:
        return LedgerFile(table, first, True, Path(f"{table}-{first}"), first), 10, written

    files = [
        entry("events", 1, 1.0),
        entry("events", 2, 9.0),
        entry("samples", 1, 5.0),
        entry("samples", 2, 6.0),
        entry("requests", 1, 4.0),
        entry("requests", 2, 7.0),
    ]

    def removed(oldest_ts: float, disk_bytes: int) -> list[tuple[str, int]]:
        return [(file.table, file.first) for file in surplus(files, oldest_ts=oldest_ts, disk_bytes=disk_bytes)]

    assert removed(0.0, 60) == []
    assert removed(0.0, 45) == [("requests", 1), ("samples", 1)]
    assert removed(0.0, 0) == [("requests", 1), ("samples", 1), ("events", 1)]
    assert removed(2.0, 60) == [("events", 1)]


async def test_query_errors_say_what_there_is(tmp_path: Path) -> None:
    await (await fill(tmp_path, 10)).close()
    for sql, said in (
        ("SELECT nope FROM requests", "nope"),
        ("SELECT * FROM request", "request"),
        ("SELEC 1", "SELEC"),
        ("", "failed"),
    ):
        with pytest.raises(UsageError, match=said) as told:
            await run_query(tmp_path, sql)
        assert "requests(ts, mono_s," in told.value.next_step
        assert "Resolved plan" not in told.value.message


async def test_a_query_has_a_time_limit_and_leaves_no_process(tmp_path: Path) -> None:
    await (await fill(tmp_path, 10)).close()
    with pytest.raises(TrinityError, match="took longer"):
        await run_query(tmp_path, "SELECT COUNT(*) FROM requests", timeout_s=0.05)
    programs = [child for child in psutil.Process().children() if "backend.ledger.query" in child.cmdline()]
    assert programs == []


async def test_limits_and_an_empty_ledger(tmp_path: Path) -> None:
    empty = await run_query(tmp_path / "none", "SELECT request_id, status FROM requests")
    assert (empty.columns, empty.rows, empty.truncated) == (("request_id", "status"), (), False)
    ledger = await fill(tmp_path, 10)
    ledger.append(sample(1.0, 2.5))
    await ledger.close()
    some = await run_query(tmp_path, "SELECT request_id FROM requests ORDER BY ts DESC", limit=3)
    assert (some.rows, some.truncated) == ((("9",), ("8",), ("7",)), True)
    joined = query(tmp_path, "SELECT e.kind, s.value FROM events e JOIN samples s ON e.ts = s.ts")
    assert joined.rows == (("replica.died", 2.5),)
    held = query(tmp_path, "SELECT attributes FROM events LIMIT 1").rows[0][0]
    assert isinstance(held, str) and '"pid"' in held


async def test_logs_are_a_table_where_their_directory_is_known(tmp_path: Path) -> None:
    (tmp_path / "logs" / "llm-0").mkdir(parents=True)
    (tmp_path / "logs" / "llm-0" / "current.log").write_text(
        "2026-11-21T07:27:22.123456Z stderr F 0.00.012.345 W srv  slow\n"
        '2026-11-21T07:27:23.000000Z stdout F {"level":"error","msg":"bad","request_id":"r1"}\n'
    )
    answer = await run_query(
        tmp_path / "ledger",
        "SELECT replica, level, correlation_id FROM logs ORDER BY ts",
        logs_dir=tmp_path / "logs",
    )
    assert answer.rows == (("llm-0", "warning", None), ("llm-0", "error", "r1"))
    with pytest.raises(UsageError):
        await run_query(tmp_path / "ledger", "SELECT * FROM logs")


async def test_a_segment_of_an_older_version_still_answers(tmp_path: Path) -> None:
    import polars as pl

    await (await fill(tmp_path, 30)).close()
    tend_all(tmp_path)
    segment = next(file for file in list_files(tmp_path) if file.table == "requests" and file.parquet)
    pl.read_parquet(segment.path).drop("drill_run", "error").write_parquet(segment.path)
    assert query(tmp_path, "SELECT COUNT(*) AS n, COUNT(error) AS e FROM requests").rows == ((30, 0),)


def test_the_program_by_hand(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "backend.ledger.segments", str(tmp_path), "--retention-s", "1", "--disk-bytes", "1"]
    assert subprocess.run(argv, capture_output=True).returncode == 0
