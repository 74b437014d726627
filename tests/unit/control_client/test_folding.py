"""Streams with deltas: a console sees whole snapshots, and gets over a delta whose base it never had."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import msgspec
import pytest

from backend.contract.control import Frame, Snapshot
from backend.contract.deltas import make_delta
from backend.control_client.folding import FrameFolder
from tests.unit.console.sample import event, replica, snapshot
from tests.unit.control_client.test_client import INTERVAL_S, daemon

FIRST = snapshot(seq=1)
SECOND = snapshot(seq=2, replicas=(FIRST.replicas[0], replica("llm-1", restarts=1)))


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="cc") as short:
        yield Path(short) / "c.sock"


def delta_frame(seq: int, base: Snapshot, new: Snapshot, *events: int) -> Frame:
    return Frame(seq=seq, delta=make_delta(base, new), events=tuple(event(n) for n in events))


def test_deltas_become_whole_snapshots_and_unchanged_replicas_stay_the_same_objects() -> None:
    folder = FrameFolder()
    first = folder.fold(Frame(seq=1, snapshot=FIRST)).snapshot
    second = folder.fold(delta_frame(2, FIRST, SECOND))
    assert first is not None
    assert second.snapshot == SECOND
    assert second.delta is None
    assert second.snapshot.replicas[0] is first.replicas[0]


def test_a_daemon_that_knows_no_deltas_is_followed_the_same() -> None:
    folder = FrameFolder()
    first = folder.fold(Frame(seq=1, snapshot=FIRST)).snapshot
    again = msgspec.json.decode(msgspec.json.encode(Frame(seq=2, snapshot=SECOND)), type=Frame)
    second = folder.fold(again).snapshot
    assert first is not None
    assert second == SECOND
    assert second.replicas[0] is first.replicas[0]
    assert folder.fold(Frame(seq=3, events=(event(1),))).snapshot is None, "a frame without a snapshot stays one"


def test_a_delta_without_its_base_is_refused() -> None:
    folder = FrameFolder()
    with pytest.raises(ValueError, match="began with a delta"):
        folder.fold(delta_frame(1, FIRST, SECOND))
    folder.fold(Frame(seq=1, snapshot=FIRST))
    with pytest.raises(ValueError, match="for snapshot 2"):
        folder.fold(delta_frame(2, SECOND, snapshot(seq=3)))


def test_events_of_a_gap_are_handed_on_once_and_in_their_order() -> None:
    folder = FrameFolder()
    folder.fold(Frame(seq=1, snapshot=FIRST, events=(event(1), event(2))))
    frame = folder.fold(Frame(seq=1, snapshot=FIRST, events=(event(5),)), [event(n) for n in range(1, 6)])
    assert [row.seq for row in frame.events] == [3, 4, 5]


async def test_a_client_that_loses_its_place_begins_anew_and_misses_no_event(path: Path) -> None:
    """The first stream skips a snapshot; the second one starts whole. In between, events 2 and 3 came."""
    streams = [
        [Frame(seq=1, snapshot=FIRST, events=(event(1),)), delta_frame(2, SECOND, snapshot(seq=3), 2)],
        [Frame(seq=1, snapshot=SECOND, events=(event(4),))],
    ]
    asked: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head.split()[1])
        if b"/v1/rows/events" in head:
            body = msgspec.json.encode([event(n) for n in range(1, 4)])
        else:
            body = b"".join(msgspec.json.encode(frame) + b"\n" for frame in streams.pop(0))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
        await writer.drain()

    async with daemon(path, handler) as client, aclosing(client.stream(INTERVAL_S)) as frames:
        first, second = await anext(frames), await anext(frames)
    assert [url.split(b"?")[0] for url in asked] == [b"/v1/stream", b"/v1/stream", b"/v1/rows/events"]
    assert b"deltas=1" in asked[0]
    assert (first.snapshot, second.snapshot) == (FIRST, SECOND)
    assert [row.seq for row in second.events] == [2, 3, 4]
