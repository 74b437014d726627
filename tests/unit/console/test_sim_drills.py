"""Drills of the simulated fleet: refused where the real one refuses, stopped with their undo, told of afterwards."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from backend.contract.control import ActionRequest
from backend.contract.errors import Refused, UsageError
from backend.contract.words import DrillOutcome, Phase, Verb
from console.state.late_source import LateSource
from console.state.simulator import SimulatorSource

from .sample import FixedClock

KILL, HANG = "llm-replica-kill", "llm-engine-hang"


def request(verb: Verb, target: str = "", **args: str | float | bool) -> ActionRequest:
    return ActionRequest(verb=verb, target=target, args=args, actor="console:ada")


def fleet() -> tuple[LateSource, SimulatorSource, FixedClock]:
    clock = FixedClock()
    source = SimulatorSource(clock=clock)
    return LateSource(lambda: source), source, clock


async def refusal(source: LateSource, asked: ActionRequest) -> str:
    with pytest.raises(Refused):
        await source.perform(asked)
    return (await source.preview(asked)).refusal


async def test_what_may_not_start_is_refused_with_the_reason() -> None:
    late, _, _ = fleet()
    assert await refusal(late, request(Verb.DRILL_RUN, name="no-such")) == "There is no drill named no-such."
    assert "last healthy replica" in await refusal(late, request(Verb.DRILL_RUN, name="two-down"))
    assert await refusal(late, request(Verb.SCALE, "nothing", replicas=2)) == "There is no workload nothing."
    await late.perform(request(Verb.DRILL_RUN, name=KILL))
    assert await refusal(late, request(Verb.DRILL_RUN, name=HANG)) == "A drill is running."
    with pytest.raises(UsageError, match="no drill named `no-such`"):
        await late.drill("no-such")
    assert (await late.drill(KILL)).plan


async def test_a_stopped_drill_is_undone_and_after_a_panic_none_starts_until_allowed() -> None:
    late, sim, clock = fleet()
    panic = request(Verb.DRILL_STOP, panic=True)
    assert "block new ones" in (await late.preview(panic)).summary
    assert (await late.perform(panic)).result == "No drill ran. No drill may start until `trinity drill allow`."
    assert "Drills are blocked: console:ada" in await refusal(late, request(Verb.DRILL_RUN, name=KILL))
    allow = request(Verb.DRILL_STOP, allow=True)
    assert (await late.preview(allow)).summary == "Let drills run again"
    assert (await late.perform(allow)).result == "Drills may run again."
    await late.perform(request(Verb.DRILL_RUN, name=KILL))
    for _ in range(8):
        clock.at += 1
        await late.snapshot()
    said = (await late.perform(request(Verb.DRILL_STOP))).result
    assert said == f"{KILL}: aborted-clean."
    view = (await late.drill_runs(limit=1))[0]
    assert view.outcome == DrillOutcome.ABORTED_CLEAN
    assert [fault.undone_s for fault in view.faults] == [view.elapsed_s], "undone at the end"
    with pytest.raises(UsageError):
        sim.world.drills.start("r2", "no-such", clock.now())


async def test_a_fault_that_kills_nobody_leaves_the_replicas_alone() -> None:
    late, _, clock = fleet()
    await late.perform(request(Verb.DRILL_RUN, name=HANG))
    for _ in range(10):
        clock.at += 1
        snapshot = await late.snapshot()
    assert snapshot.drill is not None
    assert len(snapshot.drill.faults) == 1
    assert {view.status.phase for view in snapshot.replicas} == {Phase.READY}


async def test_reports_are_kept_compared_and_saved() -> None:
    late, _, clock = fleet()
    runs = [view for view in await late.drill_runs() if view.name == KILL]
    report = await late.drill_report(runs[0].run_id)
    assert report["outcome"] == "pass"
    assert json.loads(await late.drill_file(runs[0].run_id, "json")) == report
    assert f"<h1>{KILL}: pass</h1>".encode() in await late.drill_file(runs[0].run_id, "html")
    compared = await late.drill_compare(runs[1].run_id, runs[0].run_id)
    assert {one["measure"] for one in compared["differences"]} == {"failures", "p50 latency", "p95 latency"}
    with pytest.raises(UsageError, match="no report of the run r1"):
        await late.drill_report("r1")
    started = await late.perform(request(Verb.DRILL_RUN, name=KILL))
    clock.at += 6.5
    await late.snapshot()
    await late.perform(request(Verb.DRILL_STOP))
    short = await late.drill_compare(runs[0].run_id, started.result)
    assert [one["measure"] for one in short["differences"] if one["phase"] == "killed"] == ["failures"], "no answers"


async def test_an_undo_of_what_changed_no_number_changes_none() -> None:
    late, sim, _ = fleet()
    before = dict(sim.world.wanted)
    noted = await late.perform(request(Verb.NOTE, text="x"))
    assert (await late.perform(request(Verb.UNDO, id=noted.id))).result == f"undone {noted.id}"
    assert sim.world.wanted == before


async def test_the_past_is_handed_on() -> None:
    late, _, _ = fleet()
    extent = await late.extent()
    assert extent.first_ts is not None
    assert (await late.moment(extent.first_ts)).ts == extent.first_ts


async def test_streams_wait_while_nothing_comes_and_end_with_the_source() -> None:
    class Ending(SimulatorSource):
        """Its streams end, as a recording's do."""

        async def stream(self, interval_s: float = 1.0) -> AsyncIterator:
            yield (await anext(SimulatorSource.stream(self, interval_s)))

        async def log_chunks(self, replicas: list[str] | None, *, lines: int = 2000) -> AsyncIterator:
            yield (await anext(SimulatorSource.log_chunks(self, replicas, lines=lines)))

    late = LateSource(lambda: Ending(clock=FixedClock()))
    assert len([frame async for frame in late.stream(0.0)]) == 1
    assert len([batch async for batch in late.log_chunks(None, lines=5)]) == 1
    waiting, _, _ = fleet()
    chunks = waiting.log_chunks(["llm-0"], lines=5)
    assert await anext(chunks)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(anext(chunks), 0.01)
