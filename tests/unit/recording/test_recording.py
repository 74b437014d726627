"""A recording on disk: any instant is found, files are bounded, and no failure of a disk is silent or lasting."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from backend.contract.control import Snapshot
from backend.contract.recording import RecordExtent
from backend.recording import writer as writing
from backend.recording.limits import RecordingLimits
from backend.recording.reader import Part, Recording
from backend.recording.recorder import Recorder
from backend.recording.segment import Unpacker, scan
from backend.recording.writer import SegmentWriter, list_segments
from tests.unit.console.sample import snapshot
from tests.unit.recording.fleets import seconds_of

SHORT = RecordingLimits(keyframe_s=5.0, segment_s=20.0)


def record(directory: Path, snapshots: list[Snapshot], limits: RecordingLimits = SHORT) -> Recording:
    writer = SegmentWriter(directory, limits)
    for one in snapshots:
        writer.add(one)
    writer.close()
    return Recording(directory)


def test_any_instant_is_the_newest_snapshot_at_or_before_it(tmp_path: Path) -> None:
    all_of_it = seconds_of(50)
    recording = record(tmp_path, all_of_it)
    assert len(list_segments(tmp_path)) == 3
    for at, one in enumerate(all_of_it):
        assert recording.at(one.ts) == one
        assert recording.at(one.ts + 0.999) == one
        assert at == 0 or recording.at(one.ts - 0.001) == all_of_it[at - 1]
    assert recording.at(0.0) == all_of_it[0], "before the beginning: the beginning"
    assert recording.newest() == all_of_it[-1]
    size = sum(file.path.stat().st_size for file in list_segments(tmp_path))
    assert recording.extent() == RecordExtent(first_ts=1000.0, last_ts=1049.0, size_bytes=size)


def test_spans_points_and_counts(tmp_path: Path) -> None:
    all_of_it = seconds_of(50)
    recording = record(tmp_path, all_of_it)
    assert list(recording.snapshots()) == all_of_it
    assert list(recording.snapshots(1013.0, 1027.5)) == all_of_it[13:28]
    assert list(recording.snapshots(1013.2, 1013.8)) == []
    assert recording.points(1013.0, 1027.5) == [one.point for one in all_of_it[13:28]]
    assert (recording.count(), recording.count(1013.0, 1027.5), recording.count(5.0, 6.0)) == (50, 15, 0)


def test_nothing_recorded_is_no_failure(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "not there"):
        recording = Recording(place)
        assert recording.extent() == RecordExtent()
        assert recording.newest() is None
        assert recording.points(0.0, 1e10) == []


def test_a_reader_sees_each_snapshot_as_soon_as_it_was_added(tmp_path: Path) -> None:
    """So that a killed daemon loses nothing that it had added: it is with the kernel."""
    writer, recording = SegmentWriter(tmp_path, SHORT), Recording(tmp_path)
    for one in seconds_of(30):
        writer.add(one)
        assert recording.newest() == one
        assert recording.extent().last_ts == one.ts
    writer.close()


def test_a_seek_reads_no_more_than_one_keyframes_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = record(tmp_path, seconds_of(50))
    read: list[bool] = []
    unpack = Unpacker.unpack
    monkeypatch.setattr(Unpacker, "unpack", lambda self, body, *, key: read.append(key) or unpack(self, body, key=key))
    for ts in (1000.0, 1019.0, 1031.7):
        read.clear()
        recording.at(ts)
        assert read[0] and read.count(True) == 1
        assert len(read) <= 5


def test_a_week_is_not_looked_through_for_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    week = [second for start in range(0, 600_000, 6000) for second in seconds_of(2, start=float(start))]
    recording = record(tmp_path, week)
    assert len(list_segments(tmp_path)) == 100
    looked_at: list[Part] = []
    scanned = Recording._scanned
    monkeypatch.setattr(Recording, "_scanned", lambda self, part: looked_at.append(part) or scanned(self, part))
    for look in (
        lambda: recording.at(300_005.0),
        lambda: recording.points(300_000.0, 300_005.0),
        lambda: list(recording.snapshots(300_000.0, 300_005.0)),
        lambda: recording.count(300_000.0, 300_005.0),
        recording.newest,
    ):
        looked_at.clear()
        assert look()
        assert len(looked_at) == 1
    assert recording.at(300_005.0) == week[101]
    assert recording.at(303_000.0) == week[101], "nothing was recorded then: what was last seen"


def test_a_daemon_that_comes_back_begins_a_segment_of_its_own(tmp_path: Path) -> None:
    before, after = seconds_of(5), seconds_of(5, start=1010.0, seed=2)
    record(tmp_path, before)
    torn = list_segments(tmp_path)[0].path
    torn.write_bytes(torn.read_bytes()[:-3])
    recording = record(tmp_path, after)
    assert len(list_segments(tmp_path)) == 2
    assert list(recording.snapshots()) == [*before[:-1], *after]
    assert recording.at(1007.0) == before[-2], "while no daemon ran: what was last seen"


def test_a_clock_that_is_set_back_begins_a_segment_and_loses_nothing(tmp_path: Path) -> None:
    first, second = seconds_of(3), seconds_of(3, seed=2)
    recording = record(tmp_path, [*first, *second])
    assert len(list_segments(tmp_path)) == 2
    assert sorted(one.ts for one in recording.snapshots()) == sorted(one.ts for one in (*first, *second))


def test_what_is_unreadable_is_passed_over(tmp_path: Path) -> None:
    all_of_it = seconds_of(20)
    recording = record(tmp_path, all_of_it)
    path = list_segments(tmp_path)[0].path
    data = bytearray(path.read_bytes())
    records = list(scan(bytes(data)))
    data[records[12].body_at + 2] ^= 0xFF
    path.write_bytes(data)
    recording = Recording(tmp_path)
    assert recording.at(1013.0) == all_of_it[11], "12, 13 and 14 hang on it"
    assert recording.at(1015.0) == all_of_it[15]
    assert len(list(recording.snapshots())) == 17


def test_a_whole_group_of_another_version_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = record(tmp_path, seconds_of(12))
    monkeypatch.setattr(Unpacker, "unpack", _unreadable_from(Unpacker.unpack, 1010.0))
    assert recording.at(1011.0) == seconds_of(12)[9]
    monkeypatch.setattr(Unpacker, "unpack", _unreadable_from(Unpacker.unpack, 0.0))
    assert recording.at(1011.0) is None


def _unreadable_from(unpack: Any, ts: float) -> Any:
    from backend.recording.segment import Unreadable

    def broken(self: Unpacker, body: bytes, *, key: bool) -> Snapshot:
        found: Snapshot = unpack(self, body, key=key)
        if found.ts >= ts:
            raise Unreadable("of the future")
        return found

    return broken


def test_segments_deleted_while_they_are_read_read_as_empty(tmp_path: Path) -> None:
    recording = record(tmp_path, seconds_of(30))
    assert recording.count() == 30
    for file in list_segments(tmp_path):
        file.path.unlink()
    gone = [Part(file.path) for file in list_segments(tmp_path)] or [Part(tmp_path / "gone.rec")]
    assert Recording(gone).newest() is None
    assert Recording(gone).extent().size_bytes == 0


def test_old_segments_go_by_age_and_by_size(tmp_path: Path) -> None:
    record(tmp_path, seconds_of(60))
    old, middle, newest = list_segments(tmp_path)
    for file, written_ts in ((old, 100.0), (middle, 950.0), (newest, 1060.0)):
        os.utime(file.path, (written_ts, written_ts))
    limits = RecordingLimits(retention_s=500.0)
    record(tmp_path, seconds_of(1, start=1100.0), limits)
    assert [file.path for file in list_segments(tmp_path)][:2] == [middle.path, newest.path]
    held = newest.path.stat().st_size
    record(tmp_path, seconds_of(1, start=1200.0), RecordingLimits(disk_bytes=held + 2000))
    assert list_segments(tmp_path)[0].path == newest.path
    record(tmp_path, seconds_of(1, start=1300.0), RecordingLimits(disk_bytes=0))
    assert [file.first_ts for file in list_segments(tmp_path)] == [1300.0], "the one being written stays"


def test_the_segment_being_written_is_never_deleted_even_where_its_time_is_the_oldest(tmp_path: Path) -> None:
    record(tmp_path, seconds_of(30, start=5000.0))
    set_back = seconds_of(3, start=1000.0)
    recording = record(tmp_path, set_back, RecordingLimits(disk_bytes=0))
    assert list(recording.snapshots()) == set_back


def test_a_large_segment_is_ended(tmp_path: Path) -> None:
    record(tmp_path, seconds_of(40), RecordingLimits(segment_bytes=3000))
    assert len(list_segments(tmp_path)) > 2
    assert list(Recording(tmp_path).snapshots()) == seconds_of(40)


def test_files_are_private_and_other_files_are_left_alone(tmp_path: Path) -> None:
    place = tmp_path / "recording"
    place.mkdir()
    (place / "notes.txt").write_text("mine")
    record(place, seconds_of(1), RecordingLimits(disk_bytes=0))
    assert list_segments(place)[0].path.stat().st_mode & 0o777 == 0o600
    assert (place / "notes.txt").exists()


class Disk:
    """`os.write` that is full after so many bytes, until it has room again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room: int | None = None
        self._write = os.write
        monkeypatch.setattr(writing.os, "write", self.write)

    def write(self, fd: int, data: Any) -> int:
        if self.room is None:
            return self._write(fd, data)
        if self.room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        size = self._write(fd, data[: self.room])
        self.room -= size
        return size


def test_a_full_disk_costs_what_did_not_fit_and_nothing_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, all_of_it = Disk(monkeypatch), seconds_of(10)
    writer = SegmentWriter(tmp_path, SHORT)
    for at, one in enumerate(all_of_it):
        disk.room = 20 if at == 4 else None
        if at == 4:
            held = list_segments(tmp_path)[0].path.stat().st_size
            with pytest.raises(OSError, match="No space"):
                writer.add(one)
            assert list_segments(tmp_path)[0].path.stat().st_size == held, "nothing of it stays in the file"
        else:
            writer.add(one)
    assert list(Recording(tmp_path).snapshots()) == [*all_of_it[:4], *all_of_it[5:]]


def test_the_recorder_writes_what_it_was_offered_and_tells_of_trouble_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, told = Disk(monkeypatch), list[tuple[str, bool]]()
    arrived = threading.Semaphore(0)
    add = SegmentWriter.add

    def noted(self: SegmentWriter, one: Snapshot) -> None:
        try:
            add(self, one)
        finally:
            arrived.release()

    monkeypatch.setattr(SegmentWriter, "add", noted)
    recorder = Recorder(tmp_path, SHORT, trouble=lambda words, bad: told.append((words, bad)))
    recorder.start()
    for at, one in enumerate(seconds_of(6)):
        disk.room = 0 if at in (2, 3) else None
        recorder.offer(one)
        assert arrived.acquire(timeout=30.0)
    recorder.close()
    recorder.close()
    assert told == [
        ("The flight recorder cannot write: no space left on device.", True),
        ("The flight recorder writes again; it missed 2 snapshots.", False),
    ]
    assert [one.seq for one in Recording(tmp_path).snapshots()] == [1, 2, 5, 6]


def test_a_disk_that_hangs_holds_up_nobody_and_costs_a_bounded_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    add = SegmentWriter.add

    def slow(self: SegmentWriter, one: Snapshot) -> None:
        begun.set()
        go_on.wait(60.0)
        add(self, one)

    monkeypatch.setattr(SegmentWriter, "add", slow)
    recorder = Recorder(tmp_path, RecordingLimits(waiting=3), trouble=lambda words, bad: None)
    recorder.start()
    all_of_it = seconds_of(10)
    recorder.offer(all_of_it[0])
    assert begun.wait(30.0)
    for one in all_of_it[1:]:
        recorder.offer(one)
    go_on.set()
    recorder.close()
    assert recorder.missed == 6
    assert [one.seq for one in Recording(tmp_path).snapshots()] == [1, 8, 9, 10]


def test_a_recorder_that_was_never_started_can_be_closed(tmp_path: Path) -> None:
    Recorder(tmp_path, trouble=lambda words, bad: None).close()
    assert list(tmp_path.iterdir()) == []


def test_a_snapshot_without_replicas_is_found(tmp_path: Path) -> None:
    one = snapshot(replicas=())
    assert record(tmp_path, [one]).newest() == one
