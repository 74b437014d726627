"""The reconciler's loop and verbs over a fleet and an edge in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from backend.contract.clock import SystemClock
from backend.contract.errors import LeaseHeld, TrinityError, UsageError
from backend.contract.fleet import WorkloadSpec
from backend.contract.words import Phase, SlotState
from backend.reconcile.controller import Reconciler
from backend.reconcile.leases import Leases
from backend.reconcile.wanted import WantedStore
from tests.fakes.edge import FakeEdge
from tests.fakes.fleet import FakeFleet
from tests.fakes.ledger import MemoryLedger

SPEC = WorkloadSpec(name="llm", command=("serve",), replicas=2, revision="r1", max_replicas=8, drain_deadline_s=60.0)


class World:
    """Fleet, edge and ledger that outlive a reconciler, as the real ones outlive the daemon."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fleet, self.edge, self.ledger = FakeFleet(), FakeEdge(), MemoryLedger()
        self.fleet.before_end = self._check_end
        self.lost: list[str] = []

    def _check_end(self, replica: str) -> None:
        """A process ended on purpose must not be in rotation nor have requests."""
        state = self.edge.state(replica)
        if state == SlotState.READY or self.edge.requests[replica]:
            self.lost.append(f"{replica} ended with {self.edge.requests[replica]} requests, slot {state}")

    @asynccontextmanager
    async def daemon(
        self, *specs: WorkloadSpec, ready: bool = True, ready_deadline_s: float = 60.0
    ) -> AsyncIterator[Reconciler]:
        clock = SystemClock()
        store = WantedStore(self.path, self.ledger, clock)
        reconciler = Reconciler(
            self.fleet, self.edge, self.ledger, store, Leases(), clock, ready_deadline_s=ready_deadline_s
        )
        await reconciler.start(specs or (SPEC,))
        try:
            if ready:
                await reconciler.wait_ready(timeout_s=60)
            yield reconciler
        finally:
            await reconciler.stop()

    async def until(self, condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110 - the fakes have nothing to wait on
                await asyncio.sleep(0.005)

    def names(self) -> list[str]:
        return sorted(self.fleet.statuses)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "wanted.json")


@asynccontextmanager
async def load(world: World, workers: int = 4) -> AsyncIterator[list[str]]:
    """Requests without pause; yields the list of those that found nobody to go to or lost their replica."""
    failures: list[str] = []
    done = asyncio.Event()

    async def client() -> None:
        while not done.is_set():
            replica = world.edge.begin("llm")
            if replica is None:
                failures.append("no replica")
                await asyncio.sleep(0.002)
                continue
            pid = world.fleet.statuses[replica].pid
            await asyncio.sleep(0.004)
            status = world.fleet.statuses.get(replica)
            if status is None or status.pid != pid:
                failures.append(f"{replica} ended under a request")
            else:
                world.edge.end(replica)

    clients = [asyncio.create_task(client()) for _ in range(workers)]
    try:
        yield failures
    finally:
        done.set()
        await asyncio.gather(*clients)


async def test_a_fresh_fleet_gets_what_is_declared(world: World) -> None:
    async with world.daemon() as reconciler:
        assert world.names() == ["llm-0", "llm-1"]
        assert set(reconciler.serving("llm")) == {"llm-0", "llm-1"}
        assert {slot.maxconn for slot in world.edge.slots()} == {SPEC.slots}


async def test_a_restarted_daemon_returns_to_what_was_asked_for(world: World) -> None:
    async with world.daemon() as reconciler:
        assert await reconciler.set_replicas("llm", 3) == 2
        await reconciler.wait_ready()
    calls = len(world.fleet.calls)
    async with world.daemon() as reconciler:
        assert len(reconciler.serving("llm")) == 3
        assert len(world.fleet.calls) == calls, "adopting starts and ends nothing"
        world.fleet.statuses.clear()
        await world.until(lambda: len(reconciler.serving("llm")) == 3)


async def test_a_declaration_that_changes_wins_over_the_written_count(world: World) -> None:
    async with world.daemon() as reconciler:
        await reconciler.set_replicas("llm", 3)
    async with world.daemon(msgspec.structs.replace(SPEC, replicas=1)) as reconciler:
        assert reconciler.wanted.of("llm").replicas == 1


async def test_a_death_reaches_the_edge_at_once_and_the_replica_is_filled_again(world: World) -> None:
    async with world.daemon() as reconciler:
        await asyncio.sleep(0.01)
        world.fleet.die("llm-0")
        await asyncio.sleep(0)  # one turn of the loop: far less than its tick
        assert ("mark_down", "llm-0") in world.edge.calls
        assert not world.edge.chosen("llm-0") and reconciler.serving("llm") == ("llm-1",)
        await world.until(lambda: "llm-0" in reconciler.serving("llm"))
        assert world.edge.calls[-1] == ("fill", "llm-0")
        assert world.edge.chosen("llm-0"), "it need not wait for the edge's own check"
        assert ("clear", "llm-0") not in world.edge.calls, "the edge's own check may have been first: nothing is cut"
        assert world.names() == ["llm-0", "llm-1"]
        assert world.edge.calls.count(("mark_down", "llm-0")) == 1


async def test_a_replica_that_dies_while_it_is_filled_is_taken_back(world: World) -> None:
    real_fill = world.edge.fill
    died = asyncio.Event()

    async def slow_fill(workload: str, replica: str, **where: object) -> object:
        if replica == "llm-0" and not died.is_set():
            died.set()
            world.fleet.held.add("llm-0")
            world.fleet.die("llm-0")
        return await real_fill(workload, replica, **where)  # type: ignore[arg-type]  # passed through

    world.edge.fill = slow_fill  # type: ignore[method-assign,assignment]  # the race, made certain
    async with world.daemon(ready=False):
        await died.wait()
        await world.until(lambda: ("mark_down", "llm-0") in world.edge.calls)
        assert not world.edge.chosen("llm-0")


async def test_scaling_under_load_loses_nothing(world: World) -> None:
    async with world.daemon(msgspec.structs.replace(SPEC, replicas=1)) as reconciler, load(world) as failures:
        for count in (3, 1):
            await reconciler.set_replicas("llm", count)
            await world.until(lambda count=count: len(world.fleet.statuses) == count)  # type: ignore[misc]  # bound now
            await reconciler.wait_ready()
    assert failures == [] and world.lost == []


async def test_a_rollout_under_load_loses_nothing_and_replaces_all(world: World) -> None:
    told: list[str] = []
    async with world.daemon() as reconciler, load(world) as failures:
        before = {status.pid for status in world.fleet.observe()}
        assert await reconciler.rollout("llm", told.append) == "2 replicas replaced."
        assert not before & {status.pid for status in world.fleet.observe()}
        assert len(reconciler.serving("llm")) == 2
    assert failures == [] and world.lost == []
    assert told == ["llm: 1 of 2 replaced", "llm: 2 of 2 replaced"]
    assert [event.kind for event in world.ledger.events("rollout")] == ["rollout.started", "rollout.done"]


async def test_a_new_revision_rolls_out_by_itself(world: World) -> None:
    async with world.daemon() as reconciler, load(world) as failures:
        changes = await reconciler.apply([msgspec.structs.replace(SPEC, revision="r2", slots=8)])
        assert changes == (
            "~ llm: slots 4 → 8",
            "~ llm: new revision, replicas are replaced one at a time",
        )
        await world.until(lambda: {s.revision for s in world.fleet.observe()} == {"r2"} and len(world.names()) == 2)
        await reconciler.wait_ready()
    assert failures == [] and world.lost == []


@pytest.mark.parametrize("end", [Phase.CRASH_LOOP, Phase.STARTING])
async def test_a_rollout_whose_new_replica_never_gets_ready_is_aborted(world: World, end: Phase) -> None:
    world.fleet.broken["r2"] = end
    async with world.daemon(ready_deadline_s=0.3) as reconciler:
        old = {status.pid for status in world.fleet.observe()}
        await reconciler.apply([msgspec.structs.replace(SPEC, revision="r2")])
        await world.until(lambda: bool(world.ledger.events("rollout.aborted")))
        await world.until(lambda: len(world.names()) == 2)
        assert {status.pid for status in world.fleet.observe()} == old
        assert len(reconciler.serving("llm")) == 2
        created = world.fleet.calls.count(("create", "llm-2"))
        await asyncio.sleep(0.6)
        assert world.fleet.calls.count(("create", "llm-2")) == created == 1, "it is not tried again by itself"
        with pytest.raises(TrinityError, match=r"llm-2 did not get Ready .* llm-0, llm-1 keep serving"):
            await reconciler.rollout("llm")


async def test_an_interrupted_rollout_is_cleaned_up_by_the_next_daemon(world: World) -> None:
    async with world.daemon() as reconciler:
        world.fleet.ready_after_s = 0.5
        task = asyncio.create_task(reconciler.rollout("llm"))
        await world.until(lambda: len(world.names()) == 3)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    world.fleet.ready_after_s = 0.01
    async with world.daemon():
        await world.until(lambda: world.names() == ["llm-0", "llm-1"])
    assert world.lost == []


async def test_a_rollout_of_a_new_revision_goes_on_after_the_daemon_died(world: World) -> None:
    new = msgspec.structs.replace(SPEC, revision="r2")
    async with world.daemon() as reconciler:
        await reconciler.apply([new])
        await world.until(lambda: any(s.revision == "r2" and s.phase == Phase.READY for s in world.fleet.observe()))
    async with world.daemon(new):
        await world.until(lambda: {s.revision for s in world.fleet.observe()} == {"r2"} and len(world.names()) == 2)
    assert world.lost == []


async def test_restart_in_place_drains_first(world: World) -> None:
    async with world.daemon() as reconciler, load(world) as failures:
        pid = world.fleet.statuses["llm-0"].pid
        assert await reconciler.restart_replica("llm-0") == "llm-0 was restarted."
        assert world.fleet.statuses["llm-0"].pid != pid
        assert "llm-0" in reconciler.serving("llm")
    assert failures == [] and world.lost == []
    assert world.names() == ["llm-0", "llm-1"]


async def test_restarting_the_only_replica_starts_a_stand_in(world: World) -> None:
    async with world.daemon(msgspec.structs.replace(SPEC, replicas=1)) as reconciler:
        async with load(world) as failures:
            assert await reconciler.restart_replica("llm-0") == "llm-0 was restarted behind a stand-in."
            await world.until(lambda: world.names() == ["llm-0"])
        assert failures == [] and world.lost == []
        assert reconciler.serving("llm") == ("llm-0",)


async def test_drain_waits_for_requests_and_survives_a_restart_of_the_daemon(world: World) -> None:
    async with world.daemon() as reconciler:
        busy = world.edge.begin("llm")
        assert busy is not None
        assert await reconciler.drain(busy) == 1
        assert world.edge.state(busy) == SlotState.DRAIN
        assert {s.name: s.phase for s in reconciler.observe()}[busy] == Phase.DRAINING
    async with world.daemon() as reconciler:
        assert world.edge.state(busy) == SlotState.DRAIN
        assert reconciler.serving("llm") == tuple(name for name in ("llm-0", "llm-1") if name != busy)
        await reconciler.undrain(busy)
        await world.until(lambda: world.edge.state(busy) == SlotState.READY)


async def test_a_drain_ends_at_its_deadline_and_says_so(world: World) -> None:
    async with world.daemon(msgspec.structs.replace(SPEC, drain_deadline_s=0.2)) as reconciler:
        hanging = world.edge.begin("llm")
        await reconciler.set_replicas("llm", 0)
        await world.until(lambda: world.names() == [])
        (event,) = world.ledger.events("drain.deadline")
        assert event.subject == hanging


async def test_a_replica_that_is_not_ready_is_drained_and_returns(world: World) -> None:
    async with world.daemon():
        world.fleet.set_ready("llm-0", False)
        await world.until(lambda: world.edge.state("llm-0") == SlotState.DRAIN)
        world.fleet.set_ready("llm-0", True)
        await world.until(lambda: world.edge.state("llm-0") == SlotState.READY)


async def test_a_lease_keeps_others_out_and_names_its_holder(world: World) -> None:
    async with world.daemon() as reconciler:
        async with reconciler.leases.hold("llm", "drill llm-replica-kill", owner="drill:1"):
            with pytest.raises(LeaseHeld, match="drill llm-replica-kill"):
                await reconciler.set_replicas("llm", 3, actor="cli:ann")
            with pytest.raises(LeaseHeld):
                await reconciler.rollout("llm", actor="cli:ann")
            await reconciler.kill("llm-0", actor="drill:1")
        assert reconciler.wanted.of("llm").replicas == 2


async def test_a_failing_edge_is_reported_once_and_retried(world: World) -> None:
    world.edge.error = TrinityError("the runtime API does not answer")
    async with world.daemon(ready=False) as reconciler:
        await world.until(lambda: len(world.ledger.events("reconcile.step-failed")) >= 2)
        with pytest.raises(TrinityError, match="the runtime API does not answer"):
            await reconciler.wait_ready(timeout_s=0.3)
        await world.until(lambda: world.edge.calls.count(("fill", "llm-0")) >= 2)
        assert len(world.ledger.events("reconcile.step-failed")) == 2, "one for each replica"
        world.edge.error = None
        await reconciler.wait_ready(timeout_s=60)


async def test_a_failing_driver_is_named_by_wait_ready_and_by_a_rollout(world: World) -> None:
    async with world.daemon(ready_deadline_s=0.3) as reconciler:
        world.fleet.create_error = TrinityError("the model file is missing")
        with pytest.raises(TrinityError, match=r"no new replica could be started .the model file is missing"):
            await reconciler.rollout("llm")
        assert len(reconciler.serving("llm")) == 2


async def test_a_removed_workload_is_drained_before_its_slots_go(world: World) -> None:
    other = WorkloadSpec(name="api", command=("serve",), routes=("/api",), revision="a1")
    async with world.daemon(SPEC, other) as reconciler:
        replica = world.edge.begin("api")
        assert replica is not None
        assert await reconciler.apply([SPEC]) == ("- api: removed, its replicas are drained and ended",)
        await world.until(lambda: world.edge.state(replica) == SlotState.DRAIN)
        world.edge.end(replica)
        await world.until(lambda: "api" not in world.edge.declared)
        assert world.names() == ["llm-0", "llm-1"]
    assert world.lost == []


async def test_remove_all_leaves_nothing_but_the_wish(world: World) -> None:
    async with world.daemon() as reconciler:
        await reconciler.set_replicas("llm", 3)
        await reconciler.wait_ready()
        await reconciler.remove_all()
        assert world.names() == [] and not world.edge.slots()
    async with world.daemon() as reconciler:
        assert len(reconciler.serving("llm")) == 3
    assert world.lost == []


async def test_bounds_and_names_are_checked(world: World) -> None:
    async with world.daemon() as reconciler:
        with pytest.raises(UsageError, match="0 to 8 replicas, not 9"):
            await reconciler.set_replicas("llm", 9)
        with pytest.raises(UsageError, match="no workload lmm"):
            await reconciler.set_replicas("lmm", 1)
        with pytest.raises(UsageError, match="no replica llm-7"):
            await reconciler.restart_replica("llm-7")


async def test_maintenance_is_told_to_the_driver_and_written_down(world: World) -> None:
    async with world.daemon() as reconciler:
        await reconciler.set_maintenance("llm", True)
        world.fleet.die("llm-0")
    world.fleet.maintenance.clear()
    async with world.daemon(ready=False) as reconciler:
        assert world.fleet.maintenance == {"llm"}
        assert reconciler.wanted.of("llm").maintenance
        await reconciler.set_maintenance("llm", False)
        await world.fleet.restart("llm-0", reason="by hand")
        await reconciler.wait_ready()
