"""What the ledger costs: appending, bytes, reading back, SQL over a million requests.

Run: `python -m tests.bench.bench_ledger [--rows 1000000]`. Prints one line a measurement: median of its samples with
the least and the greatest. Writing is set against a floor measured in the same run: the same bytes written to a plain
file in blocks of the same size. Queries run as users run them: a fresh niced process, its start included.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec
import polars

from backend.contract.clock import SystemClock
from backend.contract.rows import RequestRow
from backend.contract.words import RequestOutcome, Vantage
from backend.ledger import Ledger, Limits
from backend.ledger.journal import encode_rows, list_files
from backend.ledger.query import run_query
from backend.ledger.segments import convert

QUERIES = {
    "count": "SELECT COUNT(*) FROM requests",
    "p99 by replica": "SELECT replica, COUNT(*), QUANTILE_DISC(ttft_s, 0.99) AS p99 FROM requests GROUP BY replica",
    "one minute's failures": "SELECT COUNT(*) FROM requests WHERE ts BETWEEN 1.8e9 AND 1.80000006e9 AND status <> 200",
    "20 slowest": "SELECT request_id, total_s FROM requests ORDER BY total_s DESC LIMIT 20",
}


def row(number: int) -> RequestRow:
    """Rows as the edge writes them: every field a real one has, values that vary."""
    return RequestRow(
        ts=1_800_000_000.0 + number / 500,
        mono_s=1_000.0 + number / 500,
        vantage=Vantage.EDGE,
        request_id=f"{number * 2654435761 % 2**64:016x}-{number:08x}",
        fleet="local",
        workload="llm",
        replica=f"llm-{number % 3}",
        route="/v1/chat/completions",
        stream=number % 4 != 0,
        status=200 if number % 100 else 503,
        termination="--" if number % 100 else "SC",
        outcome=RequestOutcome.OK if number % 100 else RequestOutcome.FAILED,
        queue_s=(number % 17) / 1000,
        ttft_s=0.05 + (number * 7919 % 1000) / 10_000 if number % 4 else None,
        total_s=0.4 + (number * 104729 % 1000) / 1000,
        bytes_in=300 + number % 900,
        bytes_out=2_000 + number % 5_000,
    )


def tell(name: str, samples: Sequence[float], unit: str, note: str = "") -> None:
    middle = statistics.median(samples)
    spread = f"{min(samples):,.4g} to {max(samples):,.4g}, n={len(samples)}"
    print(f"{name:<44} {middle:>14,.4g} {unit:<10} ({spread}) {note}", flush=True)


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def plain_write(path: Path, data: bytes, block: int) -> None:
    """The floor: the same bytes, in the same blocks, nothing else."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    view = memoryview(data)
    for at in range(0, len(view), block):
        os.write(descriptor, view[at : at + block])
    os.close(descriptor)


async def appending(base: Path, rows: list[RequestRow], rounds: int) -> None:
    """Sustained appends until all is in the file, the call alone, and the floor."""
    text = encode_rows(rows)
    size = len(text) / len(rows)
    whole, calls, floors = [], [], []
    for round_number in range(rounds):
        limits = Limits(segment_bytes=10**12, pending_rows=len(rows) * 2)
        ledger = await Ledger.open(base / f"append-{round_number}", SystemClock(), limits=limits, upkeep=False)
        began = time.perf_counter()
        for entry in rows:
            ledger.append(entry)
        calls.append((time.perf_counter() - began) / len(rows) * 1e6)
        await ledger.flush()
        whole.append(len(rows) / (time.perf_counter() - began))
        await ledger.close()
        floors.append(len(rows) / timed(lambda: plain_write(base / "plain", text, int(size * 2000))))
    ratio = statistics.median(whole) / statistics.median(floors)
    tell("append, until in the file", whole, "rows/s", f"{ratio:.3f} of the floor")
    tell("append, floor: same bytes to a plain file", floors, "rows/s")
    tell("append, the call (with writer at work)", calls, "us")
    tell("journal size", [size], "bytes/row")


async def durable(base: Path, count: int) -> None:
    """One durable append, then one plain write with a sync, in turns: other programs' syncs hit both alike."""
    ledger = await Ledger.open(base / "durable", SystemClock(), upkeep=False)
    descriptor = os.open(base / "plain-sync", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    singles, floors = [], []
    for number in range(count):
        began = time.perf_counter()
        await ledger.append_durable(row(number))
        singles.append((time.perf_counter() - began) * 1e3)
        floors.append(timed(partial(plain_sync, descriptor, encode_rows([row(number)]))) * 1e3)
    os.close(descriptor)
    await ledger.close()
    ratio = statistics.median(singles) / statistics.median(floors)
    tell("append_durable, one at a time", singles, "ms", f"{ratio:.2f} x the floor")
    tell("append_durable, floor: write + fdatasync", floors, "ms")


def plain_sync(descriptor: int, line: bytes) -> None:
    os.write(descriptor, line)
    os.fdatasync(descriptor)


async def loop_lag(base: Path, rate: int, seconds: float) -> None:
    """How late the loop is while rows come at a rate and are written; the floor is the same loop without a ledger."""
    ledger = await Ledger.open(base / "lag", SystemClock(), upkeep=False)
    for name, sink in (("with the ledger", ledger.append), ("without", lambda _: None)):
        lags: list[float] = []
        number, began = 0, time.perf_counter()
        while (now := time.perf_counter()) - began < seconds:
            while number < (now - began) * rate:
                sink(row(number))
                number += 1
            wanted = time.perf_counter() + 0.005
            await asyncio.sleep(0.005)
            lags.append((time.perf_counter() - wanted) * 1e3)
        lags.sort()
        tell(f"loop lag p99 at {rate:,} rows/s, {name}", [lags[int(len(lags) * 0.99)]], "ms", f"{len(lags)} looks")
    await ledger.close()


async def reading_back(base: Path, rounds: int) -> None:
    opened, recent, filtered = [], [], []
    for _ in range(rounds):
        began = time.perf_counter()
        ledger = await Ledger.open(base / "append-0", SystemClock(), upkeep=False)
        held = len(ledger.recent("requests", limit=10**9))
        opened.append(held / (time.perf_counter() - began))
        newest = ledger.recent("requests", limit=1)[0].ts
        recent.append(timed(partial(ledger.recent, "requests", since_ts=newest - 60, limit=10**9)) * 1e3)
        filtered.append(timed(partial(ledger.recent, "requests", where={"request_id": "absent"})) * 1e3)
        await ledger.close()
    tell(f"open, {held:,} hot rows rebuilt", opened, "rows/s")
    tell("recent, the last 60 s of 500 requests/s", recent, "ms")
    tell(f"recent, {held:,} rows scanned, none equal", filtered, "ms")


async def querying(base: Path, count: int, rounds: int) -> None:
    directory = base / "million"
    ledger = await Ledger.open(directory, SystemClock(), limits=Limits(pending_rows=10**7), upkeep=False)
    for start in range(0, count, 50_000):
        for number in range(start, min(start + 50_000, count)):
            ledger.append(row(number))
        await ledger.flush()
    await ledger.close()
    journals = [file for file in list_files(directory) if file.table == "requests"]
    before = sum(file.path.stat().st_size for file in journals)
    converting = [timed(partial(convert, file)) for file in journals[:-2]]
    files = [file for file in list_files(directory) if file.table == "requests"]
    parquet = [file for file in files if file.parquet]
    rows_in = sum((file.last or 0) - file.first + 1 for file in parquet)
    size = sum(file.path.stat().st_size for file in parquet)
    tell("a 32 MiB journal to a segment", converting, "s", f"{len(journals)} journals, {before / 1e6:,.0f} MB")
    tell("segment size (made-up values pack well)", [size / max(1, rows_in)], "bytes/row")
    for name, sql in QUERIES.items():
        times = []
        for _ in range(rounds):
            began = time.perf_counter()
            answer = await run_query(directory, sql)
            times.append(time.perf_counter() - began)
        assert answer.rows
        tell(f"query of {count:,} rows: {name}", times, "s")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(
        f"{platform.machine()} {os.cpu_count()} cores, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, msgspec {msgspec.__version__}, polars {polars.__version__}; "
        f"load {os.getloadavg()[0]:.1f} at start"
    )
    with tempfile.TemporaryDirectory(prefix="bench-ledger-") as name:
        base = Path(name)
        rows = [row(number) for number in range(min(100_000, options.rows))]
        await appending(base, rows, options.rounds)
        await durable(base, 100)
        await loop_lag(base, 5_000, 4.0)
        await reading_back(base, options.rounds)
        await querying(base, options.rows, options.rounds)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
