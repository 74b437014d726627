"""The simulator's log lines: the same for the same seed, tied to its requests, floods on demand, lives told apart."""

from __future__ import annotations

from contextlib import aclosing

from backend.contract.control import ActionRequest
from backend.contract.log_lines import join_pieces
from backend.contract.words import Verb
from console.state.late_source import LateSource
from console.state.log_query import LogQuery
from console.state.log_store import LogStore
from console.state.sim_logs import SimLogs
from console.state.simulator import SimulatorSource

from .sample import FixedClock


def simulator(**parts):
    clock = FixedClock()
    return SimulatorSource(clock=clock, **parts), clock


async def test_the_same_seed_writes_the_same_lines_and_a_source_hands_them_out():
    (one, _), (other, _) = simulator(seed=5), simulator(seed=5)
    async with aclosing(LateSource(lambda: one).log_chunks(None, lines=50)) as batches:
        first = await anext(batches)
    async with aclosing(other.log_chunks(None, lines=50)) as batches:
        assert await anext(batches) == first
    assert {chunk.replica for chunk in first} == {"llm-0", "llm-1"}
    assert all(chunk.data.count(b"\n") == 50 for chunk in first)


async def test_lines_carry_the_ids_of_its_requests_some_as_json():
    sim, _ = simulator()
    store = LogStore(None)
    for chunk in SimLogs(sim.world, ["llm-0"], 1000).take(sim.clock.now()):
        store.append(chunk)
    rows = [line.row() for line in store.before(None, 1000).lines]
    ids = {row.request_id for row in await sim.rows("requests") if row.replica == "llm-0"}
    told = {row.correlation_id for row in rows if row.correlation_id}
    assert len(told) > 50
    assert told <= ids
    assert {row.replica for row in rows} == {"llm-0"}
    assert any(row.fields.get("event") == "request done" for row in rows)
    assert {"info"} <= {row.level for row in rows}
    assert store.streams()[-1].lost == 0


async def test_what_is_new_comes_once_and_in_order():
    sim, clock = simulator()
    logs, store, began = SimLogs(sim.world, None, 100), LogStore(None), clock.now()
    for _ in range(20):
        for chunk in logs.take(clock.now()):
            store.append(chunk)
        clock.at += 0.5
        await sim.snapshot()
    lines = store.before(None, 10_000).lines
    assert len({(line.replica, line.message) for line in lines}) == len(lines)
    assert all(line.ts == line.key[0] for line in lines)
    rows = [line.row() for line in lines]
    ended = {row.correlation_id for row in rows if row.fields.get("event") == "request done"}
    made = [row for row in await sim.rows("requests") if row.ts > began and row.ts + row.total_s <= sim.world.now - 1]
    assert len(made) > 5
    assert {row.request_id for row in made} <= ended, "the last line comes when the request ends"
    logs.take(clock.now())
    assert logs.take(clock.now()) == []


async def test_a_flood_is_as_fast_as_it_was_asked_for():
    sim, clock = simulator(replicas=3)
    logs, store = SimLogs(sim.world, None, 10), LogStore(None)
    before = sum(chunk.data.count(b"\n") for chunk in logs.take(clock.now(), flood_per_s=1000))
    came = 0
    for _ in range(8):
        clock.at += 0.25
        for chunk in logs.take(clock.now(), flood_per_s=1000):
            came += store.append(chunk)
    assert 1990 <= came <= 2010
    assert before <= 30
    assert logs.take(clock.now() + 0.25, flood_per_s=0) == []
    assert {line.row().level for line in store.before(None, 1000).lines} >= {"info", "warning", "debug"}


async def test_a_replica_that_was_killed_has_a_previous_life():
    sim, clock = simulator()
    logs, store = SimLogs(sim.world, ["llm-0"], 200), LogStore(None)
    await sim.perform(ActionRequest(verb=Verb.KILL, target="llm-0", args={"signal": 9}, actor="console:ada"))
    clock.at += 30
    await sim.snapshot()
    for chunk in logs.take(clock.now()):
        store.append(chunk)
    previous = store.before(None, 100, LogQuery(incarnation="previous")).lines
    current = store.before(None, 100, LogQuery(incarnation="current")).lines
    assert b"ended by signal 9" in b"".join(line.message for line in previous)
    assert previous[-1].incarnation < current[0].incarnation
    assert previous[-1].ts <= current[0].ts


async def test_a_window_of_the_past_holds_the_lines_that_were_written_then() -> None:
    clock = FixedClock(1_000_000.0)
    sim = SimulatorSource(replicas=2, rate=4.0, clock=clock, warm_s=60)
    logs, written = SimLogs(sim.world, None, 100_000), list[tuple[float, str]]()
    for _ in range(30):
        clock.at += 1
        await sim.snapshot()
        for chunk in logs.take(clock.at):
            written += [(round(piece.ts, 6), chunk.replica) for piece in join_pieces(chunk.data.splitlines())]
    until = clock.at - 10
    held = sorted(line for line in written if line[0] < until)
    found = await sim.logs(None, until_ts=until, limit=50)
    assert [(round(row.ts, 6), row.replica) for row in found.rows] == held[-50:]
    assert found.truncated == len(held) - 50
    one = await sim.logs(["llm-1"], since_ts=until - 5, until_ts=until)
    assert {row.replica for row in one.rows} == {"llm-1"}
    assert all(until - 5 <= row.ts < until for row in one.rows)
