"""Recordings that are damaged or made up: a FileError or what is left of them, never another failure."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.contract.errors import FileError
from backend.recording.archive import Archive
from backend.recording.segment import Unpacker, Unreadable, pack_record, scan, unpack_point
from tests.unit.recording.files import ROWS, write_file
from tests.unit.recording.fleets import seconds_of


def a_file() -> bytes:
    with tempfile.TemporaryDirectory() as place:
        return write_file(Path(place) / "f", seconds_of(5), {"events": ROWS["events"][:3]}).read_bytes()


WHOLE = a_file()


def read_all(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "f.trinity"
        path.write_bytes(data)
        with contextlib.suppress(FileError):
            archive = Archive(path)
            archive.recording.newest()
            archive.recording.points(0.0, 1e10)
            archive.check()


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_changed_bytes(changes: list[tuple[int, int]]) -> None:
    data = bytearray(WHOLE)
    for at, value in changes:
        data[at] = value
    read_all(bytes(data))


@settings(deadline=None)
@given(st.integers(0, len(WHOLE)), st.binary(max_size=40), st.integers(0, 200))
def test_bytes_cut_out_and_put_in(at: int, put: bytes, cut: int) -> None:
    read_all(WHOLE[:at] + put + WHOLE[at + cut :])


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_bytes_of_nobody(data: bytes) -> None:
    read_all(data)
    assert list(scan(data)) == []


MADE_UP = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["head", "replicas", "x"]), inner),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.binary(max_size=60) | MADE_UP.map(msgspec.msgpack.encode), st.booleans(), st.booleans())
def test_bodies_that_somebody_made_up(raw: bytes, key: bool, packed: bool) -> None:
    """Records with a right crc and a wrong content."""
    import zlib

    record = pack_record(1.0, raw, zlib.compress(raw) if packed else raw, key=key)
    for found in scan(record):
        for read in (
            lambda: Unpacker().unpack(record[found.body_at : found.end], key=found.key),  # noqa: B023 - used at once
            lambda: unpack_point(record[found.point_at : found.body_at]),  # noqa: B023
        ):
            try:
                read()
            except Unreadable:
                continue
