"""A recording in place of a fleet: it answers what a fleet would, as of then, and nothing can be done to it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from backend.contract.control import ActionRequest, ExecOrder
from backend.contract.errors import FileError, Refused, UsageError
from backend.contract.rows import EventRow
from backend.contract.words import ActionOutcome, Verb
from backend.recording.segment import Unpacker, Unreadable
from console.state.replay_source import ReplaySource
from console.state.source import FleetSource
from tests.unit.recording.files import ROWS, SNAPSHOTS, write_file

SCALE = ActionRequest(verb=Verb.SCALE, target="llm", args={"replicas": 3}, actor="console:ada")


@pytest.fixture
def source(tmp_path: Path) -> ReplaySource:
    return ReplaySource(write_file(tmp_path / "outage.trinity"))


def takes_a_fleet(source: FleetSource) -> FleetSource:
    return source


async def test_it_says_whose_it_is_and_ends_where_the_recording_ends(source: ReplaySource) -> None:
    assert takes_a_fleet(source) is source
    version = await source.version()
    assert (version.pid, version.started_ts, Path(version.state_dir).name) == (0, 1000.0, "outage.trinity")
    assert await source.snapshot() == SNAPSHOTS[-1]
    assert [point.ts for point in await source.series(3)] == [1146.0, 1147.0, 1148.0, 1149.0]
    extent = await source.extent()
    assert (extent.first_ts, extent.last_ts, extent.origin) == (1000.0, 1149.0, "outage.trinity")


async def test_what_a_platform_said_is_not_recorded(source: ReplaySource) -> None:
    with pytest.raises(Refused, match="does not hold what the platform said of chat-1"):
        await source.describe("chat-1")
    with pytest.raises(Refused):
        await source.exec(ExecOrder(replica="chat-1", argv=("sh",)))


async def test_the_stream_is_the_last_snapshot_and_stays_open(source: ReplaySource) -> None:
    frames = source.stream()
    assert (await anext(frames)).snapshot == SNAPSHOTS[-1]
    more = asyncio.ensure_future(anext(frames))  # type: ignore[arg-type, var-annotated]
    done, _ = await asyncio.wait({more}, timeout=0.02)
    assert not done
    more.cancel()
    await asyncio.gather(more, return_exceptions=True)


async def test_moments_are_what_was_known_then(source: ReplaySource) -> None:
    moment = await source.moment(1022.5, window_s=2)
    assert (moment.ts, moment.snapshot) == (1022.5, SNAPSHOTS[22])
    assert [point.ts for point in moment.points] == [1021.0, 1022.0]
    assert [row.ts for row in moment.events] == [1000.0, 1010.0, 1020.0]
    assert [(row.id, row.outcome) for row in moment.actions] == [("a", ActionOutcome.RUNNING)]
    at_an_event = await source.moment(1030.0)
    assert at_an_event.events[-1].ts == 1030.0
    assert [(row.id, row.result) for row in at_an_event.actions] == [("a", "done")]
    assert (await source.moment(0.0)).snapshot == SNAPSHOTS[0]
    assert (await source.moment(9e9)).ts == 1149.0


async def test_rows_are_asked_for_as_of_a_ledger(source: ReplaySource) -> None:
    events = await source.rows("events", since_ts=1020.0, until_ts=1040.0)
    assert [row.ts for row in events] == [1020.0, 1030.0]
    assert list(await source.rows("events", limit=2)) == ROWS["events"][-2:]
    assert await source.rows("events", limit=0) == []
    assert await source.rows("events", since_ts=1050.0, until_ts=1040.0) == []
    mine = await source.rows("requests", where={"replica": "llm-1", "status": 200})
    assert [row.request_id for row in mine] == [f"r{n}" for n in range(1, 50, 2)]  # type: ignore[union-attr]
    assert [(row.id, row.outcome) for row in await source.rows("actions")] == [  # type: ignore[union-attr]
        ("a", ActionOutcome.OK),
        ("b", ActionOutcome.REFUSED),
    ]
    assert len(await source.rows("samples")) == 5
    with pytest.raises(UsageError, match="no table `logs`"):
        await source.rows("logs")
    with pytest.raises(UsageError, match="no column what"):
        await source.rows("events", where={"what": 1})


async def test_log_lines_by_time_and_by_replica(source: ReplaySource) -> None:
    window = await source.logs(["llm-1"], since_ts=1004.0, until_ts=1020.0, limit=2)
    assert [row.message for row in window.rows] == ["line 16", "line 19"]
    assert window.truncated == 4
    assert len((await source.logs(None)).rows) == 30


async def test_log_bytes_are_the_newest_lines_and_then_nothing(source: ReplaySource) -> None:
    chunks = source.log_chunks(["llm-0", "llm-2"], lines=2)
    batch = await anext(chunks)
    assert [chunk.replica for chunk in batch] == ["llm-0", "llm-2"]
    assert [line.split(b" F ")[1] for line in batch[0].data.splitlines()] == [b"line 24", b"line 27"]
    more = asyncio.ensure_future(anext(chunks))  # type: ignore[arg-type, var-annotated]
    done, _ = await asyncio.wait({more}, timeout=0.02)
    assert not done
    more.cancel()
    await asyncio.gather(more, return_exceptions=True)


async def test_every_verb_is_refused_in_a_sentence(source: ReplaySource) -> None:
    for asked in (source.preview(SCALE), source.perform(SCALE)):
        with pytest.raises(Refused, match=r"outage\.trinity is a recording: nothing can be done to it"):
            await asked


async def test_there_are_no_drills(source: ReplaySource) -> None:
    assert await source.drills() == []
    assert await source.drill_runs() == []
    wishes: list[Coroutine[Any, Any, object]] = [
        source.drill("x"),
        source.drill_report("x"),
        source.drill_compare("x", "y"),
        source.drill_file("x", "md"),
    ]
    for asked in wishes:
        with pytest.raises(UsageError, match="holds no drills"):
            await asked


async def test_a_replica_is_shown_as_it_was_at_the_end(source: ReplaySource) -> None:
    raw = await source.raw("llm-1")
    assert raw["view"]["status"]["name"] == "llm-1"  # type: ignore[index]
    with pytest.raises(UsageError, match="no replica `llm-9`"):
        await source.raw("llm-9")
    await source.aclose()
    assert isinstance((await source.rows("events"))[0], EventRow), "and it can still be asked"


async def test_a_file_without_a_readable_snapshot_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = ReplaySource(write_file(tmp_path / "empty.trinity", [], {}))
    assert await empty.series(5) == []
    for asked in (empty.snapshot(), empty.moment(5.0)):
        with pytest.raises(UsageError, match="holds no snapshot"):
            await asked

    def unreadable(self: Unpacker, body: bytes, *, key: bool) -> None:
        raise Unreadable("of the future")

    monkeypatch.setattr(Unpacker, "unpack", unreadable)
    strange = ReplaySource(write_file(tmp_path / "strange.trinity"))
    for asked in (strange.snapshot(), strange.moment(1005.0)):
        with pytest.raises(UsageError, match="that this version can read"):
            await asked
    with pytest.raises(FileError, match="no recording"):
        ReplaySource(Path(__file__))
