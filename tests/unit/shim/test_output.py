from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from backend.shim.output import MAX_LINE_BYTES, LineSplitter, LogWriter, stamp, stamp_ns


class Ticks:
    """Nanoseconds that rise by one second a call."""

    def __init__(self) -> None:
        self.ns = 1_795_247_465_422_579_000

    def __call__(self) -> int:
        self.ns += 1_000_000_000
        return self.ns


line_bits = st.sampled_from([b"\n", b"\r\n", b"\r", b"x", b"word ", b"y" * 9000, b"z" * MAX_LINE_BYTES])


@given(st.lists(st.lists(line_bits | st.binary(max_size=40), max_size=6).map(b"".join), max_size=8))
def test_splitter_loses_no_byte_and_bounds_every_piece(chunks: list[bytes]) -> None:
    splitter = LineSplitter()
    pieces = [piece for chunk in chunks for piece in splitter.feed(chunk)] + splitter.flush()
    expected = b"".join(chunks).replace(b"\r\n", b"\n")
    if expected and not expected.endswith(b"\n"):
        expected += b"\n"
    rebuilt = b"".join(line + (b"\n" if complete else b"") for line, complete in pieces)
    assert rebuilt == expected
    assert all(len(line) <= MAX_LINE_BYTES for line, _ in pieces)


def test_a_line_over_the_limit_comes_in_parts() -> None:
    splitter = LineSplitter()
    pieces = splitter.feed(b"x" * (2 * MAX_LINE_BYTES + 3) + b"\nnext\n")
    assert [(len(line), whole) for line, whole in pieces] == [
        (MAX_LINE_BYTES, False),
        (MAX_LINE_BYTES, False),
        (3, True),
        (4, True),
    ]


def test_a_line_of_exactly_the_limit_is_whole() -> None:
    assert LineSplitter().feed(b"x" * MAX_LINE_BYTES + b"\n") == [(b"x" * MAX_LINE_BYTES, True)]


@given(st.integers(min_value=0, max_value=4_000_000_000_000_000_000))
def test_stamps_can_be_read_back_to_the_microsecond(ns: int) -> None:
    assert stamp_ns(stamp(ns).encode()) == ns // 1000 * 1000


def test_a_written_line_has_time_stream_and_tag(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path, max_bytes=10_000, backups=2, now_ns=Ticks())
    writer.write("stderr", [(b"half", False), (b"rest", True)])
    first, second = (tmp_path / "current.log").read_text().splitlines()
    assert first == "2026-11-21T07:51:06.422579Z stderr P half"
    assert second.endswith(" stderr F rest")


def test_rotation_names_files_by_first_line_and_keeps_the_newest(tmp_path: Path) -> None:
    ticks = Ticks()
    writer = LogWriter(tmp_path, max_bytes=200, backups=2, now_ns=ticks)
    first_ns = ticks.ns + 1_000_000_000
    for number in range(20):
        writer.write("stdout", [(f"line {number}".encode(), True)])
        assert (tmp_path / "current.log").stat().st_size <= 200
    rotated = sorted(int(path.stem) for path in tmp_path.glob("[0-9]*.log"))
    assert len(rotated) == 2
    assert first_ns not in rotated
    text = "".join((tmp_path / f"{ns}.log").read_text() for ns in rotated) + (tmp_path / "current.log").read_text()
    numbers = [int(line.rsplit(" ", 1)[1]) for line in text.splitlines()]
    assert numbers == list(range(numbers[0], 20))
    for ns in rotated:
        assert stamp_ns((tmp_path / f"{ns}.log").read_bytes()[:27]) == ns


def test_a_new_writer_goes_on_in_the_same_file(tmp_path: Path) -> None:
    for text in (b"one", b"two"):
        writer = LogWriter(tmp_path, max_bytes=10_000, backups=2)
        writer.write("stdout", [(text, True)])
        writer.close()
    lines = (tmp_path / "current.log").read_text().splitlines()
    assert [line.rsplit(" ", 1)[1] for line in lines] == ["one", "two"]


def test_a_full_disk_drops_and_counts_and_says_so_later(tmp_path: Path) -> None:
    current = tmp_path / "current.log"
    current.symlink_to("/dev/full")
    writer = LogWriter(tmp_path, max_bytes=10_000, backups=2)
    for _ in range(3):
        writer.write("stdout", [(b"lost", True), (b"lost too", True)])
    assert writer.dropped == 6
    current.unlink()
    writer.write("stdout", [(b"back", True)])
    notice, back = current.read_text().splitlines()
    assert notice.endswith("trinity-shim: 6 lines were lost here (No space left on device)")
    assert back.endswith(" stdout F back")
    assert writer.dropped == 0


def test_a_vanished_directory_is_made_again(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path / "deep" / "logs", max_bytes=10_000, backups=2)
    writer.write("stdout", [(b"here", True)])
    assert (tmp_path / "deep" / "logs" / "current.log").read_text().endswith("here\n")
