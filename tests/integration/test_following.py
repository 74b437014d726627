"""The reconciler on a platform that keeps the counts: it follows, leads requests, never creates nor removes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from backend.contract.clock import SystemClock
from backend.contract.errors import LeaseHeld, Refused, TrinityError
from backend.contract.fleet import WorkloadSpec
from backend.contract.words import Phase, SlotState
from backend.reconcile.controller import Reconciler
from backend.reconcile.leases import Leases
from backend.reconcile.wanted import WantedStore
from tests.fakes.edge import FakeEdge
from tests.fakes.ledger import MemoryLedger
from tests.fakes.platform import FakePlatform

WEB = WorkloadSpec(name="web", command=(), of="web", routes=("/web",), slots=8, port=8080)


class World:
    def __init__(self, path: Path) -> None:
        self.path, self.fleet, self.edge, self.ledger = path, FakePlatform(), FakeEdge(), MemoryLedger()
        self.fleet.put("web", 3)
        self.fleet.put("db", 1)

    @asynccontextmanager
    async def daemon(self, *declared: WorkloadSpec, ready_deadline_s: float = 60.0) -> AsyncIterator[Reconciler]:
        clock = SystemClock()
        store = WantedStore(self.path, self.ledger, clock)
        reconciler = Reconciler(
            self.fleet, self.edge, self.ledger, store, Leases(), clock, ready_deadline_s=ready_deadline_s
        )
        await reconciler.start(declared)
        try:
            yield reconciler
        finally:
            await reconciler.stop()

    async def until(self, condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110 - the fakes have nothing to wait on
                await asyncio.sleep(0.005)

    def made_or_removed(self) -> list[tuple[str, str]]:
        return [call for call in self.fleet.calls if call[0] in ("create", "remove")]

    def slots(self) -> set[str]:
        return {slot.replica for slot in self.edge.slots() if slot.state == SlotState.READY}


@pytest.fixture
async def world(tmp_path: Path) -> World:
    return World(tmp_path / "wanted.json")


async def test_what_the_platform_has_is_what_is_wanted_and_nothing_is_created_or_removed(world: World) -> None:
    async with world.daemon() as reconciler:
        assert {spec.name: reconciler.wanted.of(spec.name).replicas for spec in reconciler.specs} == {"web": 3, "db": 1}
        world.fleet.put("web", 5)
        world.fleet.put("db", 0)
        world.fleet.put("new", 2)
        await world.until(lambda: reconciler.wanted.of("new").replicas == 2)
        assert reconciler.wanted.of("web").replicas == 5
        await reconciler.remove_all()
    assert world.made_or_removed() == []
    assert len(world.fleet.observe()) == 7
    assert not world.edge.table


async def test_declared_routes_lead_requests_to_its_ready_replicas_wherever_they_go(world: World) -> None:
    async with world.daemon(WEB) as reconciler:
        await world.until(lambda: len(world.slots()) == 3)
        assert all(name.startswith("web-") for name in world.slots())
        assert {slot.maxconn for slot in world.edge.slots()} == {8}
        assert await reconciler.set_replicas("web", 12) == 3
        await world.until(lambda: len(world.slots()) == 12)
        victim = sorted(world.slots())[0]
        await reconciler.kill(victim)
        await world.until(lambda: world.edge.chosen(victim) is False)
        world.fleet.put("web", 2)
        await world.until(lambda: len(world.slots()) == 2 and len(world.edge.slots()) == 2)
    assert world.made_or_removed() == []


async def test_a_restart_drains_first_and_waits_until_the_platform_has_made_another(world: World) -> None:
    async with world.daemon(WEB) as reconciler:
        await world.until(lambda: len(world.slots()) == 3)
        victim = sorted(world.slots())[0]
        said: list[str] = []
        words = await reconciler.restart_replica(victim, said.append)
        assert "made a new one" in words
        assert said == [f"{victim} is drained", f"{victim} is restarted"]
        assert victim not in {status.name for status in world.fleet.observe()}
        assert sum(s.workload == "web" and s.phase == Phase.READY for s in world.fleet.observe()) == 3


async def test_a_restart_that_gets_nowhere_says_how_many_are_ready(world: World) -> None:
    async with world.daemon(ready_deadline_s=1.0) as reconciler:
        await world.until(lambda: all(s.phase == Phase.READY for s in world.fleet.observe()))
        world.fleet.ready_after_s = 600.0
        victim = next(s.name for s in world.fleet.observe() if s.workload == "web")
        with pytest.raises(TrinityError, match="2 of 3 Ready"):
            await reconciler.restart_replica(victim)


async def test_a_rollout_is_the_platforms_and_its_failure_an_event(world: World) -> None:
    async with world.daemon() as reconciler:
        said: list[str] = []
        assert await reconciler.rollout("web", said.append) == "web was rolled out."
        assert len(said) == 3
        world.fleet.hurt = "web does not progress."
        with pytest.raises(TrinityError, match="does not progress"):
            await reconciler.rollout("web")
    kinds = [row.kind for row in world.ledger.events()]
    assert kinds.count("rollout.done") == 1
    assert kinds.count("rollout.aborted") == 1


async def test_who_holds_a_workload_keeps_others_off(world: World) -> None:
    async with world.daemon() as reconciler, reconciler.leases.hold("web", "drill x"):
        with pytest.raises(LeaseHeld):
            await reconciler.set_replicas("web", 1, actor="operator")
        assert world.fleet.wanted["web"] == 3


async def test_a_replica_without_our_edge_cannot_be_drained_at_it(world: World) -> None:
    async with world.daemon() as reconciler:
        name = next(status.name for status in world.fleet.observe())
        with pytest.raises(Refused, match="gets no requests from our edge"):
            await reconciler.drain(name)


async def test_maintenance_outlives_a_daemon_and_the_count_is_still_the_platforms(world: World) -> None:
    async with world.daemon() as reconciler:
        await reconciler.set_maintenance("web", True)
    world.fleet.put("web", 7)
    async with world.daemon() as reconciler:
        wanted = reconciler.wanted.of("web")
        assert (wanted.maintenance, wanted.replicas) == (True, 7)


async def test_apply_changes_routes_and_leaves_the_platform_alone(world: World) -> None:
    async with world.daemon() as reconciler:
        await reconciler.apply([WEB])
        await world.until(lambda: len(world.slots()) == 3)
        await reconciler.apply([])
        await world.until(lambda: not world.edge.slots())
        assert len(world.fleet.observe()) == 4
    assert world.made_or_removed() == []
