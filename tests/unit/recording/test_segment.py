"""The format of recorded snapshots: nothing is altered, and damage costs no more than up to the next keyframe."""

from __future__ import annotations

import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract.control import Snapshot
from backend.recording import segment
from backend.recording.segment import Packer, Record, Unpacker, Unreadable, pack_record, scan, unpack_point
from tests.unit.console.sample import point, replica, snapshot
from tests.unit.recording.fleets import seconds_of

TEN = seconds_of(10)


def packed(snapshots: list[Snapshot], keys: tuple[int, ...] = (0, 5)) -> tuple[bytes, list[int]]:
    """A segment, and where each record ends."""
    packer, data, ends = Packer(), b"", []
    for at, one in enumerate(snapshots):
        data += packer.pack(one, key=at in keys)[0]
        ends.append(len(data))
    return data, ends


def unpacked(data: bytes) -> list[Snapshot]:
    unpacker = Unpacker()
    return [unpacker.unpack(data[r.body_at : r.end], key=r.key) for r in scan(data)]


DATA, ENDS = packed(TEN)


def test_what_was_recorded_is_read_back_whole() -> None:
    assert unpacked(DATA) == TEN
    records = list(scan(DATA))
    assert [r.key for r in records] == [at in (0, 5) for at in range(10)]
    assert [r.ts for r in records] == [one.ts for one in TEN]
    assert [unpack_point(DATA[r.point_at : r.body_at]) for r in records] == [one.point for one in TEN]


@given(st.integers(0, len(DATA)))
def test_a_torn_tail_costs_the_torn_record_only(cut: int) -> None:
    assert unpacked(DATA[:cut]) == TEN[: sum(end <= cut for end in ENDS)]


@given(st.integers(0, len(DATA) - 1), st.integers(1, 255))
def test_a_damaged_byte_costs_at_most_its_group(at: int, flip: int) -> None:
    damaged = bytearray(DATA)
    damaged[at] ^= flip
    first_bad = sum(end <= at for end in ENDS)
    expected = [*TEN[:first_bad], *TEN[5:]] if first_bad < 5 else TEN[:first_bad]
    assert unpacked(bytes(damaged)) == expected


def test_a_segment_that_begins_amid_a_group_begins_at_its_first_keyframe() -> None:
    assert unpacked(DATA[ENDS[1] :]) == TEN[5:]
    assert unpacked(DATA[ENDS[1] + 3 :]) == TEN[5:]


def test_reading_goes_on_where_it_ended() -> None:
    before = list(scan(DATA[: ENDS[6]]))
    assert [*before, *scan(DATA[ENDS[6] :], after=before[-1])] == list(scan(DATA))


def test_replicas_that_did_not_change_are_the_same_objects() -> None:
    first, second = unpacked(DATA)[:2]
    same = [a is b for a, b in zip(first.replicas, second.replicas, strict=True)]
    assert same.count(False) == 1


def test_another_order_of_replicas_makes_a_keyframe() -> None:
    one = snapshot(seq=1)
    other = snapshot(seq=2, ts=1001.0, replicas=tuple(reversed(one.replicas)))
    data, _ = packed([one, other], keys=())
    assert [r.key for r in scan(data)] == [True, True]
    assert unpacked(data) == [one, other]


def test_after_a_record_that_was_not_written_the_next_is_a_keyframe() -> None:
    packer = Packer()
    packer.pack(TEN[0])
    packer.forget()
    record, key = packer.pack(TEN[1])
    assert key
    assert unpacked(record) == [TEN[1]]


def test_a_fleet_without_replicas_is_recorded_too() -> None:
    empty = snapshot(replicas=(), workloads=())
    assert unpacked(Packer().pack(empty)[0]) == [empty]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no zlib",
        zlib.compress(b"no msgpack"),
        zlib.compress(msgspec.msgpack.encode({"head": 1})),
        zlib.compress(msgspec.msgpack.encode([])) + b"more",
    ],
)
def test_a_body_of_somebody_else_is_unreadable(body: bytes) -> None:
    record = pack_record(1.0, b"", body, key=True)
    (found,) = scan(record)
    with pytest.raises(Unreadable):
        Unpacker().unpack(record[found.body_at : found.end], key=True)
    with pytest.raises(Unreadable):
        Unpacker().unpack(body, key=False)


def test_a_difference_alone_and_one_of_another_base_are_unreadable() -> None:
    records = list(scan(DATA))

    def body(at: int) -> tuple[bytes, bool]:
        r: Record = records[at]
        return DATA[r.body_at : r.end], r.key

    raw = zlib.compressobj()
    alone = raw.compress(msgspec.msgpack.encode(segment.make_delta(TEN[0], TEN[1]))) + raw.flush(zlib.Z_SYNC_FLUSH)
    with pytest.raises(Unreadable, match="without its keyframe"):
        Unpacker().unpack(alone, key=False)
    unpacker = Unpacker()
    unpacker.unpack(body(0)[0], key=True)
    with pytest.raises(Unreadable):
        unpacker.unpack(body(2)[0], key=False)
    with pytest.raises(Unreadable):
        unpacker.unpack(body(3)[0], key=False)
    assert unpacker.unpack(body(5)[0], key=True) == TEN[5], "the next keyframe mends it"


def test_a_point_of_somebody_else_is_unreadable() -> None:
    for data in (b"", b"\xc1", b"\x81\xa1\xff\x00", b"\x81\xa1x" + b"\x91" * 100_000):
        with pytest.raises(Unreadable):
            unpack_point(data)
    assert unpack_point(msgspec.msgpack.encode(point(5.0))) == point(5.0)


def test_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment, "_MAX_RAW", 1000)
    with pytest.raises(Unreadable, match="larger than any"):
        Unpacker().unpack(zlib.compress(b"\0" * 5000), key=True)


def test_a_minute_of_a_thousand_replicas_takes_less_than_a_megabyte() -> None:
    minute = seconds_of(60, replicas=1000, changing=50)
    data, _ = packed(minute, keys=())
    assert len(data) <= 1_000_000, "5 % of them change each second"
    assert unpacked(data)[-1] == minute[-1]


def test_where_everything_changes_a_seek_stays_short() -> None:
    data, _ = packed(seconds_of(30, replicas=50, changing=50), keys=())
    keys = [at for at, record in enumerate(scan(data)) if record.key]
    assert all(b - a <= 6 for a, b in zip(keys, [*keys[1:], 30], strict=True)), keys
    calm, _ = packed(seconds_of(30, replicas=50, changing=2), keys=())
    assert [record.key for record in scan(calm)].count(True) == 1


def test_old_records_may_lack_what_was_added_since() -> None:
    """A field with a default that the recording does not know yet has its default."""
    raw = msgspec.to_builtins(replica("a"))
    del raw["engine_waiting"]
    body = zlib.compress(
        msgspec.msgpack.encode({"head": msgspec.structs.replace(snapshot(), replicas=()), "replicas": [raw], "new": 1})
    )
    (view,) = Unpacker().unpack(body, key=True).replicas
    assert view == replica("a")
