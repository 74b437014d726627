"""The simulated fleet is seeded, alive, and answers to every verb the console has."""

from __future__ import annotations

import pytest

from backend.contract.control import ActionRequest
from backend.contract.errors import Refused, Unreachable, UsageError
from backend.contract.words import Phase, Risk, Verb
from console.state.late_source import LateSource
from console.state.simulator import SimulatorSource

from .sample import FixedClock


def source(**parts):
    clock = FixedClock()
    return SimulatorSource(clock=clock, **parts), clock


def request(verb, target="", **args):
    return ActionRequest(verb=verb, target=target, args=args, actor="console:ada")


async def test_the_same_seed_gives_the_same_fleet():
    one, other = source(seed=3)[0], source(seed=3)[0]
    assert await one.series(300) == await other.series(300)
    assert await one.rows("requests") == await other.rows("requests")
    assert await source(seed=4)[0].series(300) != await one.series(300)


async def test_a_killed_replica_comes_back():
    sim, clock = source()
    await sim.perform(request(Verb.KILL, "llm-0", signal=9))
    view = next(v for v in (await sim.snapshot()).replicas if v.status.name == "llm-0")
    assert view.status.phase == Phase.FAILED
    before = view.status.restarts
    clock.at += 5
    view = next(v for v in (await sim.snapshot()).replicas if v.status.name == "llm-0")
    assert (view.status.phase, view.status.restarts) == (Phase.READY, before + 1)
    kinds = [row.kind for row in await sim.rows("events")]
    assert {"replica.died", "replica.restarted", "replica.ready"} <= set(kinds)


async def test_scaling_and_its_undo():
    sim, clock = source()
    row = await sim.perform(request(Verb.SCALE, "llm", replicas=4))
    assert row.undoable
    clock.at += 10
    assert len((await sim.snapshot()).replicas) == 4
    await sim.perform(request(Verb.UNDO, "llm", id=row.id))
    clock.at += 20
    assert len((await sim.snapshot()).replicas) == 2


@pytest.mark.parametrize(
    ("verb", "target", "args"),
    [
        (Verb.RESTART, "llm-0", {}),
        (Verb.ROLLOUT, "llm", {}),
        (Verb.DRAIN, "llm-0", {}),
        (Verb.UNDRAIN, "llm-0", {}),
        (Verb.AUTOSCALE, "llm", {"on": True}),
        (Verb.MAINTENANCE, "llm", {"on": True}),
        (Verb.LOAD_START, "", {"rate": 3.0}),
        (Verb.LOAD_STOP, "", {}),
        (Verb.DRILL_RUN, "", {"name": "llm-replica-kill"}),
        (Verb.NOTE, "", {"text": "deploy 42"}),
        (Verb.ACKNOWLEDGE, "", {"seq": 1}),
    ],
)
async def test_every_verb_has_a_preview_and_a_journal_row(verb, target, args):
    sim, clock = source()
    assert (await sim.preview(request(verb, target, **args))).summary
    row = await sim.perform(request(verb, target, **args))
    clock.at += 1
    assert [r.id for r in await sim.rows("actions")] == [row.id]


async def test_what_does_not_exist_is_refused():
    sim, _ = source()
    preview = await sim.preview(request(Verb.KILL, "nobody"))
    assert not preview.allowed
    with pytest.raises(Refused, match="no replica nobody"):
        await sim.perform(request(Verb.KILL, "nobody"))
    with pytest.raises(UsageError):
        await sim.raw("nobody")
    with pytest.raises(UsageError, match="no table"):
        await sim.rows("nothing")
    assert (await sim.preview(request(Verb.KILL, "llm-0"))).risk == Risk.HIGH


async def test_a_drill_runs_to_its_verdict():
    sim, clock = source()
    await sim.perform(request(Verb.DRILL_RUN, name="llm-replica-kill"))
    for _ in range(25):
        clock.at += 1
        await sim.snapshot()
    assert (await sim.snapshot()).drill.outcome == "pass"
    assert next(d for d in await sim.drills() if d.name == "llm-replica-kill").last is not None


async def test_load_fills_the_fleet():
    sim, clock = source()
    await sim.perform(request(Verb.LOAD_START, rate=200.0))
    for _ in range(20):
        clock.at += 1
        seen = await sim.snapshot()
    assert seen.point.queued > 0
    assert seen.load.ok > 100


async def test_logs_and_stream_and_an_unreachable_daemon():
    sim, _ = source()
    window = await sim.logs(["llm-0"], limit=5)
    assert len(window.rows) == 5
    assert window.truncated > 0
    frames = sim.stream(0.0)
    assert (await anext(frames)).snapshot is not None
    sim.reachable = False
    with pytest.raises(Unreachable):
        await anext(frames)


async def test_a_late_source_makes_its_source_once_and_passes_everything_on():
    made = []

    def factory():
        made.append(1)
        if len(made) == 1:
            raise Unreachable("not yet")
        return source()[0]

    late = LateSource(factory)
    await late.aclose()
    with pytest.raises(Unreachable):
        await late.version()
    assert (await late.version()).version == "simulated"
    assert (await late.snapshot()).fleet == "local"
    assert len(await late.series(5)) == 5
    assert await late.rows("requests", limit=1)
    assert (await late.logs(None, limit=1)).rows
    assert (await late.preview(request(Verb.NOTE, text="x"))).allowed
    assert (await late.perform(request(Verb.NOTE, text="x"))).id
    assert await late.drills()
    assert (await late.raw("llm-0"))["status"]
    assert (await anext(late.stream())).snapshot
    await late.aclose()
    assert len(made) == 2


async def test_a_twentieth_of_a_large_fleet_changes_each_second_and_the_rest_stays_the_same_object() -> None:
    clock = FixedClock(1_000_000.0)
    sim = SimulatorSource(replicas=1000, clock=clock)
    before = (await sim.snapshot()).replicas
    changed = []
    for _ in range(20):
        clock.at += 1
        after = (await sim.snapshot()).replicas
        changed.append(sum(old is not new for old, new in zip(before, after, strict=True)))
        before = after
    assert 30 <= sum(changed) / len(changed) <= 80
