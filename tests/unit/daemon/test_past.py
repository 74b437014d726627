"""The past over the control API: the recorded snapshot with the rows up to it and none after it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from backend.contract.errors import UsageError
from backend.contract.recording import RecordExtent
from backend.contract.rows import Row
from backend.contract.words import ActionOutcome
from backend.daemon.past import Past
from backend.ledger.hot import HotRows
from backend.recording.limits import RecordingLimits
from backend.recording.writer import SegmentWriter
from tests.unit.console.sample import action, event
from tests.unit.recording.fleets import seconds_of


class Rows:
    """A ledger's hot rows."""

    def __init__(self, *rows: Row) -> None:
        self._tables = {"events": HotRows(1000), "actions": HotRows(1000)}
        for row in rows:
            self._tables["actions" if hasattr(row, "verb") else "events"].add(row)

    def recent(
        self,
        table: str,
        *,
        since_ts: float = 0.0,
        until_ts: float | None = None,
        limit: int = 1000,
        where: dict[str, Any] | None = None,
    ) -> Sequence[Row]:
        return self._tables[table].select(since_ts=since_ts, until_ts=until_ts, limit=limit, where=where)

    def subscribe(self, table: str, listener: Any) -> Any:
        raise NotImplementedError


async def test_a_moment_is_what_was_known_then(tmp_path: Path) -> None:
    recorded = seconds_of(30)
    writer = SegmentWriter(tmp_path, RecordingLimits())
    for one in recorded:
        writer.add(one)
    writer.close()
    rows = Rows(
        event(1, ts=990.0),
        event(2, ts=1010.0),
        event(3, ts=1010.5),
        action("a", ts=1012.0, outcome=ActionOutcome.OK, duration_s=3.0),
    )
    past = Past(tmp_path, rows)
    assert (await past.extent()).last_ts == 1029.0
    moment = await past.moment(1010.0, 5)
    assert (moment.ts, moment.snapshot) == (1010.0, recorded[10])
    assert [point.ts for point in moment.points] == [1005.0, 1006.0, 1007.0, 1008.0, 1009.0, 1010.0]
    assert [row.seq for row in moment.events] == [1, 2], "an event of that very instant has happened"
    assert [(row.id, row.outcome) for row in moment.actions] == [("a", ActionOutcome.RUNNING)]
    for asked, given in ((5.0, 1000.0), (9e9, 1029.0)):
        assert (await past.moment(asked, 0)).ts == given, "brought within the extent"


async def test_nothing_recorded_is_a_sentence(tmp_path: Path) -> None:
    past = Past(tmp_path, Rows())
    assert await past.extent() == RecordExtent()
    with pytest.raises(UsageError, match="Nothing is recorded yet"):
        await past.moment(1000.0, 60)
