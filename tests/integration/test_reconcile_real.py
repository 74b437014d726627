"""The reconciler over the real local fleet and the real edge, under load: what is scaled, rolled out, restarted,
killed or left by its daemon loses no request."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator

import msgspec
import pytest

from backend.contract.clock import SystemClock
from backend.contract.fleet import WorkloadSpec
from backend.edge.haproxy import HaproxyEdge
from backend.fleet.local import LocalFleet
from backend.reconcile.controller import Reconciler
from backend.reconcile.leases import Leases
from backend.reconcile.wanted import WantedStore
from tests.integration.edge_bench import ENGINE, Bench, bench, client, until, workload
from tests.integration.test_edge_failover import Tally, load

pytestmark = pytest.mark.timeout(300)
SPEC = msgspec.structs.replace(
    workload("llm", command=(sys.executable, str(ENGINE), "{replica}", "{port}")),
    replicas=2,
    revision="r1",
    max_replicas=6,
    drain_deadline_s=10.0,
)
SPEC = msgspec.structs.replace(
    SPEC,
    probes=msgspec.structs.replace(
        SPEC.probes,
        startup=msgspec.structs.replace(SPEC.probes.readiness, period_s=0.05, failure_threshold=2000),
        readiness=msgspec.structs.replace(SPEC.probes.readiness, period_s=0.2, timeout_s=30.0),
    ),
)


class Daemon:
    """Fleet, edge and reconciler wired as the daemon wires them."""

    def __init__(self, b: Bench, edge: HaproxyEdge) -> None:
        clock = SystemClock()
        self.edge, self.fleet = edge, LocalFleet(b.paths, b.sink, clock)
        store = WantedStore(b.paths.wanted_file, b.sink, clock)
        self.reconciler = Reconciler(self.fleet, edge, b.sink, store, Leases(), clock, ready_deadline_s=100.0)

    async def open(self, *specs: WorkloadSpec) -> None:
        await self.edge.start()
        await self.fleet.adopt()
        await self.reconciler.start(specs or (SPEC,))
        await self.reconciler.wait_ready(timeout_s=60)

    async def close(self) -> None:
        await self.reconciler.stop()
        await self.fleet.close()
        await self.edge.close()

    def pids(self) -> set[int | None]:
        return {status.pid for status in self.fleet.observe()}


class Run:
    """A daemon and what the clients of its fleet got."""

    def __init__(self, b: Bench) -> None:
        self.bench, self.tally = b, Tally()
        self.daemon = Daemon(b, b.edge)

    async def replace_daemon(self) -> None:
        """The old one goes without a word to its replicas, the next one adopts them."""
        await self.daemon.close()
        self.daemon = Daemon(self.bench, self.bench.new_edge())
        await self.daemon.open()
        self.bench.edge = self.daemon.edge


@contextlib.asynccontextmanager
async def fleet_under_load(*specs: WorkloadSpec) -> AsyncIterator[Run]:
    async with bench() as b, client() as http:
        run = Run(b)
        try:
            await run.daemon.open(*specs)
            stop = asyncio.Event()
            asking = asyncio.create_task(load(b, http, run.tally, stop, per_s=40))
            try:
                yield run
            finally:
                stop.set()
                await asking
        finally:
            await run.daemon.reconciler.remove_all()
            await run.daemon.fleet.stop_all()
            await run.daemon.fleet.close()


def assert_nothing_lost(tally: Tally) -> None:
    assert tally.failed == [] and tally.silent == []
    assert tally.ok > 20, "too few requests to say so"


async def test_killed_replicas_lose_no_request_without_a_byte_and_are_back() -> None:
    async with fleet_under_load() as run:
        reconciler = run.daemon.reconciler
        for round_ in range(4):
            victim = f"llm-{round_ % 2}"
            await reconciler.kill(victim)
            await until(lambda victim=victim: victim not in reconciler.serving("llm"), what="death seen")  # type: ignore[misc]  # bound now
            await reconciler.wait_ready(timeout_s=60)
    assert_nothing_lost(run.tally)


async def test_rollout_scaling_and_restart_lose_and_truncate_nothing() -> None:
    async with fleet_under_load() as run:
        reconciler = run.daemon.reconciler
        before = run.daemon.pids()
        await reconciler.rollout("llm")
        assert not before & run.daemon.pids()
        for count in (1, 3, 1):
            await reconciler.set_replicas("llm", count)
            await until(lambda count=count: len(run.daemon.fleet.observe()) == count, 60, "scaled")  # type: ignore[misc]  # bound now
            await reconciler.wait_ready(timeout_s=60)
        (only,) = reconciler.serving("llm")
        assert "stand-in" in await reconciler.restart_replica(only)
        await until(lambda: len(run.daemon.fleet.observe()) == 1, 60, "stand-in gone")
    assert_nothing_lost(run.tally)
    assert run.tally.truncated == 0


async def test_a_new_daemon_adopts_everything_and_nobody_notices() -> None:
    async with fleet_under_load() as run:
        await run.daemon.reconciler.set_replicas("llm", 3)
        await run.daemon.reconciler.wait_ready(timeout_s=60)
        pids = run.daemon.pids()
        await run.replace_daemon()
        assert run.daemon.pids() == pids
        assert len(run.daemon.reconciler.serving("llm")) == 3
        assert not run.bench.sink.events("edge.marked-down")
        await until(lambda: run.tally.ok > 40, what="requests served by the adopted")
    assert_nothing_lost(run.tally)
    assert run.tally.truncated == 0
