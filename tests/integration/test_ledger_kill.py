"""kill -9 of a real writer at random instants: what was promised is there, and opening never fails."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from backend.contract.clock import SystemClock
from backend.contract.rows import RequestRow
from backend.ledger import Ledger, Limits
from backend.ledger.journal import JOURNALED, list_files
from backend.ledger.query import query, run_query
from tests.unit.ledger.rows import event, request

ROUNDS = 6
ROOT = Path(__file__).parents[2]

# Appends for ever. After each row it tells (on standard output, unbuffered) how many tables have been written so far
# and the row's number; durable ones only after the append has returned.
WRITER = """
import asyncio, itertools, os, sys, time
from pathlib import Path
from backend.contract.clock import SystemClock
from backend.ledger import Ledger, Limits
from backend.ledger.writer import JournalThreads
from tests.unit.ledger.rows import action, event, request

flush, written = JournalThreads._flush, [0]

def counted(threads, table) -> None:
    flush(threads, table)
    written[0] += 1

JournalThreads._flush = counted

async def main() -> None:
    limits = Limits(segment_bytes=200_000)
    ledger = await Ledger.open(Path(sys.argv[1]), SystemClock(), limits=limits)
    for n in itertools.count():
        ledger.append(request(time.time(), f"{sys.argv[2]}-{n}"))
        ledger.append(event(time.time(), f"{sys.argv[2]}-{n}"))
        os.write(1, f"row {written[0]} {n}\\n".encode())
        if n % 20 == 0:
            await ledger.append_durable(action(time.time(), f"{sys.argv[2]}-{n}"))
            os.write(1, f"durable {written[0]} {n}\\n".encode())
        await asyncio.sleep(0.0005)

asyncio.run(main())
"""


@pytest.mark.timeout(300)
async def test_killed_writer_loses_at_most_what_it_had_not_written_yet(tmp_path: Path) -> None:
    """Once all tables have been written after a row, it is there: ten times a second, by the flusher's own clock."""
    assert Limits().flush_period_s <= 0.1
    dice = random.Random(4)
    expected_rows: set[str] = set()
    expected_durable: set[str] = set()
    for round_number in range(ROUNDS):
        told = _write_and_kill(tmp_path, round_number, dice.randrange(150, 500), dice.uniform(0.0, 0.2))
        last = told[-1][1]
        for kind, at, number in told:
            if kind == "durable":
                expected_durable.add(f"{round_number}-{number}")
            elif last - at >= 2 * len(JOURNALED):  # a whole round began after it
                expected_rows.add(f"{round_number}-{number}")
        ledger = await Ledger.open(tmp_path, SystemClock(), upkeep=False)
        hot = {row.request_id for row in ledger.recent("requests", limit=10**6) if isinstance(row, RequestRow)}
        await ledger.close()
        found = [row[0] for row in query(tmp_path, "SELECT request_id FROM requests", limit=10**6).rows]
        assert len(found) == len(set(found)), "a row is there twice"
        assert expected_rows <= set(found)
        assert hot <= set(found)
        events = query(tmp_path, "SELECT message, seq FROM events WHERE kind = 'replica.died'", limit=10**6).rows
        assert expected_rows <= {row[0] for row in events}
        assert expected_durable <= {row[0] for row in query(tmp_path, "SELECT id FROM actions", limit=10**6).rows}
        numbers = query(tmp_path, "SELECT COUNT(*) AS n, COUNT(DISTINCT seq) AS d, MAX(seq) AS m FROM events").rows[0]
        assert len(set(numbers)) == 1, "event numbers rise by one without gaps"
    assert len(expected_rows) > 100
    assert len(expected_durable) >= ROUNDS


def _write_and_kill(directory: Path, round_number: int, lines: int, after_s: float) -> list[tuple[str, int, int]]:
    """What the writer told before it was killed, so long after that many lines."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(directory), str(round_number)], stdout=subprocess.PIPE, cwd=ROOT
    )
    assert writer.stdout is not None
    first = writer.stdout.readline()
    assert first, "the writer did not start"
    os.set_blocking(writer.stdout.fileno(), False)
    text = first
    end: float | None = None
    while end is None or time.monotonic() < end:
        text += writer.stdout.read() or b""
        if end is None and text.count(b"\n") >= lines:
            end = time.monotonic() + after_s
        time.sleep(0.002)  # keeps its pipe empty; the instant of the kill is random anyway
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    os.set_blocking(writer.stdout.fileno(), True)
    text += writer.stdout.read()
    writer.stdout.close()
    told: list[tuple[str, int, int]] = []
    for line in text.decode().splitlines():
        kind, at, number = line.split()
        told.append((kind, int(at), int(number)))
    return told


FULL_DISK_WRITER = """
import asyncio, resource, sys
from pathlib import Path
from backend.contract.clock import SystemClock
from backend.contract.errors import TrinityError
from backend.ledger import Ledger, Limits
from tests.unit.ledger.rows import action, request

async def main() -> None:
    ledger = await Ledger.open(Path(sys.argv[1]), SystemClock(), limits=Limits(pending_rows=100), upkeep=False)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
    for n in range(400):
        ledger.append(request(float(n), str(n)))
        if n % 50 == 49:
            try:
                await ledger.flush()
            except TrinityError as error:
                print("refused:", error.message)
    await ledger.append_durable(action(1.0, "other table still works"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await ledger.flush()
    print("dropped:", ledger.dropped)
    kinds = [row.kind for row in ledger.recent("events")]
    print("events:", *kinds)
    await ledger.close()

asyncio.run(main())
"""


async def test_a_file_the_kernel_refuses_to_grow(tmp_path: Path) -> None:
    """The kernel's own refusal in the middle of a write (file size limit), not a stand-in."""
    writer = await asyncio.create_subprocess_exec(
        sys.executable, "-c", FULL_DISK_WRITER, str(tmp_path), stdout=subprocess.PIPE, cwd=ROOT
    )
    said = (await writer.communicate())[0].decode()
    assert writer.returncode == 0
    assert "refused: The ledger cannot write requests (File too large)." in said
    assert said.count("ledger.write_failed") == 1
    assert said.count("ledger.write_recovered") == 1
    ledger = await Ledger.open(tmp_path, SystemClock(), upkeep=False)
    ids = [row.request_id for row in ledger.recent("requests") if isinstance(row, RequestRow)]
    written = len(ids) - 100
    assert written > 0
    assert ids == [str(n) for n in [*range(written), *range(300, 400)]]
    assert f"dropped: {300 - written}\n" in said
    repaired = ledger.recent("events", where={"kind": "ledger.repaired"})
    assert not repaired, "a failed write left a torn line"
    await ledger.close()


@pytest.mark.parametrize("kind", ["torn", "zeros", "garbage"])
async def test_damaged_files_open_and_can_be_queried(tmp_path: Path, kind: str) -> None:
    ledger = await Ledger.open(tmp_path, SystemClock(), upkeep=False)
    for n in range(50):
        ledger.append(request(float(n), str(n)))
        ledger.append(event(float(n)))
    await ledger.close()
    for file in list_files(tmp_path):
        data = file.path.read_bytes()
        if not data:
            continue
        damage = {"torn": data[:-7], "zeros": data + b"\0" * 4096, "garbage": data[:500] + b"\xff{\n}" + data[500:]}
        file.path.write_bytes(damage[kind])
    answer = await run_query(tmp_path, "SELECT COUNT(*) AS n FROM requests", timeout_s=100.0)
    held = answer.rows[0][0]
    assert isinstance(held, int) and held >= 48
    ledger = await Ledger.open(tmp_path, SystemClock(), upkeep=False)
    assert len(ledger.recent("requests")) == held
    ledger.append(request(100.0, "after"))
    await ledger.flush()
    count = "SELECT COUNT(*) AS n FROM requests WHERE request_id = 'after'"
    answer = await run_query(tmp_path, count, timeout_s=100.0)
    assert answer.rows == ((1,),)
    await ledger.close()
