"""The format of recorded snapshots. Owns how records are laid out, checked and found again after damage.

A segment is a row of records, each `<magic, bytes of point, bytes of body, ts, crc> <point> <body>`:

- `TRK1` is a keyframe (the whole snapshot), `TRD1` the difference to the record before it. A group is a keyframe and
  the differences up to the next one.
- The point (a SeriesPoint) stands apart, so that a chart's window is read without the replicas.
- The bodies of a group are one zlib stream, flushed after each record: a record that repeats the one before costs
  next to nothing, and whatever was written before a kill can be read. What a crash tore or a disk damaged fails its
  crc and is skipped up to the next keyframe.

Pure: bytes in, bytes out. Never opens a file.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final

import msgspec

from backend.contract.control import ReplicaView, SeriesPoint, Snapshot, SnapshotDelta
from backend.contract.deltas import apply_delta, make_delta

KEY: Final = b"TRK1"
DELTA: Final = b"TRD1"
_HEAD: Final = struct.Struct("<4sIId")
_CRC: Final = struct.Struct("<I")
HEADER_BYTES: Final = _HEAD.size + _CRC.size
_MAX_RAW: Final = 256 * 1024 * 1024
"""No snapshot is larger: a body that unpacks to more was not written by us."""
_LEVEL: Final = 6
_MOST_DIFFERENCE: Final = 4
"""Differences of a group may unpack to so many times its keyframe: where everything changes, a seek stays short."""

Bytes = bytes | memoryview


class Unreadable(ValueError):
    """Bytes that are no snapshot of ours: damaged, or of a version that says things differently."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """Where a record stands in its segment."""

    ts: float
    key: bool
    at: int
    point_bytes: int
    body_bytes: int

    @property
    def point_at(self) -> int:
        return self.at + HEADER_BYTES

    @property
    def body_at(self) -> int:
        return self.point_at + self.point_bytes

    @property
    def end(self) -> int:
        return self.body_at + self.body_bytes


class _Whole(msgspec.Struct, frozen=True):
    """A keyframe's body. Replicas are packed one by one: a fleet of 10,000 must not hold the interpreter at once."""

    head: Snapshot
    replicas: list[msgspec.Raw]


_encode: Final = msgspec.msgpack.encode
_point: Final = msgspec.msgpack.Decoder(SeriesPoint)
_whole: Final = msgspec.msgpack.Decoder(_Whole)
_view: Final = msgspec.msgpack.Decoder(ReplicaView)
_delta: Final = msgspec.msgpack.Decoder(SnapshotDelta)


class Packer:
    """Turns snapshots, oldest first, into the bytes of one segment."""

    def __init__(self) -> None:
        self._base: Snapshot | None = None
        self._stream = zlib.compressobj(_LEVEL)
        self._room = 0

    def pack(self, snapshot: Snapshot, *, key: bool = False) -> tuple[bytes, bool]:
        """The next record, and whether it is a keyframe: the first is, those asked for, and where the whole snapshot
        says it as well."""
        delta = None if key or self._base is None or self._room <= 0 else make_delta(self._base, snapshot)
        if delta is None:
            self._stream = zlib.compressobj(_LEVEL)
            views = [msgspec.Raw(_encode(view)) for view in snapshot.replicas]
            raw = _encode(_Whole(msgspec.structs.replace(snapshot, replicas=()), views))
            self._room = _MOST_DIFFERENCE * len(raw)
        else:
            raw = _encode(delta)
            self._room -= len(raw)
        self._base = snapshot
        body = self._stream.compress(raw) + self._stream.flush(zlib.Z_SYNC_FLUSH)
        return pack_record(snapshot.ts, _encode(snapshot.point), body, key=delta is None), delta is None

    def forget(self) -> None:
        """What was packed last was not written: the next record does not build on it."""
        self._base = None


def pack_record(ts: float, point: bytes, body: bytes, *, key: bool) -> bytes:
    """One record's bytes."""
    head = _HEAD.pack(KEY if key else DELTA, len(point), len(body), ts)
    crc = zlib.crc32(body, zlib.crc32(point, zlib.crc32(head)))
    return b"".join((head, _CRC.pack(crc), point, body))


def scan(data: bytes, *, after: Record | None = None) -> Iterator[Record]:
    """All records that are whole, and that can be read: none before the first keyframe, none between damage and the
    keyframe after it. With `after`, the data are what follows that record in its segment."""
    at, intact = 0, after is not None
    base = 0 if after is None else after.end
    view = memoryview(data)
    while at < len(data):
        record = _record_at(view, at)
        if record is None:
            intact = False
            at = data.find(KEY, at + 1)
            if at < 0:
                return
            continue
        intact = intact or record.key
        if intact:
            yield msgspec.structs.replace(record, at=base + at)
        at = record.end


def _record_at(data: memoryview, at: int) -> Record | None:
    if len(data) - at < HEADER_BYTES:
        return None
    magic, point_bytes, body_bytes, ts = _HEAD.unpack_from(data, at)
    record = Record(ts, magic == KEY, at, point_bytes, body_bytes)
    if magic not in (KEY, DELTA) or record.end > len(data) or not 0 <= ts < 1e11:
        return None
    (crc,) = _CRC.unpack_from(data, at + _HEAD.size)
    found = zlib.crc32(data[record.point_at : record.end], zlib.crc32(data[at : at + _HEAD.size]))
    return record if crc == found else None


def unpack_point(data: Bytes) -> SeriesPoint:
    """Raises Unreadable."""
    try:
        return _point.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(str(error)) from None


class Unpacker:
    """Turns a group's bodies, from its keyframe on, back into snapshots. Unchanged replicas stay the same objects."""

    def __init__(self) -> None:
        self._base: Snapshot | None = None
        self._stream = zlib.decompressobj()

    def unpack(self, body: Bytes, *, key: bool) -> Snapshot:
        """The snapshot of the next record. Raises Unreadable."""
        try:
            if key:
                self._stream = zlib.decompressobj()
                whole = _whole.decode(self._raw(body))
                views = tuple(_view.decode(raw) for raw in whole.replicas)
                self._base = msgspec.structs.replace(whole.head, replicas=views)
            else:
                raw = self._raw(body)
                if self._base is None:
                    raise Unreadable("a difference without its keyframe")
                self._base = apply_delta(self._base, _delta.decode(raw))
        except (msgspec.MsgspecError, zlib.error, UnicodeDecodeError, RecursionError, ValueError) as error:
            self._base = None
            raise error if isinstance(error, Unreadable) else Unreadable(str(error)) from None
        return self._base

    def _raw(self, body: Bytes) -> bytes:
        raw = self._stream.decompress(body, _MAX_RAW)
        if self._stream.unconsumed_tail or self._stream.unused_data:
            raise Unreadable("a record is larger than any snapshot")
        return raw
