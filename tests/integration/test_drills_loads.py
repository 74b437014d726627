"""The real load generator behind the drills' LoadRunner, against a small HTTP server of the OpenAI shape."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from backend.contract.clock import SystemClock
from backend.contract.errors import Refused
from backend.drills.loads import GeneratorLoads, spec_of
from backend.drills.ports import LoadOrder
from backend.drills.records import DrillRow
from backend.drills.scenario import AnswerCheck, Arrival, RequestMix
from tests.integration.drill_fakes import CLOCK, until

ANSWER = (
    b'{"choices":[{"message":{"role":"assistant","content":"x"}}],'
    b'"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}'
)


@asynccontextmanager
async def engine(status: bytes = b"200 OK", delay_s: float = 0.02) -> AsyncIterator[str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        await reader.readexactly(length)
        await asyncio.sleep(delay_s)
        body = ANSWER
        writer.write(
            b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
        )
        writer.write(body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def order(url: str, rate: float = 50.0) -> LoadOrder:
    return LoadOrder(
        name="chat", run_id="r1", fleet="local", workload="llm", model="m", url=url, kind="chat-plain",
        arrival=Arrival(rate="x"), request=RequestMix(), rate=rate, seed=3, horizon_s=60.0,
    )  # fmt: skip


async def test_every_arrival_becomes_one_row_of_the_schedule() -> None:
    rows: list[DrillRow] = []
    async with engine() as url:
        run = await GeneratorLoads(CLOCK).start(order(url), rows.append)
        await until(lambda: len(rows) >= 30)
        due_then = run.due(CLOCK.mono())
        assert due_then >= len(rows)
        summary = await run.stop()
    assert summary.arrivals == summary.rows == len(rows)
    assert summary.problem == ""
    assert summary.lag_p99_s is not None
    assert {row.request.drill_run for row in rows} == {"r1"}
    for row in rows:
        assert row.intended_s <= row.sent_s + 2e-3  # timers may fire a little early
        assert row.sent_s <= row.ended_s
        assert row.answered
        assert (
            run.due(row.intended_s - 1e-3)
            <= int(row.request.request_id.rpartition("-")[2])
            < run.due(row.intended_s + 1e-3)
        )


class Halting(SystemClock):
    """The clock of a process that is stopped for a moment whenever it has asked for the time of day."""

    def now(self) -> float:
        now = super().now()
        time.sleep(0.2)
        return now


async def test_arrivals_are_due_when_they_are_sent_also_where_progress_is_heard_first() -> None:
    rows: list[DrillRow] = []
    async with engine(delay_s=1.0) as url:
        run = await GeneratorLoads(Halting()).start(order(url), rows.append)
        assert not rows
        await until(lambda: len(rows) >= 3)
        await run.kill()
    for row in rows:
        number = int(row.request.request_id.rpartition("-")[2])
        assert run.due(row.intended_s - 1e-3) <= number < run.due(row.intended_s + 1e-3)


async def test_calibration_gives_what_the_target_can_do() -> None:
    """Twelve requests that take a tenth of a second each, four at a time at the least: an upper bound."""
    async with engine(delay_s=0.1) as url:
        rate = await GeneratorLoads(CLOCK).calibrate(order(url), 4)
    assert 0.0 < rate < 130.0


async def test_calibration_on_a_broken_fleet_is_refused() -> None:
    async with engine(status=b"500 Oops") as url:
        with pytest.raises(Refused, match="0 of 12"):
            await GeneratorLoads(CLOCK).calibrate(order(url), 4)


async def test_a_killed_load_leaves_no_process() -> None:
    async with engine() as url:
        run = await GeneratorLoads(CLOCK).start(order(url), lambda _: None)
        await run.kill()
        await run.kill()


async def test_requests_sent_again_are_rows_beside_the_schedule() -> None:
    rows: list[DrillRow] = []
    async with engine(b"503 Service Unavailable", 0.0) as url:
        stormy = msgspec.structs.replace(order(url), request=RequestMix(retries=2))
        run = await GeneratorLoads(CLOCK).start(stormy, rows.append)
        await until(lambda: len(rows) >= 60)
        summary = await run.stop()
        due = run.due(max(row.intended_s for row in rows) + 1e-5)
    assert (summary.rows, summary.problem) == (len(rows), "")
    assert summary.arrivals + summary.resends == summary.rows
    assert summary.resends == 2 * summary.arrivals
    assert sum(not row.resent for row in rows) == summary.arrivals == due
    by_arrival: dict[str, list[DrillRow]] = {}
    for row in rows:
        by_arrival.setdefault(row.request.request_id.partition(".")[0], []).append(row)
    for chain in by_arrival.values():
        assert [row.resent for row in chain] == [True, True, False]
        assert max(row.intended_s for row in chain) - min(row.intended_s for row in chain) < 1e-6


def test_the_check_of_a_scenario_reaches_the_generator() -> None:
    plain = order("http://127.0.0.1:1")
    assert not spec_of(plain).golden
    checked = msgspec.structs.replace(
        plain, kind="embeddings", check=AnswerCheck(golden="first-answer", cosine_min=0.99)
    )
    spec = spec_of(checked)
    assert (spec.kind, spec.golden, spec.cosine_min) == ("embeddings", True, 0.99)
