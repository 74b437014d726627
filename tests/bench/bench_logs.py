"""The log engine under a flood: lines taken in without loss, memory, pages meanwhile; searches in ten million lines.

    python -m tests.bench.bench_logs [--seconds 30] [--rate 200000] [--streams 100] [--lines 10000000]

A process of its own writes the streams into a pipe each; this one does what the console does: reads, appends, and asks
ten times a second for the newest page. Every line carries its number in its stream, so a lost one is seen. Then the
store is filled up, and searched. The floor is a plain read of the same bytes that counts newlines, in the same run.
"""

from __future__ import annotations

import argparse
import os
import re
import selectors
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from backend.contract.log_chunks import LogChunk
from console.state.log_head import stamp_of_ts
from console.state.log_query import LogQuery
from console.state.log_search import LogSearch
from console.state.log_store import LogStore
from tests.bench.machine import Others, header, keep_byte_code

TICK_S = 0.05
READ_BYTES = 256 * 1024
MIB = 1024 * 1024
TEXTS = (
    b"I slot print_timing: id 2 | task 8127 | eval time = 412.77 ms / 88 runs seq=",
    b'{"level":"info","event":"request done","path":"/v1/completions","status":200,"seq":',
    b"W srv  next_tokens_: slot 1 waits for a batch since 31 ms seq=",
    b"D srv  update_chat_: kv cache holds 2077 of 4096 cells seq=",
)
ENDLESS = "(x+x+)+y"


def lines_of(stream: int, first: int, count: int, ts: float) -> bytes:
    """Stored lines of one stream, numbered."""
    head = stamp_of_ts(ts) + b"Z stderr F "
    texts = [head + TEXTS[(stream + n) % 4] for n in range(4)]
    return b"".join([b"%s%d\n" % (texts[n % 4], n) for n in range(first, first + count)])


def generate(fds: list[int], rate: int, seconds: float) -> None:
    """The flooding process: as many lines a tick as the rate asks for, spread over the pipes; then how many it sent."""
    each = [0] * len(fds)
    began = time.perf_counter()
    ticks = round(seconds / TICK_S)
    for tick in range(ticks):
        due = round(rate * TICK_S * (tick + 1) / len(fds))
        ts = time.time()
        for stream, fd in enumerate(fds):
            data = memoryview(lines_of(stream, each[stream], due - each[stream], ts))
            each[stream] = due
            while data:
                data = data[os.write(fd, data) :]
        time.sleep(max(0.0, began + (tick + 1) * TICK_S - time.perf_counter()))
    print(sum(each), time.perf_counter() - began)


def flood(store: LogStore, streams: int, rate: int, seconds: float) -> None:
    """Take in what the flooding process writes; print what it cost."""
    pipes = [os.pipe() for _ in range(streams)]
    command = [sys.executable, "-m", "tests.bench.bench_logs", "--generate", str(seconds), "--rate", str(rate), "--fds"]
    writer = subprocess.Popen(
        [*command, ",".join(str(w) for _, w in pipes)], pass_fds=[w for _, w in pipes], stdout=subprocess.PIPE
    )
    selector = selectors.DefaultSelector()
    for number, (read_end, write_end) in enumerate(pipes):
        os.close(write_end)
        os.set_blocking(read_end, False)
        selector.register(read_end, selectors.EVENT_READ, f"llm-{number}")
    appends: list[float] = []
    pages: list[float] = []
    took_in = peak = 0
    me = psutil.Process()
    cpu, next_page = me.cpu_times(), 0.0
    while selector.get_map():
        for key, _ in selector.select(0.1):
            data = os.read(key.fd, READ_BYTES)
            if not data:
                selector.unregister(key.fd)
                os.close(key.fd)
                continue
            began = time.perf_counter()
            store.append(LogChunk(replica=key.data, data=data))
            appends.append(time.perf_counter() - began)
            took_in += len(data)
        if (now := time.perf_counter()) >= next_page:
            next_page = now + 0.1
            assert len(store.before(None, 60).lines) == 60 or store.held < 60
            pages.append(time.perf_counter() - now)
            peak = max(peak, me.memory_info().rss)
    used = me.cpu_times()
    sent, took = (float(word) for word in (writer.communicate()[0] or b"").split())
    missing = int(sent) - held_in_sequence(store)
    cpu_s = used.user + used.system - cpu.user - cpu.system
    print(f"flood: {sent:,.0f} lines of {streams} streams in {took:.1f} s: {sent / took:,.0f} lines/s asked {rate:,}")
    print(f"  received {store.received:,}, held {store.held:,} ({store.spilled:,} on disk), dropped {store.dropped:,}")
    print(f"  missing by sequence number: {missing}; {cpu_s / took * 100:.0f}% of a core, the reads and pages included")
    print(f"  append: {sum(appends) / took_in * MIB * 1e3:.2f} ms a MiB, longest call {max(appends) * 1e3:.1f} ms")
    print(f"  newest page of 60, ten a second: {quantiles(pages)}")
    print(f"  memory: RSS at most {peak / MIB:.0f} MiB, {store.memory_bytes_used / MIB:.0f} MiB of it lines")


def held_in_sequence(store: LogStore) -> int:
    """How many held lines follow one another without a gap, over all streams."""
    number = re.compile(rb'seq[=:"]+(\d+)')
    total = 0
    for stream in store._by_number.values():
        for block in stream.blocks:
            found = list(map(int, number.findall(block.read(0, block.size))))
            if found == list(range(block.first_number, block.first_number + block.lines)):
                total += len(found)
    return total


def fill(store: LogStore, streams: int, lines: int) -> None:
    """More of the same, until so many are held; a needle stands 99,000 lines before the end."""
    ts = time.time()
    at = [info.lines for info in store.streams()] or [0] * streams
    placed = False
    while store.held < lines:
        ts += 0.02
        for stream in range(streams):
            store.append(LogChunk(replica=f"llm-{stream}", data=lines_of(stream, at[stream], 100, ts)))
            at[stream] += 100
            if not placed and store.held >= lines - 99_000:
                placed = True
                line = stamp_of_ts(ts) + b"Z stderr F E srv  send_error: needle-00c0ffee went away\n"
                store.append(LogChunk(replica=f"llm-{stream}", data=line))
                at[stream] += 1


def searches(store: LogStore, rounds: int) -> None:
    """First matches, full scans, cancels."""
    print(f"search: {store.held:,} lines held, {store.spilled:,} of them on disk")
    floor = plain_read(store)
    rate = store.held / floor
    print(f"  floor, a plain read of the same bytes that counts newlines: {rate:,.0f} lines/s, {floor:.2f} s")
    for pattern in (r"needle-[0-9a-f]{8} gone|NEEDLE-00c0|needle-00c0", r"needle-\w+ went"):
        firsts = []
        for _ in range(rounds):
            began = time.perf_counter()
            search = store.search(pattern)
            assert search.wait(60, matches=1)
            firsts.append(time.perf_counter() - began)
            search.cancel()
        print(f"  a match 99,000 lines back, `{pattern}`: {quantiles(firsts)} until it is known")
    for pattern in ("absent", r"waits? for (a|the) batch since 9\d+ ms", r"status\W+5\d\d"):
        search = store.search(pattern)
        assert search.wait(600)
        assert search.error == ""
        print(
            f"  full scan, `{pattern}`: {search.rate_lines_per_s:,.0f} lines/s, {search.seconds:.2f} s, "
            f"{search.seconds / floor:.1f} x the floor; {search.count} matches"
        )
    query = LogQuery(exclude=("cells",), levels=frozenset({"warning"}))
    search = store.search("seq=99999", query)
    assert search.wait(600)
    print(f"  the same with a filter and a level, `seq=99999`: {search.rate_lines_per_s:,.0f} lines/s")
    store.append(LogChunk(replica="llm-0", data=stamp_of_ts(time.time() + 9e5) + b"Z stderr F " + b"x" * 60 + b"\n"))
    for pattern in ("absent", ENDLESS):
        cancels = [cancel(store, pattern) for _ in range(rounds)]
        print(f"  cancel of `{pattern}`: {quantiles(cancels)} until its process is gone")


def cancel(store: LogStore, pattern: str) -> float:
    """Cancel a search in the midst of its work: seconds until its process is gone."""
    search = store.search(pattern)
    process = busy_process(search)
    began = time.perf_counter()
    search.cancel()
    process.wait(5)
    return time.perf_counter() - began


def busy_process(search: LogSearch) -> psutil.Process:
    while True:
        for child in psutil.Process().children():
            if child.status() != psutil.STATUS_ZOMBIE and child.cpu_times().user > 0.05:
                return child
        assert not search.done
        time.sleep(0.002)


def plain_read(store: LogStore) -> float:
    """Seconds to read all held bytes and count their newlines."""
    blocks = list(blocks_of(store))
    began = time.perf_counter()
    newlines = 0
    for fd, at, size in blocks:
        newlines += os.pread(fd, size, at).count(b"\n")
    took = time.perf_counter() - began
    in_memory = [block.data for s in store._by_number.values() for block in s.blocks if block.data is not None]
    began = time.perf_counter()
    newlines += sum(data.count(b"\n") for data in in_memory)
    assert newlines == store.held
    return took + time.perf_counter() - began


def blocks_of(store: LogStore) -> Iterator[tuple[int, int, int]]:
    for stream in store._by_number.values():
        for block in stream.blocks:
            if block.file is not None:
                yield block.file.fd, block.at, block.size


def quantiles(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    last = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return f"median {statistics.median(ordered) * 1e3:.1f} ms, p99 {last * 1e3:.1f} ms, n={len(ordered)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rate", type=int, default=200_000)
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--lines", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--generate", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--fds", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.generate is not None:
        generate([int(fd) for fd in options.fds.split(",")], options.rate, options.generate)
        return
    keep_byte_code()
    sys.dont_write_bytecode = False
    sys.pycache_prefix = os.environ.get("PYTHONPYCACHEPREFIX", sys.pycache_prefix)
    header("msgspec")
    others = Others()
    with tempfile.TemporaryDirectory(prefix="bench-logs-") as name:
        store = LogStore(Path(name), disk_bytes=8 * 1024 * MIB)
        flood(store, options.streams, options.rate, options.seconds)
        fill(store, options.streams, options.lines)
        print(f"  RSS with {store.held:,} lines held: {psutil.Process().memory_info().rss / MIB:.0f} MiB")
        searches(store, options.rounds)
        store.close()
    print(others.line())


if __name__ == "__main__":
    main()
