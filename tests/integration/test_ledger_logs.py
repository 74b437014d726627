"""Following log files while a shim's own writer writes and rotates them: nothing is lost, nothing comes twice."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from backend.contract.rows import LogRow
from backend.ledger.logs import Follower, LogReader
from backend.shim.output import LogWriter


async def take(lines: AsyncIterator[LogRow], count: int) -> list[str]:
    found: list[str] = []
    while len(found) < count:
        found.append((await asyncio.wait_for(anext(lines), 60)).message)
    return found


def write(writer: LogWriter, first: int, last: int) -> None:
    for n in range(first, last):
        writer.write("stdout", [(str(n).encode(), True)])


async def test_follow_survives_many_rotations(tmp_path: Path) -> None:
    """Small files, a rotation every few lines, a reader that looks less often than that."""
    writer = LogWriter(tmp_path / "llm-0", max_bytes=2_000, backups=1_000)
    write(writer, 0, 5)
    lines = LogReader(tmp_path).follow(tail=2, poll_s=0.02)
    assert await take(lines, 2) == ["3", "4"]
    thread = threading.Thread(target=write, args=(writer, 5, 5_000))
    thread.start()
    assert await take(lines, 4_995) == [str(n) for n in range(5, 5_000)]
    thread.join()
    await lines.aclose()  # type: ignore[attr-defined]  # an async generator
    assert len(list((tmp_path / "llm-0").glob("*.log"))) > 50


def test_every_rotation_between_two_looks_is_read(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path / "llm-0", max_bytes=500, backups=100)
    follower = Follower(tmp_path, None)
    assert follower.poll() == []
    expected = 0
    for lines in (1, 40, 3, 0, 100, 7):
        write(writer, expected, expected + lines)
        assert [row.message for row in follower.poll()] == [str(n) for n in range(expected, expected + lines)]
        expected += lines
    follower.close()


def test_what_was_rotated_away_and_deleted_unread_is_all_that_is_lost(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path / "llm-0", max_bytes=500, backups=2)
    write(writer, 0, 3)
    follower = Follower(tmp_path, None, tail=10)
    assert len(follower.poll()) == 3
    write(writer, 3, 300)
    found = [int(row.message) for row in follower.poll()]
    # The file it held open is read to its end although its name is gone, then what still exists.
    assert found == sorted(set(found))
    assert found[0] == 3
    assert found[-1] == 299
    write(writer, 300, 302)
    assert [row.message for row in follower.poll()] == ["300", "301"]
    follower.close()


def test_a_half_written_line_comes_whole(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    path = tmp_path / "a" / "current.log"
    path.write_bytes(b"")
    follower = Follower(tmp_path, ["a", "absent", "../a"])
    with path.open("ab", buffering=0) as file:
        file.write(b"2026-11-21T07:27:22.123456Z stderr F hel")
        assert follower.poll() == []
        file.write(b"lo\n2026-11-21T07:27:22.223456Z stderr P long ")
        assert [row.message for row in follower.poll()] == ["hello"]
        file.write(b"\n2026-11-21T07:27:22.323456Z stderr F line\n")
        assert [row.message for row in follower.poll()] == ["long line"]
    follower.close()


@pytest.mark.parametrize("since", [True, False])
async def test_follow_begins_where_asked(tmp_path: Path, since: bool) -> None:
    now = [time.time_ns()]
    writer = LogWriter(tmp_path / "llm-0", max_bytes=500, backups=100, now_ns=lambda: now[0])
    stamps: list[float] = []
    for n in range(100):
        now[0] += 1_000_000_000
        stamps.append(now[0] // 1000 / 1e6)
        write(writer, n, n + 1)
    reader = LogReader(tmp_path)
    lines = reader.follow(since_ts=stamps[30] - 0.5) if since else reader.follow(tail=70)
    assert await take(lines, 70) == [str(n) for n in range(30, 100)]
    now[0] += 1_000_000_000
    write(writer, 100, 101)
    assert await take(lines, 1) == ["100"]
    await lines.aclose()  # type: ignore[attr-defined]  # an async generator


async def test_a_replica_that_appears_later_is_followed_from_its_first_line(tmp_path: Path) -> None:
    write(LogWriter(tmp_path / "llm-0", max_bytes=10_000, backups=1), 7, 8)
    lines = LogReader(tmp_path).follow(tail=1, poll_s=0.02)
    assert await take(lines, 1) == ["7"]  # so it has looked once
    write(LogWriter(tmp_path / "llm-7", max_bytes=10_000, backups=1), 0, 3)
    assert await take(lines, 3) == ["0", "1", "2"]
    await lines.aclose()  # type: ignore[attr-defined]  # an async generator


def test_windows_while_files_rotate_never_raise_nor_miss(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path / "llm-0", max_bytes=3_000, backups=1_000)
    write(writer, 0, 10)
    thread = threading.Thread(target=write, args=(writer, 10, 4_000))
    thread.start()
    reader = LogReader(tmp_path)
    while thread.is_alive():
        found = [int(row.message) for row in reader.tail(limit=200).rows]
        assert found == list(range(found[0], found[0] + len(found)))
    thread.join()
    assert reader.count() == 4_000


@pytest.mark.parametrize("rotations", [0, 1, 2])
def test_a_rotation_between_opening_and_listing_shows_no_line_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rotations: int
) -> None:
    writer = LogWriter(tmp_path / "llm-0", max_bytes=150, backups=100)
    write(writer, 0, 9)
    numbers = [9]
    real_listdir = os.listdir

    def rotate_then_list(path: Path) -> list[str]:
        for _ in range(rotations):
            write(writer, numbers[0], numbers[0] + 5)
            numbers[0] += 5
        return real_listdir(path)

    monkeypatch.setattr(os, "listdir", rotate_then_list)
    found = [int(row.message) for row in LogReader(tmp_path).tail().rows]
    assert found == list(range(len(found)))
    assert len(found) >= 9
    monkeypatch.undo()
    assert LogReader(tmp_path).count() == numbers[0]


def test_followers_leave_no_descriptor_open(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path / "llm-0", max_bytes=500, backups=5)
    before = psutil.Process().num_fds()
    for _ in range(5):
        follower = Follower(tmp_path, None, tail=3)
        write(writer, 0, 60)
        follower.poll()
        follower.close()
        LogReader(tmp_path).tail(limit=5)
    writer.close()
    after = psutil.Process().num_fds()
    assert after <= before
