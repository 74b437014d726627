"""Stored log bytes given out while a shim's own writer writes, rotates and deletes: whole lines, lives, true losses."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.contract.log_chunks import LogChunk
from backend.contract.log_notes import ROTATED, STARTS, note, read_notes
from backend.ledger import log_follow
from backend.ledger.log_chunks import ChunkFollower, lives_of
from backend.shim.notes import write_note
from backend.shim.output import LogWriter, stamp


class Steps:
    """A clock that goes a millisecond at each look."""

    def __init__(self) -> None:
        self.ns = 1_795_246_042_000_000_000

    def __call__(self) -> int:
        self.ns += 1_000_000
        return self.ns


def write(writer: LogWriter, first: int, last: int) -> None:
    for n in range(first, last):
        writer.write("stdout", [(str(n).encode(), True)])


def numbers(chunks: list[LogChunk]) -> list[int]:
    return [int(line.rsplit(b" ", 1)[1]) for chunk in chunks for line in chunk.data.split(b"\n")[:-1]]


def test_the_newest_lines_of_each_replica_then_what_is_written(tmp_path: Path) -> None:
    one = LogWriter(tmp_path / "llm-0", max_bytes=500, backups=9, now_ns=Steps())
    other = LogWriter(tmp_path / "llm-1", max_bytes=500, backups=9, now_ns=Steps())
    write(one, 0, 30)
    write(other, 0, 3)
    follower = ChunkFollower(tmp_path, None, lines=12)
    got = {chunk.replica: numbers([chunk]) for chunk in follower.poll()}
    assert got == {"llm-0": list(range(18, 30)), "llm-1": [0, 1, 2]}
    assert follower.poll() == []
    write(other, 3, 20)
    write(LogWriter(tmp_path / "llm-2", max_bytes=500, backups=9), 0, 2)
    got = {chunk.replica: numbers([chunk]) for chunk in follower.poll()}
    assert got == {"llm-1": list(range(3, 20)), "llm-2": [0, 1]}
    follower.close()
    assert follower.poll() == []


def test_what_rotation_deleted_unread_is_counted_to_the_line(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path / "llm-0", max_bytes=500, backups=2, now_ns=Steps())
    write(writer, 0, 3)
    follower = ChunkFollower(tmp_path, None, lines=10)
    received = len(numbers(follower.poll()))
    lost, sent = 0, 3
    for lines in (2, 60, 1, 300, 0, 11, 500):
        write(writer, sent, sent + lines)
        sent += lines
        chunks = follower.poll()
        lost += sum(chunk.lost for chunk in chunks)
        received += len(numbers(chunks))
        assert received + lost == sent
    assert lost > 500
    follower.close()


def test_counting_goes_on_over_a_new_writer_of_the_same_file(tmp_path: Path) -> None:
    follower = ChunkFollower(tmp_path, None, lines=10)
    clock, got, lost, sent = Steps(), 0, 0, 0
    for lines in (4, 40, 40, 40):
        writer = LogWriter(tmp_path / "llm-0", max_bytes=500, backups=1, now_ns=clock)
        write(writer, sent, sent + lines)
        writer.close()
        sent += lines
        chunks = follower.poll()
        got, lost = got + len(numbers(chunks)), lost + sum(chunk.lost for chunk in chunks)
        assert got + lost == sent
    assert lost > 40
    follower.close()


def test_lines_that_the_shim_could_not_write_count_as_lost(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path / "llm-0", max_bytes=10_000, backups=2)
    current = tmp_path / "llm-0" / "current.log"
    current.parent.mkdir()
    current.symlink_to("/dev/full")
    write(writer, 0, 7)
    current.unlink()
    write(writer, 7, 8)
    (got,) = ChunkFollower(tmp_path, None, lines=10).poll()
    assert got.lost == 7
    assert got.data.endswith(b" 7\n")


def test_each_life_has_its_number(tmp_path: Path) -> None:
    clock = Steps()
    writer = LogWriter(tmp_path / "llm-0", max_bytes=100_000, backups=2, now_ns=clock)
    follower = ChunkFollower(tmp_path, None, lines=100)
    write(writer, 0, 2)  # before starts were noted
    for start in (7, 8):
        write_note(tmp_path / "llm-0" / STARTS, start, clock())
        write(writer, start * 10, start * 10 + 3)
    assert [(c.incarnation, numbers([c])) for c in follower.poll()] == [
        (6, [0, 1]),
        (7, [70, 71, 72]),
        (8, [80, 81, 82]),
    ]
    write(writer, 90, 91)
    assert [(c.incarnation, numbers([c])) for c in follower.poll()] == [(8, [90])]
    write_note(tmp_path / "llm-0" / STARTS, 9, clock())
    write(writer, 91, 92)
    assert [(c.incarnation, numbers([c])) for c in follower.poll()] == [(9, [91])]
    follower.close()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 20), max_size=6), st.lists(st.integers(0, 20), max_size=30))
def test_cutting_lives_loses_no_byte(starts: list[int], stamps: list[int]) -> None:
    second = 1_000_000_000
    data = b"".join(stamp(at * second).encode() + b" stdout F x\ry\n" for at in stamps) + b"foreign\n"
    noted = sorted((at * 1_000_000, n + 1) for n, at in enumerate(sorted(starts)))
    cut = lives_of(data, noted)
    assert b"".join(part for _, part in cut) == data
    assert [life for life, _ in cut] == sorted({life for life, _ in cut})


def test_a_flood_is_handed_out_in_bounded_looks_and_no_line_is_torn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_follow, "LOOK_BYTES", 200_000)
    monkeypatch.setattr(log_follow, "REPLICA_BYTES", 90_000)
    writers = [LogWriter(tmp_path / f"r{n}", max_bytes=120_000, backups=1_000) for n in range(4)]
    follower = ChunkFollower(tmp_path, None, lines=0)
    follower.poll()
    sent = [[b"%d %s" % (k, b"x" * (k % 300)) for k in range(n * 2000)] for n in range(4)]
    for writer, lines in zip(writers, sent, strict=True):
        for at in range(0, len(lines), 50):
            writer.write("stdout", [(line, True) for line in lines[at : at + 50]])
    got: dict[str, bytes] = {}
    while chunks := follower.poll():
        assert sum(len(chunk.data) for chunk in chunks) <= 200_000
        for chunk in chunks:
            assert chunk.data.endswith(b"\n")
            got[chunk.replica] = got.get(chunk.replica, b"") + chunk.data
    for n, lines in enumerate(sent):
        assert [line.split(b" F ", 1)[1] for line in got.get(f"r{n}", b"").split(b"\n")[:-1]] == lines
    follower.close()


def test_nothing_comes_twice_nor_is_missed_while_it_rotates(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path / "llm-0", max_bytes=2_000, backups=1_000)
    follower = ChunkFollower(tmp_path, None, lines=0)
    # With `lines=0` the first look stands at the end of what is there then.
    assert follower.poll() == []
    thread = threading.Thread(target=write, args=(writer, 0, 3_000))
    thread.start()
    got: list[int] = []
    deadline = time.monotonic() + 90
    while len(got) < 3_000 and time.monotonic() < deadline:
        got += numbers(follower.poll())
    thread.join()
    assert got == list(range(3_000))
    follower.close()


def test_notes_are_short_and_survive_torn_ones(tmp_path: Path) -> None:
    path = tmp_path / ROTATED
    for n in range(6_000):
        write_note(path, n, n)
    assert path.stat().st_size <= 64 * 1024
    notes = read_notes(path.read_bytes())
    assert notes[-1] == (5_999, 5_999)
    assert [first for first, _ in notes] == list(range(notes[0][0], 6_000))
    assert read_notes(b"1 2\nx\n3 four\n" + note(5, 6) + b"7 8") == [(1, 2), (5, 6)]
    write_note(tmp_path / "absent" / ROTATED, 1, 1)  # no directory: no note, no error
