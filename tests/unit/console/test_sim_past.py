"""The simulated fleet remembers: any second of the last half hour can be looked at as it was."""

from __future__ import annotations

import msgspec
import pytest

from backend.contract.control import ActionRequest
from backend.contract.errors import UsageError
from backend.contract.words import Phase, Verb
from console.state import sim_past
from console.state.sim_past import KEPT_S, SimPast
from console.state.simulator import SimulatorSource

from .sample import FixedClock


def request(verb, target="", **args):
    return ActionRequest(verb=verb, target=target, args=args, actor="console:ada")


def view(moment, name):
    return next((one for one in moment.snapshot.replicas if one.status.name == name), None)


async def test_a_fresh_fleet_has_minutes_of_past():
    sim = SimulatorSource(clock=FixedClock())
    extent = await sim.extent()
    assert extent.origin == "simulator"
    assert extent.last_ts - extent.first_ts == 299
    moment = await sim.moment(extent.first_ts + 100)
    assert moment.snapshot.ts == moment.ts == extent.first_ts + 100
    assert len(moment.points) == 101
    assert moment.points[-1] == moment.snapshot.point


async def test_every_second_is_given_back_exactly_as_it_was_seen():
    clock = FixedClock()
    sim = SimulatorSource(replicas=3, clock=clock, rate=8.0, warm_s=70)
    deeds = {
        5: request(Verb.KILL, "llm-1", signal=9),
        12: request(Verb.SCALE, "llm", replicas=5),
        25: request(Verb.MAINTENANCE, "llm", on=True),
        30: request(Verb.SCALE, "llm", replicas=2),
        50: request(Verb.DRAIN, "llm-0"),
        60: request(Verb.RESTART, "llm-1"),
        64: request(Verb.SCALE, "llm", replicas=4),
        70: request(Verb.DRILL_RUN, name="llm-replica-kill"),
    }
    seen = {}
    for second in range(100):
        snapshot = await sim.snapshot()
        if second in deeds:
            await sim.perform(deeds[second])
            snapshot = await sim.snapshot()
        seen[snapshot.ts] = snapshot
        clock.at += 1
    for ts in (*seen, *reversed(seen)):
        assert (await sim.moment(ts)).snapshot == seen[ts]
    assert {len(one.replicas) for one in seen.values()} >= {2, 3, 4, 5}


async def test_a_kill_can_be_looked_at_from_both_sides():
    clock = FixedClock()
    sim = SimulatorSource(clock=clock)
    killed_ts = sim.world.now
    await sim.snapshot()
    sim.world.kill("llm-0", by="test")
    clock.at += 30
    before, at, after = [await sim.moment(killed_ts + step) for step in (-1, 0, 20)]
    phases = [view(moment, "llm-0").status.phase for moment in (before, at, after)]
    assert phases == [Phase.READY, Phase.FAILED, Phase.READY]
    assert view(after, "llm-0").status.restarts == view(before, "llm-0").status.restarts + 1
    kinds = [[row.kind for row in moment.events] for moment in (before, at)]
    assert "replica.died" not in kinds[0]
    assert kinds[1][-1] == "replica.died"


@pytest.mark.parametrize("seconds", [1, 61])
async def test_what_is_done_in_a_second_in_which_all_is_written_down_is_part_of_it(seconds):
    sim = SimulatorSource(clock=FixedClock(), warm_s=seconds)
    await sim.perform(request(Verb.KILL, "llm-0", signal=9))
    assert view(await sim.moment(9e9), "llm-0").status.phase == Phase.FAILED


async def test_actions_are_those_that_had_been_done():
    clock = FixedClock()
    sim = SimulatorSource(clock=clock)
    row = await sim.perform(request(Verb.NOTE, text="deploy 42"))
    clock.at += 5
    assert [one.id for one in (await sim.moment(row.ts)).actions] == [row.id]
    assert (await sim.moment(row.ts - 1)).actions == ()


async def test_instants_outside_are_brought_within_and_the_window_is_kept():
    sim = SimulatorSource(clock=FixedClock())
    extent = await sim.extent()
    assert (await sim.moment(0.0)).ts == extent.first_ts
    newest = await sim.moment(9e9, window_s=60)
    assert newest.ts == extent.last_ts
    assert len(newest.points) == 60


async def test_the_past_is_bounded_and_its_oldest_second_stays_whole():
    clock = FixedClock()
    sim = SimulatorSource(clock=clock, rate=0.1, warm_s=10)
    for _ in range(KEPT_S + 200):
        clock.at += 1
        await sim.snapshot()
    extent = await sim.extent()
    assert KEPT_S <= extent.last_ts - extent.first_ts <= KEPT_S + 60
    assert len((await sim.moment(extent.first_ts)).snapshot.replicas) == 2


async def test_where_much_changes_less_time_is_kept(monkeypatch):
    clock = FixedClock()
    monkeypatch.setattr(sim_past, "KEPT_ROWS", 200)
    sim = SimulatorSource(clock=clock, rate=20.0, warm_s=0)
    for _ in range(300):
        clock.at += 1
        await sim.snapshot()
    extent = await sim.extent()
    assert 60 <= extent.last_ts - extent.first_ts <= 180
    assert len((await sim.moment(extent.first_ts)).snapshot.replicas) == 2


async def test_a_replica_that_is_replaced_under_its_name_stands_last():
    clock = FixedClock()
    sim = SimulatorSource(replicas=2, clock=clock, warm_s=2)
    one = sim.world.find("llm-0")
    sim.world.replicas.remove(one)
    clock.at += 1
    await sim.snapshot()
    seen = [v.status.name for v in (await sim.moment(clock.at)).snapshot.replicas]
    assert seen == [v.status.name for v in (await sim.snapshot()).replicas] == ["llm-1", "llm-0"]


async def test_nothing_recorded_is_said():
    sim = SimulatorSource(clock=FixedClock(), warm_s=0)
    assert (await sim.extent()).first_ts is not None, "the first look is recorded"
    sim.past = SimPast()
    assert (await sim.extent()) == msgspec.structs.replace(await sim.extent(), first_ts=None, last_ts=None)
    with pytest.raises(UsageError, match="Nothing is recorded"):
        await sim.moment(1.0)
    with pytest.raises(LookupError):
        sim.past.at(1.0)


async def test_a_whole_second_long_ago_is_enough(monkeypatch):
    monkeypatch.setattr(sim_past, "WHOLE_EVERY", 10_000)
    sim = SimulatorSource(clock=FixedClock(), warm_s=90)
    now = await sim.snapshot()
    assert (await sim.moment(now.ts)).snapshot == now
