"""A search finds what a look at every line finds, in order, from memory and disk, and ends the moment it is told to."""

from __future__ import annotations

import errno
import gc
import os
import re
import subprocess
import sys
import tempfile
import time
from array import array
from pathlib import Path

import psutil
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from console.state import log_scan, log_search
from console.state.log_query import LogQuery
from console.state.log_store import LogStore

from .test_log_store import BASE, backwards, chunk, stored

ENDLESS = "(x+x+)+y"


def store_of(tmp_path: Path, lines: int, *, memory: int = 30_000, text: str = "{n} of {replica}") -> LogStore:
    store = LogStore(tmp_path / "spill", memory_bytes=memory)
    for at in range(0, lines, 50):
        for replica in ("a", "b", "c"):
            told = (stored(n + 0.1 * ord(replica), text.format(n=n, replica=replica)) for n in range(at, at + 50))
            store.append(chunk(replica, *told, incarnation=at // 500))
    return store


def ended(store: LogStore, pattern: str, query: LogQuery | None = None) -> log_search.LogSearch:
    search = store.search(pattern, query or LogQuery())
    assert search.wait(60), "the search ends"
    assert search.error == ""
    return search


@settings(max_examples=6, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.lists(st.tuples(st.integers(0, 30), st.text("abX 1é", max_size=5)))),
        max_size=12,
    ),
    st.sampled_from(["a", "^b+$", "[^a]x", "é", "(?=1)", ""]),
    st.booleans(),
)
@example([(0, [(1, "a"), (9, "a"), (4, "a")]), (1, [(4, "a"), (5, "a"), (20, "a1"), (24, "a"), (25, "a")])], "^a", True)
def test_it_finds_what_looking_at_every_line_finds(
    tmp_path_factory: pytest.TempPathFactory,
    came: list[tuple[int, list[tuple[int, str]]]],
    pattern: str,
    narrowed: bool,
) -> None:
    store = LogStore(tmp_path_factory.mktemp("spill"), memory_bytes=800)
    for replica, lines in came:
        store.append(chunk(f"r{replica}", *(stored(second, text) for second, text in lines)))
    query = LogQuery(exclude=("1",), since_ts=BASE + 5, until_ts=BASE + 25) if narrowed else LogQuery()
    test = re.compile(pattern, re.IGNORECASE)
    expected = [line.key for line in backwards(store, query) if test.search(line.message.decode())]
    search = ended(store, pattern, query)
    assert search.matches() == expected[::-1]
    assert search.count == len(expected)
    store.close()


def test_next_and_previous_match(tmp_path: Path) -> None:
    store = store_of(tmp_path, 500)
    assert store.spilled > 0
    search = ended(store, "7 of b")
    keys = search.matches()
    assert len(keys) == 50
    assert keys == sorted(keys, reverse=True)
    assert search.scanned == search.total == 1500
    assert search.rate_lines_per_s > 0
    assert search.next(None, -1) == keys[0]
    assert search.next(None, 1) == keys[-1]
    assert [search.next(keys[3], -1), search.next(keys[3], 1)] == [keys[4], keys[2]]
    between = (keys[3][0] + 0.5, 0, 0)
    assert [search.next(between, -1), search.next(between, 1)] == [keys[3], keys[2]]
    assert search.next(keys[-1], -1) is None
    assert search.next(keys[0], 1) is None
    page = store.before((keys[3][0], keys[3][1], keys[3][2] + 1), 1)
    assert page.lines[0].message.endswith(b"7 of b")
    store.close()


def test_only_the_replicas_lives_and_levels_of_the_query_are_searched(tmp_path: Path) -> None:
    store = store_of(tmp_path, 1000, text="WARN {n} of {replica}")
    only_a = ended(store, "5 of", LogQuery(replicas=frozenset({"a"}), incarnation="previous"))
    assert (only_a.total, only_a.count) == (500, 50)
    assert ended(store, "5 of", LogQuery(levels=frozenset({"error"}))).count == 0
    assert ended(store, "5 of b", LogQuery(levels=frozenset({"warning"}))).count == 100
    store.close()


def test_lines_that_come_or_go_meanwhile_do_no_harm(tmp_path: Path) -> None:
    store = LogStore(tmp_path, memory_bytes=20_000, disk_bytes=150_000)
    for at in range(0, 3000, 100):
        store.append(chunk("a", *(stored(n, f"{n} {'x' * 30}") for n in range(at, at + 100))))
    held = store.held
    search = store.search("x$", LogQuery())
    for at in range(3000, 6000, 100):
        store.append(chunk("a", *(stored(n, f"{n} {'x' * 30}") for n in range(at, at + 100))))
    assert search.wait(60)
    assert (search.error, search.count, search.total) == ("", held, held)
    store.close()


def test_places_of_old_matches_are_bounded_and_the_count_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_search, "KEPT_MATCHES", 100)
    store = store_of(tmp_path, 500)
    search = ended(store, "of")
    assert search.count == 1500
    assert search.matches() == [line.key for line in backwards(store, limit=1000)][:-101:-1]
    store.close()


def test_a_cancel_ends_an_endless_pattern_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    store = LogStore(None)
    store.append(chunk("a", stored(1, "x" * 60)))
    gc.collect()
    descriptors = psutil.Process().num_fds()
    search = store.search(ENDLESS, LogQuery())
    process = process_of(search)
    search.cancel()
    assert search.done, "whoever cancels waits for nothing; how soon its process is gone the benchmark prints"
    assert search.cancelled
    process.wait(30)
    assert search.error == ""
    search.cancel()
    settle(lambda: psutil.Process().num_fds() <= descriptors, "its pipes are closed")


def test_closing_the_store_ends_its_searches(tmp_path: Path) -> None:
    store = LogStore(tmp_path)
    store.append(chunk("a", stored(1, "x" * 60)))
    process = process_of(store.search(ENDLESS, LogQuery()))
    store.close()
    process.wait(30)


def test_a_search_process_that_dies_is_said_in_a_sentence(tmp_path: Path) -> None:
    store = LogStore(None)
    store.append(chunk("a", stored(1, "x" * 60)))
    search = store.search(ENDLESS, LogQuery())
    process_of(search).terminate()
    assert search.wait(60)
    assert search.error == "The search process was ended by SIGTERM."
    assert not search.cancelled


def test_a_search_process_that_cannot_start_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    store = LogStore(None)
    store.append(chunk("a", stored(1, "x")))
    search = store.search("x", LogQuery())
    assert search.wait(60)
    assert search.error == "The search could not run: No such file or directory."
    monkeypatch.setattr(sys, "executable", "/bin/false")
    search = store.search("x", LogQuery())
    assert search.wait(60)
    assert search.error == "The search process ended with 1: it said nothing."


def test_a_search_ends_with_whoever_asked_for_it(tmp_path: Path) -> None:
    """The one who asked is killed while the pattern never ends: its process is not left to burn a core."""
    program = tmp_path / "asks.py"
    program.write_text(
        "from backend.contract.log_chunks import LogChunk\n"
        "from console.state.log_store import LogStore\n"
        "store = LogStore(None)\n"
        f"store.append(LogChunk(replica='a', data={stored(1, 'x' * 60)!r}))\n"
        f"store.search({ENDLESS!r}).wait()\n"
    )
    with subprocess.Popen(
        [sys.executable, str(program)], env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    ) as asks:
        seen: list[psutil.Process] = []
        settle(lambda: seen.extend(psutil.Process(asks.pid).children()) or seen, "the search runs")
        settle(lambda: seen[0].cpu_times().user > 0.05, "it is in the midst of the pattern")
        asks.kill()
    psutil.wait_procs(seen, timeout=30)
    assert not seen[0].is_running()


def test_the_search_process_begins_with_little() -> None:
    code = "import sys; import console.state.log_scan; print(*{'msgspec', 'subprocess', 'asyncio'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == ""


def process_of(search: log_search.LogSearch) -> psutil.Process:
    """Its process, in the midst of the pattern. By its own id: that of a search before it may not be gone yet."""
    settle(lambda: search._process is not None, "the search runs")
    assert search._process is not None
    process = psutil.Process(search._process.pid)
    settle(lambda: process.cpu_times().user > 0.05, "it is in the midst of the pattern")
    return process


def settle(true: object, what: str) -> None:
    deadline = time.monotonic() + 60
    while not true():  # type: ignore[operator]  # a condition
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def test_a_scan_reports_the_first_match_at_once_and_all_in_order() -> None:
    """What the process does, without one: a block in a file, reports in a pipe."""
    data = b"".join(stored(n, f"{n} {'odd' if n % 2 else 'even'}") for n in range(300))
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        lines = data.split(b"\n")
        block = (file.fileno(), 0, len(data), 40, 300, lines[0][:26], lines[-2][:26], False)
        read_end, write_end = os.pipe()
        log_scan.scan(("odd", [], ["99"], None, BASE + 100, BASE + 250, 5, file.fileno(), {7: [block]}), write_end)
        os.close(write_end)
        reports, found = [], []
        while head := os.read(read_end, log_scan.REPORT.size):
            places, *counts = log_scan.REPORT.unpack(head)
            body = os.read(read_end, places * 20)
            ts, numbers, streams = array("d", body[: places * 8]), array("Q"), array("I")
            numbers.frombytes(body[places * 8 : places * 16])
            streams.frombytes(body[places * 16 :])
            found += list(zip(ts, streams, numbers, strict=True))
            reports.append((places, *counts))
        os.close(read_end)
    assert next(places for places, *_ in reports if places) == 1, "the first match waits for nothing"
    assert reports[-1][2:] == (74, 1), "counted to the end, then done"
    assert found == [(BASE + n, 7, 40 + n) for n in (249, 247, 245, 243, 241)]


def test_which_match_a_line_is(tmp_path: Path) -> None:
    search = ended(store_of(tmp_path, 50), "1 of b")
    keys = search.matches()
    assert [search.rank(key) for key in keys] == [1, 2, 3, 4, 5]
    assert search.rank((keys[0][0] + 1, 0, 0)) is None
    took = search.seconds
    assert took > 0
    assert search.seconds == took, "it is over, so it takes no longer"


def test_without_files_in_memory_a_temporary_one_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr(os, "memfd_create")
    assert ended(store_of(tmp_path, 100), "1 of b").count == 10


def test_memory_that_cannot_be_copied_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(_fd: int, _data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(log_search, "_write_all", full)
    search = store_of(tmp_path, 50).search("x", LogQuery())
    assert search.wait(60)
    assert search.error == "The search could not run: No space left on device."
    process = search._process
    assert process is not None
    settle(lambda: process.poll() is not None, "its process is ended")
