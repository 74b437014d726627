"""The log reader over files: nothing twice, nothing lost, nobody declared dead who only just came."""

from __future__ import annotations

import json
from pathlib import Path

from backend.contract.clock import SystemClock
from backend.contract.rows import RequestRow, Row
from backend.edge.reader import LogReader
from tests.unit.edge.test_join import END, FIRST


class Rows:
    def __init__(self) -> None:
        self.rows: list[Row] = []

    def append(self, row: Row) -> None:
        self.rows.append(row)

    async def append_durable(self, row: Row) -> None:
        self.rows.append(row)

    def seen(self) -> list[tuple[str, str, str]]:
        return [(r.vantage.value, r.request_id, r.termination) for r in self.rows if isinstance(r, RequestRow)]


def log(directory: Path, *records: dict[str, object], start: int = 1) -> None:
    with (directory / f"access-{start:08d}.log").open("ab") as file:
        file.writelines(json.dumps(record).encode() + b"\n" for record in records)


def reader(directory: Path, sink: Rows) -> LogReader:
    return LogReader(directory, sink=sink, clock=SystemClock(), fleet="local", replica_of=lambda workload, slot: None)


async def test_next_reader_goes_on_where_the_last_one_stopped(tmp_path: Path) -> None:
    sink = Rows()
    log(tmp_path, FIRST)
    one = reader(tmp_path, sink)
    await one.read_all()
    await one.save()
    log(tmp_path, END)
    two = reader(tmp_path, sink)
    assert two.open_count == 1
    await two.read_all()
    await two.save()
    await reader(tmp_path, sink).read_all()
    assert sink.seen() == [("attempt", "r", "--"), ("edge", "r", "--")]


async def test_process_that_starts_while_the_living_are_counted_is_not_declared_dead(tmp_path: Path) -> None:
    sink = Rows()
    log(tmp_path, FIRST)
    made = reader(tmp_path, sink)

    async def living() -> set[int]:
        log(tmp_path, FIRST | {"u": "9-1-0", "id": "new", "pid": 9}, start=2)
        return set()

    assert await made.settle(living, 2) == 1
    assert [seen for seen in sink.seen() if seen[0] == "edge"] == [("edge", "r", "edge_lost")]
    assert made.open_pids == {9}


async def test_end_written_just_before_death_is_no_loss(tmp_path: Path) -> None:
    sink = Rows()
    log(tmp_path, FIRST)
    made = reader(tmp_path, sink)

    async def living() -> set[int]:
        log(tmp_path, END)
        return set()

    assert await made.settle(living, 2) == 0
    assert sink.seen()[-1] == ("edge", "r", "--")
    assert list(tmp_path.glob("access-*.log")) == [], "a finished log is deleted"


async def test_attempt_that_speaks_after_its_requests_end_stays_not_open(tmp_path: Path) -> None:
    sink = Rows()
    log(tmp_path, END | {"ts": "CH", "st": -1, "t1": "0"}, FIRST | {"ts": "CH", "eng": "-"})
    made = reader(tmp_path, sink)
    await made.read_all()
    assert made.open_count == 0
    assert [vantage for vantage, _, _ in sink.seen()] == ["edge", "attempt"]


async def test_unreadable_lines_are_counted_and_skipped(tmp_path: Path) -> None:
    sink = Rows()
    (tmp_path / "access-00000001.log").write_bytes(b'{"k":"end","u":\n\x00\x00\nServer llm:0/s is DOWN.\n')
    log(tmp_path, FIRST)
    (tmp_path / "reader.json").write_bytes(b"not json")
    made = reader(tmp_path, sink)
    await made.read_all()
    assert made.unreadable == 1
    assert [getattr(r, "kind", "row") for r in sink.rows] == ["edge.haproxy", "row"]
