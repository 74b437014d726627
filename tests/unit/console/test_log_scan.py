"""The search process, run in this one: its task from a pipe, its reports into a pipe, its end with whoever asked."""

from __future__ import annotations

import errno
import marshal
import os
import signal
import struct
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from backend.contract.log_chunks import LogChunk
from console.state import log_scan, log_search
from console.state.log_block import read_at
from console.state.log_head import stamp_ts
from console.state.log_pattern import LineFilter
from console.state.log_query import LogQuery
from console.state.log_read import Merge
from console.state.log_spill import Spill
from console.state.log_store import LogStore

from .log_samples import chunk, holding, numbered, stored

DATA = stored(numbered(300))
MORE_THAN_A_PIPE_HOLDS = frozenset({"x" * 2_000_000})


def block_of(fd: int) -> log_scan.BlockTask:
    lines = DATA.split(b"\n")
    return (fd, 0, len(DATA), 0, 300, lines[0][:26], lines[-2][:26], False)


def task_of(fd: int, pattern: str = "7$") -> bytes:
    task: log_scan.ScanTask = (pattern, [], [], None, None, None, 50, -1, {3: [block_of(fd)]})
    text = marshal.dumps(task)
    return struct.pack("<Q", len(text)) + text


@contextmanager
def pipes() -> Iterator[SimpleNamespace]:
    """The process's standard input and output, as descriptors of a task and of reports."""
    ends = SimpleNamespace()
    ends.task, ends.ask = os.pipe()
    ends.reports, ends.report = os.pipe()
    try:
        yield ends
    finally:
        for fd in vars(ends).values():
            if fd >= 0:
                os.close(fd)


@contextmanager
def held_lines() -> Iterator[int]:
    with tempfile.TemporaryFile() as file:
        file.write(DATA)
        file.flush()
        yield file.fileno()


def reports_in(fd: int) -> list[tuple[int, int, int, bool]]:
    found = []
    while head := os.read(fd, log_scan.REPORT.size):
        found.append(log_scan.REPORT.unpack(head))
        os.read(fd, found[-1][0] * 20)
        if found[-1][3]:
            break
    return found


def test_it_does_its_task_and_is_told_when_its_starter_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    gone: list[int] = []
    nicer: list[int] = []
    monkeypatch.setattr(log_scan, "FOREGROUND_LINES", 10)
    monkeypatch.setattr(os, "nice", nicer.append)
    before = signal.signal(signal.SIGIO, lambda number, _: gone.append(number))
    try:
        with held_lines() as lines, pipes() as ends:
            os.write(ends.ask, task_of(lines))
            log_scan.main(ends.task, ends.report)
            assert reports_in(ends.reports)[-1][1:] == (300, 30, True)
            assert nicer == [10], "once, when what somebody waits for is done"
            assert gone == []
            os.close(ends.ask)
            ends.ask = -1
            deadline = time.monotonic() + 60
            while not gone and time.monotonic() < deadline:
                time.sleep(0.001)
        assert gone == [signal.SIGIO]
    finally:
        signal.signal(signal.SIGIO, before)


def test_it_ends_where_nobody_asks_or_nobody_listens() -> None:
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    try:
        with held_lines() as lines, pipes() as ends:
            os.write(ends.ask, task_of(lines))
            os.close(ends.reports)
            ends.reports = -1
            with pytest.raises(SystemExit) as ended:
                log_scan.main(ends.task, ends.report)
            assert ended.value.code == 1
        with pipes() as ends:
            os.write(ends.ask, b"\x09\x00")
            os.close(ends.ask)
            ends.ask = -1
            with pytest.raises(SystemExit):
                log_scan.main(ends.task, ends.report)
    finally:
        signal.signal(signal.SIGIO, before)


def test_reports_between_the_first_match_and_the_end_come_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_scan, "REPORT_S", 3600.0)
    with pipes() as ends:
        reports = log_scan.Reports(ends.report, keep=10)
        for at in range(3):
            reports.found((float(at), 1, at))
            reports.send(at)
        reports.send(9, done=True)
        assert reports_in(ends.reports) == [(1, 0, 1, False), (2, 9, 3, True)]


def test_a_block_is_waited_for_while_it_is_being_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryFile(buffering=0) as file:
        clock = SimpleNamespace(sleep=lambda _: file.write(DATA[:7000]), monotonic=time.monotonic)
        monkeypatch.setattr(log_scan, "time", clock)
        stream = log_scan.ScanStream(1, [block_of(file.fileno())], copy_fd=file.fileno())
        assert stream.blocks[0].read(100, len(DATA)) == (DATA[:7000] * 3)[100 : len(DATA)]


def test_a_search_that_is_cancelled_before_its_process_starts_starts_none(monkeypatch: pytest.MonkeyPatch) -> None:
    told, real = threading.Event(), log_search._memory_file

    def late() -> int:
        assert told.wait(60)
        return real()

    monkeypatch.setattr(log_search, "_memory_file", late)
    monkeypatch.setattr(log_search.LogSearch, "_hand_over", None)
    search = holding(chunk("a", numbered(3))).search("line", LogQuery())
    search.cancel()
    told.set()
    search._thread.join(60)
    assert search._process is None
    assert (search.done, search.cancelled, search.error) == (True, True, "")


def program(folder: Path, text: str) -> str:
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return str(path)


@pytest.mark.parametrize("said", [b"", log_scan.REPORT.pack(5, 10, 5, False) + b"torn"])
def test_a_process_that_ends_in_the_midst_of_its_task_or_of_a_report_is_said(
    said: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "said").write_bytes(said)
    monkeypatch.setattr(log_search.sys, "executable", program(tmp_path, f"cat {tmp_path / 'said'}; exit 3"))
    search = holding(chunk("a", numbered(3))).search("x", LogQuery(levels=MORE_THAN_A_PIPE_HOLDS))
    assert search.wait(60)
    assert search.error == "The search process ended with 3: it said nothing."
    assert (search.count, search.matches()) == (0, []), "of a torn report nothing is believed"


def test_a_search_looks_at_blocks_on_disk_and_in_memory_through_few_descriptors(tmp_path: Path) -> None:
    store = LogStore(tmp_path, memory_bytes=10_000)
    for at in range(0, 2000, 200):
        store.append(chunk("a", numbered(200, start=at)))
    search = store.search("7$", LogQuery())
    assert search.wait(60)
    assert (search.error, search.count) == ("", 200)
    store.close()


# -- what it reads -------------------------------------------------------------------------------------------


def test_a_file_that_is_too_short_is_an_error_and_no_endless_wait() -> None:
    with held_lines() as lines:
        assert read_at(lines, 10, 5) == DATA[5:15]
        with pytest.raises(OSError, match="shorter than what was written"):
            read_at(lines, len(DATA), 5)


def test_a_disk_that_takes_no_byte_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spill = Spill(tmp_path, 1_000_000)
    monkeypatch.setattr(os, "pwrite", lambda *_: 0)
    with pytest.raises(OSError) as told:  # noqa: PT011 - its number says which
        spill.write(b"x")
    assert told.value.errno == errno.ENOSPC
    assert spill.bytes == 0
    held = spill.files[0]
    spill.close()
    spill.let_go_of(held)
    assert not spill.files, "let go of once"


@pytest.mark.parametrize(
    ("line", "ts"),
    [
        (b"1970-01-01T00:01:01.500000Z stderr F x", 61.5),
        (b"1970-01-01T00:01:xx.500000Z stderr F x", 60.0),
        (b"no stamp at all, but as long as one", 0.0),
        (b"\xff", 0.0),
    ],
)
def test_the_instant_of_foreign_text_is_what_can_be_read_of_it(line: bytes, ts: float) -> None:
    assert stamp_ts(line) == ts


def test_at_the_end_there_is_no_next_line() -> None:
    nothing: Any = Merge([], None, LineFilter([], [], None), back=True)
    assert (nothing.step(), nothing.key, nothing.next_ts()) == (None, None, None)


def test_a_replica_that_has_not_ended_its_first_line_has_none_yet() -> None:
    store = holding(chunk("a", numbered(2)), LogChunk(replica="b", data=b"1970-01-01T00:0"))
    assert [line.replica for line in store.before(None, 5).lines] == ["a", "a"]


def test_where_no_block_is_full_the_largest_makes_room() -> None:
    store = holding(memory_bytes=10_000)
    for replica, count in (("small", 3), ("large", 100), ("middle", 90), ("late", 90)):
        store.append(chunk(replica, numbered(count)))
    assert {info.replica: info.dropped for info in store.streams() if info.dropped} == {"large": 100}
    assert store.memory_bytes_used <= 10_000
